"""Rotations whose record is gone, and records that are forgotten beside a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.domain.events.inventory import PatForgotten
from rotator.engine.auditing import load_events
from rotator.engine.claiming import claimed
from rotator.engine.comparing import ScanKind
from rotator.engine.forgotten import close_forgotten
from rotator.engine.report import OutcomeKind
from rotator.engine.scanning import scan
from rotator.errors import ClaimLostError
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import NAME, codes_of, make_world, names_of
from tests.support.engine_fakes import RecordAdder

STEPS = ("planned", "minting", "minted", "verified", "storing", "stored", "overlapping", "retiring")


@pytest.mark.parametrize("mark", STEPS)
def test_open_rotation_is_closed_and_reported_when_its_record_is_gone(mark: str) -> None:
    """However it came to that: nothing stays open for ever, nothing is revoked, and what lives is told."""
    world = make_world()
    world.add_managed("other", days_left=29)
    try:
        world.run_and_die(after=mark)
    except AssertionError:
        world.database.revive()
        world.advance(hours=25)
        world.run_and_die(after=mark)
    world.advance(minutes=6)
    world.forget()
    lived, revoked, (state,) = world.live_ids(), world.revoked_ids(), world.states()
    report = world.run()
    (closed,) = load_events(world.database, AuditFilter(event="rotation_closed"))
    (rotation,) = world.rotations()
    assert rotation.failure is not None
    assert (rotation.failure.code, rotation.updated_at) == ("record_gone", world.clock.now())
    assert closed.entry.details == {"code": "record_gone", "state": state, "rotation_id": rotation.id}
    assert names_of(report, OutcomeKind.FAILED) == [NAME]
    assert codes_of(report, OutcomeKind.FAILED) == ["record_gone"]
    assert world.states() == ["failed"]
    assert "rotation_closed failed" in world.events()
    assert (world.live_ids(), world.revoked_ids()) == (lived, revoked)
    assert world.run().of_kind(OutcomeKind.FAILED) == ()
    shown = {entry.authorization_id: entry.kind for entry in scan(world.make_run()).entries}
    assert {shown[found] for found in lived} == {ScanKind.LEFT_BEHIND}


def test_open_rotation_stays_when_its_record_was_adopted_again_meanwhile() -> None:
    world = make_world()
    world.run_and_die(after="minting")
    record = world.record()
    world.advance(minutes=6)
    world.forget()
    world.database.watcher = RecordAdder(replace(record, epoch=0))
    assert close_forgotten(world.make_run()) == ()
    assert world.states() == ["minting"]


def test_run_goes_on_when_a_record_is_forgotten_beside_it() -> None:
    """Between the plan and its turn."""
    world = make_world()
    world.add_managed("other")
    world.database.interrupts["overlapping"] = lambda: world.forget("other" if world.states() else NAME)
    report = world.run()
    assert len(report.of_kind(OutcomeKind.ROTATED)) == 1
    assert report.of_kind(OutcomeKind.FAILED) == ()
    with world.database.read() as reading:
        assert len(reading.inventory.load_all()) == 1


def test_record_is_kept_when_another_run_claimed_it_before_it_is_forgotten() -> None:
    """The one who forgets was frozen beyond its lease."""
    world = make_world()
    record = world.record()
    with claimed(world.make_run(), NAME) as held:
        world.advance(minutes=6)
        with world.database.begin() as work:
            work.claims.claim(NAME, "run-2", now=work.now(), span=world.timing.lease)
        with pytest.raises(ClaimLostError):
            held.remove(PatForgotten(authorization_id=record.authorization_id))
    assert world.record().authorization_id == record.authorization_id
    assert world.events() == []
