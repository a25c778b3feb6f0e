"""A pause of everything: it holds back mints and revocations alone, yields to nothing, and is reported meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rotator.cli.output.inventory import render_record
from rotator.cli.output.plan import render_plan
from rotator.cli.output.report import render_done
from rotator.cli.output.status import list_status_rows, render_status_head
from rotator.documents.report import make_report_document
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event
from rotator.domain.events.rotations import RotationPlanned
from rotator.domain.next_step import NextAction
from rotator.domain.plan import ActionKind, ActionReason
from rotator.domain.policy import Guardrails, LeakAction
from rotator.engine.alarm import Alarm, Cause, Tolerance, judge
from rotator.engine.keeping import pause, resume, revoke_previous
from rotator.engine.overview import view_record, view_status
from rotator.engine.pausing import pause_all, resume_all
from rotator.engine.planning import make_plan
from rotator.engine.report import OutcomeKind, OutcomeReason
from rotator.engine.run import run_once, work_on_due
from rotator.engine.status import PatState
from tests.support.engine import NAME, OVERLAP, EngineWorld, make_world, names_of
from tests.support.engine_scenarios import make_busy
from tests.support.policies import RULE, make_policy

CHANGES = ("mint", "store", "revoke")


def count_changes(world: EngineWorld) -> int:
    """How many mints, writes and revocations there were."""
    return sum(map(world.count, CHANGES))


def list_lasting(world: EngineWorld) -> set[tuple[ConditionKind, str]]:
    """What lasts."""
    with world.database.read() as reading:
        return {(found.kind, found.subject) for found in reading.conditions.load()}


def test_nothing_is_minted_or_revoked_until_everything_is_resumed() -> None:
    world = make_world("due", "overlapping")
    world.rotate("overlapping")
    done = pause_all(world.make_run())
    assert done.is_news
    assert [pat.name for pat in done.expiring] == ["due", "overlapping"]
    before = count_changes(world)
    world.advance(hours=25)
    report = world.run()
    assert (report.outcomes, count_changes(world)) == ((), before)
    actions = {action.pat.name: action for action in make_plan(world.make_run()).actions}
    assert {(action.kind, action.reason) for action in actions.values()} == {(ActionKind.WAIT, ActionReason.ALL_PAUSED)}
    assert actions["due"].held_until is None
    rows = {row.name: row for row in world.show_status()}
    assert (rows["due"].state, rows["due"].next_action, rows["due"].next_at) == (PatState.PAUSED, NextAction.NONE, None)
    held = make_report_document(report, make_plan(world.make_run()).actions)["held"]
    assert {(item["name"], item["reason"]) for item in held} == {("due", "all_paused"), ("overlapping", "all_paused")}
    assert resume_all(world.make_run()).is_news
    report = world.run()
    assert (names_of(report, OutcomeKind.ROTATED), names_of(report, OutcomeKind.RETIRED)) == (["due"], ["overlapping"])
    assert world.events("inventory") == ["all_paused unknown", "all_resumed succeeded"]


def test_pause_does_not_yield_near_the_expiry_and_each_pat_that_will_expire_is_told() -> None:
    world = make_world()
    pause_all(world.make_run())
    world.advance(days=4)
    world.run()
    assert world.count("mint") == 0
    assert list_lasting(world) >= {(ConditionKind.ALL_PAUSED, "inventory"), (ConditionKind.PAT_EXPIRING, NAME)}
    world.advance(days=2)
    world.run()
    assert world.count("mint") == 0
    resume_all(world.make_run())
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    assert list_lasting(world) == set()


def test_status_says_it_first_and_its_check_is_red() -> None:
    world = make_world()
    world.run()
    pause_all(world.make_run())
    now, timing = world.clock.now(), world.timing
    view = view_status(world.database, world.policy, now, settle=timing.settle, lease=timing.lease)
    head = next(render_status_head(view.runs, view.conditions, now))
    assert head == "Everything is paused since 2026-11-27 09:00Z, until `rotator inventory resume --all`."
    findings = view.check(view.rows, (), (), Tolerance(timedelta(days=1)))
    assert judge(findings) is Alarm.ATTENTION
    assert ("all_paused inventory",) in [item.subjects for item in findings if item.cause is Cause.FOR_PERSON]
    world.advance(days=24)
    late = view_status(world.database, world.policy, world.clock.now(), settle=timing.settle, lease=timing.lease)
    found = late.check(late.rows, (), (), Tolerance(timedelta(days=90)))
    assert NAME in [name for item in found if item.cause is Cause.EXPIRING for name in item.subjects]


def test_recovery_goes_on_while_everything_is_paused() -> None:
    world = make_world()
    world.run_and_die(after="minted")
    pause_all(world.make_run())
    world.advance(minutes=11)
    assert names_of(world.run(), OutcomeKind.ABANDONED) == [NAME]
    assert (world.count("mint"), world.count("revoke")) == (1, 1)
    world.check_rest()


def test_pat_that_is_adopted_meanwhile_is_paused_too() -> None:
    world = make_world()
    pause_all(world.make_run())
    world.add_managed("newcomer", days_left=1)
    world.run()
    assert world.count("mint") == 0
    resume_all(world.make_run())
    assert names_of(world.run(), OutcomeKind.ROTATED) == ["newcomer", NAME]


def test_pause_by_name_survives_the_end_of_the_pause_of_everything() -> None:
    world = make_world("by-name", NAME)
    pause(world.make_run(), "by-name")
    pause_all(world.make_run())
    assert not pause_all(world.make_run()).is_news
    resume_all(world.make_run())
    assert not resume_all(world.make_run()).is_news
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    resume(world.make_run(), "by-name")
    assert names_of(world.run(), OutcomeKind.ROTATED) == ["by-name"]


def test_person_may_still_act_by_hand_and_the_audit_log_says_despite_what() -> None:
    world = make_world()
    pause_all(world.make_run())
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]
    assert world.told[-1][0] == "overlap_started"
    planned = [line for event, line in world.told if event == "rotation_planned"]
    assert [line["despite"] for line in planned] == ["all_paused"]
    revoke_previous(world.make_run(), NAME)
    assert world.count("revoke") == 1


def test_pause_that_comes_right_before_the_mint_is_heeded() -> None:
    world = make_world()

    run = world.make_run()

    def pause_meanwhile(event: Event, subject: str) -> None:
        run.progress(event, subject)
        if isinstance(event, RotationPlanned):
            pause_all(world.make_run())

    report = world.watch(lambda: run_once(replace(run, progress=pause_meanwhile)))
    assert [outcome.reason for outcome in report.of_kind(OutcomeKind.HELD)] == [OutcomeReason.ALL_PAUSED]
    assert (world.count("mint"), world.states()) == (0, ["abandoned"])
    resume_all(world.make_run())
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]


def test_pat_that_vanishes_meanwhile_is_told_and_not_replaced() -> None:
    world = make_world(policy=make_policy(replace(RULE, overlap=OVERLAP, on_leak=LeakAction.ROTATE)))
    pause_all(world.make_run())
    world.pats.pats[world.record().authorization_id].revoked = True
    world.run()
    assert world.count("mint") == 0
    assert (ConditionKind.PAT_VANISHED, NAME) in list_lasting(world)


def test_queue_has_nothing_to_do_while_everything_is_paused_and_goes_on_at_once() -> None:
    world = make_world()
    world.pats.fail("fetch_pat", make_busy())
    world.run()
    pause_all(world.make_run())
    world.advance(hours=7)
    assert work_on_due(world.make_run()).outcomes == ()
    with world.database.read() as reading:
        assert reading.queue.load_due(world.clock.now()) == ()
    resume_all(world.make_run())
    assert names_of(world.watch(lambda: work_on_due(world.make_run())), OutcomeKind.ROTATED) == [NAME]


def test_words_of_a_pause_name_the_command_that_ends_it_and_no_date() -> None:
    """Its end is no moment that anybody knows: neither a revocation nor a rotation has a date."""
    world = make_world("due", NAME, "by-name")
    pause(world.make_run(), "by-name")
    run = replace(world.make_run(), reason="audit week")
    pause_all(run)
    report = world.rotate(NAME)
    assert list(render_done(report, world.clock.now())) == [
        f"rotated  {NAME}  (contoso): the old PAT stays valid until you run `rotator inventory resume --all`; "
        "everything is paused, but this did not wait"
    ]
    assert "revoke_after" not in make_report_document(report)["rotated"][0]
    for _ in range(2):
        head, *lines = render_plan(make_plan(world.make_run()))
        assert head == "Everything is paused: 2 PATs wait until `rotator inventory resume --all`."
        for name in ("due", NAME):
            [line] = [line for line in lines if f" {name} " in line]
            assert line.endswith("(everything is paused; continues after `rotator inventory resume --all`)")
        rows = {row.name: row for row in world.show_status()}
        assert [(rows[name].next_action, rows[name].next_at) for name in ("due", NAME)] == [(NextAction.NONE, None)] * 2
        shown = {row[0]: row[-1] for row in list_status_rows(rows.values(), world.clock.now())}
        assert shown == {"due": "after resume --all", NAME: "after resume --all", "by-name": "after resume by-name"}
        world.advance(hours=25)
    now, timing = world.clock.now(), world.timing
    view = view_status(world.database, world.policy, now, settle=timing.settle, lease=timing.lease)
    why = "everything is paused since 2026-11-27 09:00Z (audit week), until `rotator inventory resume --all`"
    head = next(render_status_head(view.runs, view.conditions, now, pause_reason=view.pause_reason))
    assert head == f"E{why[1:]}."
    assert f"pause:            {why}" in list(render_record(view_record(world.database, world.policy, NAME, now), now))
    resume_all(world.make_run())
    assert next(iter(render_plan(make_plan(world.make_run())))).startswith("~ due")
    seen = view_record(world.database, world.policy, NAME, now)
    assert (seen.pause, seen.pause_reason) == (None, None)


def test_what_the_policy_forbids_is_blocked_for_status_and_plan_although_everything_is_paused() -> None:
    """The end of the pause would change nothing for it: a person has to act before and after."""
    world = make_world("denied", policy=make_policy(RULE, guardrails=Guardrails(deny_scopes=("vso.code",))))
    for act in (pause_all, resume_all):
        act(world.make_run())
        rows = {row.name: row for row in world.show_status()}
        kinds = {action.pat.name: action.kind for action in make_plan(world.make_run()).actions}
        assert (rows["denied"].state, kinds["denied"]) == (PatState.BLOCKED, ActionKind.BLOCKED)
        assert not rows["denied"].waits_for_all


def test_plan_says_first_that_everything_is_paused_although_nothing_waits() -> None:
    world = make_world("other")
    world.forget("other")
    world.add_managed(NAME, days_left=25)
    pause_all(world.make_run())
    head = next(iter(render_plan(make_plan(world.make_run()))))
    assert head == "Everything is paused: no run rotates or revokes until `rotator inventory resume --all`."


def test_rotation_by_hand_of_a_pat_that_is_paused_by_name_says_that_it_stays_paused() -> None:
    world = make_world()
    pause(world.make_run(), NAME)
    report = world.rotate(NAME)
    assert f"it stays paused until `rotator inventory resume {NAME}`" in "".join(render_done(report, world.clock.now()))
