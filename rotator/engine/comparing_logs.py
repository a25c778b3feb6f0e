"""Azure DevOps' own audit log against ours: what somebody else did to our PATs, and what of ours that log lacks.

Nothing is minted or revoked here. What is found is told once: our audit log remembers which entries were told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.domain.account import Account
from rotator.domain.audit_event import AuditEvent
from rotator.domain.events.event import Event
from rotator.domain.events.service_log import ServiceLogCompared
from rotator.domain.log_comparison import EARLY, LogComparison, OwnAction, Span, compare_logs, follow_spans
from rotator.domain.managed_pat import ManagedPat, is_pat_shaped
from rotator.domain.marker import strip_mark
from rotator.domain.policy import LeakAction, RuleAction
from rotator.domain.probe import ProbeResult
from rotator.domain.service_log import KEPT_FOR, LAG, EntryKind, Owner, ServiceLogEntry, find_owner, find_possible_owner
from rotator.engine.clocks import check_clocks
from rotator.engine.context import RunContext
from rotator.engine.in_force import put_in_force
from rotator.engine.isolating import naming_bugs
from rotator.engine.listing import ServerView
from rotator.engine.log_findings import Finding, Lacking, OrganizationLog
from rotator.engine.noting_logs import load_told, record_news
from rotator.engine.own_actions import load_own_actions
from rotator.engine.replacing import identify
from rotator.engine.subjects import name_organization
from rotator.errors import (
    DatabaseError,
    DeniedError,
    RotatorError,
    SignInRequiredError,
    VerificationError,
)
from rotator.ports.audit_log import AuditFilter
from rotator.ports.pat_service import PatFilter
from rotator.ports.secret_store import SecretLocation
from rotator.ports.service_log import ServiceLog

AUDITING_OFF = "auditing_off"
_ENDINGS = (EntryKind.REVOKED, EntryKind.REVOKED_BY_SYSTEM, EntryKind.FOUND_IN_PUBLIC)
_MOST_BEFORE, _MOST_SPANS = 100, 10_000
"""How many comparisons are asked whether they found anything, and which spans they covered."""
_FIRST_YEAR = 2020
"""Nothing was compared before."""
_OVERLAP = LAG + timedelta(hours=1)
"""What the comparison before could not judge yet is judged by the next one."""

Tell = Callable[[str, int], None]
"""Is told of the organization that is read, and how many of its entries were read so far."""


def reconcile_logs(
    run: RunContext, log: ServiceLog, since: datetime | None, until: datetime, tell: Tell, *, dry: bool = False
) -> tuple[OrganizationLog, ...]:
    """Compare the logs of all organizations with ours, and record what is news unless `dry`.

    Without `since`, each organization is compared from where those before ended, with a day of overlap.
    """
    places: dict[str, list[Account]] = {}
    for account in run.services.accounts:
        for organization in account.organizations:
            places.setdefault(organization, []).append(account)
    found = []
    for organization, accounts in places.items():
        this = _Comparing(run, log, ServerView(run), organization, accounts)
        result = this.compare(since or this.find_start(until), until, tell)
        if not dry:
            record_news(run, accounts, result)
        found.append(result)
    return tuple(found)


class _Comparing:
    """The comparison of one organization."""

    def __init__(
        self, run: RunContext, log: ServiceLog, view: ServerView, organization: str, accounts: Sequence[Account]
    ) -> None:
        self._run, self._log, self._view = run, log, view
        self._organization, self._accounts = organization, accounts

    def find_start(self, until: datetime) -> datetime:
        """Return where the next one begins: more than a day before the end of what was compared without a gap.

        What the service no longer keeps is no gap. Without such a comparison it is as early as there is.
        """
        read = [_read_span(event.entry.details) for event in self._load_newest(ServiceLogCompared, _MOST_SPANS)]
        spans, kept_since = [span for span in read if span is not None and span[1] <= until], until - KEPT_FOR
        end = follow_spans(spans, kept_since)
        if end > kept_since:
            return end - _OVERLAP
        old = [span for span in spans if span[1] <= kept_since]
        return follow_spans(old, min(old)[1]) - _OVERLAP if old else kept_since

    def compare(self, since: datetime, until: datetime, tell: Tell) -> OrganizationLog:
        """Read the log with the first account that may, and compare it."""
        earliest = self._run.services.clock.now() - KEPT_FOR
        begin, lost = max(since, earliest), since if since < earliest - EARLY else None
        result = OrganizationLog(
            self._accounts[0].name, self._organization, begin, until, lost, was_read=self._was_read()
        )
        errors: list[RotatorError] = []
        for account in self._accounts:
            try:
                with naming_bugs("the other organizations were compared"):
                    self._view.refresh_account(account.name)
                    read = self._log.fetch(
                        account.name, self._organization, begin, until, lambda count: tell(self._organization, count)
                    )
                    # By a wrong clock another period was asked for, and what was not in it would count as missing.
                    check_clocks(self._run, revokes=False)
            except DatabaseError:
                raise
            except RotatorError as error:
                errors.append(error)
                if not isinstance(error, DeniedError | SignInRequiredError):
                    break
            else:
                return self._judge(replace(result, account=account.name, read=read))
        return replace(result, error=errors[0])

    def _judge(self, result: OrganizationLog) -> OrganizationLog:
        """Say of each entry whose doing it was."""
        services, read = self._run.services, result.read
        with services.database.read() as reading:
            records = [pat for pat in reading.inventory.load_all() if pat.organization == self._organization]
        loaded = load_own_actions(services.database, result.since, result.until)
        actions = self._name_pats([action for action in loaded if action.organization == self._organization])
        made = [self._make_owner(account, records) for account in self._accounts]
        owned, undecided = _divide(read.entries, [owner for owner, _ in made], actions)
        unknown = {owner.account: error for owner, error in made}
        comparisons = {
            account: compare_logs(
                entries,
                [action for action in actions if action.account == account or action.of_any_user],
                result.since,
                result.until,
                services.clock.now(),
                hides=read.unreadable + len(undecided) > 0,
            )
            for account, entries in owned.items()
        }
        comparisons = _drop_explained(comparisons)
        counted = replace(
            result,
            explained=sum(len(item.explained) for item in comparisons.values()),
            expired=sum(len(item.expired) for item in comparisons.values()),
            unsettled=sum(len(item.unsettled) for item in comparisons.values()),
            others=len(read.entries) - sum(map(len, owned.values())) - len(undecided),
            undecided=len(undecided),
            was_read=result.was_read or bool(undecided),
            error=unknown[undecided[0]] if undecided else None,
        )
        settled = sum(len(item.lacking) for item in comparisons.values())
        if not read.read and settled:
            return replace(counted, error=_make_off(self._organization, settled))
        return self._tell_news(counted, comparisons, records)

    def _name_pats(self, actions: list[OwnAction]) -> list[OwnAction]:
        """Add what PATs that an administrator had revoked are called, as far as they are of our accounts."""
        wanted, names = {action.authorization_id for action in actions if action.of_any_user}, dict[str | None, str]()
        for account in self._accounts if wanted else ():
            try:
                listed = self._run.services.pats.fetch_pats(account.name, self._organization, PatFilter.ALL)
            except DatabaseError:
                raise
            except RotatorError:
                continue  # an entry is then explained by the id of the answer alone
            names |= {pat.authorization_id: pat.display_name for pat in listed if pat.authorization_id in wanted}
        return [
            replace(action, names=frozenset({names[action.authorization_id]}))
            if action.of_any_user and action.authorization_id in names
            else action
            for action in actions
        ]

    def _make_owner(self, account: Account, records: Iterable[ManagedPat]) -> tuple[Owner, RotatorError | None]:
        """Return by what entries may name an account's user; by its sign-in name alone where an error says why."""
        names = frozenset(strip_mark(pat.display_name) for pat in records if pat.account == account.name)
        try:
            known = self._view.fetch_identity(account.name, self._organization)
        except DatabaseError:
            raise
        except RotatorError as error:
            return Owner(account.name, account.username, managed_names=names, is_known=False), error
        return Owner(account.name, account.username, known.user_id, known.display_name, names), None

    def _tell_news(
        self, result: OrganizationLog, comparisons: Mapping[str, LogComparison], records: Sequence[ManagedPat]
    ) -> OrganizationLog:
        with self._run.services.database.read() as reading:
            entries, numbers = load_told(reading, result.since)
        findings = [
            self._look_into(account, entry, records, is_news=entry.id not in entries)
            for account, item in comparisons.items()
            for entry in item.foreign
        ]
        lacking = [
            Lacking(action, action.number not in numbers) for item in comparisons.values() for action in item.lacking
        ]
        return replace(result, findings=tuple(findings), lacking=tuple(lacking))

    def _look_into(
        self, account: str, entry: ServiceLogEntry, records: Iterable[ManagedPat], *, is_news: bool
    ) -> Finding:
        """Name the ManagedPats that an entry is about, and try their values where it says that a PAT is gone."""
        alike = [
            pat
            for pat in records
            if pat.account == account and strip_mark(pat.display_name) == strip_mark(entry.display_name)
        ]
        names = tuple(pat.name for pat in alike)
        with self._run.services.database.read() as reading:
            policy = put_in_force(reading, self._run.policy)
        now = self._run.services.clock.now()
        rules = [policy.decide(pat, now=now, longest=None).rule for pat in alike]
        on_leak = None
        if rules:
            rotates = any(
                rule is not None and rule.action is RuleAction.ROTATE and rule.on_leak is LeakAction.ROTATE
                for rule in rules
            )
            on_leak = LeakAction.ROTATE if rotates else LeakAction.ALERT
        current = [pat for pat in alike if pat.valid_from <= entry.at + EARLY]
        tried = {self._try(pat) for pat in current} if entry.kind in _ENDINGS else set()
        order = (ProbeResult.REFUSED, ProbeResult.UNKNOWN, ProbeResult.UNTRIED, ProbeResult.WORKS)
        value = next((result for result in order if result in tried), None)
        return Finding(account, entry, names, value, on_leak, is_news)

    def _try(self, pat: ManagedPat) -> ProbeResult:
        """Try what consumers read: does it sign in?"""
        try:
            found = self._run.services.secrets.fetch_latest(SecretLocation.of(pat))
            if found is None or (pat.secret_version is None and not is_pat_shaped(found.value.reveal())):
                return ProbeResult.UNTRIED
            is_ours = found.version.version == pat.secret_version
            identify(self._run, pat.organization, found.value, is_ours=is_ours)
        except VerificationError:
            return ProbeResult.REFUSED
        except DatabaseError:
            raise
        except RotatorError:
            return ProbeResult.UNKNOWN
        return ProbeResult.WORKS

    def _was_read(self) -> bool:
        """Whether a comparison of the last weeks found entries."""
        before = (event.entry.details for event in self._load_newest(ServiceLogCompared, _MOST_BEFORE))
        return any(details.get(name) not in (None, 0) for details in before for name in ("explained", "foreign"))

    def _load_newest(self, kind: type[Event], most: int = 1) -> list[AuditEvent]:
        with self._run.services.database.read() as reading:
            places = [name_organization((account.name, self._organization)) for account in self._accounts]
            return [
                event
                for place in places
                for event in reading.audit.load_newest(most, AuditFilter(event=kind.type.name, subject=place))
            ]


def _divide(
    entries: Iterable[ServiceLogEntry], owners: Sequence[Owner], actions: Iterable[OwnAction]
) -> tuple[dict[str, list[ServiceLogEntry]], list[str]]:
    """Return the entries by whose account's PATs they are about, and for each that nobody can tell, whose it may be."""
    owned: dict[str, list[ServiceLogEntry]] = {owner.account: [] for owner in owners}
    answered = {(action.kind, answer): action.account for action in actions for answer in action.answer_ids}
    undecided = []
    for entry in entries:
        owner = find_owner(entry, owners)
        by_answer = (answered.get((entry.kind, answer)) for answer in sorted(entry.answer_ids))
        account = owner.account if owner is not None else next(filter(None, by_answer), None)
        if account in owned:
            owned[account].append(entry)
        elif (possible := find_possible_owner(entry, owners)) is not None:
            undecided.append(possible.account)
    return owned, undecided


def _drop_explained(comparisons: Mapping[str, LogComparison]) -> dict[str, LogComparison]:
    """Return the comparisons without what one lacks and another one has: an administrator revokes PATs of others."""
    known = {action.number for item in comparisons.values() for _, action in item.explained}

    def keep(account: str, actions: Iterable[OwnAction]) -> tuple[OwnAction, ...]:
        return tuple(action for action in actions if action.account == account and action.number not in known)

    return {
        account: replace(item, lacking=keep(account, item.lacking), unsettled=keep(account, item.unsettled))
        for account, item in comparisons.items()
    }


def _make_off(organization: str, settled: int) -> RotatorError:
    changes = "a change" if settled == 1 else f"{settled} changes"
    return RotatorError(
        f"the audit log of {organization} has no entry at all, although rotator made {changes} in that time",
        code=AUDITING_OFF,
        fix=f"Ask an administrator of {organization} to switch on 'Log audit events' (Organization settings, "
        "Policies).",
    )


def _read_span(details: Mapping[str, object]) -> Span | None:
    """Return what a comparison settled, with what it could not any more; None for what somebody may have altered."""
    try:
        begin = datetime.fromisoformat(str(details.get("lost_since") or details.get("since")))
        end = datetime.fromisoformat(str(details.get("until")))
    except ValueError:
        return None
    is_moment = begin.tzinfo is not None and end.tzinfo is not None
    return (begin, end) if is_moment and end.year >= _FIRST_YEAR else None
