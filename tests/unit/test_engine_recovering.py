"""A rotation that was killed at any commit, or whose revocation was not answered, and what the next runs make of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rotator.domain.rotation import RotationState
from rotator.engine.exit_codes import find_code_of_report
from rotator.engine.report import OutcomeKind, OutcomeReason
from rotator.engine.tags import ROTATION_TAG
from tests.support.engine import MUTATIONS, NAME, codes_of, make_world, names_of
from tests.support.engine_scenarios import make_busy, make_overlapping

LEASE, SETTLE = {"minutes": 6}, {"minutes": 11}
"""Spans that outlast a dead run's claim, and the time in which an unanswered request may still take effect."""


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
    assert world.is_live()
    world.advance(**LEASE)
    report = world.run()
    assert world.states() == states
    assert world.count("revoke") == revoked
    assert find_code_of_report(report) == 0
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
    assert names_of(report, OutcomeKind.HELD) == [NAME]
    assert world.states() == ["minted"]


def test_report_tells_what_was_recovered_and_what_was_given_up() -> None:
    world = make_world()
    world.run_and_die(after="stored")
    world.advance(**LEASE)
    [finished] = world.run().of_kind(OutcomeKind.RECOVERED)
    assert (finished.reason, finished.state_before) == (OutcomeReason.INTERRUPTED, RotationState.STORED)
    world = make_world()
    world.run_and_die(after="verified")
    world.advance(**LEASE)
    report = world.run()
    [clone] = world.revoked_ids()
    [given_up] = report.of_kind(OutcomeKind.ABANDONED)
    assert (given_up.reason, given_up.state_before) == (OutcomeReason.INTERRUPTED, RotationState.VERIFIED)
    assert given_up.revoked_id == clone
    assert names_of(report, OutcomeKind.ROTATED) == [NAME]


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
def test_settling_rotation_is_only_looked_at_when_recovery_runs_twice(mark: str) -> None:
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
    assert ("settling_continued", {"name": NAME, "state": mark}) in world.told


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


def test_run_reports_what_settles_until_when_when_a_request_may_still_take_effect() -> None:
    world = make_world()
    world.pats.fail("mint")
    world.run()
    [rotation] = world.rotations()
    report = world.run()
    [outcome] = report.outcomes
    assert (outcome.kind, outcome.rotation_id) == (OutcomeKind.SETTLING, rotation.id)
    assert (outcome.reason, outcome.state_before) == (OutcomeReason.INTERRUPTED, RotationState.MINTING)
    assert rotation.sent_at is not None
    assert outcome.settles_until == rotation.sent_at + world.timing.settle
    assert find_code_of_report(report) == 0


def test_settling_rotation_is_not_doubled_when_a_person_asks_for_another() -> None:
    world = make_world()
    world.pats.fail("mint")
    world.run()
    report = world.rotate(NAME)
    assert codes_of(report, OutcomeKind.FAILED) == ["rotation_settling"]
    assert world.count("mint") == 1
    assert world.latest().version.tags.get(ROTATION_TAG) is None


def test_clone_in_use_is_not_revoked_when_the_database_was_restored_from_a_backup() -> None:
    world = make_world()
    backups: list[Callable[[], None]] = []
    world.database.interrupts["minted"] = lambda: backups.append(world.database.back_up())
    world.run()
    backups[0]()
    assert world.states() == ["minted"]
    world.advance(**LEASE)
    report = world.run()
    assert codes_of(report, OutcomeKind.BLOCKED) == ["database_behind"]
    assert world.states() == ["failed"]
    assert world.revoked_ids() == []
    assert world.is_live()
