"""Which ManagedPats a reported cause affects, and why: by our own records alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rotator.domain.cases import say_pats
from rotator.domain.clocks import HOST
from rotator.domain.condition import ConditionKind
from rotator.domain.job_run import JobName
from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.notification import Affected
from rotator.domain.telling import Notice
from rotator.engine.cases import know_case, know_hook
from rotator.engine.context import RunContext
from rotator.engine.in_force import put_in_force
from rotator.engine.status import make_effective, status_in
from rotator.engine.subjects import find_place, name_organization
from rotator.ports.database import Reading

_OF_ALL = (ConditionKind.TOKEN_CACHE_DAMAGED, ConditionKind.TIMELINE_CHANGED, ConditionKind.ALL_PAUSED)
"""What keeps every ManagedPat from being rotated."""
_KNOWN_BY_RECORDS = (
    ConditionKind.ROTATION_FAILING,
    ConditionKind.ROTATION_BLOCKED,
    ConditionKind.PAT_VANISHED,
    ConditionKind.PAT_EXPIRING,
    ConditionKind.CLONES_ABANDONED,
)
"""Why these last may be the last failure of a record, if it has their code: it may have failed otherwise since."""


def find_affected(run: RunContext, reading: Reading, notice: Notice) -> Affected:
    """Return how many ManagedPats wait because of it, when the first of them expires, and why, if that is known.

    Of an account that a person must sign in, that is what `status` says: one that is paused, or is left to a person,
    does not wait for the sign-in.
    """
    kind, subjects = notice.cause.kind, set(notice.subjects)
    if kind in (ConditionKind.RECEIVER_FAILING, ConditionKind.HOOK_FAILING):
        failures = [found.failure for found in reading.outbox.load_receivers() if found.name in subjects]
        found = Affected(failure=_find_common(failures, notice))
        return found if kind is ConditionKind.RECEIVER_FAILING else know_hook(run, reading, notice, found)
    records = reading.inventory.load_all()
    if kind is ConditionKind.JOB_STALLED:
        lasts = [reading.job_runs.find_last(JobName(subject), reading.now()) for subject in notice.subjects]
        failure = _find_common([last.failure for last in lasts if last is not None], notice)
        return Affected(failure=failure, hurt_at=_find_first_end(records))
    if kind in _OF_ALL or (kind is ConditionKind.CLOCK_WRONG and HOST in subjects):
        about = say_pats(_sort_by_end(records))
        return know_case(run, reading, notice, Affected(about=about, hurt_at=_find_first_end(records)), ())
    if kind is ConditionKind.LISTING_DAMAGED:
        behind = [pat for pat in records if name_organization((pat.account, pat.organization)) in subjects]
        return Affected(hurt_at=_find_first_end(behind))
    pats = [pat for pat in records if _name_subject(kind, pat) in subjects]
    if kind is ConditionKind.SIGN_IN_NEEDED:
        waiting = _list_waiting(run, reading)
        pats = [pat for pat in pats if pat.name in waiting]
    failure = _find_failure(run, reading, notice, pats)
    about = say_pats(_sort_by_end(pats), with_expiry=kind is not ConditionKind.PAT_VANISHED)
    affected = Affected(len(pats), _find_first_end(pats), failure, about)
    return know_case(run, reading, notice, affected, pats)


def _sort_by_end(pats: Iterable[ManagedPat]) -> list[ManagedPat]:
    return sorted(pats, key=lambda pat: pat.as_ending().valid_to)


def _find_first_end(pats: Iterable[ManagedPat]) -> datetime | None:
    return min((pat.as_ending().valid_to for pat in pats if pat.has_pat), default=None)


def _list_waiting(run: RunContext, reading: Reading) -> set[str]:
    now, timing = run.services.clock.now(), run.services.timing
    rows = status_in(reading, run.policy, now, settle=timing.settle, lease=timing.lease)
    return {row.name for row in rows if row.needs_sign_in}


def _name_subject(kind: ConditionKind, pat: ManagedPat) -> str | None:
    """Return what the condition would be about if it kept this ManagedPat waiting; None if it keeps none."""
    match kind:
        case (
            ConditionKind.ROTATION_FAILING
            | ConditionKind.ROTATION_BLOCKED
            | ConditionKind.PAT_VANISHED
            | ConditionKind.CLONES_ABANDONED
            | ConditionKind.LIFETIME_SHORTENED
            | ConditionKind.PAT_EXPIRING
            | ConditionKind.PROBE_FAILING
        ):
            return pat.name
        case _:
            return find_place(kind, pat)


def _find_failure(run: RunContext, reading: Reading, notice: Notice, pats: list[ManagedPat]) -> Failure | None:
    """Return what went wrong with one of them, or what the policy has against it."""
    kind = notice.cause.kind
    if kind is ConditionKind.SIGN_IN_NEEDED:
        return reading.sign_ins.load(notice.subjects[0]).refusal
    if kind not in _KNOWN_BY_RECORDS:
        return None
    policy, limits, now = put_in_force(reading, run.policy), reading.limits.load(), run.services.clock.now()
    return _find_common([make_effective(pat, policy, limits, now).last_failure for pat in pats], notice)


def _find_common(failures: Iterable[Failure | None], notice: Notice) -> Failure | None:
    """Return the first failure with the code that the notice is about; where it names none, one that all agree on."""
    code = notice.cause.code or notice.code
    found = [failure for failure in failures if failure is not None and code in (None, failure.code)]
    return found[0] if len({failure.code for failure in found}) == 1 else None
