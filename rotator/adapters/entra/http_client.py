"""The HTTP client that we give to MSAL: what MSAL gets back is always a JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

import requests

from rotator.adapters.answer_ids import read_answer_ids
from rotator.adapters.bearer import is_sendable
from rotator.adapters.entra.refusals import Asked, find_number, make_no_refresh_token, make_refusal
from rotator.adapters.http_failures import explain_failure
from rotator.adapters.odd_answers import ODD_ANSWER
from rotator.adapters.retry_after import read_retry_after
from rotator.errors import TransientError

Fields: TypeAlias = Mapping[str, str | None] | None
Headers: TypeAlias = Mapping[str, str] | None

_TEXTS = frozenset(
    {
        *("access_token", "refresh_token", "id_token", "client_info", "token_type", "scope"),
        *("user_code", "device_code", "verification_uri", "message"),
        *("error", "suberror", "error_description"),
    }
)
_SENT_AGAIN = frozenset({"access_token", "refresh_token", "device_code"})
_SECONDS = frozenset({"expires_in", "ext_expires_in", "refresh_in", "interval"})
_NEEDED = {
    "access_token": ("access_token", "expires_in"),
    "user_code": ("user_code", "device_code", "verification_uri", "expires_in"),
    "error": ("error",),
}
"""What an answer with this field must have."""
_MOST_SECONDS = 366 * 24 * 3600


class EntraHttpClient:
    """Raises TransientError for no answer, 429, 5xx and HTML pages, and what a refused discovery means.

    MSAL would let the library's exceptions through, which hold the tokens that were sent, and would log the text of
    an answer that it cannot parse, which may hold the tokens that were received.
    """

    def __init__(
        self,
        session: requests.Session,
        asked: Asked,
    ) -> None:
        self._session = session
        self._asked = asked

    def get(self, url: str, *, params: Fields = None, headers: Headers = None) -> requests.Response:
        """Return a discovery document."""
        response, document = self._send("GET", url, params, None, headers)
        if response.status_code >= 400 or "error" in document:
            self._check_fields(url, response, document)
            raise make_refusal(document, self._asked)
        return response

    def post(
        self, url: str, *, params: Fields = None, data: Fields = None, headers: Headers = None
    ) -> requests.Response:
        """Return a token or device code answer; one that refuses is left to MSAL's caller."""
        response, document = self._send("POST", url, params, data, headers)
        self._check_fields(url, response, document)
        # Without an id token it is nobody's sign-in, which the caller tells.
        if self._asked.is_login and document.get("id_token") and not document.get("refresh_token"):
            raise make_no_refresh_token(self._asked)
        return response

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def _send(
        self, method: str, url: str, params: Fields, data: Fields, headers: Headers
    ) -> tuple[requests.Response, Mapping[str, object]]:
        if not url.lower().startswith("https://"):
            raise self._failure(
                "entra_unexpected",
                f"{self._asked.authority} names an address that does not begin with https://",
                "Nothing was sent there. Check entra.authority, and whether a proxy stands in between.",
            )
        failure: tuple[str, str, str] | None = None
        try:
            response = self._session.request(method, url, params=params, data=data, headers=headers)
        except requests.RequestException as error:
            failure = explain_failure(error, url=url)
        if failure is not None:  # outside the `except`: the library's error holds the request
            code, message, fix = failure
            raise self._failure(code, f"no answer from Entra: {message}", f"{fix} (setting: entra.authority)")
        return response, self._check(response, url)

    def _check_fields(self, url: str, response: requests.Response, document: Mapping[str, object]) -> None:
        odd = _find_oddity(document)
        if odd is not None:
            raise self._failure(
                "entra_unexpected",
                f"{urlsplit(url).netloc} sent an unexpected response: {odd}",
                "This usually passes by itself; if not, check entra.authority, and whether a proxy stands in between.",
                response,
            )

    def _check(self, response: requests.Response, url: str) -> Mapping[str, object]:
        host, status = urlsplit(url).netloc, response.status_code
        document = _parse(response.content)
        if status == 429 or status >= 500:
            number = find_number(document or {})
            trace = f" (AADSTS{number})" if number else ""
            raise self._failure(
                "entra_busy",
                f"{host} answered HTTP {status}{trace}",
                self._asked.try_later,
                response,
            )
        if document is None:
            raise self._failure(
                "entra_no_json",
                f"{host} answered HTTP {status} with an unexpected response, perhaps a proxy's page",
                "Check entra.authority, and whether a proxy stands between this host and Entra.",
                response,
            )
        return document

    def _failure(self, code: str, message: str, fix: str, response: requests.Response | None = None) -> TransientError:
        headers: Mapping[str, str] = response.headers if response is not None else {}
        return TransientError(
            message,
            service="entra",
            operation=self._asked.operation,
            status=None if response is None else response.status_code,
            request_id=read_answer_ids(headers, {"x-ms-request-id": "id"}).get("id"),
            retry_after=read_retry_after(headers),
            code=code,
            fix=fix,
        )


def _find_oddity(document: Mapping[str, object]) -> str | None:
    """What no token or device code answer can hold; MSAL would take it into its cache, or stumble over it.

    Names fields, and repeats nothing of their content.
    """
    needed = [name for answer, names in _NEEDED.items() if answer in document for name in names]
    for name in needed:
        if name not in document:
            return f"no {name}"
    for name, value in document.items():
        if name in _TEXTS and not isinstance(value, str) and (value is not None or name in needed):
            return f"{name} is not text"
        if name in _SENT_AGAIN and value and not is_sendable(value):
            return f"{name} is no text that can be sent"
        if name in _SECONDS and not _is_span(value):
            return f"{name} is not a number of seconds"
    return None


def _is_span(value: object) -> bool:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 12:
        value = int(value)
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_SECONDS


def _parse(content: bytes) -> Mapping[str, object] | None:
    try:
        document = json.loads(content)
    except ODD_ANSWER:
        return None
    return document if isinstance(document, dict) else None
