"""How much of an answer is read: so many bytes once it is unpacked, and JSON of so many values, nested only so deep."""

from __future__ import annotations

import codecs
import re

import requests

from rotator.adapters.deadline import check_deadline

LARGEST_ANSWER = 8 * 1024 * 1024
"""Bytes, unpacked. The largest true answer, a page of 100 PATs, has about 60 kB."""
DEEPEST_JSON = 64
"""Levels. The deepest true answer has about six; libraries read JSON by recursion."""
MOST_VALUES = 100_000
"""In JSON. The largest true answer has about 1,000; an object in memory is fifty times as large as its text `{}`."""

_PIECE = 64 * 1024
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s;\"']+)", re.IGNORECASE)
_CHARSETS = {"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1"}
"""In which brackets and quotes are the bytes that they are in UTF-8."""
_TEXT_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class AnswerLimitError(requests.RequestException):
    """The answer goes beyond a limit; the message says which."""


def read_body(response: requests.Response, *, is_binary: bool = False) -> bytes:
    """Return the unpacked body, which is text unless `is_binary`.

    AnswerLimitError, what requests raises, or TotalTimeoutError while it is unpacked.
    """
    pieces, size = [], 0
    for piece in response.iter_content(_PIECE):
        check_deadline()
        size += len(piece)
        if size > LARGEST_ANSWER:
            raise AnswerLimitError(f"sent more than {LARGEST_ANSWER // 1024**2} MiB")
        pieces.append(piece)
    body = b"".join(pieces)
    if is_binary:
        return body
    if not is_utf8(body, response.headers.get("Content-Type", "")):
        raise AnswerLimitError("sent text that is not UTF-8")
    if has_too_many_values(body):
        raise AnswerLimitError(f"sent JSON with more than {MOST_VALUES} values")
    if is_too_deep(body):
        raise AnswerLimitError(f"sent JSON with more than {DEEPEST_JSON} levels")
    return body


def is_utf8(body: bytes, content_type: str) -> bool:
    """Return whether text is UTF-8 as far as its head and its label tell: libraries would decode others, unmeasured."""
    label = _CHARSET.search(content_type)
    is_wide = b"\0" in body[:4] or body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return not is_wide and (label is None or label[1].lower() in _CHARSETS)


def has_too_many_values(body: bytes) -> bool:
    """Return whether JSON has more values than the limit, by its commas: a text may have some too."""
    return body.count(b",") >= MOST_VALUES and body.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] in (b"[", b"{")


def is_too_deep(body: bytes) -> bool:
    """Return whether JSON is nested deeper than the limit. What is not JSON may be called anything."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST_JSON:
        return False
    depth = 0
    for found in _TEXT_OR_BRACKET.finditer(body):
        token = found[0][:1]
        if token in b"[{":
            depth += 1
            if depth > DEEPEST_JSON:
                return True
        elif token in b"]}":
            depth -= 1
    return False
