"""The HTTP client that we give to MSAL: what MSAL gets back is always a JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

import requests

from rotator.adapters.entra.refusals import find_number
from rotator.adapters.http import explain_failure
from rotator.errors import RotatorError, TransientError

Fields: TypeAlias = Mapping[str, str | None] | None
Headers: TypeAlias = Mapping[str, str] | None


class EntraHttpClient:
    """Raises TransientError for no answer, 429, 5xx and HTML pages; `refuse` makes the error for a refused discovery.

    MSAL would let the library's exceptions through, which hold the tokens that were sent, and would log the text of
    an answer that it cannot parse, which may hold the tokens that were received.
    """

    def __init__(
        self,
        session: requests.Session,
        refuse: Callable[[Mapping[str, object]], RotatorError],
        operation: str,
    ) -> None:
        self._session = session
        self._refuse = refuse
        self._operation = operation

    def get(self, url: str, *, params: Fields = None, headers: Headers = None) -> requests.Response:
        """Return a discovery document."""
        response, document = self._send("GET", url, params, None, headers)
        if response.status_code >= 400 or "error" in document:
            raise self._refuse(document)
        return response

    def post(
        self, url: str, *, params: Fields = None, data: Fields = None, headers: Headers = None
    ) -> requests.Response:
        """Return a token or device code answer; one that refuses is left to MSAL's caller."""
        return self._send("POST", url, params, data, headers)[0]

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def _send(
        self, method: str, url: str, params: Fields, data: Fields, headers: Headers
    ) -> tuple[requests.Response, Mapping[str, object]]:
        failure: tuple[str, str, str] | None = None
        try:
            response = self._session.request(method, url, params=params, data=data, headers=headers)
        except requests.RequestException as error:
            failure = explain_failure(error, url=url)
        if failure is not None:  # outside the `except`: the library's error holds the request
            code, message, fix = failure
            raise self._failure(code, f"no answer from Entra: {message}", f"{fix} (setting: entra.authority)")
        return response, self._check(response, url)

    def _check(self, response: requests.Response, url: str) -> Mapping[str, object]:
        host, status = urlsplit(url).netloc, response.status_code
        document = _parse(response.content)
        if status == 429 or status >= 500:
            number = find_number(document or {})
            trace = f" (AADSTS{number})" if number else ""
            raise self._failure(
                "entra_busy",
                f"{host} answered HTTP {status}{trace}",
                "Nothing to do: rotator tries again later.",
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
        headers = response.headers if response is not None else {}
        wait = headers.get("Retry-After", "")
        return TransientError(
            message,
            service="entra",
            operation=self._operation,
            status=None if response is None else response.status_code,
            request_id=headers.get("x-ms-request-id"),
            retry_after=float(wait) if wait.isdecimal() else None,
            code=code,
            fix=fix,
        )


def _parse(content: bytes) -> Mapping[str, object] | None:
    try:
        document = json.loads(content)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
