"""PATs in Azure DevOps: the port PatService on the PAT lifecycle API and connectionData.

`reply` and `pat_errors` say what the API means by each answer; this module says what each of our methods asks for and
when it may believe the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import quote

from rotator.adapters.azure_devops.call import (
    Call,
    Trace,
    make_denied,
    make_rejected,
    make_transient,
    make_unknown_outcome,
)
from rotator.adapters.azure_devops.client import AzureDevOpsClient
from rotator.adapters.azure_devops.credential import AccountBearer, PatBasic
from rotator.adapters.azure_devops.documents import (
    MalformedError,
    PatRefusal,
    find_refusal,
    parse_answer,
    parse_identity,
    parse_page,
    render_moment,
)
from rotator.adapters.azure_devops.paging import Endless, Page, fetch_pages
from rotator.adapters.azure_devops.pat_errors import NOT_FOUND, make_pat_error
from rotator.adapters.azure_devops.reply import Reply
from rotator.adapters.azure_devops.throttle import SharedHolds
from rotator.adapters.bearer import BearerSource
from rotator.adapters.http_options import HttpOptions
from rotator.domain.account import Identity
from rotator.domain.answer_ids import AnswerIds
from rotator.domain.managed_pat import Pat
from rotator.domain.secret_value import SecretValue
from rotator.errors import DeniedError, RejectedError, VerificationError
from rotator.ports.clock import BootClock, Clock
from rotator.ports.pat_service import MintedPat, PatFilter, PatList
from rotator.ports.permit import Permit
from rotator.ports.progress import Progress
from rotator.ports.stop import Stop

PAGE_SIZE = 100
MOST_PAGES = 500
_ENDLESS = Endless(
    "listing_incomplete",
    loops="the list loops: it named the same next page twice",
    goes_on=f"the list has not ended after {MOST_PAGES} pages",
)


class AzureDevOpsPatService:
    """The port PatService on the real API. Thread-safe; `close` it at the end.

    `identity_url` serves PATs (`https://vssps.dev.azure.com`), `core_url` connectionData (`https://dev.azure.com`).
    `max_wait` bounds how long one call waits for a throttled or failing service; `progress` tells of such waits.
    """

    def __init__(
        self,
        identity_url: str,
        core_url: str,
        api_version: str,
        bearers: BearerSource,
        http: HttpOptions,
        clock: Clock,
        boot: BootClock,
        stop: Stop,
        max_wait: timedelta = timedelta(minutes=2),
        shared: SharedHolds | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._identity_url = identity_url.rstrip("/")
        self._core_url = core_url.rstrip("/")
        self._api_version = api_version
        self._bearers = bearers
        self._client = AzureDevOpsClient(http, clock, boot, stop, max_wait, shared, progress)

    def close(self) -> None:
        """Close the connections of all threads."""
        self._client.close()

    def fetch_identity(self, account: str, organization: str) -> Identity:
        """Return who the account is in the organization, with the organization's id. DeniedError if anonymous."""
        purpose = f"say who is signed in to {organization}"
        call = self._connection_call("fetch_identity", purpose, account, organization)
        reply = self._ask(call)
        identity = _read_identity(call, reply)
        if identity is None:
            fix = f"Sign in again (`rotator login {account}`), and check that the user is a member of {organization}."
            raise make_denied(call, reply.trace, "anonymous", "it does not know who is asking", fix)
        return identity

    def fetch_pats(self, account: str, organization: str, which: PatFilter) -> PatList:
        """Return all pages, or raise. Each entry is read on its own.

        A PAT that moved to a later page while we read appears once, as last seen.
        """
        query = {"displayFilterOption": which.value, "$top": str(PAGE_SIZE)}
        purpose = f"list the PATs in {organization}"
        call = self._pats_call("list_pats", purpose, account, organization, "GET", query)
        found: dict[str, Pat] = {}
        unreadable: list[str] = []
        for pats in fetch_pages(call, self._fetch_page, MOST_PAGES, _ENDLESS):
            found.update((pat.authorization_id, pat) for pat in pats)
            unreadable.extend(pats.unreadable)
        return PatList(found.values(), unreadable)

    def _fetch_page(self, call: Call) -> Page[PatList]:
        reply = self._ask(call)
        try:
            pats, token = parse_page(reply.document)
        except MalformedError as error:
            raise make_transient(call, reply.trace, "malformed_answer", f"it sent {error}") from error
        return Page(pats, token or None, reply.trace)

    def fetch_pat(self, account: str, organization: str, authorization_id: str) -> Pat | None:
        """Return one PAT's metadata, revoked and expired ones included; None if the id is not known."""
        purpose = f"show the PAT {authorization_id} in {organization}"
        query = {"authorizationId": authorization_id}
        call = self._pats_call("fetch_pat", purpose, account, organization, "GET", query)
        reply = self._ask(call)
        try:
            answer = parse_answer(reply.document)
        except MalformedError as error:
            raise make_transient(call, reply.trace, "malformed_answer", f"it sent {error}") from error
        if isinstance(answer, MintedPat):
            if answer.pat.authorization_id == authorization_id.lower():
                return answer.pat
            raise make_transient(
                call, reply.trace, "malformed_answer", "it sent a different PAT from the one asked for"
            )
        if answer.error in NOT_FOUND:
            return None
        raise make_pat_error(call, reply.trace, answer.error, answer.message)

    def mint(
        self,
        account: str,
        organization: str,
        *,
        display_name: str,
        scope: str,
        valid_to: datetime,
        permit: Permit,
    ) -> MintedPat:
        """Create a PAT for this organization alone. `valid_to` is sent in whole seconds, fractions dropped.

        The answer is returned as it is: the caller compares scope, organization and `valid_to` with what it asked.
        """
        purpose = f'create the PAT "{display_name}" in {organization}'
        body = {
            "displayName": display_name,
            "scope": scope,
            "validTo": render_moment(valid_to),
            "allOrgs": False,
        }
        call = self._pats_call("mint_pat", purpose, account, organization, "POST", {}, body)
        reply = self._ask(replace(call, makes_value=True, permit=permit))
        try:
            answer = parse_answer(reply.document)
        except MalformedError as error:
            raise make_unknown_outcome(call, reply.trace, "malformed_answer", f"it sent {error}") from error
        if isinstance(answer, PatRefusal):
            raise make_pat_error(call, reply.trace, answer.error, answer.message)
        return replace(answer, answer_ids=reply.trace.answer_ids)

    def verify(self, organization: str, value: SecretValue) -> Identity:
        """Return who the PAT authenticates as in the organization."""
        call = self._connection_call("verify_pat", f"accept a PAT in {organization}", "", organization)
        try:
            reply = self._client.exchange(call, PatBasic(organization, value))
        except DeniedError as error:
            forbidden = error.status == 403
            raise VerificationError(
                error.message,
                code="verification_forbidden" if forbidden else "verification_failed",
                fix="Check the user's access to the organization: the PAT is genuine, but may not do anything there."
                if forbidden
                else "The PAT is revoked, expired, wrong, or for another organization.",
            ) from error
        identity = _read_identity(call, reply)
        if identity is None:
            raise VerificationError(
                f"Azure DevOps refused to {call.purpose}: it answered as if nobody were signed in{reply.trace}",
                fix="The PAT is revoked, expired, wrong, or for another organization.",
            )
        return identity

    def revoke(self, account: str, organization: str, authorization_id: str, *, permit: Permit) -> AnswerIds:
        """Delete a PAT. "No such PAT" is believed only if the list of active PATs agrees."""
        purpose = f"revoke the PAT {authorization_id} in {organization}"
        query = {"authorizationId": authorization_id}
        call = self._pats_call("revoke_pat", purpose, account, organization, "DELETE", query)
        try:
            reply = self._ask(replace(call, permit=permit))
        except RejectedError as error:
            if error.status != 404:
                raise
            self._confirm_gone(call, Trace(error.status, error.request_id, error.answer_ids))
            return error.answer_ids
        refusal = find_refusal(reply.document)
        if refusal is not None:
            if refusal.error not in NOT_FOUND:
                raise make_pat_error(call, reply.trace, refusal.error, refusal.message)
            self._confirm_gone(call, reply.trace)
        return reply.trace.answer_ids

    def _confirm_gone(self, call: Call, trace: Trace) -> None:
        wanted = call.query["authorizationId"].lower()
        active = self.fetch_pats(call.account, call.organization, PatFilter.ACTIVE)
        if wanted in active.unreadable or any(pat.authorization_id == wanted for pat in active):
            reason = "it says that there is no such PAT, but lists it as active"
            fix = "Revoke it by hand in Azure DevOps (User settings, Personal access tokens)."
            raise make_rejected(call, trace, "revoke_not_confirmed", reason, fix)

    def _ask(self, call: Call) -> Reply:
        return self._client.exchange(call, AccountBearer(self._bearers, call.account))

    def _pats_call(
        self,
        operation: str,
        purpose: str,
        account: str,
        organization: str,
        method: str,
        query: Mapping[str, str],
        body: Mapping[str, object] | None = None,
    ) -> Call:
        url = f"{self._identity_url}/{quote(organization, safe='')}/_apis/tokens/pats"
        versioned = {**query, "api-version": self._api_version}
        return Call(operation, purpose, account, organization, method, url, versioned, body)

    def _connection_call(self, operation: str, purpose: str, account: str, organization: str) -> Call:
        url = f"{self._core_url}/{quote(organization, safe='')}/_apis/connectionData"
        return Call(operation, purpose, account, organization, "GET", url)


def _read_identity(call: Call, reply: Reply) -> Identity | None:
    """Return who is asking; None for an anonymous user. TransientError when that is not what was answered."""
    try:
        return parse_identity(reply.document)
    except MalformedError as error:
        raise make_transient(call, reply.trace, "malformed_answer", f"it sent {error}") from error
