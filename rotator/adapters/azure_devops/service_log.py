"""Azure DevOps' own audit log: the port ServiceLog on the auditing API.

Pages may overlap and entries may be odd: each is read on its own, and counts once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import quote

from rotator.adapters.azure_devops.call import Call, Trace, make_denied, make_transient
from rotator.adapters.azure_devops.client import AzureDevOpsClient
from rotator.adapters.azure_devops.credential import AccountBearer
from rotator.adapters.azure_devops.documents import MalformedError, parse_moment, render_moment
from rotator.adapters.azure_devops.paging import Endless, Page, fetch_pages
from rotator.adapters.azure_devops.throttle import SharedHolds
from rotator.adapters.bearer import BearerSource
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.redaction import redact_text
from rotator.domain.answer_ids import make_answer_id
from rotator.domain.outside import make_canonical, make_harmless
from rotator.domain.service_log import EntryKind, ServiceLogEntry, ServiceLogRead
from rotator.errors import DeniedError
from rotator.ports.clock import BootClock, Clock
from rotator.ports.stop import Stop

PAGE_SIZE = 200
MOST_PAGES = 20_000
API_VERSION = "7.1-preview.1"
_ENDLESS = Endless(
    "service_log_incomplete",
    loops="its log does not come to an end: it names no next page, or the same one twice",
    goes_on=f"its log has not ended after {MOST_PAGES} pages",
    fix="Ask for a shorter period with --since.",
)
_FAMILY = "token.pat"
_KINDS = {
    "token.patcreateevent": EntryKind.MINTED,
    "token.patupdateevent": EntryKind.CHANGED,
    "token.patrevokeevent": EntryKind.REVOKED,
    "token.patexpiredevent": EntryKind.EXPIRED,
    "token.patsystemrevokeevent": EntryKind.REVOKED_BY_SYSTEM,
    "token.patpublicdiscoveryevent": EntryKind.FOUND_IN_PUBLIC,
}
_LONGEST_TEXT = 300
_ALMOST_SECOND = timedelta(seconds=1) - timedelta.resolution
"""Times are sent in whole seconds: the last one is asked for as a whole."""
_MAY_NOT_READ = ("denied", "bearer_refused", "access_denied")


class AzureDevOpsServiceLog:
    """The port ServiceLog on the real API. Thread-safe; `close` it at the end.

    `audit_url` serves the log (`https://auditservice.dev.azure.com`). `max_wait` and `shared` are as for PATs.
    """

    def __init__(
        self,
        audit_url: str,
        bearers: BearerSource,
        http: HttpOptions,
        clock: Clock,
        boot: BootClock,
        stop: Stop,
        max_wait: timedelta = timedelta(minutes=2),
        shared: SharedHolds | None = None,
    ) -> None:
        self._audit_url = audit_url.rstrip("/")
        self._bearers = bearers
        self._client = AzureDevOpsClient(http, clock, boot, stop, max_wait, shared)

    def close(self) -> None:
        """Close the connections of all threads."""
        self._client.close()

    def fetch(
        self, account: str, organization: str, since: datetime, until: datetime, tell: Callable[[int], None]
    ) -> ServiceLogRead:
        """Return what the log says of PATs in the period, or raise."""
        found: dict[str, list[ServiceLogEntry]] = {}
        unreadable, read = set[str](), 0
        call = self._make_call(account, organization, since, until)
        for entries in fetch_pages(call, self._fetch_page, MOST_PAGES, _ENDLESS):
            for raw in entries:
                try:
                    entry = parse_entry(raw)
                except MalformedError:
                    unreadable.add(_make_key(raw))
                    continue
                if entry is not None and entry not in (alike := found.setdefault(entry.id, [])):
                    alike.append(entry)
            read += len(entries)
            tell(read)
        told_apart = (entry for alike in found.values() for entry in _tell_apart(alike))
        kept = sorted(told_apart, key=lambda entry: (entry.at, entry.id))
        return ServiceLogRead(tuple(kept), read, len(unreadable))

    def _make_call(self, account: str, organization: str, since: datetime, until: datetime) -> Call:
        purpose = f"show the audit log of {organization}"
        url = f"{self._audit_url}/{quote(organization, safe='')}/_apis/audit/auditlog"
        query = {
            "startTime": render_moment(since),
            "endTime": render_moment(until + _ALMOST_SECOND),
            "batchSize": str(PAGE_SIZE),
            "api-version": API_VERSION,
        }
        return Call("fetch_service_log", purpose, account, organization, "GET", url, query)

    def _fetch_page(self, call: Call) -> Page[list[object]]:
        try:
            entries, token, has_more = parse_log_page(self._ask(call))
        except MalformedError as error:
            raise make_transient(call, Trace(), "malformed_answer", f"it sent {error}") from error
        return Page(entries, token if has_more else None, Trace())

    def _ask(self, call: Call) -> object | None:
        try:
            return self._client.exchange(call, AccountBearer(self._bearers, call.account)).document
        except DeniedError as error:
            if error.code not in _MAY_NOT_READ:
                raise
            fix = (
                f"Give the account's user the permission 'View audit log' in {call.organization} (Organization "
                "settings, Permissions), and the application `vso.auditlog` unless it has `user_impersonation`."
            )
            reason = error.message.partition(": ")[2] or error.message
            raise make_denied(call, Trace(error.status), "service_log_denied", reason, fix) from error


def parse_log_page(document: object) -> tuple[list[object], str, bool]:
    """Return the entries of a page, the token of the next one, and whether there is one."""
    if isinstance(document, Mapping) and isinstance(document.get("value"), Mapping):
        document = document["value"]
    if not isinstance(document, Mapping):
        raise MalformedError("a page that is not an object")
    entries, token = document.get("decoratedAuditLogEntries"), document.get("continuationToken")
    if entries is None and document.get("hasMore") is False:
        entries = []
    if not isinstance(entries, list):
        raise MalformedError("a page without a list of entries")
    if token is not None and not isinstance(token, str):
        raise MalformedError("a continuation token that is not text")
    has_more = document.get("hasMore")
    return entries, token or "", has_more if isinstance(has_more, bool) else bool(token)


def parse_entry(raw: object) -> ServiceLogEntry | None:
    """Return what an entry says of a PAT; None if it is about something else.

    MalformedError for what is no entry, and for one about a PAT that lacks what it must say.
    """
    if not isinstance(raw, Mapping):
        raise MalformedError("an entry that is not an object")
    action = raw.get("actionId")
    if not isinstance(action, str):
        raise MalformedError("an entry without an action")
    if not action.lower().startswith(_FAMILY):
        return None
    kind = _KINDS.get(action.lower())
    if kind is None:
        raise MalformedError("an entry about a PAT of an unknown kind")
    data = _read_data(raw.get("data"))
    ids = (make_answer_id(_text(raw, name).lower()) for name in ("correlationId", "activityId"))
    return ServiceLogEntry(
        id=_text(raw, "id") or _make_key(raw),
        kind=kind,
        at=parse_moment(raw.get("timestamp")),
        actor=_text(raw, "actorUPN") or _text(raw, "actorDisplayName"),
        actor_id=make_canonical(_text(raw, "actorUserId")),
        owner=_text(data, "ownername"),
        display_name=_text(data, "displayname"),
        valid_to=_find_moment(data.get("validto")),
        answer_ids=frozenset(filter(None, ids)),
    )


def _tell_apart(alike: Sequence[ServiceLogEntry]) -> Iterator[ServiceLogEntry]:
    """Yield different entries that have one id, each with an id of its own: neither may hide the other."""
    for entry in alike:
        said = (entry.kind, entry.at, entry.actor, entry.actor_id, entry.owner, entry.display_name, entry.valid_to)
        digest = _make_key([str(part) for part in (*said, *sorted(entry.answer_ids))])
        yield entry if len(alike) == 1 else replace(entry, id=f"{entry.id}:{digest[:16]}")


def _make_key(raw: object) -> str:
    """Return what tells an entry without an id from others: a hash of all that it says."""
    return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()


def _read_data(data: object) -> dict[str, object]:
    """Return the fields of `data` by their names in lower case; it may also be JSON in a text."""
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except (ValueError, RecursionError):
            data = None
    return {str(name).lower(): value for name, value in data.items()} if isinstance(data, Mapping) else {}


def _find_moment(value: object) -> datetime | None:
    try:
        return parse_moment(value)
    except MalformedError:
        return None


def _text(document: Mapping[str, object], name: str) -> str:
    """Return a text from outside, harmless; empty where there is none."""
    value = document.get(name)
    return make_harmless(redact_text(value))[:_LONGEST_TEXT] if isinstance(value, str) else ""
