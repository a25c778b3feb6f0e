"""A PAT that vanished before its time may have leaked: it is told, and replaced at once where its rule says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.managed_pat import Hold
from rotator.domain.next_step import NextAction
from rotator.domain.plan import ActionKind, ActionReason
from rotator.domain.policy import Guardrails, LeakAction, RuleAction
from rotator.engine.auditing import load_events
from rotator.engine.delivering import deliver
from rotator.engine.jobs import probe_values
from rotator.engine.keeping import pause, revoke_current
from rotator.engine.outage import DeliveryMemory
from rotator.engine.planning import make_plan
from rotator.engine.report import OutcomeKind, OutcomeReason
from rotator.engine.run import recover_interrupted, work_on_due, work_on_look
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import ORGANIZATION, OVERLAP, EngineWorld, codes_of, make_world, names_of
from tests.support.engine_scenarios import make_busy
from tests.support.hooks import ScriptedHook
from tests.support.policies import RULE, make_policy
from tests.support.receivers import ScriptedNotifier

ALERTING = replace(RULE, overlap=OVERLAP)
REPLACING = replace(ALERTING, on_leak=LeakAction.ROTATE)
FRESH = "fresh"


def make_fresh(*names: str, per_hour: int = 50) -> EngineWorld:
    """PATs with twenty days left, not due for long, of a rule that replaces what leaks."""
    guardrails = Guardrails(max_rotations_per_hour=per_hour)
    world = make_world("never", policy=make_policy(REPLACING, guardrails=guardrails))
    world.forget("never")
    for name in names or (FRESH,):
        world.add_managed(name, days_left=20)
    world.run()
    return world


def vanish(world: EngineWorld, name: str = FRESH) -> str:
    """Somebody revokes what consumers use; its id."""
    gone = world.record(name).authorization_id
    world.pats.pats[gone].revoked = True
    return gone


def list_lasting(world: EngineWorld) -> set[str]:
    """What lasts, by kind."""
    with world.database.read() as reading:
        return {found.kind.value for found in reading.conditions.load()}


def list_changes(world: EngineWorld) -> list[str]:
    """What was changed at the services, in order."""
    return [mark for mark in world.timeline if mark in ("mint", "store", "revoke")]


def test_pat_that_vanished_is_replaced_in_the_same_run_without_overlap() -> None:
    world = make_fresh()
    gone = vanish(world)
    [outcome] = world.run().outcomes
    assert (outcome.kind, outcome.reason, outcome.overlap_until) == (OutcomeKind.ROTATED, OutcomeReason.VANISHED, None)
    assert world.record(FRESH).authorization_id != gone
    assert (world.record(FRESH).hold, world.record(FRESH).last_failure) == (None, None)
    assert list_changes(world) == ["mint", "store"]
    assert list_lasting(world) == set()
    assert world.states(FRESH) == ["completed"]
    told = [event.split()[0] for event in world.events(FRESH)]
    assert told.index("pat_vanished") < told.index("mint_started") < told.index("vanished_pat_replaced")
    (event,) = load_events(world.database, AuditFilter(subject=FRESH, event="pat_vanished"))
    assert event.entry.details["code"] == "revoked_elsewhere"
    world.check_rest(FRESH)
    world.finish(FRESH)


@pytest.mark.parametrize("job", [work_on_look, work_on_due], ids=lambda job: str(job.__name__))
def test_daemon_replaces_what_its_look_or_its_queue_finds_gone(job: Callable[..., object]) -> None:
    world = make_fresh(FRESH)
    if job is work_on_due:
        world.advance(days=13)
    gone = vanish(world)
    job(world.make_run())
    assert world.record(FRESH).authorization_id != gone
    world.check_rest(FRESH)


def test_probe_that_finds_it_gone_has_it_replaced_at_once() -> None:
    world = make_fresh()
    world.rotate(FRESH)
    world.advance(hours=25)
    world.run()
    gone = vanish(world)
    for _ in range(2):
        world.advance(hours=25)
        probe_values(world.make_run(), timedelta(days=1))
    probe_values(world.make_run(), timedelta(days=1))
    assert world.record(FRESH).authorization_id != gone
    world.check_rest(FRESH)


def test_by_default_people_are_told_and_nothing_is_changed() -> None:
    world = make_fresh()
    world.policy = make_policy(ALERTING)
    vanish(world)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["revoked_elsewhere"]
    assert (list_changes(world), list_lasting(world)) == ([], {"pat_vanished"})
    world.advance(days=2)
    world.run()
    assert list_changes(world) == []


def test_rule_that_comes_to_replace_such_pats_replaces_one_that_people_were_told_of() -> None:
    world = make_fresh()
    world.policy = make_policy(ALERTING)
    vanish(world)
    world.run()
    world.policy = make_policy(REPLACING)
    world.advance(hours=1)
    [action] = make_plan(world.make_run()).actions
    assert (action.kind, action.reason, action.retires_at) == (ActionKind.ROTATE, ActionReason.VANISHED, None)
    work_on_due(world.make_run())
    assert list_lasting(world) == set()
    world.check_rest(FRESH)


@pytest.mark.parametrize("was_written", [False, True], ids=["adopted", "written by us"])
def test_nothing_is_replaced_while_the_value_of_consumers_signs_in(was_written: bool) -> None:
    """The server calls the PAT revoked and takes its value all the same: that is no leak yet."""
    world = make_fresh()
    if was_written:
        world.rotate(FRESH)
        world.advance(hours=25)
        world.run()
    gone = vanish(world)
    value = world.latest(FRESH).value.reveal()
    still = world.pats.add_pat("build-bot", ORGANIZATION, "other", "vso.code", world.clock.now() + timedelta(days=9))
    still.value = value
    changes = list_changes(world)
    assert codes_of(world.run(), OutcomeKind.FAILED) == ["not_listed"]
    assert (list_changes(world), world.record(FRESH).hold) == (changes, None)
    still.value = "another"
    world.advance(hours=1)
    world.run()
    assert world.record(FRESH).authorization_id != gone
    world.check_served(FRESH)


def test_hourly_limit_holds_and_what_waits_for_it_is_told() -> None:
    world = make_fresh("one", "two", per_hour=1)
    for name in ("one", "two"):
        vanish(world, name)
    report = world.run()
    assert len(names_of(report, OutcomeKind.ROTATED)) == 1
    [left] = names_of(report, OutcomeKind.POSTPONED)
    assert list_lasting(world) == {"pat_vanished"}
    assert [row.next_action for row in world.show_status() if row.name == left] == [NextAction.ROTATE]
    world.advance(minutes=61)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [left]
    for name in ("one", "two"):
        world.check_rest(name)


def test_what_a_person_revoked_is_no_leak() -> None:
    world = make_fresh()
    revoke_current(world.make_run(), FRESH)
    world.run()
    world.advance(hours=7)
    world.run()
    assert (world.record(FRESH).hold, list_lasting(world)) == (Hold.REVOKED_BY_HAND, set())
    assert world.count("mint") == 0


def test_what_a_person_began_to_revoke_is_no_leak() -> None:
    """The answer was lost, so the record does not say it: the audit log does."""
    world = make_fresh()
    world.pats.fail("revoke", make_busy("revoke"), after_effect=True)
    with pytest.raises(type(make_busy())):
        revoke_current(world.make_run(), FRESH)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["revoked_by_hand"]
    assert world.count("mint") == 0


@pytest.mark.parametrize("left", ["paused", "alert", "ignore"])
def test_what_is_not_rotated_is_not_replaced(left: str) -> None:
    world = make_fresh()
    if left == "paused":
        pause(world.make_run(), FRESH)
    else:
        world.policy = make_policy(replace(REPLACING, action=RuleAction(left)))
    vanish(world)
    for _ in range(3):
        world.run()
        world.advance(hours=7)
    assert world.count("mint") == 0


def test_guardrail_holds() -> None:
    world = make_fresh()
    world.policy = make_policy(REPLACING, guardrails=Guardrails(deny_scopes=("vso.code",)))
    vanish(world)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["revoked_elsewhere"]
    assert (world.count("mint"), "pat_vanished" in list_lasting(world)) == (0, True)


def test_secret_that_others_wrote_is_left_alone() -> None:
    world = make_fresh()
    world.secrets.write_foreign(world.location(FRESH), "A" * 76 + "AZDO" + "A" * 4)
    vanish(world)
    world.run()
    assert list_changes(world) == []
    assert list_lasting(world) == {"pat_vanished", "rotation_blocked"}


def test_vault_that_is_down_is_waited_for() -> None:
    world = make_fresh()
    gone = vanish(world)
    world.secrets.fail("prove_writable", make_busy("store", "key_vault"))
    world.run()
    assert {"pat_vanished", "vault_down"} <= list_lasting(world)
    world.advance(hours=1)
    work_on_due(world.make_run())
    world.run()
    assert list_lasting(world) == set()
    assert world.record(FRESH).authorization_id != gone
    world.check_rest(FRESH)


def test_recovery_replaces_nothing() -> None:
    world = make_fresh()
    vanish(world)
    recover_interrupted(world.make_run())
    assert world.count("mint") == 0


def test_no_hook_is_waited_for_as_nothing_is_there_to_keep() -> None:
    world = make_fresh()
    world.policy = replace(world.policy, hooks=(ScriptedHook(required=True).terms,))
    vanish(world)
    world.run()
    assert world.states(FRESH) == ["completed"]
    world.check_rest(FRESH)


def test_pat_that_is_listed_again_before_it_is_replaced_stays() -> None:
    world = make_fresh("one", "two", per_hour=1)
    for name in ("one", "two"):
        vanish(world, name)
    [left] = names_of(world.run(), OutcomeKind.POSTPONED)
    before = world.record(left).authorization_id
    world.pats.pats[before].revoked = False
    world.advance(minutes=61)
    assert names_of(world.run(), OutcomeKind.ROTATED) == []
    assert (world.record(left).authorization_id, world.record(left).hold) == (before, None)
    assert list_lasting(world) == set()


def test_clone_and_old_pat_that_both_vanished_are_replaced() -> None:
    world = make_world(policy=make_policy(REPLACING))
    world.run()
    assert world.states() == ["overlapping"]
    for identifier in world.live_ids():
        world.pats.pats[identifier].revoked = True
    world.run()
    assert world.states() == ["failed", "completed"]
    world.check_rest()


def test_receiver_is_told_once_that_it_was_replaced() -> None:
    world, ops = make_fresh(), ScriptedNotifier()
    deliver(world.make_run(), (ops,), DeliveryMemory())
    vanish(world)
    world.run()
    for _ in range(3):
        deliver(world.make_run(), (ops,), DeliveryMemory())
        world.advance(hours=1)
    [(name, phase)] = ops.heard
    assert (name, phase) == ("vanished_pat_replaced", None)


def test_receiver_is_told_of_one_that_nobody_replaces_and_of_its_end() -> None:
    world, ops = make_fresh(), ScriptedNotifier()
    world.policy = make_policy(ALERTING)
    deliver(world.make_run(), (ops,), DeliveryMemory())
    vanish(world)
    world.run()
    deliver(world.make_run(), (ops,), DeliveryMemory())
    world.rotate(FRESH)
    deliver(world.make_run(), (ops,), DeliveryMemory())
    assert ops.heard == [("pat_vanished", "began"), ("pat_vanished", "over")]
    assert "may have leaked" in ops.sent[0][1].title


MARKS = (
    "pat_vanished",
    "planned",
    "minting",
    "minted",
    "verified",
    "storing",
    "stored",
    "overlapping",
    "vanished_pat_replaced",
    "completed",
)


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("mark", MARKS)
def test_it_is_replaced_whatever_dies(mark: str, where: str) -> None:
    world = make_fresh()
    gone = vanish(world)
    world.run_and_die(**{where: mark})
    world.finish(FRESH)
    assert world.record(FRESH).authorization_id != gone
    told = [event.split()[0] for event in world.events(FRESH)]
    assert (told.count("vanished_pat_replaced"), list_lasting(world)) == (1, set())


def test_what_vanished_and_was_written_over_is_told_as_both_until_it_is_listed_again() -> None:
    """And not anew at each run: whichever of the two is met first."""
    world = make_fresh()
    world.rotate(FRESH)
    world.advance(hours=25)
    world.run()
    gone = vanish(world)
    world.secrets.write_foreign(world.location(FRESH), "A" * 76 + "AZDO" + "A" * 4)
    for _ in range(3):
        world.run()
        world.advance(minutes=1)
        assert list_lasting(world) == {"pat_vanished", "rotation_blocked"}
    told = [event for event in world.events(FRESH) if event in ("pat_vanished failed", "rotation_blocked failed")]
    assert told == ["pat_vanished failed", "rotation_blocked failed"]
    assert world.record(FRESH).hold is Hold.REVOKED_ELSEWHERE
    world.pats.pats[gone].revoked = False
    world.run()
    assert "pat_vanished" not in list_lasting(world)
