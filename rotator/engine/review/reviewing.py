"""Make a review of a period: one pass over the log, one look at the records, and a check of the whole log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from rotator.domain.account import Account
from rotator.domain.audit_event import AuditEvent
from rotator.domain.checkpoint import Checkpoint
from rotator.domain.events.places import PolicyChanged
from rotator.domain.job_run import JobName, JobOutcome
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.period import Period
from rotator.domain.policy import Policy
from rotator.domain.rotation import RotationState
from rotator.engine.anchoring import AnchorSight
from rotator.engine.context import Trust
from rotator.engine.left_behind import load_left_behind
from rotator.engine.log_checking import LogSummary, verify_log
from rotator.engine.review.clock_steps import WITNESSES, find_stretches
from rotator.engine.review.collecting import Collector
from rotator.engine.review.dating import Placed, find_misdated
from rotator.engine.review.facts import (
    Findings,
    LogState,
    PatTrail,
    PolicyState,
    Review,
    Standing,
)
from rotator.engine.status import PatState, PatStatus, status_in
from rotator.errors import AuditChainError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Database

_PAGE = 1000
_ODD = (AttributeError, LookupError, OverflowError, TypeError, ValueError)
"""What an event raises that somebody altered."""
_OVERLAPPING = (RotationState.OVERLAPPING, RotationState.RETIRING)
_NO_END = 2**63 - 1
"""What is read up to if the number of the newest event cannot be read."""


def make_review(
    database: Database,
    policy: Policy,
    accounts: Iterable[Account],
    settle: timedelta,
    lease: timedelta,
    log: LogState,
    period: Period,
    now: datetime,
) -> Review:
    """Return what there is to say of a period; `settle` and `lease` as for `status_in`.

    A log that is not whole is reviewed too, as far as it can be read.
    """
    findings = _collect(database, period, now, log)
    accounts = tuple(accounts)
    owners = {account.name: account.username for account in accounts}
    with database.read() as reading:
        rows = status_in(reading, policy, now, settle=settle, lease=lease)
        records = {record.name: record for record in reading.inventory.load_all()}
        look = reading.job_runs.find_last(JobName.RECONCILE, now, JobOutcome.SUCCEEDED)
        pending, left = tuple(reading.revocations.load()), load_left_behind(reading, now)
        overlapping = tuple(rotation for rotation in reading.journal.load_open() if rotation.state in _OVERLAPPING)
    managed = [row for row in rows if row.state is not PatState.UNTRACKED]
    return Review(
        period=period,
        made_at=now,
        log=log,
        findings=findings,
        checkpoints=sum(is_of_period(checkpoint, period, findings) for checkpoint in load_checkpoints(database)),
        pats=tuple(_stand(row, records[row.name], policy, owners, findings) for row in managed),
        unmanaged=tuple(row for row in rows if row.state is PatState.UNTRACKED),
        policy=policy,
        policy_state=_find_policy_state(database, policy.digest),
        pending=pending,
        left_behind=left,
        overlapping=overlapping,
        looked_at=None if look is None else look.ended_at,
        organizations=tuple(name for account in accounts for name in account.organizations),
    )


def _stand(
    row: PatStatus, record: ManagedPat, policy: Policy, owners: Mapping[str, str], findings: Findings
) -> Standing:
    rule = policy.rule_for(record)
    trail = findings.trails.get(row.name, PatTrail())
    return Standing(row, record, owners.get(row.account), trail, None if rule is None else rule.name)


def look_at_log(
    database: Database, sight: AnchorSight | None, trust: Trust, key_problem: str | None, now: datetime
) -> LogState:
    """Check the whole log, and return how it is instead of raising what is wrong. `sight`: None if nobody asked.

    `key_problem`: why there is no key to check signatures with, although the settings name one.
    """
    fault: AuditChainError | None = None
    summary: LogSummary | None = None
    accepted, newest = 0, _NO_END
    try:
        newest = _load_newest_number(database)
        known = AnchorSight((), {}) if sight is None else sight
        summary, accepted = verify_log(database, known, trust, now)
    except AuditChainError as error:
        fault = error
    count = 0
    last: Checkpoint | None = None
    for found in load_checkpoints(database):
        count, last = count + 1, found
    return LogState(
        newest=newest,
        fault=fault,
        summary=summary,
        checkpoints=count,
        size=last.size if last else 0,
        signed=summary.signed if summary else 0,
        sealed_at=last.made_at if last else None,
        installation=last.installation if last else None,
        public_keys=trust.public_keys,
        key_problem=key_problem,
        accepted=accepted,
        sight=sight,
        newest_checkpoint=last,
    )


def load_checkpoints(database: Database) -> Iterator[Checkpoint]:
    """Yield the checkpoints that can be read, in order, page by page; those after an unreadable one are left out."""
    last = 0
    while True:
        page: list[Checkpoint] = []
        is_broken = False
        with database.read() as reading:
            try:
                page.extend(reading.checkpoints.load_after(last, _PAGE))
            except AuditChainError:
                is_broken = True
        yield from page
        if is_broken or len(page) < _PAGE:
            return
        last = page[-1].size


def is_of_period(checkpoint: Checkpoint, period: Period, found: Findings) -> bool:
    """Whether a checkpoint was made in the period; the clock may have been wrong then, if events of it end there."""
    ends_in_it = found.first is not None and found.last is not None and found.first <= checkpoint.size <= found.last
    return ends_in_it or checkpoint.made_at in period


def load_readable(database: Database, newest: int, *, after: int = 0) -> Iterator[AuditEvent | int]:
    """Yield every event after a number up to another, page by page; for one that cannot be read only its number."""
    last = after
    while last < newest:
        page: list[AuditEvent] = []
        broken: int | None = None
        with database.read() as reading:
            try:
                page.extend(reading.audit.load_after(last, min(_PAGE, newest - last)))
            except AuditChainError as error:
                broken = error.sequence
        for event in page:
            if event.sequence > newest:
                return
            yield event
        if broken is None and not page:
            return
        if broken is not None and (not isinstance(broken, int) or broken <= last):
            return  # whoever altered it put something there that is no number
        last = page[-1].sequence if broken is None else broken
        if broken is not None:
            yield broken


def _collect(database: Database, period: Period, now: datetime, log: LogState) -> Findings:
    """Return what the events say. In a log that somebody altered, one may lack what rotator writes into each."""
    collector = Collector(period, now, load_misdated(database, now))
    for event in load_readable(database, log.newest):
        if isinstance(event, int):
            collector.found.unreadable.add(event)
            continue
        try:
            collector.take(event)
        except _ODD:
            if log.fault is None:
                raise
            collector.found.unreadable.add(event.sequence)
    return collector.finish()


def load_misdated(database: Database, now: datetime) -> Mapping[int, Placed]:
    """Return what `find_misdated` does; nothing of a log whose times cannot be read."""
    try:
        return find_misdated(_load_times(database), now, _load_steps(database))
    except AuditChainError:
        return {}


def _load_steps(database: Database) -> Mapping[int, timedelta]:
    """Return what is to be added to the time of events that a host dated while it knew how wrong its clock was."""
    return {
        event.sequence: stretch.step
        for stretch in find_stretches(_load_witnesses(database))
        for event in load_readable(database, stretch.end or _NO_END, after=stretch.first - 1)
        if not isinstance(event, int) and stretch.dated(event)
    }


def _load_witnesses(database: Database) -> Iterator[AuditEvent]:
    last = 0
    while True:
        with database.read() as reading:
            page = reading.audit.load_named(WITNESSES, last, _PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        last = page[-1].sequence


def _load_times(database: Database) -> Iterator[tuple[int, datetime]]:
    last = 0
    while True:
        with database.read() as reading:
            page = reading.audit.load_times(last, _PAGE)
        yield from page
        if len(page) < _PAGE or page[-1][0] <= last:
            return
        last = page[-1][0]


def _load_newest_number(database: Database) -> int:
    with database.read() as reading:
        return reading.audit.load_newest_number()


def _find_policy_state(database: Database, digest: str) -> PolicyState:
    """Say whether the current policy is the last one that the log names."""
    with database.read() as reading:
        try:
            last = reading.audit.load_newest(1, AuditFilter(event=PolicyChanged.type.name))
        except AuditChainError:
            return PolicyState.NEVER_LOGGED
    if not last:
        return PolicyState.NEVER_LOGGED
    return PolicyState.LOGGED if last[0].entry.details.get("sha256") == digest else PolicyState.CHANGED
