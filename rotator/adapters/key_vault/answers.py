"""Looks at an answer of Key Vault before the Azure library reads it.

That one makes text of whatever it finds, and keeps a challenge for the rest of the process, a hostile one too.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from azure.core.pipeline import PipelineResponse
from azure.core.rest import HttpResponse

from rotator.adapters.key_vault.scopes import check_scopes

_ODD = re.compile(r"[\\\s\x00-\x1f\x7f]")
_PARAMETER = re.compile(r'\b(\w++)="?([^",\s]*+)')


def check_answer(response: PipelineResponse[object, HttpResponse]) -> None:
    """ValueError when the answer holds something else where a secret's value, id or tags belong.

    So it is when its list goes on at another host.
    DeniedError when it asks for a token for another service.
    """
    if response.http_response.status_code == 401:
        _check_challenge(response.http_response.headers.get("WWW-Authenticate", ""))
    if response.http_response.status_code >= 300:
        return
    document = response.http_response.json() if response.http_response.content else {}
    if not isinstance(document, dict):
        raise ValueError("an answer that is not an object")
    link = document.get("nextLink")
    if link and _find_origin(link) != _find_origin(response.http_response.request.url):
        raise ValueError("a list that goes on in another place")  # the token would be sent there
    page = document.get("value")
    entries = page if isinstance(page, list) else [document]
    if not all(_is_sound(entry) for entry in entries):
        raise ValueError("an answer that is not a secret's")


def _check_challenge(header: str) -> None:
    found = {name.lower(): value for name, value in _PARAMETER.findall(header)}
    if not header or ("claims" in found and not found.keys() & {"scope", "resource"}):
        return  # a claims challenge is about the token that was sent
    resource = found.get("resource")
    check_scopes((found.get("scope") or (f"{resource}/.default" if resource else ""),), "rotator's identity")


def _find_origin(address: object) -> tuple[str, str | None, int]:
    """Return scheme, host and port. ValueError when there is no such address, or not every parser sees the same."""
    text = str(address)
    if _ODD.search(text):
        raise ValueError("an address with a backslash or a blank")  # some take it for the end of the host
    parts = urlsplit(text)
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address with a user")
    return parts.scheme, parts.hostname, parts.port or 443


def _is_sound(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    tags = entry.get("tags") or {}
    texts = [entry.get("value"), entry.get("id")]
    return (
        isinstance(tags, dict)
        and all(isinstance(text, str) for text in tags.values())
        and all(text is None or isinstance(text, str) for text in texts)
    )
