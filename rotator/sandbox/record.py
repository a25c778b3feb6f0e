"""The record of every request that reached the sandbox, with its raw headers and body."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rotator.sandbox.messages import Request


@dataclass
class RecordedRequest:
    """One request. `status` stays None when no reply was sent (yet)."""

    sequence: int
    time: datetime
    service: str
    method: str
    path: str
    query: Mapping[str, str]
    auth: str
    """`Bearer`, `Basic` or `none`: never the credential."""
    headers: Mapping[str, str]
    """Raw, credentials included: tests look here for a secret that went to the wrong host."""
    body: bytes
    status: int | None = None
    fault: str | None = None
    """The kind of the fault that shaped the reply."""

    def summary(self) -> dict[str, object]:
        """What may be shown: no header, and of the body its digest only."""
        return {
            "sequence": self.sequence,
            "time": self.time.isoformat(),
            "service": self.service,
            "method": self.method,
            "path": self.path,
            "query": dict(self.query),
            "auth": self.auth,
            "status": self.status,
            "fault": self.fault,
            "body_sha256": hashlib.sha256(self.body).hexdigest() if self.body else None,
        }


class RequestRecord:
    """All requests in order of arrival; control calls are not among them. Thread-safe."""

    def __init__(self) -> None:
        self._entries: list[RecordedRequest] = []
        self._lock = threading.Lock()

    def add(self, service: str, request: Request, time: datetime) -> RecordedRequest:
        """Files the request and returns its entry, to be completed by the server."""
        scheme = request.headers.get("authorization", "").partition(" ")[0].capitalize()
        with self._lock:
            entry = RecordedRequest(
                sequence=len(self._entries) + 1,
                time=time,
                service=service,
                method=request.method,
                path=request.path,
                query=dict(request.query),
                auth=scheme if scheme in ("Bearer", "Basic") else "none",
                headers=dict(request.headers),
                body=request.body,
            )
            self._entries.append(entry)
        return entry

    def all(self, service: str | None = None, method: str | None = None) -> list[RecordedRequest]:
        """The entries so far, of one service or method if given."""
        with self._lock:
            return [
                entry for entry in self._entries if service in (None, entry.service) and method in (None, entry.method)
            ]

    def clear(self) -> None:
        """Forgets everything; numbering starts again at 1."""
        with self._lock:
            self._entries.clear()
