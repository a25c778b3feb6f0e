"""Windows and change freezes: what they hold back, until when, what they never hold back, and when they yield."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import count
from zoneinfo import ZoneInfo

import pytest

from rotator.cli.output.plan import render_plan
from rotator.cli.output.report import render_done
from rotator.documents.plan import make_plan_document
from rotator.documents.report import make_report_document
from rotator.domain.next_step import NextAction
from rotator.domain.plan import Action, ActionKind, ActionReason
from rotator.domain.policy import LeakAction, RuleAction
from rotator.domain.threshold import Threshold
from rotator.domain.timetable import ChangeFreeze, Timetable, Window
from rotator.engine.auditing import load_events
from rotator.engine.exit_codes import find_code_of_report
from rotator.engine.jobs import find_next_moment
from rotator.engine.keeping import revoke_current, revoke_previous
from rotator.engine.planning import find_freezes, make_plan
from rotator.engine.report import OutcomeKind, OutcomeReason, PatOutcome, RunReport
from rotator.engine.run import work_on_due, work_on_named
from rotator.engine.status import PatStatus
from rotator.engine.updating import make_change, update
from rotator.errors import RotatorError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.pat_service import PatList
from tests.support.engine import NAME, EngineWorld, make_world, names_of
from tests.support.engine_scenarios import make_busy
from tests.support.policies import RULE, make_policy

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
"""A Friday; the PAT expires on Wednesday at this time, and is near its expiry from Sunday at this time on."""
OPENING, CLOSING = datetime(2026, 11, 28, 21, 0, tzinfo=UTC), datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
SATURDAY = Window((5,), time(22), time(4), ZoneInfo("Europe/Berlin"))
NEAR, EXPIRY = datetime(2026, 11, 29, 9, 0, tzinfo=UTC), datetime(2026, 12, 2, 9, 0, tzinfo=UTC)
FREEZE = ChangeFreeze(NOW - timedelta(days=1), NOW + timedelta(days=40), "end of the year")
HOUR = timedelta(hours=1)


def make_held(
    timetable: Timetable, *, overlap: timedelta = HOUR, days_left: float = 5, threshold: Threshold = RULE.rotate_before
) -> EngineWorld:
    """A world with one PAT that is due, of a rule with a timetable."""
    rule = replace(RULE, overlap=overlap, timetable=timetable, rotate_before=threshold)
    world = make_world("other", policy=make_policy(rule))
    world.forget("other")
    world.add_managed(NAME, days_left=days_left)
    return world


def go_to(world: EngineWorld, moment: datetime) -> None:
    """Let time pass until then."""
    world.clock.advance(moment - world.clock.now())


def plan(world: EngineWorld) -> Action:
    """What a run would do with the PAT."""
    [action] = make_plan(world.make_run()).actions
    return action


def find_row(world: EngineWorld) -> PatStatus:
    """How the PAT stands."""
    return next(row for row in world.show_status() if row.name == NAME)


def find_despite(world: EngineWorld, event: str) -> object:
    """What the last such event says that it did not wait for."""
    *_, last = load_events(world.database, AuditFilter(event=event))
    return last.entry.details.get("despite")


def find_due_at(world: EngineWorld) -> object:
    """From when on the policy asked for the last rotation, as its event says; an event without it is a KeyError."""
    *_, last = load_events(world.database, AuditFilter(event="rotation_planned"))
    return last.entry.details["due_at"]


def test_nothing_is_minted_before_the_window_opens_and_everything_says_when_that_is() -> None:
    world = make_held(Timetable((SATURDAY,)))
    report = world.run()
    assert (report.outcomes, world.count("mint"), world.events()) == ((), 0, [])
    action = plan(world)
    assert (action.kind, action.reason) == (ActionKind.WAIT, ActionReason.OUTSIDE_WINDOWS)
    assert (action.held_until, action.lacks_window) == (OPENING, False)
    row = find_row(world)
    assert (row.state, row.next_action, row.next_at) == ("due", NextAction.ROTATE, OPENING)
    [held] = make_report_document(report, make_plan(world.make_run()).actions)["held"]
    assert (held["name"], held["reason"], held["held_until"]) == (NAME, "outside_windows", "2026-11-28T21:00:00Z")
    moment = find_next_moment(world.make_run())
    assert moment is not None
    assert OPENING <= moment < OPENING + timedelta(seconds=10)
    go_to(world, OPENING - timedelta(seconds=1))
    assert work_on_due(world.make_run()).outcomes == ()
    go_to(world, OPENING)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    assert find_despite(world, "rotation_planned") is None
    assert find_due_at(world) == OPENING.isoformat()


@pytest.mark.parametrize(("days_left", "due_at"), [(5, NOW - timedelta(days=2.5)), (20, None)])
@pytest.mark.parametrize("is_by_hand", [True, False])
def test_rotation_says_from_when_on_the_policy_asked_for_it(
    days_left: float, due_at: datetime | None, is_by_hand: bool
) -> None:
    """Who orders one that is due anyway does not hide how late it is."""
    world = make_held(Timetable(()), days_left=days_left)
    if is_by_hand:
        world.rotate(NAME)
    elif due_at is not None:
        world.run()
    else:
        update(world.make_run(), make_change(NAME, display_name=None, scopes=("vso.code",), lifetime=None))
    assert find_due_at(world) == (None if due_at is None else due_at.isoformat())


def test_old_pat_is_not_revoked_before_the_next_window_opens() -> None:
    world = make_held(Timetable((SATURDAY,)), overlap=12 * HOUR, days_left=15)
    world.policy = make_policy(replace(world.policy.rules[0], rotate_before=replace(RULE.rotate_before, share=0.5)))
    go_to(world, OPENING)
    world.run()
    go_to(world, OPENING + 13 * HOUR)
    assert world.run().outcomes == ()
    next_week = OPENING + timedelta(days=7)
    action = plan(world)
    assert (action.kind, action.held_until, action.retires_at) == (ActionKind.WAIT, next_week, next_week)
    row = find_row(world)
    assert (row.state, row.next_action, row.next_at) == ("overlapping", NextAction.RETIRE, next_week)
    report = world.watch(lambda: work_on_named(world.make_run(), [NAME]))
    assert find_held(report) == [OutcomeReason.OUTSIDE_WINDOWS]
    assert [outcome.held_until for outcome in report.outcomes] == [next_week]
    assert world.count("revoke") == 0
    go_to(world, next_week)
    assert names_of(world.run(), OutcomeKind.RETIRED) == [NAME]
    assert world.count("revoke") == 1
    world.check_rest()


def test_old_pat_that_expires_ends_the_overlap_without_a_window() -> None:
    world = make_held(Timetable((SATURDAY,)), overlap=12 * HOUR)
    go_to(world, OPENING)
    world.run()
    assert find_row(world).next_at == EXPIRY
    go_to(world, EXPIRY)
    world.run()
    assert (world.count("revoke"), world.states()) == (0, ["completed"])


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize("hiding", [0, 1])
def test_old_pat_has_not_expired_while_one_of_two_lists_may_hide_it(hiding: int, is_named: bool) -> None:
    world = make_held(Timetable(), overlap=timedelta(days=6))
    old = world.record().authorization_id
    world.run()
    go_to(world, EXPIRY)
    looks = count()
    world.pats.change_listed = lambda pats: PatList(
        list(pats), [old if is_named else ""] if next(looks) == hiding else []
    )
    world.run()
    assert world.states() == ["overlapping"]
    world.pats.change_listed = None
    world.run()
    assert (world.count("revoke"), world.states()) == (0, ["completed"])


@pytest.mark.parametrize(
    ("timetable", "by"),
    [
        (Timetable((Window((3,), time(1), time(2), ZoneInfo("UTC")),)), "outside_windows"),
        (Timetable((), (FREEZE,)), "change_freeze"),
        (Timetable((SATURDAY,), (FREEZE,)), "change_freeze"),
    ],
)
def test_window_and_freeze_yield_near_the_expiry_and_both_outcome_and_audit_say_so(
    timetable: Timetable, by: str
) -> None:
    world = make_held(timetable)
    world.run()
    action = plan(world)
    assert (action.kind, action.held_until, action.lacks_window) == (ActionKind.WAIT, NEAR, True)
    assert find_row(world).next_at == NEAR
    go_to(world, NEAR - timedelta(seconds=1))
    assert work_on_due(world.make_run()).outcomes == ()
    go_to(world, NEAR)
    assert plan(world).kind is ActionKind.ROTATE
    line = next(iter(render_plan(make_plan(world.make_run()))))
    assert line.endswith(", but does not wait)")
    report = world.watch(lambda: work_on_due(world.make_run()))
    [outcome] = report.outcomes
    assert outcome.kind is OutcomeKind.ROTATED
    [said] = render_done(report, world.clock.now())
    assert said.endswith(", but this did not wait")
    assert make_report_document(report)["rotated"][0]["despite"] == by
    assert find_despite(world, "rotation_planned") == by


def test_plan_shows_a_pat_without_a_window_before_its_expiry_long_before_it_is_due() -> None:
    world = make_held(Timetable((), (replace(FREEZE, begins=NOW + timedelta(days=10)),)), days_left=20)
    action = plan(world)
    near = NOW + timedelta(days=17)
    assert (action.kind, action.lacks_window, action.held_until) == (ActionKind.NONE, True, near)
    lines = list(render_plan(make_plan(world.make_run())))
    assert lines[1] == (
        "    its change freeze (end of the year) lasts too long: it will be rotated 2026-12-14 09:00Z all the same"
    )
    [document] = make_plan_document(make_plan(world.make_run()))["actions"]
    assert (document["lacks_window"], document["held_until"]) == (True, "2026-12-14T09:00:00Z")
    world.policy = make_policy(replace(RULE, timetable=Timetable((SATURDAY,))))
    assert not plan(world).lacks_window


def test_recovery_does_not_wait_for_a_window() -> None:
    world = make_held(Timetable((SATURDAY,)))
    go_to(world, OPENING)
    world.run_and_die(after="minted")
    go_to(world, CLOSING)
    report = world.run()
    assert names_of(report, OutcomeKind.ABANDONED) == [NAME]
    assert world.count("revoke") == 1
    assert find_held(report) == [OutcomeReason.OUTSIDE_WINDOWS]
    assert world.count("mint") == 1


def find_held(report: RunReport) -> list[object]:
    """Why each was left alone."""
    return [outcome.reason for outcome in report.of_kind(OutcomeKind.HELD)]


def test_revocation_that_was_asked_for_is_repeated_without_a_window() -> None:
    world = make_held(Timetable((SATURDAY,)))
    go_to(world, OPENING)
    world.run()
    go_to(world, OPENING + HOUR)
    world.pats.fail("revoke", make_busy())
    world.run()
    assert world.states() == ["retiring"]
    go_to(world, CLOSING + HOUR)
    world.run()
    assert world.states() == ["completed"]
    world.check_rest()


def test_pat_that_vanished_is_replaced_without_a_window() -> None:
    world = make_held(Timetable((SATURDAY,)), days_left=20)
    world.policy = make_policy(replace(world.policy.rules[0], on_leak=LeakAction.ROTATE))
    world.run()
    world.pats.pats[world.record().authorization_id].revoked = True
    world.pats.fail("mint", make_busy())
    assert names_of(world.run(), OutcomeKind.FAILED) == [NAME]
    world.advance(minutes=10)
    report = world.run()
    assert [outcome.reason for outcome in report.of_kind(OutcomeKind.ROTATED)] == [OutcomeReason.VANISHED]
    assert find_despite(world, "rotation_planned") == "outside_windows"
    assert find_due_at(world) is None
    world.run()
    assert world.states() == ["abandoned", "completed"]


def test_person_is_not_held_back_and_is_told_of_a_freeze() -> None:
    world = make_held(Timetable((), (FREEZE,)), overlap=12 * HOUR)
    assert find_freezes(world.make_run(), [NAME]) == ((NAME, FREEZE),)
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]
    assert find_despite(world, "rotation_planned") == "change_freeze"
    revoke_previous(world.make_run(), NAME)
    assert find_despite(world, "revoke_started") == "change_freeze"
    change = make_change(NAME, display_name=None, scopes=("vso.code",), lifetime=None)
    assert names_of(world.watch(lambda: update(world.make_run(), change)), OutcomeKind.ROTATED) == [NAME]
    revoke_previous(world.make_run(), NAME)
    revoke_current(world.make_run(), NAME)
    assert find_despite(world, "revoke_started") == "change_freeze"


def test_plan_says_which_freeze_the_end_of_an_overlap_no_longer_waits_for() -> None:
    """The new PAT is about to be rotated itself."""
    world = make_held(Timetable((), (FREEZE,)), days_left=29)
    world.rotate(NAME)
    world.advance(days=20)
    waiting = plan(world)
    assert waiting.held_back is not None
    assert (waiting.kind, waiting.held_back.by.value, waiting.despite) == (ActionKind.WAIT, "change_freeze", None)
    world.advance(days=8)
    action = plan(world)
    assert action.despite is not None
    assert (action.kind, action.held_back, action.despite.by.value) == (ActionKind.RETIRE, None, "change_freeze")


def test_update_that_was_interrupted_is_finished_without_a_window() -> None:
    world = make_held(Timetable((SATURDAY,)), days_left=20)
    world.pats.fail("mint", make_busy())
    change = make_change(NAME, display_name=None, scopes=("vso.code",), lifetime=None)
    world.watch(lambda: update(world.make_run(), change))
    world.advance(hours=1)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]


def test_failure_is_tried_again_in_the_next_window() -> None:
    world = make_held(Timetable((SATURDAY,)), days_left=12)
    world.policy = make_policy(replace(world.policy.rules[0], rotate_before=replace(RULE.rotate_before, share=0.5)))
    go_to(world, CLOSING - timedelta(minutes=1))
    world.pats.fail("fetch_pat", make_busy())
    assert names_of(world.run(), OutcomeKind.FAILED) == [NAME]
    next_week = OPENING + timedelta(days=7)
    assert find_row(world).next_at is not None
    go_to(world, CLOSING)
    assert (plan(world).held_until, find_row(world).next_at) == (next_week, next_week)
    go_to(world, next_week)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]


def test_run_that_only_left_something_for_a_window_ends_with_0_and_not_as_locked() -> None:
    world = make_held(Timetable((SATURDAY,)))
    report, back = RunReport("run-1"), plan(world).held_back
    assert back is not None
    report.add(PatOutcome.of(OutcomeKind.HELD, world.record(), held_back=back, held_until=OPENING))
    assert find_code_of_report(report) == 0


@pytest.mark.parametrize("overlap", [timedelta(0), HOUR])
def test_old_pat_without_an_overlap_is_revoked_with_the_rotation_that_does_not_wait(overlap: timedelta) -> None:
    world = make_held(Timetable((), (FREEZE,)), overlap=overlap)
    go_to(world, NEAR)
    world.run()
    assert (world.count("mint"), world.count("revoke")) == (1, 0 if overlap else 1)


def test_window_does_not_make_the_overlap_outlast_the_old_pat() -> None:
    """The last window before the overlap no longer fits opens too late, and the plan says so days ahead."""
    friday, overlap = Window((4,), time(22), time(23), ZoneInfo("UTC")), timedelta(days=5)
    world = make_held(Timetable((friday,)), overlap=overlap, days_left=9.8)
    saturday = NOW + timedelta(days=1)
    go_to(world, saturday)
    assert plan(world).lacks_window
    old = world.record()
    last_call = old.valid_to - overlap - timedelta(hours=6)
    assert (plan(world).held_until, find_row(world).next_at) == (last_call, last_call)
    go_to(world, last_call - timedelta(seconds=1))
    assert work_on_due(world.make_run()).outcomes == ()
    go_to(world, last_call)
    assert names_of(work_on_due(world.make_run()), OutcomeKind.ROTATED) == [NAME]
    assert find_despite(world, "rotation_planned") == "outside_windows"
    assert world.clock.now() + overlap < old.valid_to


def test_window_holds_nothing_back_where_the_overlap_is_longer_than_a_pat_is_due() -> None:
    """It is never minted before it is due, and then at once: there is no time to wait."""
    friday = Window((4,), time(22), time(23), ZoneInfo("UTC"))
    threshold = Threshold(duration=timedelta(days=7.5))
    world = make_held(Timetable((friday,)), overlap=timedelta(days=9), days_left=8, threshold=threshold)
    due = world.record().valid_to - timedelta(days=7.5)
    go_to(world, due - timedelta(seconds=1))
    assert work_on_due(world.make_run()).outcomes == ()
    go_to(world, due)
    assert names_of(work_on_due(world.make_run()), OutcomeKind.ROTATED) == [NAME]


def test_change_freeze_without_end_beside_windows_does_not_stop_every_run() -> None:
    friday = Window((4,), time(22), time(23), ZoneInfo("Europe/Berlin"))
    forever = ChangeFreeze(NOW - timedelta(days=1), datetime(9999, 12, 31, 23, 59, tzinfo=UTC), "until further notice")
    frozen = replace(RULE, name="frozen", timetable=Timetable((friday,), (forever,)))
    frozen = replace(frozen, match=replace(frozen.match, display_name="frozen"))
    world = make_world("frozen", NAME, policy=make_policy(frozen, RULE))
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    go_to(world, NEAR)
    assert names_of(world.run(), OutcomeKind.ROTATED) == ["frozen"]


@pytest.mark.parametrize("reach", [None, ("one", "two")])
def test_window_is_not_said_to_be_missing_of_a_pat_that_cannot_be_rotated(reach: tuple[str, ...] | None) -> None:
    world = make_held(Timetable((), (FREEZE,)), days_left=20)
    assert plan(world).lacks_window
    fake = world.pats.pats[world.record().authorization_id]
    fake.pat = replace(fake.pat, target_accounts=reach)
    world.run()
    with suppress(RotatorError):
        world.rotate(NAME)
    assert plan(world).kind is ActionKind.BLOCKED
    assert not plan(world).lacks_window


def test_window_is_not_said_to_be_missing_of_a_pat_that_is_only_watched() -> None:
    world = make_held(Timetable((), (FREEZE,)), days_left=20)
    assert plan(world).lacks_window
    [rule] = world.policy.rules
    world.policy = make_policy(replace(rule, action=RuleAction.ALERT))
    assert (plan(world).kind, plan(world).lacks_window, plan(world).held_until) == (ActionKind.NONE, False, None)


def test_rotation_says_that_the_old_pat_stays_valid_until_a_window_or_the_end_of_a_freeze() -> None:
    world = make_held(Timetable((SATURDAY,)), overlap=12 * HOUR, days_left=15)
    world.policy = make_policy(replace(world.policy.rules[0], rotate_before=replace(RULE.rotate_before, share=0.5)))
    go_to(world, OPENING)
    [outcome] = world.run().outcomes
    assert outcome.overlap_until == OPENING + timedelta(days=7)
    revoke_previous(world.make_run(), NAME)
    frozen = replace(FREEZE, ends=OPENING + timedelta(days=3))
    world.policy = make_policy(replace(world.policy.rules[0], timetable=Timetable((), (frozen,))))
    [outcome] = world.rotate(NAME).outcomes
    assert outcome.overlap_until == frozen.ends
