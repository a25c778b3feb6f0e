"""A server on loopback whose certificate is wrong, for clients of HTTPS and of PostgreSQL."""

from __future__ import annotations

import ipaddress
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_SSL_REQUEST = 8


def write_certificate(folder: Path, kind: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is `expired`, `early`, `misnamed` or only `unknown`, with its key.

    Return the path of both and, to trust it by, that of the certificate alone.
    """
    now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    begins, ends = {"expired": (-2, -1), "early": (1, 2)}.get(kind, (-1, 1))
    address = "127.0.0.2" if kind == "misnamed" else "127.0.0.1"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=ends))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    alone, both = folder / f"{kind}-ca.pem", folder / f"{kind}.pem"
    alone.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both.write_bytes(alone.read_bytes() + private)
    return both, alone


class _TlsServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    context: ssl.SSLContext
    is_postgres: bool


class _Handshake(socketserver.BaseRequestHandler):
    server: _TlsServer

    def handle(self) -> None:
        """Shake hands; PostgreSQL's clients ask for TLS first."""
        with suppress(OSError):  # the client turns away: that is what is tested
            if self.server.is_postgres:
                self.request.recv(_SSL_REQUEST)
                self.request.sendall(b"S")
            with self.server.context.wrap_socket(self.request, server_side=True) as wrapped:
                wrapped.recv(1)


@contextmanager
def run_tls_server(certificate: Path, *, is_postgres: bool = False) -> Iterator[int]:
    """Its port on 127.0.0.1 until the block ends."""
    with _TlsServer(("127.0.0.1", 0), _Handshake) as server:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(certificate)
        server.is_postgres = is_postgres
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()
