"""Reads of the vault that are one version old: waited for, and never taken for another writer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, repeat

import pytest

from rotator.domain.managed_pat import Hold
from rotator.engine.looking import look
from rotator.engine.reading import fetch_newest
from rotator.engine.rebuilding import rebuild
from rotator.engine.report import OutcomeKind
from rotator.errors import ClaimHeldError, RejectedError, TransientError
from tests.support.engine import VAULT, EngineWorld, codes_of, make_world
from tests.support.engine_restores import make_restored, make_restored_open
from tests.support.engine_scenarios import make_busy, make_late_store, make_overlapping


def make_stale(looks: int) -> Callable[[], bool]:
    """So many reads show the vault one version old, and all later ones as it is."""
    answers = chain(repeat(True, looks), repeat(False))
    return lambda: next(answers)


def stale_after(world: EngineWorld, mark: str, looks: int) -> None:
    """Reads are old from the commit with this mark on."""
    world.database.interrupts[mark] = lambda: setattr(world.secrets, "is_stale", make_stale(looks))


@pytest.mark.parametrize("looks", [1, 2, 3, 12])
def test_overlap_starts_when_the_read_back_was_old_at_first(looks: int) -> None:
    world = make_world()
    stale_after(world, "stored", looks)
    assert codes_of(world.run(), OutcomeKind.FAILED, OutcomeKind.BLOCKED) == []
    assert world.states() == ["overlapping"]
    world.finish()


def test_rotation_stays_stored_when_reads_stay_old_and_goes_on_when_they_are_new() -> None:
    """The value is safe in the vault: nothing is revoked, nothing frozen, and the next run reads again."""
    world = make_world()
    stale_after(world, "stored", 1_000)
    began = world.clock.now()
    assert codes_of(world.run(), OutcomeKind.FAILED) == ["vault_reads_old"]
    assert world.clock.now() - began <= world.timing.store_patience
    assert world.states() == ["stored"]
    assert not world.record().blocked
    assert world.revoked_ids() == []
    world.secrets.is_stale = lambda: False
    world.advance(minutes=6)
    world.run()
    assert world.states() == ["overlapping"]
    assert world.events(VAULT) == ["vault_down failed", "vault_restored succeeded"]
    world.finish()


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_old_pat_is_revoked_when_the_guard_read_an_old_version_at_first(looks: int) -> None:
    world = make_overlapping()
    world.advance(hours=25)
    world.secrets.is_stale = make_stale(looks)
    assert codes_of(world.run(), OutcomeKind.FAILED, OutcomeKind.BLOCKED) == []
    assert world.states() == ["completed"]
    world.check_rest()


def test_nothing_is_revoked_when_the_guard_reads_old_versions_only() -> None:
    world = make_overlapping()
    world.advance(hours=25)
    world.secrets.is_stale = lambda: True
    assert codes_of(world.run(), OutcomeKind.FAILED) == ["vault_reads_old"]
    assert world.states() == ["overlapping"]
    assert world.revoked_ids() == []
    assert world.record().hold is None
    world.secrets.is_stale = lambda: False
    world.finish()


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_next_rotation_begins_when_the_vault_showed_what_was_there_before_ours(looks: int) -> None:
    """The version that a person wrote before the first rotation is no sight of another writer."""
    world = make_overlapping()
    world.advance(hours=25)
    world.run()
    world.advance(days=25)
    world.secrets.is_stale = make_stale(looks)
    assert codes_of(world.run(), OutcomeKind.FAILED, OutcomeKind.BLOCKED) == []
    assert world.states() == ["completed", "overlapping"]


def test_nothing_is_minted_when_the_history_cannot_be_read() -> None:
    world = make_overlapping()
    world.advance(hours=25)
    world.run()
    world.advance(days=25)
    minted = world.count("mint")
    world.secrets.is_stale = lambda: True
    assert codes_of(world.run(), OutcomeKind.FAILED) == ["vault_reads_old"]
    assert world.count("mint") == minted
    assert world.record().hold is None
    world.secrets.is_stale = lambda: False
    world.advance(minutes=6)
    world.run()
    assert world.states()[-1] == "overlapping"


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_rotation_is_frozen_when_another_version_is_seen_above_ours(looks: int) -> None:
    world = make_world()

    def write() -> None:
        world.secrets.write_foreign(world.location(), "theirs")
        world.secrets.is_stale = make_stale(looks)

    world.database.interrupts["stored"] = write
    world.run()
    if looks == 0:
        assert world.states() == ["failed"]
        assert world.record().hold is Hold.FOREIGN_WRITE
    else:
        # The read showed ours as the latest: the guard before the revocation finds the other one.
        world.advance(hours=25)
        world.run()
        assert world.states() == ["failed"]
    assert world.revoked_ids() == []


def test_rotation_is_frozen_when_the_list_alone_is_too_old_to_show_the_other_version() -> None:
    world = make_overlapping()
    world.advance(hours=25)
    world.secrets.write_foreign(world.location(), "theirs")
    answers = iter((False, True))
    world.secrets.is_stale = lambda: next(answers, False)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["foreign_write"]
    assert world.revoked_ids() == []


def test_rotation_is_frozen_when_the_secret_is_gone() -> None:
    """Gone by name, by list and by version id, for as long as a value would be held in memory."""
    world = make_world()
    world.database.interrupts["stored"] = lambda: world.secrets.soft_delete(world.location())
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["foreign_write"]
    assert world.revoked_ids() == []


@pytest.mark.parametrize("stale", [(True, False), (False, True)])
def test_newest_version_is_seen_when_one_of_two_looks_is_old(stale: tuple[bool, bool]) -> None:
    world = make_overlapping()
    answers = iter(stale)
    world.secrets.is_stale = lambda: next(answers)
    found = fetch_newest(world.secrets, world.record())
    assert found is not None
    assert found.version == world.latest().version


@pytest.mark.parametrize("looks", [1, 2, 3, 9])
def test_database_is_rebuilt_when_the_vault_showed_the_version_before_the_last_at_first(looks: int) -> None:
    """The names of the vault say that a rotation wrote this secret last: a list without that version is an old one."""
    world = make_restored()
    world.secrets.is_stale = make_stale(looks)
    plan = look(world.make_run())
    assert [item.record.authorization_id for item in plan.news] == [world.live_ids()[-1]]
    assert world.latest().version.version == plan.news[0].record.secret_version


def test_nothing_is_rebuilt_when_the_look_saw_the_version_before_the_last() -> None:
    """What is written must be what the vault still shows: here both looks were old, and the next ones are not."""
    world = make_restored(overlap_is_over=True)
    rebuild(world.make_run(), look(world.make_run()))
    world.advance(days=25)
    restore = world.database.back_up()
    world.run()
    assert world.states()[-1] == "overlapping"
    restore()
    before = world.record()
    world.secrets.is_stale = lambda: True
    plan = look(world.make_run())
    world.secrets.is_stale = lambda: False
    for item in plan.found:
        assert item.record.secret_version != world.latest().version.version
    with pytest.raises(ClaimHeldError, match="shows another version"):
        rebuild(world.make_run(), replace(plan, found=tuple(replace(item, before=None) for item in plan.found)))
    assert world.record() == before


@pytest.mark.parametrize("looks", [1, 2])
def test_late_write_is_undone_when_one_look_for_it_was_old(looks: int) -> None:
    world = make_late_store()
    answers = iter((looks == 1, looks == 2))
    world.secrets.is_stale = lambda: next(answers, False)
    world.run()
    world.check_served()


@pytest.mark.parametrize("looks", [1, 2])
def test_clone_is_not_given_up_when_one_look_for_its_write_was_old(looks: int) -> None:
    world = make_world()
    world.secrets.fail("store", after_effect=True)
    world.secrets.fail("store", times=30)
    world.secrets.fail("fetch_versions", make_busy("fetch_versions", "key_vault"), skip=1, times=7)
    world.run()
    assert world.states() == ["storing"]
    world.heal()
    world.advance(minutes=11)
    answers = iter((looks == 1, looks == 2))
    world.secrets.is_stale = lambda: next(answers, False)
    world.run()
    assert world.states() == ["overlapping"]
    assert world.revoked_ids() == []


@pytest.mark.parametrize("looks", [1, 2])
def test_database_is_called_behind_when_one_look_at_the_vault_was_old(looks: int) -> None:
    """A version of a rotation that we do not know is on top: one old look is no ground to write over it."""
    world = make_restored()
    answers = iter((looks == 1, looks == 2))
    world.secrets.is_stale = lambda: next(answers, False)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["database_behind"]
    assert world.count("mint") == 1


@pytest.mark.parametrize("looks", [1, 2])
def test_clone_that_the_vault_hands_out_is_not_revoked_when_one_look_was_old(looks: int) -> None:
    """The database is from before the write: it thinks that the value is lost."""
    world = make_restored_open("minted", followed=False)
    answers = iter((looks == 1, looks == 2))
    world.secrets.is_stale = lambda: next(answers, False)
    revoked = world.revoked_ids()
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["database_behind"]
    assert world.revoked_ids() == revoked
    assert world.is_live()


@pytest.fixture(name="served")
def make_served() -> EngineWorld:
    """A PAT that is due again, whose secret holds its version and the one before, which we disabled."""
    world = make_overlapping(disabling=True)
    world.advance(hours=25)
    world.run()
    world.advance(days=25)
    newest, older = world.secrets.versions_of(world.location())
    assert (newest.version.enabled, older.version.enabled) == (True, False)
    return world


@pytest.mark.parametrize("old", [0, 1, 2])
def test_version_that_we_disabled_blocks_nothing_when_one_look_showed_it(served: EngineWorld, old: int) -> None:
    """A disabled version is no sight of the newest one where the list has an enabled one above it."""
    answers = chain(repeat(False, old), (True,), repeat(False))
    served.secrets.is_stale = lambda: next(answers)
    assert codes_of(served.run(), OutcomeKind.FAILED, OutcomeKind.BLOCKED) == []
    assert served.states()[-1] == "overlapping"


def test_disabled_version_is_an_older_one_when_both_looks_lack_the_one_that_the_record_names(
    served: EngineWorld,
) -> None:
    served.secrets.is_stale = lambda: True
    with pytest.raises(TransientError) as caught:
        fetch_newest(served.secrets, served.record())
    assert caught.value.code == "vault_reads_old"


def test_disabled_newest_version_blocks_once_no_list_has_an_enabled_one_above_it(served: EngineWorld) -> None:
    """What consumers cannot read is not ours to write over; a list that lacks it only puts that off."""
    served.secrets.write_foreign(served.location(), "theirs", enabled=False)
    answers = chain((True,), repeat(False))
    served.secrets.is_stale = lambda: next(answers)
    assert served.run() is not None
    served.advance(minutes=6)
    served.run()
    assert served.record().blocked
    assert served.count("mint") == 1
    with pytest.raises(RejectedError) as caught:
        fetch_newest(served.secrets, served.record())
    assert caught.value.code == "secret_disabled"


@pytest.mark.parametrize("old", [0, 1, 2])
def test_retirement_that_died_after_disabling_goes_on_when_one_look_showed_what_it_disabled(old: int) -> None:
    world = make_overlapping(disabling=True)
    world.advance(hours=25)
    world.run_and_die(before="completed")
    world.advance(minutes=6)
    answers = chain(repeat(False, old), (True,), repeat(False))
    world.secrets.is_stale = lambda: next(answers)
    assert codes_of(world.run(), OutcomeKind.FAILED, OutcomeKind.BLOCKED) == []
    world.finish()


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_late_write_is_undone_by_the_first_run_when_looks_at_the_vault_are_old(looks: int) -> None:
    world = make_late_store()
    world.advance(hours=1)
    world.secrets.is_stale = make_stale(looks)
    waits = len(world.clock.slept)
    world.run()
    world.check_served()
    assert world.clock.slept[waits:] == ([1.0] if looks > 1 else [])
    world.finish()


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_stored_value_is_found_when_recovery_reads_old_versions_after_the_settle_time(looks: int) -> None:
    """Given up now, its clone would be revoked although consumers read it."""
    world = make_world()
    world.secrets.fail("store", after_effect=True)
    world.secrets.fail("store", times=30)
    world.secrets.fail("fetch_versions", make_busy("fetch_versions", "key_vault"), skip=1, times=30)
    world.run()
    assert world.states() == ["storing"]
    world.heal()
    world.advance(minutes=11)
    world.secrets.is_stale = make_stale(looks)
    world.run()
    assert world.states() == ["overlapping"]
    world.finish()


def test_nothing_is_revoked_when_an_old_read_hides_a_copy_of_the_old_value_with_our_tags_above_ours() -> None:
    """The list has the copy: it is for its value to tell whose it is."""
    world = make_overlapping()
    ours, first = world.secrets.versions_of(world.location())[:2]
    old = world.rotations()[-1].predecessor_id
    world.secrets.write_foreign(world.location(), first.value.reveal(), dict(ours.version.tags))
    world.secrets.is_stale = lambda: world.secrets.calls[-1][0] == "fetch_latest"
    world.run()
    assert old in world.live_ids()
    assert old not in world.revoked_ids()
    assert world.states()[-1] == "failed"
