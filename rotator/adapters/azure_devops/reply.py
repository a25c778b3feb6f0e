"""What an answer of Azure DevOps means, by status, headers and body alone."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from rotator.adapters.answer_ids import read_answer_ids
from rotator.adapters.azure_devops.call import (
    Call,
    Trace,
    make_denied,
    make_rejected,
    make_transient,
    make_unknown_outcome,
)
from rotator.adapters.azure_devops.documents import find_refusal, parse_json
from rotator.adapters.echoes import read_authorization, remove_from_document
from rotator.adapters.redaction import redact_text
from rotator.domain.outside import make_harmless
from rotator.domain.secret_value import SecretValue
from rotator.errors import RemoteError

_CLAIMS = re.compile(r'claims="([A-Za-z0-9+/_=-]+)"')
_IDS = {"X-VSS-E2EID": "e2e_id", "ActivityId": "activity_id"}
_NO_PAGE = (
    "If that does not help, check azure_devops.identity_url and core_url, and whether a proxy or a Conditional Access "
    "policy answers instead of the service."
)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; `header` is the Authorization header that was sent, which no answer may repeat."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    header: SecretValue

    @property
    def trace(self) -> Trace:
        """Its status and ids."""
        found = read_answer_ids(self.headers, _IDS)
        return Trace(self.status, found.get("e2e_id") or found.get("activity_id"), found)

    @property
    def is_html(self) -> bool:
        """Whether it is a page for people."""
        return "html" in self.headers.get("Content-Type", "").lower() or self.body.lstrip()[:1] == b"<"


@dataclass(frozen=True)
class Reply:
    """An answer with content: its JSON, None when the body is empty (as after DELETE).

    `next_page` is the token of the next page where a header names it.
    """

    document: object | None
    trace: Trace
    next_page: str = ""


@dataclass(frozen=True)
class Failure:
    """A call that failed. `again`: it may be sent once more.

    `is_refused`: nothing was done, because the credential was not accepted: it may be sent once more with another one.
    `claims` is the challenge that came with that.
    """

    error: RemoteError
    again: bool = False
    is_refused: bool = False
    claims: str | None = None


def read_answer(call: Call, answer: Answer) -> Reply | Failure:
    """Return the reply, or why there is none and whether the call may be repeated."""
    status, trace = answer.status, answer.trace
    if status == 203 or 300 <= status < 400:
        return _sign_in_page(call, answer)
    document = remove_from_document(parse_json(answer.body), read_authorization(answer.header.reveal()))
    type_key, message = _framework_error(document)
    if status >= 400 and (type_key == "InvalidAccessException" or "ervice principals are not" in message):
        reason = f"the sign-in is a service principal's: {message}"
        fix = f"Sign in as a user with {call.login}: only users can have PATs, app registrations cannot."
        return Failure(make_denied(call, trace, "service_principal", reason, fix))
    if status == 401:
        return _refused_bearer(call, answer, message)
    if status == 403:
        fix = f"Ask an administrator of {call.organization} for access, or check which user is signed in."
        return Failure(make_denied(call, trace, "denied", message or "it answered 403", fix))
    if status == 429:
        reason = message or "too many requests"
        return Failure(make_transient(call, trace, "throttled", reason), again=True)
    if status >= 500 or status == 408:
        reason = f"it answered {status}: {message}" if message else f"it answered {status}"
        return _broken(call, answer, "server_error", reason)
    if status >= 400:
        if find_refusal(document) is not None:
            return Reply(document, trace)
        return Failure(_rejected(call, trace, message))
    return _read_success(call, answer, document)


def _read_success(call: Call, answer: Answer, document: object | None) -> Reply | Failure:
    if not answer.body.strip():
        return Reply(None, answer.trace)
    if document is not None:
        return Reply(document, answer.trace, answer.headers.get("X-MS-ContinuationToken", ""))
    if answer.is_html and call.is_harmless:
        return _sign_in_page(call, answer)
    return _broken(call, answer, "malformed_answer", "it answered with something that is not JSON")


def _broken(call: Call, answer: Answer, code: str, reason: str) -> Failure:
    if call.is_harmless:
        return Failure(make_transient(call, answer.trace, code, reason), again=True)
    return Failure(make_unknown_outcome(call, answer.trace, code, reason))


def _refused_bearer(call: Call, answer: Answer, message: str) -> Failure:
    reason = message or "it does not accept the credential"
    error = make_denied(
        call,
        answer.trace,
        "bearer_refused",
        reason,
        f"Sign in again ({call.login}), and check that the user has access to the organization {call.organization}.",
    )
    # A 401 was refused at the door: nothing was done, so the same request may go out again.
    return Failure(error, is_refused=True, claims=_find_claims(answer.headers.get("WWW-Authenticate", "")))


def _find_claims(challenge: str) -> str | None:
    """Return the claims (JSON) of an `insufficient_claims` challenge."""
    found = _CLAIMS.search(challenge)
    if found is None or "insufficient_claims" not in challenge:
        return None
    coded = found[1].replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(coded + "=" * (-len(coded) % 4)).decode() or None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _find_host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _sign_in_page(call: Call, answer: Answer) -> Failure:
    """Return the failure for a page in place of JSON: the service, or something in front of it, wants a sign-in."""
    host = _find_host(answer.headers.get("Location", ""))
    what = f"it redirected to {redact_text(host)}" if host else f"it answered {answer.status} with a sign-in page"
    error = make_denied(call, answer.trace, "sign_in_page", what, f"Sign in again: run {call.login}. {_NO_PAGE}")
    return Failure(error, is_refused=call.is_harmless)


def _rejected(call: Call, trace: Trace, message: str) -> RemoteError:
    if trace.status == 404:
        fix = "Check accounts[].organizations, azure_devops.identity_url and core_url."
        return make_rejected(call, trace, "organization_not_found", message or "it answered 404", fix)
    fix = "Check azure_devops.api_version; the message above is the service's own."
    return make_rejected(call, trace, "rejected", message or f"it answered {trace.status}", fix)


def _framework_error(document: object) -> tuple[str, str]:
    """`typeKey` and `message` of the framework's error document, empty where there is none."""
    if not isinstance(document, Mapping):
        return "", ""
    type_key, message = document.get("typeKey"), document.get("message")
    return (
        type_key if isinstance(type_key, str) else "",
        make_harmless(" ".join(redact_text(message).split()))[:300] if isinstance(message, str) else "",
    )
