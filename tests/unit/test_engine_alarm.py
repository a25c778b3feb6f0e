"""What makes a check red, and how a plugin of Nagios says it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import time, timedelta
from zoneinfo import ZoneInfo

import pytest

from rotator.cli.output.alarm import (
    make_figures,
    render_check,
    render_findings,
    render_plugin,
    render_unknown,
    render_warnings,
)
from rotator.cli.output.status import render_others
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.job_run import RunTimes
from rotator.domain.managed_pat import Failure
from rotator.domain.next_step import NextAction
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.domain.policy import Guardrails, RuleAction
from rotator.domain.runbook_events import list_entries
from rotator.domain.sign_in import SignInMemory
from rotator.domain.timetable import Timetable, Window
from rotator.domain.words import say_moment
from rotator.engine.alarm import Alarm, Cause, Finding, Tolerance, find_findings, judge
from rotator.engine.keeping import pause
from rotator.engine.signing_in import SignInSight, make_account_status
from rotator.engine.status import PatState, PatStatus
from rotator.errors import ConfigError, DatabaseLockedError, FailureKind, SignInRequiredError
from tests.support.engine import ACCOUNT, NAME, SCOPE, VAULT, EngineWorld, make_world
from tests.support.engine_scenarios import make_busy
from tests.support.policies import RULE, make_policy
from tests.support.records import DAY, NOW

HOUR = timedelta(hours=1)


def find(world: EngineWorld, tolerance: Tolerance | None = None, *kinds: ConditionKind) -> dict[Cause, tuple[str, ...]]:
    """Why a check is red now, a moment after a run that succeeded."""
    now = world.clock.now()
    conditions = [Condition(kind, "x", now) for kind in kinds]
    runs = RunTimes(now, now)
    found = find_findings(world.show_status(), [], conditions, runs, now, tolerance or Tolerance(3 * HOUR))
    return {finding.cause: finding.subjects for finding in found}


def make_alert_world(*, days_left: float) -> EngineWorld:
    """A world with one PAT that the policy leaves to a person."""
    world = make_world("other", policy=make_policy(replace(RULE, action=RuleAction.ALERT)))
    world.forget("other")
    world.add_managed(NAME, days_left=days_left)
    return world


def test_check_is_red_when_a_pat_is_due_for_long_and_nothing_has_begun() -> None:
    world = make_world("fresh")
    world.forget("fresh")
    world.add_managed(NAME, days_left=7.5)  # due now
    world.advance(hours=3)
    assert find(world) == {}
    world.advance(minutes=1)
    assert find(world) == {Cause.OVERDUE: (NAME,)}
    assert find(world, Tolerance(4 * HOUR)) == {}
    world.run()
    assert find(world) == {}


def test_check_is_red_when_a_pat_has_expired() -> None:
    world = make_alert_world(days_left=1)
    world.advance(days=2)
    assert find(world) == {Cause.OVERDUE: (NAME,)}


class CountedName(str):
    """A name that counts how often names are compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        CountedName.compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


def test_check_takes_no_longer_for_each_pat_when_many_are_in_trouble() -> None:
    world = make_alert_world(days_left=1)
    world.advance(days=2)
    [row] = world.show_status()
    near = replace(row, state=PatState.DUE, expires_at=world.clock.now() + DAY)
    failed = replace(near, state=PatState.FAILED, next_action=NextAction.NONE)
    kinds = (row, near, failed)
    rows = [replace(kinds[number % 3], name=CountedName(f"pat-{number}")) for number in range(600)]
    now = world.clock.now()
    found = find_findings(rows, [], (), RunTimes(now, now), now, Tolerance(3 * HOUR))
    assert {finding.cause: len(finding.subjects) for finding in found} == {
        Cause.OVERDUE: 200,
        Cause.EXPIRING: 200,
        Cause.IN_TROUBLE: 200,
    }
    assert CountedName.compared < 10 * len(rows)


def test_check_is_red_while_a_failed_rotation_waits_for_its_next_try() -> None:
    world = make_world()
    world.secrets.fail("prove_writable", make_busy("store", "key_vault"))
    world.run()
    assert [row.state for row in world.show_status()] == [PatState.FAILED]
    assert find(world) == {Cause.IN_TROUBLE: (NAME,)}


def test_pat_is_named_once_when_several_reasons_fit() -> None:
    """Overdue and about to expire, or in trouble and with a condition that says why; other conditions stay."""
    world = make_world("fresh")
    world.forget("fresh")
    world.add_managed(NAME, days_left=7.5)
    world.advance(days=2)
    assert find(world) == {Cause.OVERDUE: (NAME,)}
    world = make_world("full", policy=make_policy(RULE, guardrails=Guardrails(deny_scopes=(SCOPE.split()[0],))))
    world.run()
    now = world.clock.now()
    kinds = (ConditionKind.ROTATION_BLOCKED, ConditionKind.CLONES_ABANDONED, ConditionKind.PROBE_FAILING)
    conditions = [Condition(kind, name, now) for name in ("full", "gone") for kind in kinds]
    rows = world.show_status()
    found = find_findings(rows, [], conditions, RunTimes(now, now), now, Tolerance(3 * HOUR))
    assert {finding.cause: finding.subjects for finding in found} == {
        Cause.IN_TROUBLE: ("full",),
        Cause.FOR_PERSON: (
            "probe_failing full",
            "rotation_blocked gone",
            "clones_abandoned gone",
            "probe_failing gone",
        ),
    }


def test_revocation_is_named_once_when_its_condition_lasts_too() -> None:
    world = make_world()
    now = world.clock.now()
    since, kind = now - DAY, RevocationKind.ROTATED
    pending = PendingRevocation("id-1", NAME, ACCOUNT, "contoso", VAULT, NAME, kind, now + DAY, since, since)
    conditions = [Condition(ConditionKind.REVOCATION_PENDING, pending.authorization_id, now)]
    found = find_findings((), [pending], conditions, RunTimes(now, now), now, Tolerance(3 * HOUR))
    assert found == (Finding(Cause.UNCONFIRMED, (pending.name,)),)


@pytest.mark.parametrize(("within", "is_red"), [(7, True), (1, False), (6, True)])
def test_check_is_red_when_a_pat_is_left_to_a_person_and_expires_within_the_span(within: int, is_red: bool) -> None:
    """Due or not: no run will rotate it."""
    world = make_alert_world(days_left=5)
    found = find(world, Tolerance(3 * HOUR, timedelta(days=within)))
    assert found == ({Cause.EXPIRING: (NAME,)} if is_red else {})


def test_check_is_red_when_a_paused_pat_expires_within_the_span() -> None:
    world = make_world()
    pause(world.make_run(), NAME)
    assert find(world) == {Cause.EXPIRING: (NAME,)}
    assert find(world, Tolerance(3 * HOUR, DAY)) == {}


def test_check_is_red_when_others_go_first_until_a_pat_has_expired() -> None:
    """The pace of the guardrails: one in each hour, and none now."""
    world = make_world("a", "b", "c")
    for name in ("a", "b", "c"):
        world.forget(name)
        world.add_managed(f"{name}-short", days_left=2.5 / 24)
    tolerance = Tolerance(1000 * DAY, places=0, per_hour=1)
    assert find(world, tolerance) == {Cause.EXPIRING: ("c-short",)}
    assert find(world, replace(tolerance, places=1)) == {}


@pytest.mark.parametrize("kind", [ConditionKind.ORGANIZATION_DOWN, ConditionKind.ACCOUNT_DOWN])
def test_check_is_red_when_an_account_or_organization_is_down(kind: ConditionKind) -> None:
    assert find(make_world("a", policy=make_policy(replace(RULE, action=RuleAction.IGNORE))), None, kind) == {
        Cause.DOWN: ("x",)
    }


def test_sign_in_is_the_only_cause_of_what_waits_for_it_alone() -> None:
    """Also of what has expired since. With anything else it is not the only one."""
    world = make_world()
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("revoked", account=ACCOUNT, code="sign_in_revoked")
    world.run()
    world.advance(days=10)
    now = world.clock.now()
    with world.database.read() as reading:
        conditions = reading.conditions.load()
    found = find_findings(world.show_status(), [], conditions, RunTimes(now), now, Tolerance(3 * HOUR))
    assert (found, judge(found)) == ((Finding(Cause.SIGN_IN, (ACCOUNT,)),), Alarm.SIGN_IN)
    assert judge([*found, Finding(Cause.OVERDUE, ("x",))]) is Alarm.ATTENTION
    assert judge(find_findings([], [], [], RunTimes(now), now, Tolerance(HOUR), [ACCOUNT])) is Alarm.SIGN_IN
    assert judge(()) is Alarm.NONE


def show(world: EngineWorld, *findings: Finding, memory: SignInMemory | None = None) -> tuple[str, int]:
    """What a plugin says and ends with."""
    rows: tuple[PatStatus, ...] = world.show_status()
    now = world.clock.now()
    accounts = [make_account_status(SignInSight(None, memory or SignInMemory(ACCOUNT)), rows)]
    with world.database.read() as reading:
        conditions = reading.conditions.load()
    warnings = list(render_warnings([], rows, accounts, conditions, now))
    runs = RunTimes(now, now - timedelta(minutes=9))
    figures = make_figures(findings, warnings, rows, runs, now, Tolerance(3 * HOUR))
    return render_plugin(findings, warnings, rows, figures)


def test_plugin_says_in_one_line_what_is_red() -> None:
    world = make_world(NAME, "b|ar")
    line, code = show(world, Finding(Cause.SIGN_IN, (ACCOUNT,)), Finding(Cause.OVERDUE, tuple("b|cdefgh")))
    assert code == 2
    assert line == (
        "ROTATOR CRITICAL: build-bot must sign in; b, /, c, d, e and 3 more are overdue | "
        "pats=2;;;0 problems=9;;0;0 warnings=0;0;;0 last_success=540s;;10800;0 next_expiry=432000s"
    )


def test_plugin_warns_of_what_has_a_date_and_is_content_otherwise() -> None:
    world = make_world()
    line, code = show(world)
    assert (line.partition(" |")[0], code) == ("ROTATOR OK: 1 PAT, nothing needs attention", 0)
    now = world.clock.now()
    memory = SignInMemory(ACCOUNT, interactive_at=now - 24 * DAY, refreshed_at=now, lifespan=30 * DAY)
    line, code = show(world, memory=memory)
    assert (line.partition(" |")[0], code) == ("ROTATOR WARNING: the sign-in of build-bot ends in 6 days", 1)
    line, code = show(make_alert_world(days_left=7.2))
    said = "ROTATOR WARNING: npm-feed must be replaced by hand and expires in 7 days"
    assert (line.partition(" |")[0], code) == (said, 1)


def test_check_and_plugin_warn_while_daemons_differ_and_the_check_stays_green() -> None:
    world, mixed = make_world(), Condition(ConditionKind.DAEMONS_MIXED, "daemons", NOW)
    with world.database.begin() as work:
        work.conditions.begin(mixed)
    said = "daemons that share the database work with different versions or policies"
    line, code = show(world)
    assert (line.partition(" |")[0], code) == (f"ROTATOR WARNING: {said}", 1)
    line, fix = render_others([mixed])
    assert line == f"{said} (since {say_moment(NOW)})"
    assert "`rotator doctor`" in fix
    now = world.clock.now()
    assert find_findings([], [], [mixed], RunTimes(now, now), now, Tolerance(HOUR)) == ()


def test_plugin_cannot_tell_when_the_database_cannot_be_read() -> None:
    error = DatabaseLockedError("it is\nlocked | now", fix="Try again.")
    assert render_unknown(error) == ("ROTATOR UNKNOWN: it is locked / now (Try again.)", 3)


def test_plugin_says_the_first_problem_without_its_source_line_when_a_file_is_wrong() -> None:
    problem = "policy.yaml:3:9 rules[0].name: is empty\n  name:\n  ^"
    one, two = ConfigError([problem], fix="Correct policy.yaml."), ConfigError([problem, "another"], fix="Correct it.")
    assert render_unknown(one) == ("ROTATOR UNKNOWN: policy.yaml:3:9 rules[0].name: is empty (Correct policy.yaml.)", 3)
    assert "is empty; and 1 more, which `rotator config check` shows (Correct it.)" in render_unknown(two)[0]


def test_findings_are_a_line_each() -> None:
    lines = list(render_findings([Finding(Cause.STALE), Finding(Cause.DOWN, ("build-bot/contoso",))]))
    assert lines == ["no recent run succeeded", "build-bot/contoso cannot be used"]


def test_check_points_below_each_reason_to_the_entries_of_the_runbook_about_it() -> None:
    """And to no other: what lasts and is no reason, or is about a PAT that was not asked for, is left out."""
    down = [Condition(ConditionKind.ORGANIZATION_DOWN, name, NOW) for name in ("build-bot/contoso", "build-bot/x")]
    lasting = [*down, Condition(ConditionKind.ROTATION_FAILING, "npm", NOW)]
    lasting += [Condition(ConditionKind.PROBE_FAILING, "npm", NOW), Condition(ConditionKind.ROTATION_BLOCKED, "x", NOW)]
    findings = [
        Finding(Cause.SIGN_IN, ("build-bot",)),
        Finding(Cause.DOWN, ("build-bot/contoso", "build-bot/x")),
        Finding(Cause.FOR_PERSON, ("probe_failing npm",)),
        Finding(Cause.STALE),
        Finding(Cause.NOT_RUN),
    ]
    assert list(render_check(findings, lasting)) == [
        "check: build-bot must sign in",
        "    more: `rotator runbook sign_in_needed`",
        "check: build-bot/contoso and build-bot/x cannot be used",
        "    more: `rotator runbook organization_down`",
        "check: probe_failing npm needs a person",
        "    more: `rotator runbook probe_failing`",
        "check: no recent run succeeded",
        "    more: `rotator runbook job_stalled`",
        "check: nothing has run yet",
        "    fix: Start the daemon with `rotator daemon`, or run `rotator once`.",
    ]
    assert list(render_check([], lasting)) == []


def test_check_says_that_nothing_has_run_until_a_run_began() -> None:
    def find_cause(runs: RunTimes) -> list[Cause]:
        return [found.cause for found in find_findings((), (), (), runs, NOW, Tolerance(3 * HOUR))]

    assert find_cause(RunTimes()) == [Cause.NOT_RUN]
    assert find_cause(RunTimes(started_at=NOW)) == [Cause.STALE]
    assert find_cause(RunTimes(NOW, NOW)) == []


@pytest.mark.parametrize("cause", sorted(set(Cause) - {Cause.NOT_RUN}))
def test_every_reason_of_a_check_has_an_entry_of_the_runbook(cause: Cause) -> None:
    _, more = render_check([Finding(cause, ("npm",))], [])
    [name] = re.findall(r"`rotator runbook (\w+)`", more)
    assert name in dict(list_entries())


def test_failure_is_named_where_a_pat_is_in_trouble() -> None:
    world = make_world("a", policy=make_policy())
    assert find(world) == {Cause.IN_TROUBLE: ("a",)}
    assert world.show_status()[0].last_error == Failure(
        "blocked",
        "no rule in the policy matches it",
        "Add a rule that matches it to the policy, or forget it.",
        FailureKind.FORBIDDEN,
    )


def test_backlog_that_the_windows_leave_too_little_time_for_is_told_days_ahead() -> None:
    """20 PATs, all held back until 6 hours before they expire, and one rotation an hour."""
    names = [f"pat-{number:02}" for number in range(20)]
    friday = Window((4,), time(9, 30), time(10, 30), ZoneInfo("UTC"))
    rule = replace(RULE, overlap=timedelta(0), timetable=Timetable((friday,)))
    world = make_world("other", policy=make_policy(rule, guardrails=Guardrails(max_rotations_per_hour=1)))
    world.forget("other")
    for name in names:
        world.add_managed(name, days_left=40 / 24, lifetime=60 * HOUR)
    tolerance = Tolerance(3 * HOUR, timedelta(days=7), places=1, per_hour=1)
    foreseen = set(find(world, tolerance)[Cause.EXPIRING])
    for _ in range(40):
        world.run()
        world.advance(hours=1)
    expired = {name for name in names if world.record(name).valid_to <= world.clock.now()}
    assert (len(expired), expired) == (14, foreseen)
