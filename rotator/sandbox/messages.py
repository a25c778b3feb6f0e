"""The HTTP requests and responses of the stand-ins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """A request as received: the path is decoded, header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base_url: str
    """The scheme, host and port that the request came to, without a trailing slash."""
    is_stale: bool = False
    """Whether a vault answers as it was before the newest version of the secret; other services do not look at it."""
    overtaken_by: str | None = None
    """The value that somebody else writes to a vault's secret right before; other services do not look at it."""

    def json(self) -> object:
        """Parse the body as JSON, or raise ValueError."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Response:
    """A response: status, extra headers and body. The server adds Content-Length."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, status: int, document: object, headers: Mapping[str, str] | None = None) -> Response:
        """Make a JSON response."""
        merged = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
        return cls(status, json.dumps(document).encode(), merged)

    @classmethod
    def of_html(cls, status: int, page: str, headers: Mapping[str, str] | None = None) -> Response:
        """Make an HTML response."""
        merged = {"Content-Type": "text/html; charset=utf-8", **(headers or {})}
        return cls(status, page.encode(), merged)
