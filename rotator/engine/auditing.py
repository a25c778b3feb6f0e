"""Writing the audit log, and checking that it is what was written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rotator.domain.audit_event import GENESIS_HASH, AuditEntry, AuditEvent, Outcome, make_hash
from rotator.engine.context import RunContext
from rotator.errors import AuditChainError
from rotator.ports.database import UnitOfWork

Detail = str | int | bool | None


def make_entry(
    run: RunContext, event: str, subject: str, outcome: Outcome = Outcome.SUCCEEDED, **details: Detail
) -> AuditEntry:
    """An entry of this run."""
    return AuditEntry(event, subject, outcome, run.actor, run.run_id, details)


def record_event(
    run: RunContext, event: str, subject: str, outcome: Outcome = Outcome.SUCCEEDED, **details: Detail
) -> None:
    """Write one event in a transaction of its own."""
    with run.services.database.begin() as work:
        work.audit.append(make_entry(run, event, subject, outcome, **details), run.services.clock.now())


def record_policy(run: RunContext, work: UnitOfWork) -> None:
    """Write `policy_changed` when the policy is not the one that the audit last saw."""
    last = None
    for event in work.audit.load(event="policy_changed"):
        last = event.entry.details.get("sha256")
    if last != run.policy.digest:
        entry = make_entry(run, "policy_changed", "policy", sha256=run.policy.digest, previous=last)
        work.audit.append(entry, run.services.clock.now())


@dataclass(frozen=True)
class ChainSummary:
    """A chain that verified: how many events, and the hash of the last (the genesis hash when there are none)."""

    events: int
    head: str


def check_chain(events: Iterable[AuditEvent]) -> ChainSummary:
    """Recompute every hash. AuditChainError names the first event that is altered, missing or out of order."""
    count, head = 0, GENESIS_HASH
    for event in events:
        if event.sequence != count + 1:
            raise _broken(count + 1, f"number {count + 1}", f"number {event.sequence}", "is missing or moved")
        if event.previous_hash != head:
            raise _broken(event.sequence, head, event.previous_hash, "does not follow the one before it")
        digest = make_hash(event.sequence, event.occurred_at, event.entry, event.previous_hash)
        if digest != event.hash:
            raise _broken(event.sequence, digest, event.hash, "was altered after it was written")
        count, head = event.sequence, event.hash
    return ChainSummary(count, head)


def _broken(sequence: int, expected: str, found: str, what: str) -> AuditChainError:
    return AuditChainError(
        f"audit event {sequence} {what}: expected {expected}, found {found}",
        sequence=sequence,
        expected=expected,
        found=found,
        fix="Keep the database as it is for whoever investigates; restore the log from a backup beside it "
        "and compare from this event on.",
    )
