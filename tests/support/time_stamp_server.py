"""A time-stamp authority (RFC 3161) on loopback: `openssl ts` behind a small HTTP server, with its own certificates."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

_CONFIG = """[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
"""
_ROOT_DAYS = timedelta(days=3650)


class TimeStampServer:
    """`certificates` is the authority's root. `answers` are sent, one each, in place of a stamp: a status or a body."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder, self.certificates = folder, folder / "ca.pem"
        self.answers: list[int | bytes] = []
        self.asked = 0
        self._make_certificates()
        (folder / "serial").write_text("01\n", encoding="ascii")
        (folder / "ts.cnf").write_text(_CONFIG.format(folder=folder), encoding="ascii")
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.asked += 1
                answer = server.answers.pop(0) if server.answers else server.stamp(body)
                status, body = (answer, b"") if isinstance(answer, int) else (200, answer)
                self.send_response(status)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/tsr"

    @contextmanager
    def running(self) -> Iterator[TimeStampServer]:
        """Answer inside."""
        thread = threading.Thread(target=self._http.serve_forever, name="time-stamps")
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            thread.join()
            self._http.server_close()

    def stamp(self, query: bytes) -> bytes:
        """The authority's answer to a request."""
        asked, answer = self._folder / "asked.tsq", self._folder / "answer.tsr"
        asked.write_bytes(query)
        command = ["openssl", "ts", "-reply", "-config", str(self._folder / "ts.cnf"), "-section", "here"]
        command += ["-queryfile", str(asked), "-out", str(answer)]
        subprocess.run(command, check=True, capture_output=True)
        return answer.read_bytes()

    def _make_certificates(self) -> None:
        root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Root of time")])
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Time stamps")])
        usages = {"digital_signature": True, "content_commitment": True, "key_cert_sign": False, "crl_sign": False}
        root = _begin(root_name, root_name, root_key)
        root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        own = _begin(name, root_name, key).add_extension(_list_usages(**usages), critical=True)
        stamping = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        own = own.add_extension(stamping, critical=True)
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        self.certificates.write_bytes(root.sign(root_key, hashes.SHA256()).public_bytes(pem))
        (self._folder / "tsa.pem").write_bytes(own.sign(root_key, hashes.SHA256()).public_bytes(pem))
        form = serialization.PrivateFormat.PKCS8
        (self._folder / "tsa.key").write_bytes(key.private_bytes(pem, form, plain))


def _list_usages(**allowed: bool) -> x509.KeyUsage:
    others = ("key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
    return x509.KeyUsage(**allowed, **dict.fromkeys(others, False))


def _begin(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
    return made.not_valid_after(now + _ROOT_DAYS)
