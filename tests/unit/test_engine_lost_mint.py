"""A mint without an answer: looked for, told from what people make, and swept when it takes effect late."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.domain.next_step import NextAction
from rotator.domain.refusal import RefusalKind
from rotator.domain.rotation import make_offset_range
from rotator.engine.abandoning import LOST_ANSWER
from rotator.engine.adopting import adopt, propose
from rotator.engine.auditing import load_events
from rotator.engine.choices import make_choice
from rotator.engine.report import OutcomeKind
from rotator.engine.run import run_once
from rotator.errors import TransientError
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import LIFETIME, EngineWorld, codes_of, make_world
from tests.support.engine_scenarios import lose_update, make_busy
from tests.support.stop import make_stop

LEASE, SETTLE = {"minutes": 6}, {"minutes": 11}
"""Spans that outlast a dead run's claim, and the time in which an unanswered request may still take effect."""


def test_clone_is_found_and_revoked_when_the_answer_to_its_mint_was_lost() -> None:
    world = make_world()
    world.pats.fail("mint", after_effect=True)
    report = world.run()
    assert codes_of(report, OutcomeKind.FAILED) == ["connection_lost"]
    assert world.events()[-2:] == ["mint_unanswered unknown", "rotation_failed failed"]
    lost = world.live_ids()[1]
    world.run()
    assert world.revoked_ids() == [lost]
    assert world.codes() == ["value_lost"]
    [row] = world.show_status()
    assert row.last_error is not None
    assert (row.last_error.message, row.next_action) == (LOST_ANSWER.message, NextAction.RETRY)
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
    assert world.codes() == ["mint_not_created"]
    assert world.states() == ["abandoned", "overlapping"]
    world.finish()


@pytest.mark.parametrize(("days_left", "states"), [(2, ["abandoned", "overlapping"]), (5, ["abandoned"])])
def test_pat_near_its_expiry_does_not_wait_for_another_run_when_its_mint_is_given_up(
    days_left: float, states: list[str]
) -> None:
    """A failure before asked to wait; the next run may come too late. With more time left, it waits."""
    world = make_world()
    world.advance(days=5 - days_left)
    world.pats.fail("mint")
    world.run()
    world.advance(minutes=9)
    world.pats.fail("fetch_pats", TransientError("busy", service="azure_devops", operation="list_pats"), times=30)
    world.run()
    world.heal()
    world.advance(minutes=2)
    world.run()
    assert world.states() == states
    failure = world.record().last_failure
    assert (failure.code if failure else None) == (None if states[1:] else "mint_not_created")
    world.finish()


class LandingClock:
    """The world's clock; a late mint takes effect when somebody sleeps."""

    def __init__(self, world: EngineWorld) -> None:
        self._world = world

    def now(self) -> datetime:
        """See the port."""
        return self._world.clock.now()

    def sleep(self, seconds: float) -> None:
        """See the port."""
        self._world.pats.apply_late()
        self._world.clock.sleep(seconds)


def test_clone_is_found_when_it_lands_between_the_two_listings() -> None:
    world = make_world()
    world.pats.postpone_mint()
    world.run()
    world.advance(**SETTLE)
    landing = replace(world.make_services(), stop=make_stop(LandingClock(world)))
    world.watch(lambda: run_once(world.make_run(landing)))
    assert world.codes() == ["value_lost"]
    assert world.count("revoke") == 1


def test_late_clone_is_swept_when_it_lands_after_it_was_given_up() -> None:
    world = make_world()
    world.pats.postpone_mint()
    world.run()
    world.advance(**SETTLE)
    world.run()
    assert world.states() == ["abandoned", "overlapping"]
    assert world.pats.apply_late() == 1
    late = world.live_ids()[-1]
    world.finish()
    assert late in world.revoked_ids()


def test_late_clone_is_swept_once_when_the_sweep_is_killed() -> None:
    world = make_world()
    world.pats.postpone_mint()
    world.run()
    world.advance(**SETTLE)
    world.run()
    world.pats.apply_late()
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


def test_near_match_is_unproven_and_not_revoked_when_the_server_may_have_clamped() -> None:
    world, near = make_near_match()
    world.advance(**SETTLE)
    world.run()
    assert "unproven_mint_found unknown" in world.events()
    world.finish(besides=(near,))
    assert near in world.live_ids()
    assert near not in world.revoked_ids()
    told = [event for event, values in world.told if values.get("authorization_id") == near]
    assert any("left_behind" in event for event in told)


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
    assert world.codes() == ["mint_ambiguous"]
    _, told, _ = load_events(world.database, AuditFilter(event="rotation_failed"))
    assert told.entry.details["code"] == "mint_ambiguous"
    assert all(twin in str(told.entry.details["message"]) for twin in twins)
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


def test_lost_mint_is_not_adopted_by_a_person_whose_host_is_fast() -> None:
    """What it asked for has expired by that clock alone."""
    world = make_world()
    world.pats.fail("mint", after_effect=True)
    world.run()
    assert world.states() == ["minting"]
    lost = world.live_ids()[-1]
    world.host_clock.ahead = timedelta(days=40)
    run = world.make_run()
    adopted = adopt(run, propose(run, [lost], everything=False, choice=make_choice("theirs", "theirs")))
    assert adopted.proposals == ()
    assert [refusal.kind for refusal in adopted.refusals] == [RefusalKind.SENT_MINT]


def test_lost_mint_is_not_adopted_with_all_others_by_a_person_whose_host_is_fast() -> None:
    """A next run revokes it: adopted, it would be kept alive for ever, and nobody would be told."""
    world = make_world()
    world.run()
    world.finish()
    lost = lose_update(world)
    world.host_clock.ahead = timedelta(days=40)
    run = world.make_run()
    assert adopt(run, propose(run, [], everything=True)).proposals == ()
    world.heal()
    for _ in range(6):
        world.advance(hours=7)
        world.run()
    assert lost not in world.live_ids("npm-publish")
