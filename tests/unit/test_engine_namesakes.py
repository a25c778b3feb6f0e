"""A ManagedPat with the name of an earlier one, which was forgotten: what that one left is not taken for its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.engine.adopting import adopt, propose
from rotator.engine.choices import Choice
from rotator.engine.comparing import ScanKind
from rotator.engine.keeping import forget
from rotator.engine.left_behind import revoke_left_behind
from rotator.engine.losses import MAX_LOST_PER_DAY
from rotator.engine.report import OutcomeKind
from rotator.engine.scanning import scan
from rotator.errors import UsageError
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, EngineWorld, codes_of, make_world, names_of
from tests.support.engine_scenarios import make_given_up_store, make_overlapping


def adopt_as(world: EngineWorld, authorization_id: str, name: str) -> None:
    """Bring one PAT under management by its id, with a secret that is named after its name."""
    run = world.make_run()
    written = adopt(run, propose(run, [authorization_id], everything=False, choice=Choice(name, name)))
    assert [proposal.record.name for proposal in written.proposals] == [name]


def add_namesake(world: EngineWorld, *, days_left: float = 29) -> str:
    """Another PAT under the name that was forgotten, with another secret; its id."""
    end = world.clock.now() + timedelta(days=days_left)
    other = world.pats.add_pat(ACCOUNT, ORGANIZATION, "other", "vso.code", end, valid_from=end - timedelta(days=30))
    adopt_as(world, other.pat.authorization_id, NAME)
    return other.pat.authorization_id


def find_kind(world: EngineWorld, authorization_id: str) -> ScanKind:
    """What `rotator scan` says of a PAT."""
    return next(entry.kind for entry in scan(world.make_run()).entries if entry.authorization_id == authorization_id)


def test_old_pat_of_a_failed_rotation_is_left_to_a_person_when_its_name_is_anothers() -> None:
    """It is reported, not revoked in the name of the other one, and a person may adopt it as after any `forget`."""
    world = make_overlapping()
    world.secrets.write_foreign(world.location(), "somebody else's")
    world.run()
    assert world.states() == ["failed"]
    old, clone = world.live_ids()
    forget(world.make_run(), NAME)
    add_namesake(world)
    assert find_kind(world, old) is ScanKind.LEFT_BEHIND
    with pytest.raises(UsageError, match="no longer managed"):
        revoke_left_behind(world.make_run(), old)
    adopt_as(world, old, "again")
    assert {old, clone} <= set(world.live_ids())


def test_late_mint_is_reported_and_not_revoked_when_its_name_is_anothers() -> None:
    world = make_world()
    world.pats.postpone_mint()
    world.run()
    world.advance(minutes=11)
    world.pats.fail("mint", times=9)
    world.run()
    world.heal()
    world.advance(minutes=11)
    world.run()
    world.advance(hours=25)
    world.run()
    assert set(world.states()) == {"abandoned", "completed"}
    forget(world.make_run(), NAME)
    add_namesake(world)
    before = set(world.live_ids())
    world.pats.apply_late()
    [late] = set(world.live_ids()) - before
    world.run()
    assert find_kind(world, late) is ScanKind.LEFT_BEHIND
    assert late not in world.revoked_ids()


def test_brake_on_lost_clones_does_not_hold_back_a_pat_when_an_earlier_one_of_its_name_lost_them() -> None:
    world = make_world()
    world.pats.change_identity = lambda identity: replace(identity, user_id="somebody")
    for _ in range(MAX_LOST_PER_DAY):
        world.rotate(NAME)
    assert world.states() == ["abandoned"] * MAX_LOST_PER_DAY
    world.heal()
    forget(world.make_run(), NAME)
    add_namesake(world, days_left=5)
    report = world.run()
    assert (names_of(report, OutcomeKind.ROTATED), codes_of(report, OutcomeKind.FAILED)) == ([NAME], [])


@pytest.mark.parametrize("name", [NAME, "renewed"])
def test_late_write_of_a_forgotten_record_is_undone_when_its_secret_has_another_record(name: str) -> None:
    """Consumers read that secret, whatever its record is called, and whatever took the one before away."""
    world = make_given_up_store()
    world.run()
    assert world.states() == ["abandoned", "overlapping"]
    world.advance(hours=25)
    world.run()
    record = world.record()
    world.forget()
    run = world.make_run()
    choice = Choice(name, record.secret_name)
    adopt(run, propose(run, [record.authorization_id], everything=False, choice=choice))
    assert world.secrets.apply_late() == 1
    assert not world.is_live(name)
    world.run()
    assert world.latest(name).value.reveal() == world.pats.pats[record.authorization_id].value
    assert world.is_live(name)
