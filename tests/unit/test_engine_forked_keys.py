"""Who has the database and a signing key that was replaced can rewrite nothing of the log unseen.

Neither by another change from that key, nor by one to it, nor by a mark that says that the log was checked just now.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.domain.checkpoint import make_key_id
from rotator.domain.events.anchors import SigningKeyChanged
from rotator.domain.key_change import KeyChange
from rotator.domain.verified_log import VerifiedLog
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext, Trust
from rotator.engine.jobs import verify_audit
from rotator.engine.log_checking import check_log
from rotator.engine.signing_keys import follow_keys
from rotator.errors import AuditChainError
from tests.support.engine import EngineWorld, make_world
from tests.support.forgery import chain_anew, forge_checkpoint
from tests.support.records import make_entry

OLD, NEW, THEIRS = (Ed25519Signer(make_signing_key()) for _ in range(3))
TRUST = Trust((NEW.public_key,), is_signed)
"""The settings name only the new key."""
BOTH = Trust((OLD.public_key, NEW.public_key), is_signed)
"""They still name the old one."""


def make_run(world: EngineWorld, signer: Ed25519Signer, *before: Ed25519Signer) -> RunContext:
    """A run with a key, and those of before."""
    trust = Trust((signer.public_key,), is_signed)
    return world.make_run(replace(world.make_services(), signer=signer, old_signers=before, trust=trust))


def grow(world: EngineWorld, signer: Ed25519Signer, *before: Ed25519Signer) -> None:
    """Add an event, and make a checkpoint."""
    with world.database.begin() as work:
        work.audit.append(make_entry(), world.clock.now())
    assert seal(make_run(world, signer, *before), timedelta(0)) is not None


def make_changed_world() -> EngineWorld:
    """Two events by the old key, the change, and three more by the new one; the old key leaked, and is destroyed."""
    world = make_world()
    grow(world, OLD)
    grow(world, OLD)
    grow(world, NEW, OLD)
    grow(world, NEW)
    grow(world, NEW)
    check_log(world.database, (), TRUST)
    return world


def rewrite(world: EngineWorld, *changes: KeyChange) -> None:
    """Forge all since the change, with more changes after it, and let the attacker's key sign that."""
    tables = world.database._tables
    true = next(n for n, event in enumerate(tables.events) if event.entry.event == "signing_key_changed")
    events = list(tables.events[: true + 1])
    events[true - 1] = replace(events[true - 1], entry=replace(events[true - 1].entry, actor="nobody"))
    for change in changes:
        entry = replace(events[true].entry, details=SigningKeyChanged(**vars(change)).make_details())
        events.append(replace(events[true], entry=entry))
    tables.events[:] = chain_anew(events)
    last = replace(tables.checkpoints[max(tables.checkpoints)], size=len(events))
    tables.checkpoints = {n: c for n, c in tables.checkpoints.items() if n <= 2}
    tables.checkpoints[len(events)] = forge_checkpoint(last, tables.events, THEIRS)


def make_fork(world: EngineWorld) -> KeyChange:
    """The true change, but to the attacker's key; both keys sign it."""
    change = next(iter(follow_keys(world.database, TRUST).changes.values()))
    fork = replace(change, new_key=THEIRS.public_key)
    statement = fork.make_statement()
    return replace(fork, signature=OLD.sign(statement), new_signature=THEIRS.sign(statement))


@pytest.mark.parametrize("trust", [TRUST, BOTH])
def test_replaced_key_cannot_let_a_second_key_follow_it_that_signs_another_log(trust: Trust) -> None:
    world = make_changed_world()
    rewrite(world, make_fork(world))
    with pytest.raises(AuditChainError, match="which the settings do not name"):
        check_log(world.database, (), trust)


def test_attackers_key_is_not_believed_although_the_replaced_key_signed_that_it_follows() -> None:
    world = make_changed_world()
    fork = make_fork(world)
    rewrite(world, fork)
    assert THEIRS.public_key not in follow_keys(world.database, TRUST).public_keys


@pytest.mark.parametrize("trust", [TRUST, BOTH])
def test_attackers_key_is_not_believed_when_the_replaced_key_says_that_it_followed_it(trust: Trust) -> None:
    """The "old key was lost" of `docs/keys.md`: the replaced key alone signs that the attacker's key was before it."""
    world = make_changed_world()
    true = next(iter(follow_keys(world.database, TRUST).changes.values()))
    rewrite(world)
    tables = world.database._tables
    size = max(tables.checkpoints)
    lost = KeyChange(true.installation, size, tables.events[size - 1].hash, THEIRS.public_key, OLD.public_key)
    lost = replace(lost, new_signature=OLD.sign(lost.make_statement()))
    event = next(event for event in tables.events if event.entry.event == "signing_key_changed")
    entry = replace(event.entry, details=SigningKeyChanged(**vars(lost)).make_details())
    tables.events[:] = chain_anew([*tables.events, replace(event, entry=entry)])
    with pytest.raises(AuditChainError, match="which the settings do not name"):
        check_log(world.database, (), trust)


def vouch(world: EngineWorld) -> None:
    """The attacker says with the replaced key that all before the change was checked just now."""
    checkpoint = world.database._tables.checkpoints[2]
    mark = VerifiedLog(checkpoint.installation, 2, checkpoint.head, 2, world.clock.now(), make_key_id(OLD.public_key))
    with world.database.begin() as work:
        work.checkpoints.save_verified(replace(mark, signature=OLD.sign(mark.make_statement())))


def verify_for_weeks(world: EngineWorld) -> None:
    """The daemon's job, which checks all of the log once a week; each day the attacker vouches for it before."""
    for _ in range(30):
        world.advance(days=1)
        vouch(world)
        verify_audit(make_run(world, NEW))


def test_replaced_key_cannot_say_for_ever_that_what_was_before_it_was_checked() -> None:
    world = make_changed_world()
    verify_audit(make_run(world, NEW))
    events = world.database._tables.events
    events[0] = replace(events[0], entry=replace(events[0].entry, actor="nobody"))
    with pytest.raises(AuditChainError, match="event 1"):
        verify_for_weeks(world)
