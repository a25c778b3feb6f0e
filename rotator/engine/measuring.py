"""Measure how everything stands, for monitoring: by our own records, in one transaction that only reads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import inf
from statistics import median

from rotator.domain.clocks import HOST, MOST_SKEW, Verdict
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.events.event import Event
from rotator.domain.events.rotations import (
    RotationAbandoned,
    RotationBlocked,
    RotationClosed,
    RotationCompleted,
    RotationFailed,
    RotationFrozen,
)
from rotator.domain.job_run import JobName, JobOutcome, RunTimes
from rotator.domain.measurements import (
    AccountFigures,
    JobFigures,
    Measurements,
    ReceiverFigures,
    SourceFigures,
    SourceKind,
)
from rotator.engine.context import RunContext
from rotator.engine.moments import read_clocks
from rotator.engine.organizations import Pair
from rotator.engine.run_memory import find_last_ended, load_run_times
from rotator.engine.stalled import KEEPS_NO_RUNS
from rotator.engine.status_memory import Places, StatusMemory
from rotator.engine.subjects import name_organization
from rotator.errors import AuditChainError, DatabaseError
from rotator.ports.database import Database, Reading
from rotator.ports.request_counts import RequestCounter
from rotator.ports.sign_in import SignInStatus

_CLOCK_WRONG, _SIGN_IN_NEEDED = ConditionKind.CLOCK_WRONG, ConditionKind.SIGN_IN_NEEDED
_SECOND = timedelta(seconds=1)
"""Entra's tokens are dated in whole seconds."""
_OUTCOMES: dict[str, type[Event]] = {
    "completed": RotationCompleted,
    "abandoned": RotationAbandoned,
    "failed": RotationFailed,
    "blocked": RotationBlocked,
    "frozen": RotationFrozen,
    "closed": RotationClosed,
}
"""What a rotation comes to, by the events of the audit log: a failure that is tried again counts each time."""


class RotationTally:
    """Counts what rotations came to, by the audit log: all of it once, and then only what is new. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted = 0
        self._counts: Counter[str] = Counter()

    def count(self, reading: Reading) -> dict[str, int]:
        """Return how often there was each outcome, by all that the log had when this began, and by what came since."""
        names = {event.type.name for event in _OUTCOMES.values()}
        with self._lock:
            newest = reading.audit.load_newest_number()
            if newest < self._counted:  # another database, or an older copy
                self._counted, self._counts = 0, Counter()
            self._counts.update(reading.audit.count(names, self._counted))
            self._counted = newest
            return {outcome: self._counts[event.type.name] for outcome, event in _OUTCOMES.items()}


def measure(
    run: RunContext,
    database: Database,
    sign_ins: Sequence[SignInStatus],
    tally: RotationTally,
    memory: StatusMemory,
    every: Mapping[JobName, timedelta] | None = None,
) -> Measurements:
    """Measure now. `sign_ins` are those that the token cache shows; an account that is not among them is not known.

    `memory` reads no more than what may have changed since it was last used. `every` is how often each job is done, as
    far as that is known.
    """
    now, timing = run.services.clock.now(), run.services.timing
    with database.read() as reading:
        conditions = reading.conditions.load()
        board = memory.look(reading, run.policy, now, settle=timing.settle, lease=timing.lease)
        pending, runs = reading.revocations.load(), load_run_times(reading)
        verified = reading.job_runs.find_last(JobName.VERIFY_AUDIT, reading.now(), JobOutcome.SUCCEEDED)
        verdict, rotations = _read_log(run, reading, tally)
        accounts = tuple(_measure_accounts(run, conditions, sign_ins, now))
        unasked = _find_unasked(run, reading)
        pairs = _find_pairs(run, reading, accounts, board.places)
        is_broken = verdict is None or bool(_find_subjects(conditions, ConditionKind.AUDIT_BROKEN))
        return Measurements(
            pats=board.figures,
            accounts=accounts,
            sources=tuple(_measure_sources(accounts, pairs, board.places.vaults, conditions, unasked))
            if runs.started_at is not None
            else (),
            jobs=tuple(_measure_job(reading, job, runs, (every or {}).get(job)) for job in JobName),
            rotations=rotations,
            requests=reading.request_counts.load(),
            pending_revocations=len(pending),
            unconfirmed_revocations=sum(item.is_overdue(now) for item in pending),
            left_behind=len(_find_subjects(conditions, ConditionKind.PAT_LEFT_BEHIND)),
            skew=_find_skew(verdict, now),
            is_clock_wrong=verdict is None or verdict.is_wrong or HOST in _find_subjects(conditions, _CLOCK_WRONG),
            is_chain_ok=False if is_broken else (None if verified is None else True),
            verified_at=None if verified is None else verified.ended_at,
            receivers=tuple(_measure_receivers(reading, conditions)),
        )


def save_requests(database: Database, counter: RequestCounter) -> None:
    """Add to the database what this process has sent. What cannot be added now is kept for the next time."""
    counts = counter.take()
    if not counts:
        return
    try:
        with database.begin() as work:
            work.request_counts.add(counts)
    except DatabaseError:
        counter.give_back(counts)


def find_unready(measured: Measurements) -> tuple[str, ...]:
    """Return what keeps rotator from its work, in sentences; none when it can work."""
    problems = ["the clock of this host is wrong, or nobody can tell"] if measured.is_clock_wrong else []
    said = [_explain_unusable(found) for found in measured.accounts]
    if all(said):
        problems.append(f"no account can be used: {'; '.join(said)}")
    return tuple(problems)


def _explain_unusable(found: AccountFigures) -> str:
    """Return why nothing can be done with an account, or an empty text."""
    if found.needs_person:
        return f"{found.name} must sign in"
    if found.is_down:
        return f"{found.name} cannot be used now"
    return f"none of the organizations of {found.name} can be worked with" if found.is_shut_out else ""


def _read_log(run: RunContext, reading: Reading, tally: RotationTally) -> tuple[Verdict | None, Mapping[str, int]]:
    """Return what needs the audit log: the verdict on the clocks, and the tally. None and nothing if it was altered."""
    try:
        return read_clocks(run, reading), tally.count(reading)
    except AuditChainError:
        return None, {}


def _find_subjects(conditions: Iterable[Condition], kind: ConditionKind) -> set[str]:
    return {found.subject for found in conditions if found.kind is kind}


def _measure_accounts(
    run: RunContext, conditions: Iterable[Condition], sign_ins: Sequence[SignInStatus], now: datetime
) -> Iterable[AccountFigures]:
    refused = _find_subjects(conditions, _SIGN_IN_NEEDED)
    down = _find_subjects(conditions, ConditionKind.ACCOUNT_DOWN)
    shut = _find_subjects(conditions, ConditionKind.ORGANIZATION_DOWN)
    known = {status.account: status for status in sign_ins}
    for account in run.services.accounts:
        status = known.get(account.name)
        needs_person = account.name in refused or (status is not None and not status.is_signed_in(now))
        refreshed_at = None if status is None else status.refreshed_at
        is_shut_out = all(name_organization((account.name, place)) in shut for place in account.organizations)
        yield AccountFigures(account.name, needs_person, account.name in down, is_shut_out, refreshed_at)


def _find_pairs(run: RunContext, reading: Reading, accounts: Iterable[AccountFigures], places: Places) -> set[Pair]:
    """Return every account with each of its organizations, but for one that waits for its first sign-in."""
    pairs = {(account.name, place) for account in run.services.accounts for place in account.organizations}
    seen = {(found.account, found.organization) for found in reading.organizations.load() if found.worked_at}
    signed_out = {account.name for account in accounts if account.needs_person}
    return {pair for pair in pairs | places.pairs if pair in seen or pair[0] not in signed_out}


def _measure_sources(
    accounts: Iterable[AccountFigures],
    pairs: Iterable[Pair],
    vaults: Iterable[str],
    conditions: Sequence[Condition],
    unasked: set[str],
) -> Iterable[SourceFigures]:
    """Yield every place that is depended on. One that was not looked at stays as the look before found it.

    Entra is no source for an account that a person must sign in, nor for one that it could not be asked for last.
    """
    down = _find_subjects(conditions, ConditionKind.ORGANIZATION_DOWN)
    signed_out = {account.name for account in accounts if account.needs_person or account.is_down} | unasked
    found = {
        SourceKind.ENTRA: ({account.name for account in accounts}, signed_out),
        SourceKind.AZURE_DEVOPS: ({*map(name_organization, pairs), *down}, down),
        SourceKind.KEY_VAULT: (set(vaults), _find_subjects(conditions, ConditionKind.VAULT_DOWN)),
    }
    for kind, (sources, lost) in found.items():
        for source in sorted(sources):
            yield SourceFigures(kind, source, source not in lost)


def _find_unasked(run: RunContext, reading: Reading) -> set[str]:
    """Name the accounts that the last refresh got no new tokens for, although the old ones may still do."""
    last = find_last_ended(reading, JobName.REFRESH)
    if last is None or last.outcome is not JobOutcome.FAILED:
        return set()
    known = {account.name: reading.sign_ins.load(account.name).refreshed_at for account in run.services.accounts}
    return {
        name for name, refreshed_at in known.items() if refreshed_at is None or refreshed_at + _SECOND < last.began_at
    }


def _measure_job(reading: Reading, job: JobName, runs: RunTimes, every: timedelta | None) -> JobFigures:
    now, beats = reading.now(), reading.job_runs.load_heartbeats()
    beat_at = max((beat.beat_at for beat in beats if beat.beat_at <= now), default=None)
    if job is JobName.HEARTBEAT:
        return JobFigures(job, beat_at, None, every)
    last, done = (reading.job_runs.find_last(job, now, outcome) for outcome in (None, JobOutcome.SUCCEEDED))
    lasted = last.ended_at - last.began_at if last is not None and last.ended_at is not None else None
    every = None if last is None else every  # one that was never done yet is not late
    if job in KEEPS_NO_RUNS:
        # Only what changes is noted: one that succeeded last has done so until the last heartbeat.
        is_well = last is not None and last.outcome is JobOutcome.SUCCEEDED
        failed_at = reading.job_runs.count_failures(job, None if done is None else done.period, now).first_at
        known = [moment for moment in (last.ended_at if is_well and last else failed_at,) if moment is not None]
        return JobFigures(job, max([*known, *([beat_at] if is_well and beat_at else [])], default=None), None, every)
    if job is not JobName.WORK:
        return JobFigures(job, None if done is None else done.ended_at, lasted, every)
    # What a daemon's work that found nothing to do took is in its heartbeat alone.
    for beat in beats:
        is_newest = beat.work_succeeded_at is not None and beat.work_succeeded_at == runs.succeeded_at
        if is_newest and beat.work_succeeded_at and beat.work_began_at and beat.work_began_at <= beat.work_succeeded_at:
            lasted = beat.work_succeeded_at - beat.work_began_at
    return JobFigures(job, runs.succeeded_at, lasted, every)


def _measure_receivers(reading: Reading, conditions: Iterable[Condition]) -> Iterable[ReceiverFigures]:
    failing = _find_subjects(conditions, ConditionKind.RECEIVER_FAILING)
    failing |= _find_subjects(conditions, ConditionKind.HOOK_FAILING)
    for receiver in reading.outbox.load_receivers():
        deliveries, calls = reading.outbox.load_deliveries(receiver.name), reading.outbox.load_calls(receiver.name)
        waiting = sum(found.is_waiting for found in deliveries) + sum(found.is_waiting for found in calls)
        set_aside = sum(found.set_aside_at is not None for found in deliveries)
        set_aside += sum(found.set_aside_at is not None for found in calls)
        yield ReceiverFigures(receiver.name, receiver.name not in failing, waiting, set_aside)


def _find_skew(verdict: Verdict | None, now: datetime) -> float | None:
    if verdict is None or verdict.offset is None:
        return inf
    if abs(verdict.offset) > MOST_SKEW:
        return -verdict.offset.total_seconds()
    ahead = [(now - moment) / timedelta(seconds=1) for moment in verdict.agreeing]
    return median(ahead) if ahead else None
