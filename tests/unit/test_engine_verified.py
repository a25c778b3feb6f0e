"""What was verified of the audit log once is not read again for a week, and what that leaves to whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.domain.verified_log import VerifiedLog
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext, Trust
from rotator.engine.jobs import verify_audit
from rotator.engine.log_checking import LogSummary, check_log
from rotator.engine.verified import load_verified
from rotator.errors import AuditChainError
from tests.support.engine import EngineWorld, make_world
from tests.support.forgery import chain_anew, forge_checkpoint
from tests.support.records import make_entry

KEY, THEIRS = Ed25519Signer(make_signing_key()), Ed25519Signer(make_signing_key())
TRUST = Trust((KEY.public_key,), is_signed)
DAY = timedelta(days=1)


def make_run(world: EngineWorld, signer: Ed25519Signer | None = KEY) -> RunContext:
    """A run with a key."""
    return world.make_run(replace(world.make_services(), signer=signer, trust=TRUST if signer else None))


def grow(world: EngineWorld, count: int = 3) -> None:
    """Add events by hand, and make a checkpoint."""
    with world.database.begin() as work:
        for _ in range(count):
            work.audit.append(make_entry(), world.clock.now())
    assert seal(make_run(world), timedelta(0)) is not None


def verify(world: EngineWorld) -> int:
    """What the daemon's job does; return how many events it checked."""
    return verify_audit(make_run(world)).counts["events"]


def check(world: EngineWorld) -> LogSummary:
    """What `rotator audit verify` does without an option."""
    now = world.clock.now()
    return check_log(world.database, (), TRUST, now, since=load_verified(world.database, TRUST, now))


def make_verified_world() -> EngineWorld:
    """A log of six events and two checkpoints, all of it verified, then three more and another."""
    world = make_world()
    grow(world)
    grow(world)
    assert verify(world) == 6
    world.clock.advance(DAY)
    grow(world)
    return world


def alter(world: EngineWorld, number: int) -> None:
    """Change one event, as whoever can write the database."""
    events = world.database._tables.events
    events[number - 1] = replace(events[number - 1], entry=replace(events[number - 1].entry, actor="nobody"))


def test_only_what_is_new_is_checked_once_the_rest_was() -> None:
    world = make_verified_world()
    summary = check(world)
    assert (summary.events, summary.since, summary.checkpoints, summary.signed) == (9, 6, 3, 9)
    whole = check_log(world.database, (), TRUST, world.clock.now())
    assert replace(summary, since=0) == whole
    assert verify(world) == 3
    assert check(world).since == 9


@pytest.mark.parametrize("number", [7, 9])
def test_new_event_that_was_altered_is_named(number: int) -> None:
    world = make_verified_world()
    alter(world, number)
    with pytest.raises(AuditChainError, match=f"audit event {number} was altered"):
        check(world)


def test_new_events_that_do_not_go_on_from_what_was_verified_are_named() -> None:
    """They were chained anew, from a log with another past."""
    world = make_verified_world()
    tables = world.database._tables
    alter(world, 2)
    tables.events[6:] = chain_anew(tables.events)[6:]
    tables.checkpoints[9] = forge_checkpoint(tables.checkpoints[9], tables.events, None)
    with pytest.raises(AuditChainError, match="event 7 does not follow"):
        check(world)


def test_old_event_that_was_altered_is_named_by_a_check_of_all_and_by_the_job_within_a_week() -> None:
    world = make_verified_world()
    alter(world, 2)
    assert check(world).since == 6
    with pytest.raises(AuditChainError, match="audit event 2 was altered"):
        check_log(world.database, (), TRUST, world.clock.now())
    for _ in range(6):
        verify(world)
        world.clock.advance(DAY)
    with pytest.raises(AuditChainError, match="audit event 2 was altered"):
        verify(world)
    world.clock.advance(DAY)
    with pytest.raises(AuditChainError, match="audit event 2 was altered"):
        verify(world)


def test_all_is_checked_while_the_log_is_known_to_be_broken() -> None:
    """Or the next check of what is new would call it intact."""
    world = make_verified_world()
    alter(world, 8)
    with pytest.raises(AuditChainError):
        verify(world)
    assert load_verified(world.database, TRUST, world.clock.now()) is None


def test_log_without_a_key_is_always_checked_as_a_whole() -> None:
    """Whoever can write the database could have written that it was verified."""
    world = make_world()
    with world.database.begin() as work:
        work.audit.append(make_entry(), world.clock.now())
    assert verify_audit(make_run(world, None)).counts == {"events": 1}
    assert verify_audit(make_run(world, None)).counts == {"events": 1}
    assert world.database._tables.verified is None


FORGED: dict[str, Callable[[VerifiedLog], VerifiedLog]] = {
    "greater": lambda found: replace(found, size=9),
    "newer": lambda found: replace(found, checked_at=found.checked_at + DAY),
    "signed by them": lambda found: replace(found, signature=THEIRS.sign(found.make_statement())),
    "of them": lambda found: _sign(replace(found, key_id="0" * 16), THEIRS),
    "of another size": lambda found: _sign(replace(found, size=5), KEY),
    "of another log": lambda found: _sign(replace(found, head="0" * 64), KEY),
}


def _sign(found: VerifiedLog, signer: Ed25519Signer) -> VerifiedLog:
    return replace(found, signature=signer.sign(found.make_statement()))


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_all_is_checked_when_what_was_verified_is_not_as_it_was_signed(
    forge: Callable[[VerifiedLog], VerifiedLog],
) -> None:
    world = make_verified_world()
    tables = world.database._tables
    assert tables.verified is not None
    tables.verified = forge(tables.verified)
    assert check(world).since == 0


@pytest.mark.parametrize("change", ["gone", "unsigned", "other peaks"])
def test_all_is_checked_when_the_checkpoint_is_not_as_it_was(change: str) -> None:
    world = make_verified_world()
    tables = world.database._tables
    found = tables.checkpoints[6]
    if change == "gone":
        del tables.checkpoints[6]
        assert check(world).since == 0
        return
    tables.checkpoints[6] = (
        replace(found, peaks=tables.checkpoints[3].peaks) if change == "other peaks" else replace(found, signature=None)
    )
    what = "cannot be continued" if change == "other peaks" else "it is not signed, although earlier ones are"
    with pytest.raises(AuditChainError, match=what):
        check(world)


@pytest.mark.parametrize("days", [-2, 6])
def test_all_is_checked_when_it_was_long_ago_or_lies_ahead(days: int) -> None:
    world = make_verified_world()
    now = world.clock.now() + days * DAY
    assert load_verified(world.database, TRUST, now) is None
    assert load_verified(world.database, TRUST, now + (DAY if days < 0 else -DAY)) is not None
