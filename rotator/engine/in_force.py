"""The policy as it is in force: with what the database adds to the file, a pause of everything."""

from __future__ import annotations

from dataclasses import replace

from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.events.inventory import AllPaused
from rotator.domain.policy import Policy
from rotator.engine.context import RunContext
from rotator.errors import AllPausedError, AuditChainError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Reading, UnitOfWork


def put_in_force(reading: Reading, policy: Policy) -> Policy:
    """Return the policy as it is in force: paused, while everything is."""
    return replace(policy, is_paused=find_pause(reading) is not None)


def load_in_force(run: RunContext) -> Policy:
    """Return a run's policy as it is in force now."""
    with run.services.database.read() as reading:
        return put_in_force(reading, run.policy)


def check_not_paused(work: UnitOfWork) -> None:
    """Raise AllPausedError while everything is paused: asked in the transaction that commits to a request.

    Nobody pauses everything before that transaction ends: what the audit log has after the pause was not begun.
    """
    if work.conditions.lock(ConditionKind.ALL_PAUSED, shared=True):
        raise AllPausedError(
            "everything is paused", fix="`rotator inventory resume --all` ends that; a later run continues."
        )


def find_pause(reading: Reading) -> Condition | None:
    """Return the condition that lasts while a person has paused everything."""
    return next(iter(reading.conditions.load_of([ConditionKind.ALL_PAUSED])), None)


def find_pause_to_change(work: UnitOfWork) -> Condition | None:
    """Return the same; nobody else begins or ends it until the transaction ends."""
    return next(iter(work.conditions.lock(ConditionKind.ALL_PAUSED)), None)


def find_pause_reason(reading: Reading) -> str | None:
    """Return why a person has paused everything; None when nothing is paused, nobody said why, or no log tells it."""
    if find_pause(reading) is None:
        return None
    try:
        newest = reading.audit.load_newest(1, AuditFilter(event=AllPaused.type.name))
    except AuditChainError:
        return None
    return next((str(event.entry.details["reason"]) for event in newest if "reason" in event.entry.details), None)
