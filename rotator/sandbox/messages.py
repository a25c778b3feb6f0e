"""What the stand-ins speak: one HTTP request in, one HTTP response out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """One request as received: the path is decoded, header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base_url: str
    """Scheme, host and port this request came in on, without a trailing slash."""

    def json(self) -> object:
        """The body as JSON; raises ValueError when it is not."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Response:
    """One response: status, extra headers, body bytes. Content-Length is added by the server."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, status: int, document: object, headers: Mapping[str, str] | None = None) -> Response:
        """A JSON document with its content type."""
        merged = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
        return cls(status, json.dumps(document).encode(), merged)

    @classmethod
    def of_html(cls, status: int, page: str, headers: Mapping[str, str] | None = None) -> Response:
        """An HTML page with its content type."""
        merged = {"Content-Type": "text/html; charset=utf-8", **(headers or {})}
        return cls(status, page.encode(), merged)
