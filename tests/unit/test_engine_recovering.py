"""A rotation that was interrupted, at every commit and in every way, and what the next runs make of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.rotation import make_offset_range
from rotator.engine.tags import ROTATION_TAG
from rotator.errors import TransientError
from tests.support.engine import LIFETIME, MUTATIONS, NAME, EngineWorld, make_world
from tests.support.policies import RULE, make_policy

LEASE, SETTLE = {"minutes": 6}, {"minutes": 11}
"""Spans that outlast a dead run's claim, and the time in which an unanswered request may still land."""


def make_busy(operation: str = "fetch_pats", service: str = "azure_devops") -> TransientError:
    return TransientError("busy", service=service, operation=operation, status=503)


def make_overlapping(hours: float = 24) -> EngineWorld:
    """A world whose only rotation overlaps since so many hours."""
    world = make_world()
    world.run()
    world.advance(hours=hours)
    return world


def list_codes(world: EngineWorld) -> list[str]:
    """Why each rotation was given up or failed, the oldest first."""
    return [rotation.failure.code for rotation in world.rotations() if rotation.failure]


def lose_every_store(world: EngineWorld) -> None:
    """A run whose writes to the vault are never answered and never happen; its rotation stays `storing`."""
    world.secrets.fail("store", times=30)
    world.run()
    world.secrets._planned.clear()
    assert world.states() == ["storing"]


# Killed around each commit of a rotation: the row of the table, what the next run does at once, and the calls it made.

DEATHS = [
    ("after", "planned", ["abandoned", "overlapping"], 0),
    ("before", "minting", ["abandoned", "overlapping"], 0),
    ("after", "minting", ["minting"], 0),
    ("before", "minted", ["abandoned", "overlapping"], 1),
    ("after", "minted", ["abandoned", "overlapping"], 1),
    ("before", "verified", ["abandoned", "overlapping"], 1),
    ("after", "verified", ["abandoned", "overlapping"], 1),
    ("before", "storing", ["abandoned", "overlapping"], 1),
    ("after", "storing", ["storing"], 0),
    ("before", "stored", ["overlapping"], 0),
    ("after", "stored", ["overlapping"], 0),
    ("before", "overlapping", ["overlapping"], 0),
    ("after", "overlapping", ["overlapping"], 0),
]


@pytest.mark.parametrize(("side", "mark", "states", "revoked"), DEATHS)
def test_rotation_is_brought_to_a_safe_end_when_killed(side: str, mark: str, states: list[str], revoked: int) -> None:
    world = make_world()
    world.run_and_die(**{side: mark})
    world.check_live()
    world.advance(**LEASE)
    report = world.run()
    assert world.states() == states
    assert world.count("revoke") == revoked
    assert report.exit_code == 0
    world.check_served()
    world.finish()


@pytest.mark.parametrize(
    ("side", "mark"), [("before", "retiring"), ("after", "retiring"), ("before", "completed"), ("after", "completed")]
)
def test_retirement_is_finished_when_killed(side: str, mark: str) -> None:
    world = make_overlapping()
    old = world.rotations()[0].predecessor_id
    world.run_and_die(**{side: mark})
    world.check_served()
    world.advance(**LEASE)
    world.run()
    assert world.states() == ["completed"]
    assert set(world.revoked_ids()) == {old}
    assert world.events().count("pat_revoked succeeded") == 1
    world.finish()


@pytest.mark.parametrize(("side", "mark"), [("before", "abandoning"), ("after", "abandoning"), ("before", "abandoned")])
def test_clone_is_revoked_in_the_end_when_recovery_is_killed_too(side: str, mark: str) -> None:
    world = make_world()
    world.run_and_die(after="minted")
    lost = world.live_ids()[1]
    for _ in range(3 if side == "before" else 1):
        world.advance(**LEASE)
        world.run_and_die(**{side: mark})
        world.check_served()
    world.advance(**LEASE)
    world.run()
    assert world.states() == ["abandoned", "overlapping"]
    assert set(world.revoked_ids()) == {lost}
    world.finish()


def test_dead_run_keeps_its_claim_when_its_lease_lasts() -> None:
    world = make_world()
    world.run_and_die(after="minted")
    report = world.run()
    assert [entry.name for entry in report.held] == [NAME]
    assert world.states() == ["minted"]


def test_report_tells_what_was_recovered_and_what_was_given_up() -> None:
    world = make_world()
    world.run_and_die(after="stored")
    world.advance(**LEASE)
    assert [entry.detail for entry in world.run().recovered] == ["interrupted while stored, finished"]
    world = make_world()
    world.run_and_die(after="verified")
    world.advance(**LEASE)
    report = world.run()
    assert [entry.detail for entry in report.abandoned] == ["interrupted while verified, given up safely"]
    assert [entry.name for entry in report.rotated] == [NAME]


# A mint without an answer.


def test_clone_is_found_and_revoked_when_the_answer_to_its_mint_was_lost() -> None:
    world = make_world()
    world.pats.fail("mint", after_effect=True)
    report = world.run()
    assert [entry.failure and entry.failure.code for entry in report.failed] == ["connection_lost"]
    assert world.events()[-2:] == ["mint_unanswered unknown", "rotation_failed failed"]
    lost = world.live_ids()[1]
    world.run()
    assert world.revoked_ids() == [lost]
    assert list_codes(world) == ["value_lost"]
    world.finish()


def test_mint_is_called_not_created_when_two_listings_lack_it_after_the_settle_time() -> None:
    world = make_world()
    world.pats.fail("mint")
    world.run()
    world.advance(minutes=9, seconds=59)
    world.run()
    assert world.states() == ["minting"]
    listed = world.count("fetch_pats")
    world.advance(seconds=1)
    world.run()
    assert world.count("fetch_pats") == listed + 3
    assert world.timing.second_look.total_seconds() in world.clock.slept
    assert list_codes(world) == ["mint_not_created"]
    assert world.states() == ["abandoned", "overlapping"]
    world.finish()


def test_clone_is_found_when_it_lands_between_the_two_listings() -> None:
    world = make_world()
    world.pats.postpone_mint()
    world.run()
    world.advance(**SETTLE)
    world.clock.slept.clear()
    slow = world.clock.sleep

    class LandingClock:
        """Lets the late mint land during the pause."""

        now = staticmethod(world.clock.now)

        @staticmethod
        def sleep(seconds: float) -> None:
            world.pats.land_late()
            slow(seconds)

    world.clock = LandingClock()  # type: ignore[assignment]
    world.run()
    assert list_codes(world) == ["value_lost"]
    assert world.count("revoke") == 1


def test_late_clone_is_swept_when_it_lands_after_it_was_given_up() -> None:
    world = make_world()
    world.pats.postpone_mint()
    world.run()
    world.advance(**SETTLE)
    world.run()
    assert world.states() == ["abandoned", "overlapping"]
    assert world.pats.land_late() == 1
    late = world.live_ids()[-1]
    world.finish()
    assert late in world.revoked_ids()


def test_late_clone_is_swept_once_when_the_sweep_is_killed() -> None:
    world = make_world()
    world.pats.postpone_mint()
    world.run()
    world.advance(**SETTLE)
    world.run()
    world.pats.land_late()
    world.advance(hours=24)
    world.run()
    assert world.states()[-1] == "completed"
    world.run_and_die(before="abandoned")
    world.advance(**LEASE)
    world.finish()
    assert world.states().count("abandoned") == 2


def make_near_match() -> tuple[EngineWorld, str]:
    """A mint that was clamped by an unlearned maximum and whose answer was lost; the id of what it made."""
    world = make_world()
    world.pats.organizations["contoso"].max_lifetime = timedelta(days=20)
    world.pats.fail("mint", after_effect=True)
    world.run()
    return world, world.live_ids()[1]


def test_near_match_is_quarantined_and_not_revoked_when_the_server_may_have_clamped() -> None:
    world, near = make_near_match()
    world.advance(**SETTLE)
    world.run()
    assert "near_match_quarantined unknown" in world.events()
    world.finish(besides=(near,))
    assert near in world.live_ids()
    assert near not in world.revoked_ids()
    told = [event for event, values in world.told if values.get("authorization_id") == near]
    assert any("quarantined" in event for event in told)


def test_lookalike_of_a_person_is_left_alone_when_its_expiry_differs() -> None:
    world = make_world()
    world.database.interrupts["minting"] = lambda: make_lookalike(world, seconds=-1)
    world.pats.fail("mint", after_effect=True)
    world.run()
    theirs, ours = world.live_ids()[1:]
    world.run()
    assert world.revoked_ids() == [ours]
    world.finish(besides=(theirs,))


def make_lookalike(world: EngineWorld, *, seconds: int = 0) -> None:
    """A person makes a PAT with the expiry that our mint plans, or some seconds beside it."""
    planned = world.rotations()[-1].planned_valid_to
    assert planned is not None
    world.add_lookalike(planned + timedelta(seconds=seconds))


def test_nothing_is_revoked_when_two_pats_look_like_the_lost_mint() -> None:
    world = make_world()
    world.database.interrupts["minting"] = lambda: make_lookalike(world)
    world.pats.fail("mint", after_effect=True)
    world.run()
    twins = world.live_ids()[1:]
    world.run()
    assert world.states() == ["failed"]
    assert list_codes(world) == ["mint_ambiguous"]
    assert world.revoked_ids() == []
    for _ in range(4):
        world.advance(hours=13)
        world.run()
    assert set(twins) <= set(world.live_ids())
    assert not set(twins) & set(world.revoked_ids())


def test_lookalike_of_a_person_is_left_alone_when_it_was_listed_before_the_mint() -> None:
    world = make_world()
    planned = world.clock.now() + LIFETIME - timedelta(seconds=make_offset_range(LIFETIME)[0])
    theirs = world.add_lookalike(planned).pat.authorization_id
    world.pats.fail("mint", after_effect=True)
    world.run()
    world.run()
    assert theirs not in world.revoked_ids()
    world.finish(besides=(theirs,))


@pytest.mark.parametrize("skip", [0, 1, 2])
def test_failed_listing_proves_nothing_when_a_mint_is_looked_for(skip: int) -> None:
    world = make_world()
    world.pats.fail("mint", after_effect=skip == 0)
    world.run()
    world.advance(**SETTLE)
    world.pats.fail("fetch_pats", make_busy(), skip=skip, times=3 - skip)
    world.run()
    assert world.states() == ["minting"]
    assert world.revoked_ids() == []
    world.finish()


# A write to the vault without an answer.


def test_store_is_found_by_its_tag_when_its_answer_was_lost() -> None:
    world = make_world()
    world.secrets.fail("store", after_effect=True)
    assert [entry.name for entry in world.run().rotated] == [NAME]
    assert world.count("store") == 1
    world.finish()


def test_value_is_held_and_written_again_when_the_vault_is_ill_for_a_while() -> None:
    world = make_world()
    world.secrets.fail("store", make_busy("store", "key_vault"), times=4)
    assert [entry.name for entry in world.run().rotated] == [NAME]
    assert world.clock.slept == [1, 2, 4, 8]
    world.finish()


def test_store_is_found_later_when_the_vault_could_not_be_asked_at_first() -> None:
    world = make_world()
    world.secrets.fail("store", after_effect=True, times=30)
    world.secrets.fail("fetch_versions", make_busy("fetch_versions", "key_vault"), times=30)
    world.run()
    assert world.states() == ["storing"]
    world.secrets._planned.clear()
    world.run()
    assert world.states() == ["overlapping"]
    world.finish()


def test_clone_is_given_up_when_its_write_did_not_land_in_the_settle_time() -> None:
    world = make_world()
    lose_every_store(world)
    lost = world.live_ids()[1]
    world.advance(minutes=8)
    world.run()
    assert world.states() == ["storing"]
    assert world.revoked_ids() == []
    world.advance(minutes=3)
    world.run()
    assert world.revoked_ids() == [lost]
    assert world.states() == ["abandoned", "overlapping"]
    world.finish()


def make_late_store(*, disabling: bool = False) -> EngineWorld:
    """A write that was given up, a new rotation that overlaps, and then the given-up write lands over it."""
    world = make_world()
    world.policy = make_policy(replace(RULE, disable_previous=disabling))
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    world.run()
    world.secrets._planned.clear()
    world.advance(**SETTLE)
    world.run()
    assert world.states() == ["abandoned", "overlapping"]
    assert world.secrets.land_late() == 1
    return world


def test_committed_value_is_put_back_and_the_overlap_restarted_when_a_given_up_write_lands() -> None:
    world = make_late_store()
    world.advance(hours=20)
    world.run()
    world.check_served()
    assert world.events()[-2:] == ["restore_started intended", "secret_restored succeeded"]
    last = world.rotations()[-1]
    assert last.overlap_until == world.clock.now() + last.overlap
    assert last.secret_version == world.record().secret_version == world.latest().version.version
    assert world.count("revoke") == 1
    world.finish()


def test_committed_value_is_put_back_when_the_write_lands_right_before_the_old_pat_is_retired() -> None:
    world = make_late_store()
    world.advance(hours=25)
    world.run()
    world.check_served()
    assert world.states() == ["abandoned", "overlapping"]
    world.finish()


@pytest.mark.parametrize(("side", "mark"), [("after", "restore_started"), ("before", "secret_restored")])
def test_committed_value_is_put_back_when_that_is_killed_too(side: str, mark: str) -> None:
    world = make_late_store()
    world.run_and_die(**{side: mark})
    world.advance(**LEASE)
    world.run()
    world.check_served()
    world.finish()


def test_committed_value_is_put_back_when_the_write_lands_before_its_clone_is_revoked() -> None:
    world = make_world()
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    world.run()
    world.secrets._planned.clear()
    world.advance(**SETTLE)
    world.run_and_die(after="abandoning")
    world.secrets.land_late()
    world.advance(**LEASE)
    world.run()
    world.check_served()
    world.finish()


# Several versions of ours, and a rule that disables the older ones.


def disable_previous(world: EngineWorld) -> EngineWorld:
    """The same world under a rule that disables older versions when a rotation is over."""
    world.policy = make_policy(replace(RULE, disable_previous=True))
    return world


def test_newest_version_stays_enabled_when_an_unanswered_write_of_the_same_value_lands_late() -> None:
    world = disable_previous(make_world())
    world.secrets.postpone_store()
    world.run()
    assert world.states() == ["overlapping"]
    world.secrets.land_late()
    world.finish()
    assert world.latest().version.enabled


def test_newest_version_stays_enabled_when_putting_back_was_killed_before_its_commit() -> None:
    world = make_late_store(disabling=True)
    world.run_and_die(before="secret_restored")
    world.advance(**LEASE)
    world.finish()
    assert world.latest().version.enabled


def test_foreign_version_stays_enabled_when_it_was_written_right_after_the_revocation() -> None:
    world = disable_previous(make_world())
    world.run()
    world.advance(hours=24)
    world.run_and_die(before="completed")
    world.secrets.write_foreign(world.location(), "theirs")
    world.advance(**LEASE)
    world.run()
    assert world.latest().version.enabled


# What people do during the overlap.


def test_rotation_is_frozen_and_nothing_revoked_when_somebody_else_writes_the_secret() -> None:
    world = make_overlapping(hours=1)
    old, new = world.live_ids()
    world.secrets.write_foreign(world.location(), "theirs")
    world.advance(hours=23)
    report = world.run()
    assert [entry.failure and entry.failure.code for entry in report.blocked] == ["foreign_write"]
    assert world.states() == ["failed"]
    for _ in range(5):
        world.advance(hours=7)
        world.run()
    assert world.live_ids() == [old, new]
    assert world.revoked_ids() == []
    assert world.record().blocked


@pytest.mark.parametrize("hours", [1, 24])
def test_old_pat_is_current_again_and_rotated_anew_when_the_clone_was_revoked_by_hand(hours: int) -> None:
    world = make_overlapping(hours=hours)
    old, lost = world.live_ids()
    world.pats.pats[lost].revoked = True
    report = world.run()
    assert [entry.name for entry in report.abandoned] == [NAME]
    assert [entry.name for entry in report.rotated] == [NAME]
    assert world.states() == ["failed", "overlapping"]
    assert world.rotations()[1].predecessor_id == old
    world.check_served()
    world.finish()


def test_pat_is_blocked_when_clone_and_old_one_were_revoked_by_hand() -> None:
    world = make_overlapping(hours=1)
    for found in world.live_ids():
        world.pats.pats[found].revoked = True
    world.run()
    world.advance(hours=1)
    world.run()
    assert world.states() == ["failed"]
    record = world.record()
    assert record.last_failure is not None
    assert record.last_failure.code == "revoked_elsewhere"
    assert record.blocked
    assert world.count("mint") == 1


def test_rotation_completes_when_the_old_pat_was_revoked_by_hand_meanwhile() -> None:
    world = make_overlapping()
    world.pats.pats[world.live_ids()[0]].revoked = True
    assert [entry.name for entry in world.run().retired] == [NAME]
    world.check_rest()


def test_old_pat_is_kept_when_the_value_in_the_vault_authenticates_as_another_user() -> None:
    world = make_overlapping()
    other = world.pats.add_pat("release-bot", "contoso", "theirs", "vso.code", world.record().valid_to)
    world.secrets.write_foreign(world.location(), other.value, dict(world.latest().version.tags))
    report = world.run()
    assert [entry.failure and entry.failure.code for entry in report.failed] == ["wrong_identity"]
    assert world.revoked_ids() == []
    assert world.states() == ["overlapping"]


def test_old_pat_is_kept_when_the_inventory_calls_it_current() -> None:
    world = make_overlapping()
    old, new = world.live_ids()
    other = world.add_managed("other", days_left=29)
    with world.database.begin() as work:
        work.inventory.remove("other")
    stolen = world.record().__class__(**{**vars(other), "authorization_id": old, "epoch": 0})
    with world.database.begin() as work:
        work.inventory.add(stolen)
    report = world.run()
    assert "predecessor_in_use" in [entry.failure.code for entry in report.failed if entry.failure]
    assert world.states() == ["failed"]
    assert {old, new} <= set(world.live_ids())


# A revoke without an answer.


@pytest.mark.parametrize(("after_effect", "revokes"), [(True, 1), (False, 2)])
def test_revocation_is_confirmed_by_a_listing_when_its_answer_was_lost(after_effect: bool, revokes: int) -> None:
    world = make_overlapping()
    world.pats.fail("revoke", after_effect=after_effect)
    world.run()
    assert world.states() == ["retiring"]
    world.run()
    assert world.states() == ["completed"]
    assert world.count("revoke") == revokes
    world.finish()


def test_revocation_is_not_repeated_blindly_when_the_listing_fails() -> None:
    world = make_overlapping()
    world.pats.fail("revoke")
    world.run()
    world.pats.fail("fetch_pats", make_busy(), skip=1)
    world.run()
    assert world.states() == ["retiring"]
    assert world.count("revoke") == 1
    world.finish()


def test_guard_holds_when_an_interrupted_retirement_finds_a_foreign_write() -> None:
    world = make_overlapping()
    world.pats.fail("revoke")
    world.run()
    world.secrets.write_foreign(world.location(), "theirs")
    world.run()
    assert world.states() == ["failed"]
    assert len(world.live_ids()) == 2


# Recovery again and again.


@pytest.mark.parametrize("mark", ["minting", "storing"])
def test_parked_rotation_is_only_looked_at_when_recovery_runs_twice(mark: str) -> None:
    world = make_world()
    world.run_and_die(after=mark)
    world.advance(**LEASE)
    world.run()
    before, calls = world.rotations(), len(world.timeline)
    world.run()
    after = world.rotations()
    assert [(r.id, r.state, r.sent_at, r.known_ids) for r in after] == [
        (r.id, r.state, r.sent_at, r.known_ids) for r in before
    ]
    assert not MUTATIONS & set(world.timeline[calls:])
    assert ("rotation_parked", {"name": NAME, "state": mark}) in world.told


@pytest.mark.parametrize(("side", "mark", "states", "revoked"), [case for case in DEATHS if len(case[2]) == 2])
def test_second_recovery_changes_nothing_when_the_first_has_ended(
    side: str, mark: str, states: list[str], revoked: int
) -> None:
    world = make_world()
    world.run_and_die(**{side: mark})
    world.advance(**LEASE)
    world.run()
    before, events = world.rotations(), world.events()
    world.run()
    assert world.rotations() == before
    assert world.events() == events
    assert world.count("revoke") == revoked


def test_parked_rotation_is_not_doubled_when_a_person_asks_for_another() -> None:
    world = make_world()
    world.pats.fail("mint")
    world.run()
    report = world.rotate(NAME)
    assert [entry.failure and entry.failure.code for entry in report.failed] == ["rotation_parked"]
    assert world.count("mint") == 1
    assert world.latest().version.tags.get(ROTATION_TAG) is None
