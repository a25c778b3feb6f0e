"""The record of every request to the sandbox, with its raw headers and body."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rotator.sandbox.messages import Request


@dataclass
class RecordedRequest:
    """One request. `status` is None if no reply has been sent."""

    sequence: int
    time: datetime
    service: str
    method: str
    path: str
    query: Mapping[str, str]
    auth: str
    """`Bearer`, `Basic` or `none`; never the credential."""
    headers: Mapping[str, str]
    """Raw, with credentials: tests look here for a secret that was sent to the wrong host."""
    body: bytes
    status: int | None = None
    fault: str | None = None
    """The kind of the fault that changed the reply."""

    def summary(self) -> dict[str, object]:
        """Return what may be shown: no headers, and only a digest of the body."""
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
    """All requests but control calls, in order of arrival. Thread-safe."""

    def __init__(self) -> None:
        self._entries: list[RecordedRequest] = []
        self._lock = threading.Lock()

    def add(self, service: str, request: Request, time: datetime) -> RecordedRequest:
        """Add the request and return its entry, which the server completes."""
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
        """Return the entries so far, of one service or method if given."""
        with self._lock:
            return [
                entry for entry in self._entries if service in (None, entry.service) and method in (None, entry.method)
            ]

    def clear(self) -> None:
        """Forget everything and number from 1 again."""
        with self._lock:
            self._entries.clear()
