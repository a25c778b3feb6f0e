"""Time stamps (RFC 3161): an authority signs that a checkpoint existed, and when. They are kept in a file."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from cryptography.x509 import Certificate, load_pem_x509_certificates

from rotator.adapters.anchor_places import AnchorFile
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.regular_files import check_regular
from rotator.adapters.single_request import find_host, send_once
from rotator.domain.anchor import read_anchor_value
from rotator.domain.canonical import encode_canonical
from rotator.domain.secret_value import SecretValue
from rotator.errors import RotatorError
from rotator.ports.anchor_place import Stamp

if TYPE_CHECKING:
    from rfc3161_client import TimeStampRequest, TimeStampResponse

STAMP_TAG = "rotator-audit-stamp"
_LONGEST = 64 * 1024
"""More bytes than an anchor and its stamp have, with the authority's certificates in it."""
_MOST_SKEW = timedelta(minutes=5)
"""How far the authority's clock may be behind ours."""
_FIX = "Check authority and certificates in audit.anchors."
_TYPE = "application/timestamp-query"


class TimeStampAuthority:
    """Asks for stamps, and checks them with the authority's certificates (PEM), which are read each time."""

    def __init__(self, url: str, certificates: Path, http: HttpOptions) -> None:
        self._url, self._certificates, self._http = SecretValue(url), certificates, http
        self.name = find_host(self._url)

    def check(self) -> None:
        """RotatorError where no stamp could be asked for or checked: the library or the certificates are missing."""
        _make_request(b"no checkpoint")
        self._load_certificates()

    def stamp(self, data: bytes) -> bytes:
        """Return a stamp of the data, once it is checked. RotatorError if there is none that fits."""
        request, certificates = _make_request(data), self._load_certificates()

        def post(session: requests.Session, url: str) -> requests.Response:
            headers = {"Content-Type": _TYPE, "User-Agent": "rotator"}
            return session.post(url, data=request.as_bytes(), headers=headers)

        answer = send_once(self._http, self._url, post, is_binary=True)
        if not answer.is_good:
            code = "stamp_refused" if answer.status is not None else answer.code
            raise RotatorError(answer.message, code=code, fix=answer.fix or _FIX)
        try:
            _verify(answer.body, data, certificates, request.nonce)
        except ValueError as error:
            said = f"{self.name} sent no time stamp that fits: {error}"
            raise RotatorError(said, code="stamp_refused", fix=_FIX) from error
        return answer.body

    def read(self, stamp: bytes, data: bytes) -> datetime:
        """Return when the authority says that the data existed. ValueError if the stamp does not fit."""
        return _verify(stamp, data, self._load_certificates(), None)

    def _load_certificates(self) -> list[Certificate]:
        try:
            check_regular(self._certificates)
            return load_pem_x509_certificates(self._certificates.read_bytes())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "holds no certificates in PEM"
            fix = "Name the certificates of the time-stamp authority in audit.anchors."
            raise RotatorError(f"{self._certificates}: {reason}", code="stamp_certificates", fix=fix) from error


class StampFile:
    """The port AnchorPlace: a file of anchors, each with its stamp beside its tags."""

    def __init__(self, path: Path, authority: TimeStampAuthority) -> None:
        self._file, self._authority = AnchorFile(path, _LONGEST), authority
        self.name = self._file.name

    def find_last(self) -> str | None:
        """See the port."""
        return self._file.find_last()

    def give(self, anchor: str, anchor_id: str) -> None:
        """See the port."""
        stamp = base64.b64encode(self._authority.stamp(anchor.encode())).decode()
        stamped = encode_canonical({**json.loads(anchor), STAMP_TAG: stamp}).decode()
        fault = self.read_stamp(stamped).fault if len(stamped) < _LONGEST else "would have a line that is too long"
        if fault is not None:  # a line that is kept is never taken back
            said = f"{self._authority.name} answered, but the checkpoint {fault}"
            raise RotatorError(said, code="stamp_refused", fix="Check the clocks of this host and of the authority.")
        self._file.give(stamped, anchor_id)

    def read(self) -> Iterator[str]:
        """See the port."""
        return self._file.read()

    def read_stamp(self, anchor: str) -> Stamp:
        """See the port."""
        tags, checkpoint = json.loads(anchor), read_anchor_value(anchor)
        try:
            stamp = base64.b64decode(tags.pop(STAMP_TAG, ""), validate=True)
            data = encode_canonical(tags)
            at = self._authority.read(stamp, data)
        except ValueError as error:
            return Stamp(fault=f"has no time stamp that fits: {error}")
        if checkpoint is not None and at < checkpoint.made_at - _MOST_SKEW:
            return Stamp(fault=f"has a time stamp of {at:%Y-%m-%d %H:%M:%S} UTC, before it was made")
        return Stamp(at, data, stamp)


def _make_request(data: bytes) -> TimeStampRequest:
    try:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
    except ImportError:
        raise _make_missing() from None
    return TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).build()


def _verify(stamp: bytes, data: bytes, certificates: list[Certificate], nonce: int | None) -> datetime:
    """Return the time of a stamp. ValueError unless it is one of these data, by who has these certificates."""
    try:
        from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response
    except ImportError:
        raise _make_missing() from None
    try:
        response: TimeStampResponse = decode_timestamp_response(stamp)
        VerifierBuilder(roots=certificates, nonce=nonce).build().verify_message(response, data)
        return response.tst_info.gen_time
    except VerificationError as error:
        raise ValueError(str(error)) from error


def _make_missing() -> RotatorError:
    fix = "In rotator's source folder, run: pip install --require-hashes -r requirements.txt"
    return RotatorError("time stamps need rfc3161-client, which is not installed", code="stamps_unusable", fix=fix)
