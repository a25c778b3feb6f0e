"""A wrong clock: nothing is minted or revoked, no overlap is cut short, and nothing that it wrote binds for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator.cli.output.plan import render_plan
from rotator.domain.clocks import Verdict
from rotator.domain.condition import ConditionKind
from rotator.domain.events.rotations import FailureCleared
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.engine.claiming import claimed
from rotator.engine.clocks import check_clocks, is_urgent, make_skew_error, notice_clocks, reckon, redate
from rotator.engine.keeping import revoke_current, revoke_previous
from rotator.engine.moments import find_latest
from rotator.engine.overlapping import is_overlap_over
from rotator.engine.planning import make_plan
from rotator.engine.report import OutcomeKind, RunSkewedError
from rotator.engine.run import recover_interrupted
from rotator.errors import ClaimHeldError, ClaimLostError, ClockSkewError
from tests.support.engine import MUTATIONS, NAME, EngineWorld, make_world, names_of
from tests.support.engine_fakes import CommitFault
from tests.support.engine_scenarios import make_late_store
from tests.support.policies import RULE, make_policy

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
YEARS = 3650 * DAY


def set_host(world: EngineWorld, ahead: timedelta) -> None:
    """Set the host's clock, which is the clock of a database in a file, too."""
    world.host_clock.ahead = world.database.skew = ahead


def list_clocks(world: EngineWorld) -> list[str]:
    """Whose clocks are said to be wrong."""
    with world.database.read() as reading:
        return [c.subject for c in reading.conditions.load() if c.kind is ConditionKind.CLOCK_WRONG]


def count_sent(world: EngineWorld) -> int:
    """How many requests changed something."""
    return sum(mark in MUTATIONS for mark in world.timeline)


@pytest.mark.parametrize("ahead", [2 * DAY, -30 * HOUR, YEARS, timedelta(seconds=62)])
def test_nothing_is_minted_or_revoked_when_the_hosts_clock_is_wrong(ahead: timedelta) -> None:
    world = make_world(NAME, "other")
    world.rotate("other")
    world.advance(hours=25)
    sent = count_sent(world)
    set_host(world, ahead)
    for act in (world.run, lambda: world.rotate(NAME), lambda: recover_interrupted(world.make_run())):
        with pytest.raises(ClockSkewError) as caught:
            world.watch(act)
        assert (caught.value.code, caught.value.exit_code) == ("clock_skew", 1)
    for revoke, name in ((revoke_current, NAME), (revoke_previous, "other")):
        with pytest.raises(ClockSkewError):
            revoke(world.make_run(), name)
    assert count_sent(world) == sent
    assert list_clocks(world) == ["host"]
    assert next(render_plan(make_plan(world.make_run()))).startswith("The clock of this host is wrong: ")
    set_host(world, timedelta(0))
    assert names_of(world.run(), OutcomeKind.RETIRED) == ["other"]
    assert list_clocks(world) == []
    assert "clock" not in "".join(render_plan(make_plan(world.make_run())))
    assert world.states() == ["overlapping"]


def test_run_goes_on_when_one_witness_dissents_and_it_is_told_once() -> None:
    world = make_world()
    world.witnesses.ahead["entra"] = -3 * DAY
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    world.advance(hours=1)
    world.run()
    assert world.events("entra") == ["clock_doubted unknown"]
    world.advance(hours=24)
    assert names_of(world.run(), OutcomeKind.RETIRED) == [NAME]
    world.witnesses.ahead["entra"] = timedelta(0)
    world.run()
    assert world.events("entra") == ["clock_doubted unknown", "clock_confirmed succeeded"]


def test_service_is_no_longer_doubted_when_the_majority_doubts_the_host() -> None:
    """The first answer makes the service look wrong, the second one shows that it is the host."""
    world = make_world("other")
    world.witnesses.ahead["azure_devops"] = HOUR
    assert not notice_clocks(world.make_run()).is_wrong
    assert list_clocks(world) == ["azure_devops"]
    world.witnesses.ahead["key_vault"] = HOUR
    assert notice_clocks(world.make_run()).is_wrong
    assert list_clocks(world) == ["host"]
    assert world.events("azure_devops") == ["clock_doubted unknown", "clock_confirmed succeeded"]


def test_last_word_of_a_service_is_no_doubt_when_the_clocks_are_right_again() -> None:
    """It was said before that, and counts no more; a clock that is still wrong is heard again."""
    world = make_world("other")
    world.witnesses.ahead.update(azure_devops=HOUR, key_vault=HOUR)
    notice_clocks(world.make_run())
    assert list_clocks(world) == ["host"]
    world.witnesses.ahead["azure_devops"] = timedelta(0)
    assert not notice_clocks(world.make_run()).is_wrong
    assert list_clocks(world) == []
    assert world.events("key_vault") == []
    world.witnesses.ahead["key_vault"] = HOUR
    notice_clocks(world.make_run())
    assert list_clocks(world) == ["key_vault"]


@pytest.mark.parametrize(("second", "third"), [(HOUR, HOUR), (2 * DAY, 5 * DAY)])
def test_service_whose_clock_the_majority_doubts_too_stays_doubted(second: timedelta, third: timedelta) -> None:
    """And nobody can tell while all disagree."""
    world = make_world("other")
    world.witnesses.ahead.update(azure_devops=timedelta(0), entra=-3 * DAY)
    notice_clocks(world.make_run())
    assert list_clocks(world) == ["entra"]
    world.witnesses.ahead.update(azure_devops=second, key_vault=third)
    assert notice_clocks(world.make_run()).is_wrong
    assert sorted(list_clocks(world)) == ["entra", "host"]
    assert world.events("entra") == ["clock_doubted unknown"]


def test_database_server_is_a_witness() -> None:
    world = make_world()
    world.witnesses.ahead.clear()
    world.database.clocks.has_clock = True
    world.host_clock.ahead = DAY
    with pytest.raises(ClockSkewError):
        world.run()
    assert world.count("mint") == 0


def test_last_event_is_a_hint_when_nobody_else_is_heard() -> None:
    world = make_world("other")
    world.add_managed(NAME, days_left=20)
    world.run()
    world.witnesses.ahead.clear()
    set_host(world, -HOUR)
    with pytest.raises(ClockSkewError):
        world.rotate(NAME)
    assert world.count("mint") == 1


@pytest.mark.parametrize("ahead", [20 * DAY, -30 * HOUR])
def test_pat_with_hours_left_is_rotated_by_the_witnesses_time(ahead: timedelta) -> None:
    world = make_world("other")
    world.add_managed(NAME, days_left=5.9 / 24)
    set_host(world, ahead)
    with pytest.raises(ClockSkewError):
        world.run()
    (rotation,) = world.rotations(NAME)
    assert rotation.state.value == "overlapping"
    assert rotation.created_at == world.clock.now()
    assert timedelta(days=29) < world.record(NAME).valid_to - world.clock.now() <= timedelta(days=30)
    assert (world.states("other"), world.revoked_ids()) == ([], [])


def test_error_about_the_clock_tells_what_was_done_by_the_witnesses_time() -> None:
    """There is no report, and a fault of the database is written down nowhere."""
    world = make_world()
    world.add_managed("other", days_left=0.1)
    world.add_managed("third", days_left=0.2)
    set_host(world, 2 * DAY)
    world.database.refusals["planned"] = CommitFault.LOCKED.make_error()
    with pytest.raises(ClockSkewError) as caught:
        world.run()
    assert caught.value.message.endswith(
        "; what could not wait, by the time of the services: "
        "other failed (the database is locked by another process), third rotated"
    )


def test_pat_with_hours_left_is_rotated_by_hand_and_another_is_not() -> None:
    world = make_world("other")
    world.add_managed(NAME, days_left=0.2)
    set_host(world, 2 * DAY)
    with pytest.raises(ClockSkewError):
        world.rotate(NAME, "other")
    assert (world.states(NAME), world.states("other")) == (["overlapping"], [])


def test_nothing_is_rotated_when_the_witnesses_disagree() -> None:
    world = make_world("other")
    world.add_managed(NAME, days_left=0.1)
    world.witnesses.ahead.update(azure_devops=2 * DAY, key_vault=5 * DAY)
    with pytest.raises(ClockSkewError, match="disagree"):
        world.run()
    assert world.count("mint") == 0
    assert list_clocks(world) == ["host"]


def test_clock_that_is_wrong_from_the_vaults_answer_on_closes_the_rotation() -> None:
    """Before the mint the vault is asked too, and heard: nothing was minted, nothing is noted as failed."""
    world = make_world()
    world.database.interrupts["rotation_planned"] = lambda: set_host(world, DAY)
    report = world.run()
    assert [outcome.failure and outcome.failure.code for outcome in report.of_kind(OutcomeKind.FAILED)] == [
        "clock_skew"
    ]
    assert (world.states(), world.count("mint"), world.record().failures) == (["abandoned"], 0, 0)


def test_overlap_is_not_cut_short_when_a_slow_host_is_set_right() -> None:
    """Nobody was heard while it was slow, so nothing but the boot clock knows."""
    world = make_world()
    world.witnesses.ahead.clear()
    set_host(world, -30 * HOUR)
    world.run()
    assert world.states() == ["overlapping"]
    set_host(world, timedelta(0))
    world.advance(seconds=10)
    world.run()
    assert (world.states(), world.revoked_ids()) == (["overlapping"], [])
    world.advance(hours=24)
    world.run()
    assert world.states() == ["completed"]


@pytest.mark.parametrize("is_restored", [False, True])
def test_overlap_is_not_cut_short_when_the_host_is_set_back_before_it_begins_and_booted_anew(is_restored: bool) -> None:
    """The clocks that know better are many, and doubted by a host that is wrong; the boot clock starts anew."""
    world = make_late_store() if is_restored else make_world()
    mark = "restore_started" if is_restored else "stored"
    world.database.interrupts[mark] = lambda: set_host(world, -2 * DAY)
    world.run()
    assert world.states()[-1] == "overlapping"
    revoked = world.revoked_ids()
    set_host(world, timedelta(0))
    world.clock.reboot()
    world.advance(hours=1)
    world.run()
    assert (world.states()[-1], world.revoked_ids()) == ("overlapping", revoked)
    world.advance(hours=24)
    world.run()
    assert world.states()[-1] == "completed"
    world.check_served()


def test_overlap_goes_on_when_the_host_is_set_forward_in_a_run_after_another_boot() -> None:
    """A rotation that leaves the old PAT behind asks no guard: its overlap may not end by a wrong clock either."""
    world = make_world()
    with claimed(world.make_run(), NAME) as held:
        held.save(replace(held.pat, taken_over=True), FailureCleared())
    world.run()
    world.clock.reboot()
    with claimed(world.make_run(), NAME) as held:
        set_host(world, 2 * DAY)
        assert not is_overlap_over(held)
        set_host(world, timedelta(0))
        world.advance(hours=24)
        assert is_overlap_over(held)


def test_overlap_of_another_boot_is_measured_by_the_clocks_alone() -> None:
    world = make_world()
    world.run()
    world.clock.reboot()
    world.advance(hours=24)
    assert names_of(world.run(), OutcomeKind.RETIRED) == [NAME]


def test_overlap_that_a_fast_clock_dated_begins_anew_and_ends() -> None:
    world = make_world()
    world.witnesses.ahead.clear()
    set_host(world, YEARS)
    world.rotate(NAME)
    assert world.states() == ["overlapping"]
    world.witnesses.ahead.update(azure_devops=timedelta(0), key_vault=timedelta(0))
    set_host(world, timedelta(0))
    world.run()
    until = world.rotations()[0].overlap_until
    assert until is not None
    assert until <= world.clock.now() + DAY
    world.advance(hours=24)
    assert names_of(world.run(), OutcomeKind.RETIRED) == [NAME]


def test_overlap_does_not_begin_anew_while_a_doubted_clock_knows_it_for_right() -> None:
    """The host and one service are slow alike, so the other service is doubted; then they are set right."""
    world = make_world()
    world.run()
    until = world.rotations()[0].overlap_until
    set_host(world, -400 * DAY)
    world.witnesses.ahead["azure_devops"] = -400 * DAY
    world.run()
    set_host(world, timedelta(0))
    world.witnesses.ahead["azure_devops"] = timedelta(0)
    world.run()
    assert (world.states(), world.rotations()[0].overlap_until) == (["overlapping"], until)


def test_overlap_that_begins_anew_is_measured_by_the_boot_clock_from_then_on() -> None:
    """The host is set two days ahead then, and nobody is heard: consumers have had the value for no time at all."""
    world = make_world()
    world.witnesses.ahead.clear()
    set_host(world, YEARS)
    world.rotate(NAME)
    world.advance(hours=30)
    world.witnesses.ahead.update(azure_devops=timedelta(0), key_vault=timedelta(0))
    set_host(world, timedelta(0))
    world.run()
    world.witnesses.ahead.clear()
    with claimed(world.make_run(), NAME) as held:
        set_host(world, 2 * DAY)
        assert not is_overlap_over(held)


def test_claim_of_a_clock_that_was_years_ahead_is_over_after_its_lease() -> None:
    world = make_world()
    set_host(world, YEARS)
    with claimed(world.make_run(), NAME):
        set_host(world, timedelta(0))
        with pytest.raises(ClaimHeldError), claimed(world.make_run(), NAME):
            pass
        world.advance(minutes=5)
        with claimed(world.make_run(), NAME):
            pass


def test_claim_of_another_host_whose_clock_was_years_ahead_binds_nobody() -> None:
    world = make_world()
    set_host(world, YEARS)
    with claimed(world.make_run(), NAME):
        set_host(world, timedelta(0))
        world.clock.reboot()
        with claimed(world.make_run(), NAME):
            pass


def test_claim_holds_when_the_clock_is_set_forward() -> None:
    """An hour passes for nobody: the boot clock knows."""
    world = make_world()
    with claimed(world.make_run(), NAME) as held:
        set_host(world, HOUR)
        held.check_claim()
        with pytest.raises(ClaimHeldError), claimed(world.make_run(), NAME):
            pass


def test_claim_is_over_when_the_host_was_suspended_and_its_clock_set_back() -> None:
    world = make_world()
    with claimed(world.make_run(), NAME) as held:
        world.advance(minutes=6)
        set_host(world, timedelta(minutes=-6))
        with pytest.raises(ClaimLostError):
            held.check_claim()


def test_request_that_a_fast_clock_dated_settles_within_its_time() -> None:
    world = make_world()
    world.witnesses.ahead.clear()
    set_host(world, YEARS)
    world.pats.postpone_mint()
    world.rotate(NAME)
    world.witnesses.ahead.update(azure_devops=timedelta(0), key_vault=timedelta(0))
    set_host(world, timedelta(0))
    assert NAME in names_of(world.run(), OutcomeKind.SETTLING)
    world.advance(minutes=11)
    world.run()
    assert sorted(world.states()) == ["abandoned", "overlapping"]


def test_write_to_the_vault_gets_its_whole_time_when_the_clock_is_set_back_just_before_it() -> None:
    """By the host's clock it was sent ten minutes before it was."""
    world = make_world()
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    world.database.interrupts["verified"] = lambda: set_host(world, timedelta(minutes=-10))
    world.run()
    clone = world.live_ids()[-1]
    world.heal()
    world.advance(minutes=2)
    assert NAME in names_of(world.run(), OutcomeKind.SETTLING)
    set_host(world, timedelta(minutes=10))
    with pytest.raises(ClockSkewError):
        world.run()
    set_host(world, timedelta(0))
    world.run()
    assert clone in world.live_ids()
    assert world.secrets.apply_late() == 1
    world.run()
    assert world.record().authorization_id == clone
    world.check_served()
    world.finish()


def test_overlap_of_nothing_is_over_although_services_tell_whole_seconds_only() -> None:
    world = make_world(policy=make_policy(replace(RULE, overlap=timedelta(0))))
    world.witnesses.ahead = dict.fromkeys(world.witnesses.ahead, -timedelta(seconds=1))
    assert names_of(world.run(), OutcomeKind.RETIRED) == [NAME]
    assert world.states() == ["completed"]


def test_doubt_about_a_clock_tells_by_how_much_and_whose_it_is() -> None:
    world = make_world()
    world.witnesses.ahead["entra"] = -3 * DAY
    world.run()
    world.witnesses.ahead["entra"] = timedelta(0)
    world.run()
    told = [(name, line["clock"], line.get("seconds")) for name, line in world.told if name.startswith("clock_")]
    assert told == [("clock_doubted", "entra", -259200), ("clock_confirmed", "entra", None)]


def test_witness_that_agrees_with_those_that_doubt_the_host_is_no_longer_doubted() -> None:
    """Only one of both can be wrong."""
    world = make_world()
    world.witnesses.ahead["entra"] = -3 * DAY
    world.run()
    world.witnesses.ahead["entra"] = timedelta(0)
    set_host(world, DAY)
    with pytest.raises(ClockSkewError):
        world.run()
    assert list_clocks(world) == ["host"]


@pytest.mark.parametrize("ahead", ["host", "database", "key_vault"])
def test_latest_moment_is_told_by_whichever_clock_is_furthest_ahead(ahead: str) -> None:
    world = make_world()
    if ahead == "host":
        world.host_clock.ahead = DAY
    elif ahead == "database":
        world.database.skew = DAY
    else:
        world.witnesses.ahead[ahead] = DAY
    with world.database.read() as reading:
        assert find_latest(world.make_run(), reading) == world.clock.now() + DAY


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (timedelta(0), False),
        (timedelta(seconds=1), True),
        (timedelta(hours=6) - timedelta(seconds=1), True),
        (timedelta(hours=6), False),
    ],
)
def test_pat_cannot_wait_for_the_clock_when_it_has_less_than_six_hours(left: timedelta, expected: bool) -> None:
    world = make_world()
    assert is_urgent(world.record(), world.record().valid_to - left) == expected


@pytest.mark.parametrize(
    ("offset", "said"),
    [
        (timedelta(minutes=1), "clock is wrong;"),
        (timedelta(minutes=2), "2m slow"),
        (timedelta(minutes=-2), "2m fast"),
    ],
)
def test_error_about_the_clock_says_how_wrong_it_is(offset: timedelta, said: str) -> None:
    assert said in make_skew_error(Verdict(offset, (), (), {})).message


def test_run_that_is_reckoned_by_the_witnesses_revokes_nothing() -> None:
    world = make_world()
    set_host(world, 2 * DAY)
    run = world.make_run()
    reckoned = next(reckon(run, notice_clocks(run)))
    check_clocks(reckoned, revokes=False)
    with pytest.raises(ClockSkewError):
        check_clocks(reckoned, revokes=True)


def test_clone_is_not_given_up_by_the_witnesses_time() -> None:
    world = make_world("other")
    world.forget("other")
    world.add_managed(NAME, days_left=0.2)
    world.run_and_die(after="minted")
    world.advance(minutes=6)
    set_host(world, 2 * DAY)
    with pytest.raises(ClockSkewError):
        world.run()
    assert world.revoked_ids() == []
    set_host(world, timedelta(0))
    world.run()
    assert world.revoked_ids() == [world.rotations()[0].new_authorization_id]


def test_what_cannot_wait_is_rotated_when_the_clock_is_set_days_slow_in_the_middle_of_the_run() -> None:
    """By the host's clock the second one is not due yet when its turn comes."""
    world = make_world("a", "b")
    world.clock.advance(world.record("a").valid_to - world.clock.now() - 3 * HOUR)
    world.database.interrupts["planned"] = lambda: set_host(world, -20 * DAY)
    report = world.run()
    assert sorted(names_of(report, OutcomeKind.ROTATED)) == ["a", "b"]
    assert list_clocks(world) == ["host"]
    set_host(world, timedelta(0))
    for name in ("a", "b"):
        world.finish(name)


def test_what_cannot_wait_is_rotated_when_a_fast_clock_is_set_right_in_the_middle_of_the_run() -> None:
    """What was to be added to the host's clock makes it wrong then: the mint that was planned by it is not sent."""
    world = make_world("a", "b")
    world.clock.advance(world.record("a").valid_to - world.clock.now() - 3 * HOUR)
    set_host(world, 2 * DAY)
    world.database.interrupts["planned"] = lambda: set_host(world, timedelta(0))
    with pytest.raises(RunSkewedError, match="a rotated, b rotated") as caught:
        world.run()
    assert names_of(caught.value.report, OutcomeKind.ROTATED) == ["a", "b"]
    for name in ("a", "b"):
        world.finish(name)


@pytest.mark.parametrize("field", ["since", "requested_at", "missed_at"])
def test_pending_revocation_with_one_moment_ahead_of_every_clock_is_dated_anew(field: str) -> None:
    """Also where it was requested again since, by a clock that was right."""
    world = make_world()
    now = world.clock.now()
    pat = world.record()
    place = (pat.account, pat.organization, pat.vault, pat.secret_name)
    dated: dict[str, Any] = dict.fromkeys(("since", "requested_at", "missed_at"), now - HOUR)
    moved: dict[str, Any] = {field: now + YEARS}
    pending = PendingRevocation("old", NAME, *place, RevocationKind.ROTATED, now + DAY, **dated)
    with world.database.begin() as work:
        claim = work.claims.claim(NAME, "test", now=work.now(), span=HOUR)
        work.revocations.save(replace(pending, **moved), claim)
        work.claims.release(claim)
    redate(world.make_run())
    with world.database.read() as reading:
        [found] = reading.revocations.load()
    healed: dict[str, Any] = {field: now}
    assert found == replace(pending, **healed)


def test_pending_revocation_that_was_dated_right_is_not_written() -> None:
    world = make_world()
    begun = world.database.begun
    redate(world.make_run())
    assert world.database.begun == begun
