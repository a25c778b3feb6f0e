"""Events that somebody with the database alone adds as if rotator had signed them: they stop nothing, and are named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.domain.anchor import make_gap_statement
from rotator.domain.archive import Archive
from rotator.domain.audit_event import GENESIS_HASH
from rotator.domain.checkpoint import make_key_id
from rotator.domain.clocks import AUDIT_LOG
from rotator.domain.events.anchors import GapAccepted, LogArchived, SigningKeyChanged
from rotator.domain.events.event import Event
from rotator.domain.key_change import KeyChange
from rotator.engine.auditing import Author, load_events, record
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext, Trust
from rotator.engine.gaps import accept_gap, load_accepted
from rotator.engine.jobs import verify_audit
from rotator.engine.log_checking import check_log
from rotator.engine.signing_keys import follow_keys
from rotator.errors import AuditChainError
from tests.support.engine import EngineWorld, make_world
from tests.support.forgery import chain_anew
from tests.support.records import make_entry

OURS, NEW, THEIRS = (Ed25519Signer(make_signing_key()) for _ in range(3))
TRUST = Trust((OURS.public_key,), is_signed)


def make_run(world: EngineWorld, signer: Ed25519Signer = OURS, *before: Ed25519Signer) -> RunContext:
    """A run with a key, and those of before."""
    trust = Trust((signer.public_key,), is_signed)
    return world.make_run(replace(world.make_services(), signer=signer, old_signers=before, trust=trust))


def grow(world: EngineWorld, signer: Ed25519Signer = OURS, *before: Ed25519Signer) -> None:
    """Add an event, and make a checkpoint."""
    with world.database.begin() as work:
        work.audit.append(make_entry(), world.clock.now())
    assert seal(make_run(world, signer, *before), timedelta(0)) is not None


def make_sealed_world() -> EngineWorld:
    """One event, sealed."""
    world = make_world()
    grow(world)
    return world


def write(world: EngineWorld, event: Event) -> int:
    """Add an event as whoever can write the database does: it fits into the chain. Return its number."""
    with world.database.begin() as work:
        record(work, Author("ops", "run", lambda *_: None), AUDIT_LOG, event, world.clock.now())
        return work.audit.load_newest_number()


def make_change(signature: str | None, by: Ed25519Signer | None = THEIRS, new: Ed25519Signer = THEIRS) -> Event:
    """Our key is replaced by another one, they say."""
    change = KeyChange(make_key_id(OURS.public_key), 1, "0" * 64, OURS.public_key, new.public_key, "no", signature)
    signed = change if by is None else replace(change, new_signature=by.sign(change.make_statement()))
    return SigningKeyChanged(**vars(signed))


def make_gap(named: Ed25519Signer, by: Ed25519Signer) -> Event:
    """A gap, with the name of a key and the signature of one."""
    signature = by.sign(make_gap_statement("i", ["9:ab"]))
    return GapAccepted(missing="9:ab", installation="i", key=make_key_id(named.public_key), signature=signature)


def make_archived(by: Ed25519Signer | None, named: Ed25519Signer = OURS, first: int = 1) -> LogArchived:
    """The first event is in an archive, they say."""
    said = Archive(
        "i", first, 1, GENESIS_HASH, "0" * 64, "log_archived", 0, "", "", make_key_id(named.public_key), "no"
    )
    signed = said if by is None else replace(said, signature=by.sign(said.make_statement()))
    return LogArchived(**vars(signed), file="x")


FORGED: dict[str, Event] = {
    "a change that nobody signed": make_change(None, by=None),
    "a change that the new key signed alone": make_change(None),
    "a change with rubbish for our signature": make_change("no"),
    "a change with their signature for ours": make_change(THEIRS.sign(b"x")),
    "a gap that nobody signed": GapAccepted(missing="9:ab", installation="i"),
    "a gap that their key signed": make_gap(THEIRS, THEIRS),
    "a gap with their signature for ours": make_gap(OURS, THEIRS),
    "an archive that nobody signed": make_archived(None),
    "an archive that their key signed": make_archived(THEIRS, THEIRS),
    "an archive with their signature for ours": make_archived(THEIRS),
    "an archive of ours that is not the next one": make_archived(OURS, first=9),
    "an archive of a size that is none": LogArchived(**{**vars(make_archived(OURS)), "first": "1"}),
}


@pytest.mark.parametrize("event", FORGED.values(), ids=FORGED)
def test_forged_event_stops_no_work_and_is_named_until_a_person_accepts_it(event: Event) -> None:
    world = make_sealed_world()
    number = write(world, event)
    grow(world)
    assert load_accepted(world.database, TRUST) == frozenset()
    for check in (lambda: check_log(world.database, (), TRUST), lambda: verify_audit(make_run(world))):
        with pytest.raises(AuditChainError, match=f"^event {number}, {event.type.name}, is forged: ") as caught:
            check()
        assert caught.value.sequence == number
    [accepted] = accept_gap(make_run(world))
    assert accepted.startswith(f"forged:{number}:")
    assert check_log(world.database, (), TRUST).forged == (number,)
    assert accept_gap(make_run(world)) == []
    later = write(world, event)
    with pytest.raises(AuditChainError, match=f"^event {later}, {event.type.name}, is forged: "):
        check_log(world.database, (), TRUST)


@pytest.mark.parametrize("event", [make_change(None), make_archived(None)], ids=["change", "archive"])
def test_forged_event_hides_no_other_tampering(event: Event) -> None:
    world = make_sealed_world()
    write(world, event)
    grow(world)
    events = world.database._tables.events
    events[2] = replace(events[2], entry=replace(events[2].entry, actor="nobody"))
    events[:] = chain_anew(events)
    with pytest.raises(AuditChainError, match="event 3 is another one now"):
        check_log(world.database, (), TRUST)


def test_thousands_of_forged_events_push_no_true_one_out() -> None:
    world = make_sealed_world()
    for _ in range(1001):
        write(world, make_change(None))
        write(world, GapAccepted(missing="8:ab", installation="i"))
    write(world, make_gap(OURS, OURS))
    grow(world)
    grow(world, NEW, OURS)
    assert load_accepted(world.database, TRUST) == {"9:ab"}
    assert [change.new_id for change in follow_keys(world.database, TRUST).changes.values()] == [
        make_key_id(NEW.public_key)
    ]
    changes = [event for event in load_events(world.database) if event.entry.event == SigningKeyChanged.type.name]
    assert changes[-1].entry.details["new_key"] == NEW.public_key


def test_forged_change_to_our_new_key_keeps_the_true_one_from_nothing() -> None:
    """Whoever knows the new public key says first that it followed, and signs nothing."""
    world = make_sealed_world()
    write(world, make_change(None, by=None, new=NEW))
    grow(world, NEW, OURS)
    assert [change.signature is None for change in follow_keys(world.database, TRUST).changes.values()] == [False]


def test_gap_from_before_there_was_a_key_is_not_forged() -> None:
    world = make_world()
    write(world, GapAccepted(missing="9:ab", installation="i"))
    grow(world)
    assert check_log(world.database, (), TRUST).forged == ()


@pytest.mark.parametrize(("minutes", "is_told"), [(0, False), (1, False), (2, True)])
def test_checkpoint_whose_time_has_not_come_yet_is_told(minutes: int, is_told: bool) -> None:
    world = make_world()
    now = world.clock.now()
    world.advance(minutes=minutes)
    grow(world)
    world.advance(minutes=-minutes)
    grow(world)
    ahead = check_log(world.database, (), TRUST, now).ahead
    assert (ahead.size if ahead else None) == (1 if is_told else None)
