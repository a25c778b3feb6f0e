"""What the Azure library raises, as our errors with their fixes.

The library's exceptions hold the request with the secret in its body: only the status, the codes, the request id and
a cleaned text are taken from them, and they must not become the context of what is raised instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from azure.core.exceptions import AzureError, HttpResponseError

from rotator.adapters.answer_ids import read_answer_ids
from rotator.adapters.http_failures import explain_failure, was_not_sent
from rotator.adapters.odd_answers import ODD_ANSWER
from rotator.adapters.redaction import redact_text
from rotator.adapters.retry_after import read_retry_after
from rotator.domain.answer_ids import NO_IDS, AnswerIds
from rotator.domain.outside import make_harmless
from rotator.domain.secret_value import SecretValue
from rotator.errors import DeniedError, FailureKind, RejectedError, RemoteError, TransientError, UnknownOutcomeError

SDK_FAILURES = (AzureError, *ODD_ANSWER)

_LONGEST_TEXT = 700
"""A refusal names the caller and the action it lacks at its end, after some 400 characters."""
ANSWER_IDS = {"x-ms-request-id": "request_id"}
"""The header that identifies an answer, and the audit log's name for it."""


_NO_PROXY = "Check the vault's address, and that no proxy answers instead of the vault."
_READ_ONLY = re.compile(r"read[- ]?only", re.IGNORECASE)


@dataclass(frozen=True)
class Call:
    """One request to a vault, in the words of its error messages.

    `permission` is what Key Vault calls it: get, list or set. `name` is the secret's, empty for all of them. `value` is
    the secret that is being sent, if any: then a lost answer is an unknown outcome.
    """

    operation: str
    permission: str
    vault: str
    name: str
    value: SecretValue | None = None

    @property
    def host(self) -> str:
        """The vault's host."""
        return urlsplit(self.vault).netloc

    @property
    def vault_name(self) -> str:
        """The vault's name, as the Azure CLI wants it."""
        return (urlsplit(self.vault).hostname or self.vault).partition(".")[0]

    @property
    def place(self) -> str:
        """The secret, for a message."""
        return f"secret {self.name} in {self.host}" if self.name else f"the secrets in {self.host}"


class _Origin(TypedDict):
    service: str
    operation: str
    status: int | None
    request_id: str | None
    answer_ids: AnswerIds


@dataclass(frozen=True)
class _Answer:
    status: int
    code: str
    text: str
    headers: Mapping[str, str]

    @property
    def retry_after(self) -> float | None:
        return read_retry_after(self.headers)


def make_failure(error: Exception, call: Call) -> RemoteError:
    """Return our error for one that the Azure library raised during `call`."""
    response = error.response if isinstance(error, HttpResponseError) else None
    if response is None or response.status_code is None or response.status_code < 300:
        return _explain_no_answer(error, call)
    code, text = _read_error(error)
    answer = _Answer(response.status_code, code, _clean(text), _read_headers(response))
    ids = read_answer_ids(answer.headers, ANSWER_IDS)
    origin = _Origin(
        service="key_vault",
        operation=call.operation,
        status=answer.status,
        request_id=ids.get("request_id"),
        answer_ids=ids,
    )
    said = _say(answer, origin["request_id"])
    match answer.status:
        case 401:
            return DeniedError(
                f"{call.host} did not accept the token for {call.place} ({said})",
                kind=FailureKind.DENIED,
                code="vault_unauthenticated",
                fix="Check that key_vault.credential belongs to the vault's own tenant, and check this host's clock.",
                **origin,
            )
        case 403:
            return _explain_forbidden(answer, call, said, origin)
        case 404:
            return RejectedError(
                f"there is no {call.place} ({said})",
                code="secret_not_found",
                fix="Check the vault's address and the secret's name.",
                **origin,
            )
        case 409:
            return _explain_conflict(answer, call, said, origin)
        case 429:
            return TransientError(
                f"{call.host} accepts no more requests for now ({said})",
                code="vault_throttled",
                retry_after=answer.retry_after,
                fix="This usually passes by itself; if it happens often, spread the secrets over several vaults.",
                **origin,
            )
        case status if status >= 500 or status == 408:
            return _explain_broken(answer, call, said, origin)
        case _:
            unsaid = "it redirected" if answer.status < 400 else "no reason given"
            return RejectedError(
                f"{call.host} did not {call.permission} {call.place} ({said}): {answer.text or unsaid}",
                code="vault_rejected",
                fix="Correct what the reason names: the secret's name, its tags or the vault's address."
                if answer.text
                else _NO_PROXY,
                **origin,
            )


def make_soft_deleted_failure(call: Call, *, status: int, answer_ids: AnswerIds = NO_IDS) -> RejectedError:
    """Return the error for a name of a deleted secret that can be recovered: until then nobody can write it."""
    return RejectedError(
        f"the {call.place} is deleted but recoverable, so its name cannot be used",
        code="secret_soft_deleted",
        fix=f"Run: az keyvault secret recover --vault-name {call.vault_name} --name {call.name}",
        service="key_vault",
        operation=call.operation,
        status=status,
        request_id=answer_ids.get("request_id"),
        answer_ids=answer_ids,
    )


def make_deleted_and_disabled_failure(call: Call) -> RejectedError:
    """Return the error for a deleted secret that was disabled before: Key Vault shows it to nobody until recovered."""
    return RejectedError(
        f"the {call.place} is deleted (and was disabled before) but recoverable, so its name cannot be used",
        code="secret_soft_deleted",
        fix=f"Run: az keyvault secret recover --vault-name {call.vault_name} --name {call.name} , then enable it with: "
        f"az keyvault secret set-attributes --vault-name {call.vault_name} --name {call.name} --enabled true",
        service="key_vault",
        operation=call.operation,
        status=403,
    )


def make_disabled_failure(call: Call, *, status: int, answer_ids: AnswerIds = NO_IDS) -> RejectedError:
    """Return the error when the version that consumers read is disabled: somebody must have meant that."""
    return RejectedError(
        f"the newest version of {call.place} is disabled"
        if call.operation != "fetch_secret_version"
        else f"this version of {call.place} is disabled",
        code="secret_disabled",
        fix=f"Enable it (az keyvault secret set-attributes --vault-name {call.vault_name} --name {call.name} "
        "--enabled true), or give the PAT another secret name.",
        service="key_vault",
        operation=call.operation,
        status=status,
        request_id=answer_ids.get("request_id"),
        answer_ids=answer_ids,
    )


def _explain_forbidden(answer: _Answer, call: Call, said: str, origin: _Origin) -> RemoteError:
    match answer.code:
        case "SecretDisabled":
            return make_disabled_failure(call, status=answer.status, answer_ids=origin["answer_ids"])
        case "ForbiddenByFirewall" | "ForbiddenByConnection":
            return DeniedError(
                f"the network rules of {call.host} do not let this host in ({said})",
                kind=FailureKind.DENIED,
                code="vault_firewall",
                fix=f"Allow this host's address: az keyvault network-rule add --name {call.vault_name} "
                "--ip-address ADDRESS, or run rotator inside the vault's network.",
                **origin,
            )
    about_the_vault = f"{answer.code} {_leave_out(answer.text, call)}"
    if not answer.code.startswith("ForbiddenBy") and _READ_ONLY.search(about_the_vault):
        return TransientError(
            f"{call.host} accepts no writes for now, as during a failover to another region ({said})",
            code="vault_read_only",
            retry_after=answer.retry_after,
            fix="This usually passes by itself. If it lasts, see the service health of the vault's region.",
            **origin,
        )
    is_explained = bool(answer.code or answer.text)
    return DeniedError(
        f"rotator may not {call.permission} {call.place} ({said}): {answer.text or 'no reason given'}",
        kind=FailureKind.DENIED,
        code="vault_denied",
        fix=("Grant" if is_explained else f"{_NO_PROXY} If both are right, grant")
        + f" the identity of key_vault.credential the permission `{call.permission}` on secrets of "
        f'vault {call.vault_name}: the role "Key Vault Secrets Officer", or by access policy: '
        f"az keyvault set-policy --name {call.vault_name} --object-id ID --secret-permissions get list set",
        **origin,
    )


def _leave_out(text: str, call: Call) -> str:
    """Return the service's words without the names in them, which people choose."""
    for name in (call.name, call.vault_name):
        text = re.sub(re.escape(name), "", text, flags=re.IGNORECASE)
    return text


def _explain_conflict(answer: _Answer, call: Call, said: str, origin: _Origin) -> RemoteError:
    if answer.code == "ObjectIsBeingDeleted":
        return TransientError(
            f"{call.place} is being deleted ({said})",
            code="vault_conflict",
            retry_after=answer.retry_after,
            fix="This usually passes by itself within minutes; then recover the secret, or give the PAT another one.",
            **origin,
        )
    if answer.code == "ObjectIsDeletedButRecoverable":
        return make_soft_deleted_failure(call, status=answer.status, answer_ids=origin["answer_ids"])
    return TransientError(
        f"{call.place} is being changed by somebody else ({said})",
        code="vault_conflict",
        retry_after=answer.retry_after,
        fix="This usually passes by itself; if not, look for another program that writes this secret.",
        **origin,
    )


_ASKED = {"list": "for the versions of", "get": "for", "set": "to write"}


def _explain_broken(answer: _Answer, call: Call, said: str, origin: _Origin) -> RemoteError:
    fix = "This usually passes by itself; if it lasts, see the service health of Key Vault."
    answered, _, request = said.partition(", ")
    asked = f"{_ASKED[call.permission]} {call.name}" if call.name else "for its secrets"
    text = f"the vault {call.host} answered {answered} when asked {asked}"
    text += f" ({request})" if request else ""
    if call.value is not None:
        return UnknownOutcomeError(f"{text}; it may have been written", code="vault_failed", fix=fix, **origin)
    return TransientError(text, code="vault_failed", retry_after=answer.retry_after, fix=fix, **origin)


def _explain_no_answer(error: Exception, call: Call) -> RemoteError:
    """No answer, or one that is not Key Vault's."""
    origin = _Origin(service="key_vault", operation=call.operation, status=None, request_id=None, answer_ids=NO_IDS)
    if isinstance(error, ValueError) and "challenge" in str(error):
        # Raised before anything was sent: the resource that the vault names is not of its own domain.
        return DeniedError(
            f"{call.host} asks for a token for a domain other than its own",
            kind=FailureKind.DENIED,
            code="vault_challenge",
            fix="Correct the vault's address; if the vault has a private name of your own, set "
            "key_vault.verify_challenge_resource: false.",
            **origin,
        )
    cause = _find_network_error(error)
    if cause is None:
        code, text = "vault_answer", f"{call.host} sent an unexpected response"
        fix, sent = _NO_PROXY, True
    else:
        code, text, fix = explain_failure(cause, url=call.vault)
        sent = not was_not_sent(cause)
    if sent and call.value is not None:
        return UnknownOutcomeError(f"{text}; {call.place} may have been written", code=code, fix=fix, **origin)
    return TransientError(f"cannot {call.permission} {call.place}: {text}", code=code, fix=fix, **origin)


def _find_network_error(error: Exception) -> requests.RequestException | None:
    """Return what went wrong below the Azure library, if it was the network."""
    inner = error.inner_exception if isinstance(error, AzureError) else None
    if isinstance(inner, requests.RequestException):
        return inner
    return requests.ConnectionError(inner) if isinstance(inner, urllib3.exceptions.HTTPError) else None


def _read_error(error: Exception) -> tuple[str, str]:
    """Return the most specific code of the answer's body, the inner one if there is one, and the service's words."""
    details = error.error if isinstance(error, HttpResponseError) else None
    if details is None:
        return "", ""
    inner = details.innererror if isinstance(details.innererror, dict) else {}
    code = inner.get("code") or details.code
    return (code if isinstance(code, str) else ""), (details.message if isinstance(details.message, str) else "")


def _read_headers(response: object) -> Mapping[str, str]:
    """Return the headers of a response: each has them, though the library's types do not say so."""
    headers = getattr(response, "headers", {})
    return headers if isinstance(headers, Mapping) else {}


def _say(answer: _Answer, request_id: str | None) -> str:
    return f"{answer.status} {answer.code}".strip() + (f", request {request_id}" if request_id else "")


def _clean(text: str) -> str:
    """Return the service's words in one line, shortened."""
    text = make_harmless(" ".join(redact_text(text).split()))
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "..."
