"""Takes out of a refusal what the request sent as secrets: services repeat what they were sent, whole or cut.

Every answer that refuses goes through here before any library reads it, so that no message, log or event can hold a
part of a secret. An answer that grants something is left as it is: it may well hold what was sent.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, MutableMapping, Sequence
from urllib.parse import parse_qsl

import requests

from rotator.adapters.odd_answers import ODD_ANSWER
from rotator.adapters.redaction import SHORTEST_SECRET, Blanker, is_secret_field

_HEADERS = ("Authorization", "X-IDENTITY-HEADER", "secret")
"""The last two are how a program on App Service proves to it which host it runs on."""
_BODY_FIELDS = frozenset({"code", "value"})
"""An authorization code, and a value for the vault."""


def list_sent_secrets(request: requests.PreparedRequest) -> list[str]:
    """Return what a request holds that nobody may repeat, in every form in which it may come back."""
    texts = [
        text
        for name in _HEADERS
        if (value := request.headers.get(name)) is not None
        for text in _read_header(value if isinstance(value, str) else value.decode("latin-1"))
    ]
    body = request.body
    if body:
        texts += _read_body(body.decode(errors="replace") if isinstance(body, bytes) else str(body))
    return [text for text in texts if len(text) >= SHORTEST_SECRET]


def remove_echoes(body: bytes, headers: MutableMapping[str, str], secrets: Sequence[str]) -> bytes:
    """Return the body without any part of the secrets, as text or as JSON; the headers lose it in place."""
    if not secrets:
        return body
    blanker = Blanker(secrets)
    for name, value in list(headers.items()):
        clean = blanker.clean(value)
        if clean != value:
            headers[name] = clean
    try:
        document = json.loads(body)
    except ODD_ANSWER:
        return blanker.clean(body.decode("latin-1")).encode("latin-1")
    clean_document = _clean(document, blanker)
    return body if clean_document == document else json.dumps(clean_document).encode()


def remove_from_document(document: object, secrets: Sequence[str]) -> object:
    """Return JSON without any part of the secrets: its texts are looked at as they are read, escapes undone."""
    return _clean(document, Blanker(secrets))


def read_authorization(header: str) -> list[str]:
    """Return what follows the scheme of an Authorization header, and the password that Basic packs into it."""
    scheme, _, coded = header.partition(" ")
    if scheme != "Basic":
        return [coded or scheme]
    plain = base64.b64decode(coded).decode(errors="replace")
    return [coded, plain, plain.partition(":")[2]]


def _read_header(value: str) -> list[str]:
    try:
        return read_authorization(value)
    except ODD_ANSWER:
        return [value]


def _read_body(text: str) -> Iterator[str]:
    try:
        document = json.loads(text)
    except ODD_ANSWER:
        document = dict(parse_qsl(text))
    for name, value in document.items() if isinstance(document, dict) else ():
        if isinstance(value, str) and (name in _BODY_FIELDS or is_secret_field(name)):
            yield value


def _clean(document: object, blanker: Blanker) -> object:
    if isinstance(document, str):
        return blanker.clean(document)
    if isinstance(document, list):
        return [_clean(item, blanker) for item in document]
    if isinstance(document, dict):
        return {blanker.clean(name): _clean(item, blanker) for name, item in document.items()}
    return document
