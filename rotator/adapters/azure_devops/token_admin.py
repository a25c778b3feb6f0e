"""The PATs of all users of an organization: the port TokenAdmin on the token admin API and the Graph API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

from rotator.adapters.azure_devops.call import Call, Trace, make_denied, make_rejected, make_transient
from rotator.adapters.azure_devops.client import AzureDevOpsClient
from rotator.adapters.azure_devops.credential import AccountBearer
from rotator.adapters.azure_devops.documents import parse_page
from rotator.adapters.azure_devops.paging import Endless, Page, fetch_pages
from rotator.adapters.azure_devops.reply import Reply
from rotator.adapters.azure_devops.throttle import SharedHolds
from rotator.adapters.bearer import BearerSource
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.redaction import redact_text
from rotator.domain.answer_ids import AnswerIds
from rotator.domain.managed_pat import Pat
from rotator.domain.outside import make_harmless
from rotator.domain.user_pats import OrganizationUser
from rotator.errors import DeniedError, RejectedError
from rotator.ports.clock import BootClock, Clock
from rotator.ports.pat_service import PatList
from rotator.ports.permit import unclaimed
from rotator.ports.stop import Stop
from rotator.ports.token_admin import UserList

PAGE_SIZE = 100
MOST_PAGES = 2_000
_ENDLESS = Endless(
    "listing_incomplete",
    loops="its list does not come to an end: it names the same next page twice",
    goes_on=f"its list has not ended after {MOST_PAGES} pages",
)
_GRAPH_VERSION = "7.1-preview.1"
_ADMIN_VERSION = "7.1"
_SERVICES = ("svc", "s2s", "aadsp")
"""The kinds of identities, by their descriptors, that are the service's own or an application's."""
_LONGEST_TEXT = 300
_REFUSALS = ("denied", "bearer_refused", "access_denied")


class AzureDevOpsTokenAdmin:
    """The port TokenAdmin on the real APIs. Thread-safe; `close` it at the end.

    `identity_url` serves both (`https://vssps.dev.azure.com`). `max_wait` and `shared` are as for PATs.
    """

    def __init__(
        self,
        identity_url: str,
        bearers: BearerSource,
        http: HttpOptions,
        clock: Clock,
        boot: BootClock,
        stop: Stop,
        max_wait: timedelta = timedelta(minutes=2),
        shared: SharedHolds | None = None,
    ) -> None:
        self._identity_url = identity_url.rstrip("/")
        self._bearers = bearers
        self._client = AzureDevOpsClient(http, clock, boot, stop, max_wait, shared)

    def close(self) -> None:
        """Close the connections of all threads."""
        self._client.close()

    def fetch_users(self, account: str, organization: str) -> UserList:
        """Return all pages, or raise. The next page is named by a header."""
        call = self._call("list_users", f"list the users of {organization}", account, organization, "graph/users")
        call = replace(call, query={"api-version": _GRAPH_VERSION})
        found: dict[str, OrganizationUser] = {}
        unreadable = 0
        for reply in self._fetch_pages(call):
            for raw in _read_value(call, reply):
                user = parse_user(raw)
                if user is None:
                    unreadable += 1
                else:
                    found[user.descriptor] = user
        return UserList(tuple(found.values()), unreadable)

    def fetch_user_pats(self, account: str, organization: str, user: OrganizationUser) -> PatList:
        """Return all pages, or raise. Each entry is read on its own; what Azure DevOps calls invalid is left out."""
        path = f"tokenadmin/personalaccesstokens/{quote(user.descriptor, safe='')}"
        call = self._call("list_user_pats", f"list the PATs of {user.name}", account, organization, path)
        call = replace(call, query={"api-version": _ADMIN_VERSION, "pageSize": str(PAGE_SIZE), "isPublic": "false"})
        found: dict[str, Pat] = {}
        unreadable: list[str] = []
        for reply in self._fetch_pages(call):
            valid = [raw for raw in _read_value(call, reply) if not _is_invalid(raw)]
            pats, _ = parse_page({"patTokens": valid})
            found.update((pat.authorization_id, pat) for pat in pats)
            unreadable.extend(pats.unreadable)
        return PatList(found.values(), unreadable)

    def revoke(self, account: str, organization: str, authorization_id: str) -> AnswerIds:
        """Ask to revoke a PAT of whatever user. No record accounts for it, so nobody can have claimed it."""
        purpose = f"revoke the PAT {authorization_id}"
        call = self._call("revoke_user_pat", purpose, account, organization, "tokenadmin/revocations")
        body = ({"authorizationId": authorization_id},)
        query = {"api-version": _ADMIN_VERSION, "isPublic": "false"}
        return self._ask(replace(call, method="POST", query=query, body=body, permit=unclaimed)).trace.answer_ids

    def _fetch_pages(self, call: Call) -> Iterator[Reply]:
        return fetch_pages(call, self._fetch_page, MOST_PAGES, _ENDLESS)

    def _fetch_page(self, call: Call) -> Page[Reply]:
        reply = self._ask(call)
        return Page(reply, _find_next_page(call, reply) or None, reply.trace)

    def _call(self, operation: str, purpose: str, account: str, organization: str, path: str) -> Call:
        url = f"{self._identity_url}/{quote(organization, safe='')}/_apis/{path}"
        return Call(operation, purpose, account, organization, "GET", url)

    def _ask(self, call: Call) -> Reply:
        try:
            return self._client.exchange(call, AccountBearer(self._bearers, call.account))
        except DeniedError as error:
            if error.code not in _REFUSALS:
                raise
            reason = error.message.partition(": ")[2] or error.message
            scope = "vso.graph" if call.operation == "list_users" else "vso.tokenadministration"
            fix = (
                f"Make the account's user a Project Collection Administrator of {call.organization}, and give the "
                f"application `{scope}` unless it has `user_impersonation`."
            )
            trace = Trace(error.status, answer_ids=error.answer_ids)
            raise make_denied(call, trace, "token_admin_denied", reason, fix) from error
        except RejectedError as error:
            if error.status != 404 or call.operation != "list_user_pats":
                raise
            trace = Trace(error.status, answer_ids=error.answer_ids)
            fix = "The user may have left the organization meanwhile: scan again."
            raise make_rejected(call, trace, "user_not_found", "it does not know this user", fix) from error


def parse_user(raw: object) -> OrganizationUser | None:
    """Return a user of the Graph API; None for what is none."""
    if not isinstance(raw, Mapping):
        return None
    descriptor = raw.get("descriptor")
    if not isinstance(descriptor, str) or not descriptor or make_harmless(descriptor) != descriptor:
        return None
    names = (_text(raw, name) for name in ("principalName", "mailAddress", "displayName"))
    return OrganizationUser(
        descriptor=descriptor,
        name=next(filter(None, names), descriptor),
        is_deleted=raw.get("isDeletedInOrigin") is True,
        is_service=descriptor.partition(".")[0].lower() in _SERVICES,
    )


def _find_next_page(call: Call, reply: Reply) -> str:
    """Return the token of the next page: in the header, or in the document; empty at the end."""
    token = reply.document.get("continuationToken") if isinstance(reply.document, Mapping) else None
    if token is not None and not isinstance(token, str):
        raise make_transient(call, reply.trace, "malformed_answer", "it sent a continuation token that is not text")
    return reply.next_page or token or ""


def _read_value(call: Call, reply: Reply) -> list[object]:
    value = reply.document.get("value") if isinstance(reply.document, Mapping) else None
    if not isinstance(value, list):
        raise make_transient(call, reply.trace, "malformed_answer", "it sent a page without a list")
    return value


def _is_invalid(raw: object) -> bool:
    return isinstance(raw, Mapping) and raw.get("isValid") is False


def _text(document: Mapping[object, object], name: str) -> str:
    value = document.get(name)
    return make_harmless(redact_text(value))[:_LONGEST_TEXT] if isinstance(value, str) else ""
