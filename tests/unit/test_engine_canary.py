"""A canary: what it shows of an organization's policies, that it is always revoked, and that its value goes nowhere."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator.domain.checkup import CheckResult, Grade
from rotator.domain.managed_pat import ManagedPatState
from rotator.domain.policy import Guardrails, Match, RuleAction
from rotator.engine.anchoring import fetch_anchors
from rotator.engine.canary import LEAST_SCOPE, find_longest_asked, plan_canary, send_canary
from rotator.engine.jobs import work_due
from rotator.engine.keeping import resume
from rotator.engine.planning import make_plan
from rotator.engine.pulse import Pulse
from rotator.engine.report import OutcomeKind, OutcomeReason
from rotator.errors import PlanRefusedError, UsageError, VerificationError
from tests.support.engine import ACCOUNT, LIFETIME, ORGANIZATION, EngineWorld, make_world, names_of
from tests.support.engine_fakes import ProcessDied
from tests.support.engine_scenarios import make_busy
from tests.support.policies import RULE, make_policy

OK, WARN, FAIL = Grade.OK, Grade.WARN, Grade.FAIL


def make_calm() -> EngineWorld:
    """A world in which nothing is due, and whose vault nobody may ask about a canary."""
    world = make_world()
    world.run()
    world.advance(hours=25)
    world.run()
    world.timeline.clear()
    world.secrets.calls.clear()
    return world


def send(world: EngineWorld, scope: str = LEAST_SCOPE) -> list[CheckResult]:
    """One `rotator doctor --canary`."""
    results: list[CheckResult] = []
    pat = plan_canary(world.make_run(), ACCOUNT, ORGANIZATION, (scope,))
    world.watch(lambda: send_canary(world.make_run(), pat, results))
    return results


def make_interrupted() -> EngineWorld:
    """The process died right after the mint of a canary was noted."""
    world = make_calm()
    world.database.dies_after = "minted"
    with pytest.raises(ProcessDied):
        send(world)
    world.database.revive()
    return world


def say(results: list[CheckResult]) -> dict[str, Grade]:
    """The grade of each check."""
    return {result.name: result.remark.grade for result in results}


def find_names(world: EngineWorld) -> list[str]:
    """The records of canaries."""
    with world.database.read() as reading:
        return [pat.name for pat in reading.inventory.load_all() if pat.is_canary]


def find_live(world: EngineWorld) -> list[str]:
    """The canaries that live."""
    return [fake.pat.display_name for fake in world.pats.live_pats() if fake.pat.display_name.startswith("canary-")]


def check_over(world: EngineWorld) -> None:
    """Nothing of a canary is left: no PAT, no record, no revocation that is not proven, and no vault was asked."""
    assert (find_live(world), find_names(world)) == ([], [])
    with world.database.read() as reading:
        assert (reading.revocations.load(), reading.journal.load_open()) == ((), ())
    assert not any("canary" in repr(call) for call in world.secrets.calls)
    world.check_promises()


def test_canary_lives_as_long_as_the_policy_asks_for_and_is_proven_gone() -> None:
    world = make_calm()
    results = send(world)
    assert say(results) == {"canary_mint": OK, "canary_sign_in": OK, "canary_revocation": OK}
    [canary] = [fake for fake in world.pats.pats.values() if fake.pat.display_name.startswith("canary-")]
    assert (canary.pat.scope, canary.revoked) == (LEAST_SCOPE, True)
    assert LIFETIME - timedelta(minutes=10) <= canary.pat.lifetime <= LIFETIME
    assert "a PAT for 30d with vso.profile was created as asked" in results[0].remark.message
    check_over(world)
    assert world.events(canary.pat.display_name) == [
        "canary_planned intended",
        "rotation_planned intended",
        "mint_started intended",
        "pat_minted succeeded",
        "pat_verified succeeded",
        "revoke_started intended",
        "revocation_requested succeeded",
        "pat_revoked succeeded",
        "canary_ended succeeded",
    ]


@pytest.mark.parametrize(
    ("lifetimes", "most", "asked"),
    [
        ((None,), None, LIFETIME),
        ((timedelta(days=90), timedelta(days=7)), None, timedelta(days=90)),
        ((timedelta(days=90),), timedelta(days=60), timedelta(days=60)),
    ],
)
def test_lifetime_is_the_longest_that_a_rule_asks_for(
    lifetimes: tuple[timedelta | None, ...], most: timedelta | None, asked: timedelta
) -> None:
    world = make_world()
    elsewhere = replace(RULE, match=Match(organization="fabrikam"), lifetime=timedelta(days=300))
    ignored = replace(RULE, action=RuleAction.IGNORE, lifetime=timedelta(days=300))
    rules = (replace(RULE, lifetime=lifetime) for lifetime in lifetimes)
    world.policy = make_policy(elsewhere, *rules, ignored, guardrails=Guardrails(max_lifetime=most))
    assert plan_canary(world.make_run(), ACCOUNT, ORGANIZATION, (LEAST_SCOPE,)).lifetime == asked


@pytest.mark.parametrize("hindrance", ["for all organizations", "a denied scope"])
def test_lifetime_is_that_of_no_pat_that_cannot_be_rotated(hindrance: str) -> None:
    world = make_calm()
    with world.database.begin() as work:
        [pat] = work.inventory.load_all()
        claim = work.claims.claim(pat.name, "test", now=work.now(), span=timedelta(hours=1))
        long = replace(pat, valid_to=pat.valid_from + timedelta(days=89))
        is_global = hindrance == "for all organizations"
        work.inventory.save(replace(long, all_organizations=True) if is_global else long, claim)
    denied = () if is_global else pat.scopes
    rule = replace(RULE, lifetime=None)
    policy = make_policy(rule, guardrails=Guardrails(deny_scopes=denied))
    with world.database.read() as reading:
        asked = find_longest_asked(reading, policy, ACCOUNT, ORGANIZATION)
        assert find_longest_asked(reading, make_policy(rule), ACCOUNT, ORGANIZATION) > asked or is_global
    assert asked == timedelta(days=30)


def test_limit_that_was_learned_before_is_tried_again() -> None:
    world = make_calm()
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=7)
    assert say(send(world))["canary_mint"] is WARN
    world.pats.organizations[ORGANIZATION].max_lifetime = None
    assert say(send(world))["canary_mint"] is OK


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "creation": ({"mint_error": "disablePatCreationPolicyViolation"}, "Restrict personal access token creation"),
    "global": ({"mint_error": "globalPatPolicyViolation"}, "all-organization PATs are forbidden"),
    "lifespan": ({"refuses_long": True, "max_lifetime": timedelta(days=1)}, "longer than the tenant allows"),
    "full scope": ({"full_scope_allowed": False}, "full-access PATs are forbidden"),
    "denied": ({"mint_error": "accessDenied"}, "may not do this"),
    "source": ({"mint_error": "invalidSource"}, "the source is not allowed"),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_refusal_is_told_with_the_policy_that_it_comes_from(why: str) -> None:
    world = make_calm()
    changes, said = REFUSALS[why]
    vars(world.pats.organizations[ORGANIZATION]).update(changes)
    results = send(world, "app_token" if why == "full scope" else LEAST_SCOPE)
    assert say(results) == {"canary_mint": FAIL}
    assert said in results[0].remark.message + results[0].remark.fix
    assert results[0].remark.fix
    assert results[0].remark.subject == f"{ACCOUNT}/{ORGANIZATION}"
    check_over(world)


def test_shortened_lifetime_is_told_with_what_was_granted() -> None:
    world = make_calm()
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=7)
    results = send(world)
    assert say(results) == {"canary_mint": WARN, "canary_sign_in": OK, "canary_revocation": OK}
    assert "30d with vso.profile was asked for, and Azure DevOps made it 7d" in results[0].remark.message
    check_over(world)


def test_pat_that_does_not_sign_in_is_told_and_revoked() -> None:
    world = make_calm()
    world.pats.fail("verify", VerificationError("no", code="verification_failed", fix="Look."), times=1000)
    assert say(send(world)) == {"canary_mint": OK, "canary_sign_in": FAIL, "canary_revocation": OK}
    check_over(world)


def test_scope_that_the_policy_denies_is_not_minted() -> None:
    world = make_calm()
    world.policy = make_policy(RULE, guardrails=Guardrails(deny_scopes=("app_token",)))
    with pytest.raises(PlanRefusedError, match="app_token"):
        plan_canary(world.make_run(), ACCOUNT, ORGANIZATION, ("app_token",))
    with pytest.raises(UsageError, match="no organization"):
        plan_canary(world.make_run(), ACCOUNT, "elsewhere", (LEAST_SCOPE,))
    assert (world.timeline, find_names(world)) == ([], [])


def finish(world: EngineWorld) -> None:
    """Runs of a daemon and of cron, until nothing is left to do."""
    for _ in range(4):
        world.advance(minutes=11)
        world.run()
        world.advance(minutes=1)
        work_due(world.make_run(), Pulse("daemon", world.clock.now()))


@pytest.mark.parametrize("ignored", [1, 3])
def test_revocation_without_effect_is_told_and_repeated_by_the_next_runs(ignored: int) -> None:
    world = make_calm()
    left = iter(range(ignored))
    world.pats.ignores_revoke = lambda _: next(left, None) is not None
    results = send(world)
    assert say(results) == {"canary_mint": OK, "canary_sign_in": OK, "canary_revocation": WARN}
    [name] = find_names(world)
    world.advance(minutes=1)
    rows = [row for row in world.show_status() if row.name == name]
    assert [(row.waits_for_resume, row.next_action.value) for row in rows] == [(False, "confirm_revocation")]
    finish(world)
    check_over(world)


def test_canary_that_no_list_has_is_over_and_no_vault_is_asked_for_its_value() -> None:
    """The server has forgotten it before it called it revoked: two looks, with time between them, show no such PAT."""
    world = make_calm()
    world.pats.ignores_revoke = lambda _: True
    send(world)
    [name] = find_live(world)
    [gone] = [number for number, fake in world.pats.pats.items() if fake.pat.display_name == name]
    del world.pats.pats[gone]
    finish(world)
    check_over(world)


def test_anchors_and_checks_ask_no_vault_about_a_canary() -> None:
    world = make_interrupted()
    assert fetch_anchors(world.make_run()).unread == {}
    assert not any("canary" in repr(call) for call in world.secrets.calls)


def test_revocation_that_fails_is_told_and_repeated() -> None:
    world = make_calm()
    world.pats.fail("revoke", make_busy("revoke"))
    results = send(world)
    assert say(results) == {"canary_mint": OK, "canary_sign_in": OK, "canary_revocation": FAIL}
    assert find_live(world)
    finish(world)
    check_over(world)


@pytest.mark.parametrize("is_made", [True, False])
def test_lost_mint_is_found_and_revoked_by_the_next_runs(is_made: bool) -> None:
    world = make_calm()
    world.pats.fail("mint", after_effect=is_made)
    results = send(world)
    assert say(results) == {"canary_mint": FAIL, "canary_revocation": WARN}
    assert bool(find_live(world)) is is_made
    finish(world)
    check_over(world)
    assert world.count("mint") - 1 == 1, "no run mints another one"


def test_mint_that_takes_effect_late_is_reported() -> None:
    """After its record is gone, nothing works on it any more: a person is told."""
    world = make_calm()
    world.pats.postpone_mint()
    send(world)
    finish(world)
    assert find_names(world) == []
    world.pats.apply_late()
    [name] = find_live(world)
    world.run()
    assert [row.last_error.code for row in world.show_status() if row.name == name and row.last_error] == [
        "left_behind"
    ]


MARKS = ("canary_planned", "planned", "minting", "minted", "verified", "abandoning", "abandoned", "pat_revoked")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("mark", [*MARKS, "canary_ended"])
def test_canary_that_was_killed_at_a_commit_is_revoked_by_the_next_runs(mark: str, when: str) -> None:
    world = make_calm()
    world.database.dies_before, world.database.dies_after = (mark, None) if when == "before" else (None, mark)
    with pytest.raises(ProcessDied):
        send(world)
    world.database.revive()
    if find_names(world):
        [action] = [action for action in make_plan(world.make_run()).actions if action.pat.is_canary]
        assert action.kind.value == "recover"
    finish(world)
    check_over(world)
    assert world.count("mint") - 1 <= 1, "no run mints another one"


def test_interrupted_canary_needs_no_rule_and_no_person() -> None:
    world = make_interrupted()
    world.advance(minutes=11)
    elsewhere = replace(RULE, match=Match(display_name="npm-*"))
    world.policy = make_policy(elsewhere)
    world.pats.fail("fetch_pats", make_busy(), times=2)
    world.run()
    [name] = find_names(world)
    assert [row.state.value for row in world.show_status() if row.name == name] == ["paused"]
    with world.database.read() as reading:
        assert [found for found in reading.conditions.load() if found.subject == name] == []
    finish(world)
    check_over(world)


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("call", ["mint", "fetch_pat", "verify", "revoke"])
def test_canary_that_was_killed_at_a_request_is_revoked_by_the_next_runs(call: str, after_effect: bool) -> None:
    world = make_calm()
    world.pats.fail(call, ProcessDied(), after_effect=after_effect)
    with pytest.raises(ProcessDied):
        send(world)
    world.advance(minutes=11)
    report = world.run()
    if (call, after_effect) != ("mint", False):
        assert len(names_of(report, OutcomeKind.ABANDONED)) == 1, "it is reported"
    finish(world)
    check_over(world)


@pytest.mark.parametrize("mark", ["abandoning", "abandoned"])
def test_recovery_may_be_killed_too(mark: str) -> None:
    world = make_interrupted()
    world.advance(minutes=11)
    world.run_and_die(after=mark)
    finish(world)
    check_over(world)


def test_person_who_resumes_or_rotates_an_interrupted_canary_makes_no_pat_of_it() -> None:
    world = make_interrupted()
    world.advance(minutes=11)
    [name] = find_names(world)
    resume(world.make_run(), name)
    world.rotate(name)
    finish(world)
    check_over(world)
    assert world.count("mint") - 1 == 1


def test_record_of_a_canary_has_a_short_name_of_its_own_and_whole_seconds_as_the_server_gives_them() -> None:
    world = make_calm()
    world.advance(microseconds=123_456)
    pat, other = (plan_canary(world.make_run(), ACCOUNT, ORGANIZATION, (LEAST_SCOPE, "app_token")) for _ in range(2))
    assert re.fullmatch("canary-[0-9a-f]{8}", pat.name)
    assert pat.name != other.name
    assert pat.valid_from == world.clock.now().replace(microsecond=0)
    assert (pat.display_name, pat.secret_name, pat.vault, pat.authorization_id) == (pat.name, pat.name, "", "")
    assert (pat.account, pat.organization, pat.scope) == (ACCOUNT, ORGANIZATION, f"app_token {LEAST_SCOPE}")
    assert (pat.state, pat.lifetime) == (ManagedPatState.PAUSED, LIFETIME)


PLACE = f"{ACCOUNT}/{ORGANIZATION}"
REFUSED = VerificationError("no", code="verification_failed", fix="Look.")
MINTED = ("canary_mint", OK, "a PAT for 30d with vso.profile was created as asked", "")
SIGNED_IN = ("canary_sign_in", OK, "it signed in as the account's user", "")
REVOKED = ("canary_revocation", OK, "revoked, and Azure DevOps calls it revoked", "")


def send_remarks(world: EngineWorld) -> tuple[list[tuple[str, Grade, str, str]], str, list[object]]:
    """What one says, always of its place; the canary's id if it was made; and what the report says of it."""
    results: list[CheckResult] = []
    pat = plan_canary(world.make_run(), ACCOUNT, ORGANIZATION, (LEAST_SCOPE,))
    outcomes = send_canary(world.make_run(), pat, results).outcomes
    assert {result.remark.subject for result in results} == {PLACE}
    ids = [fake.pat.authorization_id for fake in world.pats.pats.values() if fake.pat.display_name == pat.name]
    [own] = [outcome for outcome in outcomes if outcome.name == pat.name and outcome.pending_id is None]
    said = [(r.name, r.remark.grade, r.remark.message, r.remark.fix) for r in results]
    return said, ids[0] if ids else "", [own.kind, own.reason, own.revoked_id]


def test_canary_that_is_over_says_so_and_what_was_revoked() -> None:
    said, made, outcome = send_remarks(make_calm())
    assert said == [MINTED, SIGNED_IN, REVOKED]
    assert outcome == [OutcomeKind.ABANDONED, OutcomeReason.INTERRUPTED, made]


def test_canary_whose_revocation_had_no_effect_says_what_is_done_next() -> None:
    world = make_calm()
    world.pats.ignores_revoke = lambda _: True
    said, made, outcome = send_remarks(world)
    again = "Nothing to do: each run looks again, and revokes it again while it lives. `rotator status` shows it."
    warned = ("canary_revocation", WARN, f"{made} was to be revoked, and that is not proven yet", again)
    assert said == [MINTED, SIGNED_IN, warned]
    assert outcome == [OutcomeKind.SETTLING, OutcomeReason.INTERRUPTED, made]


def test_canary_whose_revocation_failed_says_why() -> None:
    world, error = make_calm(), make_busy("revoke")
    world.pats.fail("revoke", error)
    said, _, outcome = send_remarks(world)
    assert said == [
        MINTED,
        SIGNED_IN,
        ("canary_revocation", FAIL, error.message, f"{error.fix} The next run tries again."),
    ]
    assert outcome[0] is OutcomeKind.SETTLING


def test_canary_of_which_nobody_knows_whether_it_was_made_says_so() -> None:
    world = make_calm()
    world.pats.fail("mint", after_effect=True)
    [(mint, grade, _, _), warned], _, outcome = send_remarks(world)
    assert (mint, grade) == ("canary_mint", FAIL)
    fix = "Nothing to do: the next run finds out, and revokes it if it was created. `rotator once` does it now."
    assert warned == ("canary_revocation", WARN, "nobody knows yet whether it was created", fix)
    assert outcome == [OutcomeKind.SETTLING, OutcomeReason.INTERRUPTED, None]


def test_canary_that_does_not_sign_in_says_why() -> None:
    world = make_calm()
    world.pats.fail("verify", REFUSED, times=1000)
    said, _, _ = send_remarks(world)
    assert said == [MINTED, ("canary_sign_in", FAIL, "no", "Look."), REVOKED]


def test_canary_that_lives_for_less_says_what_to_set() -> None:
    world = make_calm()
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=7)
    said, _, _ = send_remarks(world)
    short = "a PAT for 30d with vso.profile was asked for, and Azure DevOps made it 7d"
    assert [found[:3] for found in said[:1]] == [("canary_mint", WARN, short)]
    assert said[0][3].startswith("Set `lifetime` in the policy, or `guardrails.max_lifetime`, to at most 7d; or ask")
