"""What reports, refusals and events of the engine say in every field: which PAT, which place, which value, why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from rotator.domain.account import Identity
from rotator.domain.audit_event import Detail, make_event
from rotator.domain.events.rotations import ExpiryForeseen
from rotator.domain.hook import HookTerms
from rotator.domain.limit import LifetimeLimit
from rotator.domain.managed_pat import Failure, Hold, ManagedPatState, Pat
from rotator.domain.next_step import Due, Matter, NextAction, NextStep, find_due, find_next_step
from rotator.domain.obstacle import Obstacle, ObstacleKind, check_target
from rotator.domain.plan import Action, ActionKind, ActionReason, choose_action
from rotator.domain.policy import PAUSED, Decision, Guardrails, Match, RuleAction, Verdict, find_last_call
from rotator.domain.refusal import RefusalKind
from rotator.domain.rotation import Likeness, Rotation, RotationState, compare_mint
from rotator.domain.sight import Holding, Sight
from rotator.domain.threshold import Threshold
from rotator.domain.timetable import ChangeFreeze, Timetable, Window
from rotator.domain.urgency import find_last_span
from rotator.engine.accounting import KeeperKind, load_keepers
from rotator.engine.admin_revoking import check_ready
from rotator.engine.adopting import adopt, propose
from rotator.engine.auditing import load_events
from rotator.engine.choices import Choice
from rotator.engine.claiming import check_asked, claimed
from rotator.engine.creating import create, make_order
from rotator.engine.creating import propose as propose_creation
from rotator.engine.keeping import check_overlapping, forget, revoke_current
from rotator.engine.left_behind import LeftBehind, LeftBehindKind, find_left_behind
from rotator.engine.limits import forget_limits
from rotator.engine.losses import find_pause
from rotator.engine.noticing import notice_places
from rotator.engine.pausing import pause_all
from rotator.engine.planning import plan_by_hand
from rotator.engine.replacing import look_at_secret
from rotator.engine.report import OutcomeKind, OutcomeReason, RunReport
from rotator.engine.run import Run, rotate_by_hand
from rotator.engine.standing import Standing, load_standings
from rotator.engine.stopping import StoppableSignIn
from rotator.engine.tags import (
    AUTHORIZATION_TAG,
    RESTORED_FOREIGN_TAG,
    RESTORED_TAG,
    ROTATION_TAG,
    find_attempt_id,
    make_tags,
)
from rotator.engine.updating import Change, preview, update
from rotator.errors import (
    DeniedError,
    FailureKind,
    PlanRefusedError,
    RejectedError,
    RotationError,
    RotatorError,
    SignInRequiredError,
    TransientError,
    UsageError,
)
from rotator.ports.audit_log import AuditFilter
from tests.support.clock import FakeClock
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, OVERLAP, SCOPE, VAULT, EngineWorld, make_world
from tests.support.engine_fakes import CallT, CallTape, FakeSignIn
from tests.support.engine_scenarios import make_overlapping
from tests.support.hooks import ScriptedHook
from tests.support.moves import MOVE, leave, make_current
from tests.support.policies import RULE, make_policy
from tests.support.records import DAY, NOW, make_entry, make_managed_pat, make_pat, make_rotation
from tests.support.stop import make_stop

HOOK = "hook"
ADOPTING = replace(RULE, name="hooks", match=Match(display_name="hook*"), adopt=True, overlap=OVERLAP)


def add(world: EngineWorld, name: str = HOOK) -> str:
    """A PAT of a person, which is not due; its id."""
    start = world.clock.now() - timedelta(days=10)
    return world.pats.add_pat(
        ACCOUNT, ORGANIZATION, name, SCOPE, start + timedelta(days=30), valid_from=start
    ).pat.authorization_id


def details_of(world: EngineWorld, subject: str, event: str) -> dict[str, Detail]:
    """What the audit log says of the newest such event."""
    *_, found = load_events(world.database, AuditFilter(subject=subject, event=event))
    return dict(found.entry.details)


def make_adopting() -> EngineWorld:
    """Nothing is due; a rule asks to take over a PAT of a person."""
    world = make_current()
    world.policy = make_policy(ADOPTING, replace(RULE, overlap=OVERLAP))
    return world


# What is adopted.


def describe_new(authorization_id: str, rule: str) -> dict[str, object]:
    """What an event says of the PAT of `HOOK` when a rule brings it under management."""
    return {
        "account": ACCOUNT,
        "organization": ORGANIZATION,
        "authorization_id": authorization_id,
        "vault": VAULT,
        "secret_name": "contoso-hook",
        "rule": rule,
        "secret_holds": "absent",
        "scope": SCOPE,
        "all_organizations": False,
    }


def test_taking_over_says_what_where_and_by_which_rule() -> None:
    world = make_adopting()
    found = add(world)
    [outcome] = world.run().of_kind(OutcomeKind.ADOPTED)
    assert (outcome.name, outcome.authorization_id) == (HOOK, found)
    assert outcome.decision == Decision(Verdict.NOT_DUE, ADOPTING)
    assert details_of(world, HOOK, "pat_taken_over") == describe_new(found, "hooks")


def test_adopting_says_what_where_and_by_which_rule() -> None:
    world = make_current()
    found = add(world)
    run = world.make_run()
    adopt(run, propose(run, [HOOK], everything=False))
    assert details_of(world, HOOK, "pat_adopted") == describe_new(found, "ci")


def test_bug_while_taking_over_is_a_failure_of_the_policy_and_of_no_pat() -> None:
    world = make_adopting()
    add(world)
    lists = iter((True,))

    def change(listed: tuple[Pat, ...]) -> tuple[Pat, ...]:
        if not next(lists, False):
            raise ValueError("a bug, when it is listed again")
        return listed

    world.pats.change_listed = change
    [failed] = [outcome for outcome in world.run().outcomes if outcome.name == "policy"]
    assert (failed.kind, failed.name, failed.account, failed.organization) == (OutcomeKind.FAILED, "policy", "", "")
    assert failed.failure is not None
    assert failed.failure.code == "internal"


@pytest.mark.parametrize("writes", ["ours", "theirs"])
def test_look_at_a_secret_says_what_its_tags_name_and_whose_it_is(writes: str) -> None:
    world = make_current()
    record, latest = world.record(), world.latest()
    user = Identity(f"user-of-{ACCOUNT}", "Build-Bot", "organization")
    if writes == "theirs":
        version = world.secrets.write_foreign(world.location(), "theirs", {f"tag-{n:02}": "x" for n in range(6)})
        expected = Sight(Holding.SOMETHING_ELSE, str(version), "Build-Bot", dropped_tags=("tag-04", "tag-05"))
    else:
        expected = Sight(
            *(Holding.OURS, latest.version.version, "Build-Bot"),
            pat_shaped=True,
            rotation_id=latest.version.tags[ROTATION_TAG],
            authorization_id=latest.version.tags[AUTHORIZATION_TAG],
            name=NAME,
        )
    assert look_at_secret(world.make_run(), record, user) == expected


# What is refused.


@pytest.mark.parametrize(
    ("rules", "said"),
    [((), "no rule in the policy covers it"), ((replace(RULE, action=RuleAction.IGNORE),), "rule ci says ignore")],
)
def test_refused_creation_says_which_rule_is_in_its_way(rules: tuple[()], said: str) -> None:
    world = make_world()
    world.policy = make_policy(*rules)
    wanted = make_order("deploy", ACCOUNT, ORGANIZATION, ("vso.code",), timedelta(days=20))
    with pytest.raises(PlanRefusedError) as refused:
        propose_creation(world.make_run(), wanted)
    assert refused.value.message == said


def test_creation_may_name_its_vault_as_it_likes_and_is_told_how_long_a_pat_may_live() -> None:
    world = make_current()
    rule = replace(RULE, vault=f"{VAULT}/")
    world.policy = make_policy(rule, guardrails=Guardrails(max_lifetime=timedelta(days=19)))
    wanted = make_order("deploy", ACCOUNT, ORGANIZATION, ("vso.code",), timedelta(days=19))
    drafted = propose_creation(world.make_run(), replace(wanted, vault=VAULT.upper().replace("HTTPS", "https")))
    assert drafted.record.vault.rstrip("/") == VAULT
    with pytest.raises(PlanRefusedError, match="19d at most"):
        propose_creation(world.make_run(), replace(wanted, lifetime=timedelta(days=20)))


def test_refused_update_says_which_rule_is_in_its_way_and_the_log_says_why_it_was_dropped() -> None:
    world = make_current()
    world.policy = make_policy(replace(RULE, action=RuleAction.IGNORE))
    with pytest.raises(PlanRefusedError, match="rule ci says ignore"):
        preview(world.make_run(), Change(NAME, display_name="other"))
    world.policy = make_policy(replace(RULE, overlap=OVERLAP))
    refusal = RejectedError("the name is odd", service="azure_devops", operation="mint_pat", code="odd", fix="Mend it.")
    world.pats.fail("mint", refusal)
    world.watch(lambda: update(world.make_run(), Change(NAME, display_name="other")))
    assert details_of(world, NAME, "update_dropped")["message"] == refusal.message


def test_administrator_is_told_which_pat_an_unanswered_mint_may_have_made() -> None:
    world = make_world()
    world.pats.fail("mint", after_effect=True)
    world.run()
    [lost] = [found for found in world.live_ids() if found != world.record().authorization_id]
    with pytest.raises(UsageError, match=f"{lost}.*{NAME}"):
        check_ready(world.make_run(), lost, ACCOUNT, ORGANIZATION)


def test_preview_says_whether_the_old_account_can_still_revoke() -> None:
    world = make_current()
    assert preview(world.make_run(), Change(NAME, scopes=("vso.code",))).revokes
    assert preview(world.make_run(), MOVE).revokes
    leave(world)
    assert not preview(world.make_run(), MOVE).revokes


# What is planned, learned and forgotten.


def test_plan_by_hand_says_what_it_is_about_when_the_old_pat_goes_and_what_it_does_not_wait_for() -> None:
    world = make_world()
    forbidding = make_policy(replace(RULE, action=RuleAction.IGNORE))
    with world.database.read() as reading:
        [blocked] = plan_by_hand(reading, forbidding, [NAME], world.clock.now()).actions
        [action] = plan_by_hand(reading, world.policy, [NAME], world.clock.now()).actions
        denying = make_policy(RULE, guardrails=Guardrails(deny_scopes=world.record().scopes))
        [denied] = plan_by_hand(reading, denying, [NAME], world.clock.now()).actions
    assert (blocked.pat, action.pat) == (world.record(), world.record())
    assert denied.failure is not None
    assert NAME in denied.failure.fix
    assert (action.retires_at, action.despite) == (world.clock.now() + OVERLAP, None)
    pause_all(replace(world.make_run(), reason="a change"))
    with world.database.read() as reading:
        [held] = plan_by_hand(reading, world.policy, [NAME], world.clock.now()).actions
    assert (held.retires_at, held.despite) == (None, PAUSED)


def test_forgotten_limit_is_in_the_audit_log_with_how_long_it_was_and_since_when() -> None:
    world = make_world()
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=20)
    world.run()
    [limit] = forget_limits(world.make_run()).values()
    details = details_of(world, f"{ACCOUNT}/{ORGANIZATION}", "limit_forgotten")
    assert details["longest_seconds"] == int(limit.longest.total_seconds())
    assert str(details["learned_at"]).startswith(limit.learned_at.strftime("%Y-%m-%dT%H:%M"))


def test_version_that_was_put_back_names_its_attempt_whoever_wrote_its_value() -> None:
    assert find_attempt_id({RESTORED_TAG: "a"}) == "a"
    assert find_attempt_id({RESTORED_FOREIGN_TAG: "b"}) == "b"
    assert find_attempt_id({ROTATION_TAG: "c"}) is None


def test_stoppable_sign_in_asks_for_a_new_token_only_where_its_caller_does() -> None:
    sign_in = FakeSignIn()
    sign_in.cached.add(ACCOUNT)
    sign_in.refusals[ACCOUNT] = SignInRequiredError("no", account=ACCOUNT, fix="Sign in.")
    stoppable = StoppableSignIn(sign_in, make_stop(FakeClock()))
    assert stoppable.refresh(ACCOUNT).account == ACCOUNT
    with pytest.raises(SignInRequiredError):
        stoppable.refresh(ACCOUNT, renews=True)


# Who is meant, and what is known of it.


def test_mint_that_is_not_answered_keeps_its_likeness_for_all_but_its_own_record() -> None:
    world = make_world()
    world.pats.fail("mint", after_effect=True)
    world.run()
    lost = world.pats.live_pats(NAME)[-1].pat
    with world.database.read() as reading:
        keepers = load_keepers(reading, [lost.authorization_id], world.clock.now())
    keeper = keepers.find(lost, ACCOUNT, ORGANIZATION)
    assert keeper is not None
    assert (keeper.kind, keeper.name, keeper.is_open) == (KeeperKind.SENT_MINT, NAME, True)
    assert keepers.find(lost, ACCOUNT, ORGANIZATION, besides="other") == keeper
    assert keepers.find(lost, ACCOUNT, ORGANIZATION, besides=NAME) is None
    assert keepers.find(lost, ACCOUNT, "fabrikam") is None
    assert keepers.find(lost, "release-bot", ORGANIZATION) is None


@pytest.mark.parametrize("is_detached", [False, True])
def test_person_is_needed_for_a_revocation_without_effect_only_once_its_record_is_forgotten(is_detached: bool) -> None:
    world = make_current()
    world.run()
    old = world.record().authorization_id
    world.pats.ignores_revoke = lambda _: True
    world.rotate(NAME)
    world.advance(hours=25)
    world.run()
    if is_detached:
        forget(world.make_run(), NAME)
    world.advance(hours=1)
    world.run()
    listed = tuple(fake.pat for fake in world.pats.live_pats(NAME) if fake.pat.authorization_id == old)
    with world.database.read() as reading:
        [pending] = reading.revocations.load_by_ids([old])
        keepers = load_keepers(reading, [old], world.clock.now())
    assert find_left_behind(keepers, ACCOUNT, ORGANIZATION, listed) == (
        LeftBehind(
            *(LeftBehindKind.PENDING_REVOCATION, listed[0], NAME, pending.rotation_id, None),
            needs_person=is_detached,
            is_managed=not is_detached,
        ),
    )


def test_pat_that_was_revoked_after_it_was_listed_is_not_adopted() -> None:
    """A person gives it up as an old PAT of another record, between the list and the adoption."""
    world = make_current()
    old = world.record().authorization_id
    world.rotate(NAME)
    world.advance(hours=25)
    world.pats.ignores_revoke = lambda _: True
    world.run()
    plan = propose(world.make_run(), [old], everything=False, choice=Choice(name="again", secret_name="again"))
    assert [item.record.authorization_id for item in plan.proposals] == [old] or plan.refusals
    world.pats.ignores_revoke = lambda _: False
    for _ in range(3):
        world.advance(minutes=20)
        world.run()
    assert old not in world.live_ids()
    written = adopt(world.make_run(), plan)
    assert (written.proposals, [item.name for item in written.refusals]) == ((), [NAME])


def test_hold_of_a_person_stays_although_a_list_shows_the_pat_again_after_it_was_seen_gone() -> None:
    """Nothing is pending any more; the answer to the request is the newest that is known."""
    world = make_current()
    current = world.record().authorization_id
    revoke_current(world.make_run(), NAME)
    for _ in range(3):
        world.advance(minutes=20)
        world.run()
    with world.database.read() as reading:
        assert reading.revocations.load_by_ids([current]) == ()
    world.pats.pats[current].revoked = False
    world.advance(minutes=20)
    world.run()
    assert world.record().hold is Hold.REVOKED_BY_HAND


def test_two_that_would_share_a_secret_are_told_of_each_other_and_of_the_place() -> None:
    world = make_current()
    world.policy = make_policy(replace(ADOPTING, secret_name="shared"), replace(RULE, overlap=OVERLAP))
    first, second = sorted((add(world, "hook-a"), add(world, "hook-b")))
    world.run()
    said = {row.authorization_id: row.last_error for row in world.show_status()}
    for mine, other in ((first, second), (second, first)):
        error = said[mine]
        assert error is not None
        assert error.message == f"secret shared in {VAULT} would be that of {other} too"
    run = world.make_run()
    plan = propose(run, [first, second], everything=False)
    [refusal] = plan.refusals
    told = RefusalKind.PLACE_TAKEN, plan.proposals[0].record.name, ADOPTING.name
    assert (refusal.kind, refusal.name, refusal.rule) == told


def test_namesakes_and_secrets_of_others_are_told_with_their_ids_and_places() -> None:
    world = make_adopting()
    first, second = sorted((add(world), add(world)))
    other = add(world, "hook-b")
    world.secrets.write_foreign(replace(world.location(), name="contoso-hook-b"), "theirs")
    world.run()
    said = {row.authorization_id: row.last_error for row in world.show_status()}
    for mine, part in ((first, second), (second, first), (other, VAULT)):
        error = said[mine]
        assert error is not None
        assert part in error.message


def test_trouble_of_an_organization_or_an_account_ends_only_where_it_was_looked_at() -> None:
    world = make_current()
    denied = DeniedError("no", service="azure_devops", operation="list", status=403, fix="Ask.")
    needed = SignInRequiredError("no", account="release-bot", fix="Sign in.")
    pair, subject = (ACCOUNT, ORGANIZATION), f"{ACCOUNT}/{ORGANIZATION}"
    notice_places(world.make_run(), {pair: denied, ("release-bot", ""): needed}, {})
    assert list_troubled(world) == {subject, "release-bot"}
    notice_places(world.make_run(), {}, {("another", ORGANIZATION): ()})
    assert list_troubled(world) == {subject, "release-bot"}
    notice_places(world.make_run(), {}, {("release-bot", ""): ()})
    assert list_troubled(world) == {subject}
    notice_places(world.make_run(), {}, {pair: ()})
    assert list_troubled(world) == set()


def list_troubled(world: EngineWorld) -> set[str]:
    """The accounts and organizations of which something lasts."""
    with world.database.read() as reading:
        return {item.subject for item in reading.conditions.load()}


def test_list_that_is_damaged_is_told_with_how_many_and_which() -> None:
    world = make_current()
    notice_places(world.make_run(), {}, {(ACCOUNT, ORGANIZATION): ("an-id", "")})
    details = details_of(world, f"{ACCOUNT}/{ORGANIZATION}", "listing_damaged")
    assert (details["entries"], details["authorization_ids"]) == (2, "an-id")


def test_clocks_are_heard_before_a_person_rotates() -> None:
    world = make_world()
    this = Run(world.make_run())
    this.listen([NAME, "unknown"])
    assert ("fetch_identity", ORGANIZATION, "") in world.pats.calls


# What is decided, in every field.


def test_actions_say_what_they_are_about_and_why() -> None:
    pat, rotation, policy = make_managed_pat(), make_rotation(), make_policy(RULE)
    canary, unborn = replace(pat, vault=""), replace(pat, authorization_id="", wanted_lifetime=None)
    interrupted = ActionReason.INTERRUPTED
    assert choose_action(canary, None, policy, None, NOW) == Action(ActionKind.RECOVER, canary, interrupted)
    open_ = choose_action(pat, rotation, policy, None, NOW)
    assert open_ == Action(ActionKind.RECOVER, pat, interrupted, rotation=rotation)
    misdated = replace(rotation, state=RotationState.OVERLAPPING, overlap_until=NOW + 9 * DAY)
    action = choose_action(pat, misdated, policy, None, NOW)
    assert action == Action(ActionKind.RECOVER, pat, interrupted, rotation=misdated)
    released = replace(misdated, overlap_until=NOW + timedelta(hours=1), awaited_hooks=("gone",))
    action = choose_action(pat, released, policy, None, NOW)
    assert action == Action(ActionKind.RECOVER, pat, interrupted, rotation=released)
    born = choose_action(unborn, None, policy, None, NOW)
    assert (born.kind, born.reason, born.retires_at) == (ActionKind.ROTATE, ActionReason.TO_BE_CREATED, None)
    assert born.expires_at == NOW + unborn.lifetime


def test_overlap_whose_revocation_failed_is_tried_again_when_that_was_said() -> None:
    failure = Failure("transient", "busy", "")
    pat = replace(make_managed_pat(), last_failure=failure, failures=1, retry_at=NOW + timedelta(minutes=5))
    over = replace(make_rotation(), state=RotationState.OVERLAPPING, overlap_until=NOW - DAY)
    decision = make_policy(RULE).decide(pat, now=NOW, longest=None)
    step = find_next_step(Matter(pat, over), make_policy(RULE), decision, NOW, timedelta(minutes=10))
    assert step == NextStep(NextAction.RETRY, pat.retry_at)


def test_rule_decides_which_hooks_are_awaited_and_which_freeze_is_in_force() -> None:
    pat, freeze = make_managed_pat(), ChangeFreeze(NOW - DAY, NOW + DAY, "the end of the year")
    hooks = HookTerms("mine", ("secret_stored",), required=True), HookTerms("all", ("secret_stored",), required=True)
    rule = replace(RULE, hooks=("mine",), timetable=Timetable((), (freeze,)))
    policy = replace(make_policy(rule), hooks=hooks)
    assert policy.find_hooks_to_await(pat) == ("mine", "all")
    assert policy.find_freeze(pat, NOW) == freeze
    other = replace(policy, rules=(replace(rule, match=Match(display_name="other")),))
    assert other.find_hooks_to_await(pat) == ("all",)
    assert other.find_freeze(pat, NOW) is None


def targeting(*organizations: str) -> Pat:
    """A PAT for these organizations."""
    return make_pat("id", target_accounts=organizations)


def test_pat_of_several_organizations_says_of_how_many() -> None:
    assert check_target(targeting("one", "two", "three"), None) == Obstacle(
        ObstacleKind.SEVERAL_ORGANIZATIONS, organizations=3
    )
    assert check_target(targeting("ONE"), "one") is None
    assert check_target(targeting("one"), "two") == Obstacle(ObstacleKind.OTHER_ORGANIZATION)
    assert check_target(make_pat("id", target_accounts=None), "one") == Obstacle(ObstacleKind.ALL_ORGANIZATIONS)


def test_turn_is_its_own_moment_once_a_pat_waits_for_no_window() -> None:
    """Near the expiry, whatever the window says."""
    saturday = Timetable((Window((5,), time(1), time(2), ZoneInfo("UTC")),))
    pat, policy = make_managed_pat(), make_policy(replace(RULE, timetable=saturday))
    near = pat.valid_to - timedelta(hours=2)
    assert policy.find_turn(pat, near, NOW) == near
    last = find_last_call(pat, policy.rules[0])
    assert policy.find_turn(pat, last, NOW) == last
    assert policy.find_turn(pat, NOW, NOW) == min(last, saturday.find_opening(NOW))


@pytest.mark.parametrize("is_marked", [False, True])
def test_only_an_answer_that_is_earlier_than_what_was_asked_for_is_near(is_marked: bool) -> None:
    rotation = replace(make_rotation(), planned_valid_to=NOW + DAY, marked=is_marked)
    pat = Pat("new", rotation.display_name, rotation.scope, ("org-1",), NOW, NOW + DAY)
    likenesses = [
        compare_mint(replace(pat, valid_to=NOW + DAY + timedelta(seconds=off)), rotation, "org-1") for off in (-1, 0, 1)
    ]
    assert likenesses == [Likeness.NEAR, Likeness.OURS, Likeness.FOREIGN]


def test_tags_name_the_newest_event_of_the_log_and_nothing_where_there_is_none() -> None:
    rotation = replace(make_rotation(), new_authorization_id="new")
    assert make_tags(rotation, None, {})["rotator-audit-head"] == ""
    head = make_event(make_entry(), previous=None, occurred_at=NOW)
    assert make_tags(rotation, head, {"theirs": "x"})["rotator-audit-head"] == f"{head.sequence}:{head.hash}"


# What a run reports.


class ActAt(CallTape[CallT]):
    """A tape that does something once, in the middle of the first call of that name."""

    def __init__(self, timeline: list[str], name: str, act: Callable[[], object]) -> None:
        super().__init__(timeline)
        self._name, self._act = name, act

    def append(self, call: CallT) -> None:
        """Note one call."""
        super().append(call)
        if call[0] == self._name:
            self._name = ""
            self._act()


def test_pause_that_comes_right_before_a_revocation_is_reported_as_what_holds_it() -> None:
    world = make_overlapping()
    world.pats.calls = ActAt(world.timeline, "verify", lambda: pause_all(world.make_run()))
    [outcome] = world.run().outcomes
    assert (outcome.name, outcome.held_back, world.count("revoke")) == (NAME, PAUSED, 0)


def test_other_run_that_rotated_first_is_named_with_its_pat() -> None:
    world = make_world()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rotator.engine.run.check_overlap", lambda *_: world.run() and [])
        [failed] = world.rotate(NAME).of_kind(OutcomeKind.FAILED)
    assert failed.failure is not None
    assert NAME in failed.failure.message


def test_late_mint_that_is_revoked_is_reported_with_its_id_and_why() -> None:
    world = make_world()
    late = world.mint_late()
    recovered = [found for _ in range(6) for found in advance_and_run(world).of_kind(OutcomeKind.RECOVERED)]
    assert [(item.name, item.reason, item.revoked_id) for item in recovered] == [
        (NAME, OutcomeReason.LATE_MINT_REVOKED, late)
    ]
    begun = [event.entry for event in load_events(world.database, AuditFilter(event="revoke_started"))]
    assert [entry.details["why"] for entry in begun if entry.details["authorization_id"] == late] == ["late"]


def advance_and_run(world: EngineWorld) -> RunReport:
    """The run of seven hours later."""
    world.advance(hours=7)
    return world.run()


def test_record_that_is_told_of_is_told_with_its_place() -> None:
    """What begins and ends for a ManagedPat says whose it is and where."""
    world = make_world()
    world.policy = make_policy()
    world.run()
    [event] = [
        found
        for found in load_events(world.database, AuditFilter(subject=NAME))
        if found.entry.event == "rotation_blocked"
    ]
    assert (event.entry.details["account"], event.entry.details["organization"]) == (ACCOUNT, ORGANIZATION)


def test_update_and_released_overlap_are_in_the_audit_log_with_what_they_came_to() -> None:
    world = make_current()
    hook = ScriptedHook(required=True)
    world.policy = replace(world.policy, hooks=(hook.terms,))
    world.watch(lambda: update(world.make_run(), Change(NAME, display_name="other", scopes=("vso.code",))))
    record = world.record()
    told = details_of(world, NAME, "pat_updated")
    assert (told["display_name"], told["scope"], told["valid_to"]) == (
        *("other", "vso.code"),
        record.valid_to.isoformat(),
    )
    world.policy = replace(world.policy, hooks=())
    world.run()
    until = world.rotations()[-1].overlap_until
    assert until is not None
    assert str(details_of(world, NAME, "overlap_released")["overlap_until"])[:16] == until.strftime("%Y-%m-%dT%H:%M")


# How long a wait is, and how a PAT stands.


def lose(*hours_ago: float, code: str = "verification_failed", explained: bool = False) -> list[Rotation]:
    """Rotations that lost their clones so long ago, the newest first; each took ten minutes."""
    failure = Failure(code, "", kind=FailureKind.EXPLAINED_LOSS if explained else None)
    begun = [NOW - timedelta(hours=hours) for hours in hours_ago]
    return [
        replace(make_rotation(created_at=at), updated_at=at + timedelta(minutes=10), failure=failure) for at in begun
    ]


def test_pause_after_losses_ends_a_day_after_the_third_newest_or_backs_off() -> None:
    far, near = NOW + 90 * DAY, NOW + timedelta(hours=1)
    assert find_pause(lose(1, 5), far) is None
    assert find_pause(lose(1, 5, 9), far) == NOW - timedelta(hours=9) + DAY
    assert find_pause(lose(1, 5, 9, 20), far) == NOW - timedelta(hours=9) + DAY
    newest = NOW - timedelta(minutes=50)
    assert find_pause(lose(1, 5, 9), near) == newest + (near - newest) / 4
    assert find_pause(lose(1, 2, 3, explained=True), far) is None
    assert find_pause(lose(1, 2, 3, 4, explained=True), far) == newest + timedelta(minutes=5)
    assert find_pause(lose(1, 2, 3, 4, 5, explained=True), far) == newest + timedelta(minutes=10)
    many = lose(*range(1, 23), explained=True)
    assert find_pause(many, far) == newest + timedelta(hours=6)


@pytest.mark.parametrize("state", [ManagedPatState.ACTIVE, ManagedPatState.PAUSED])
def test_open_rotation_replaces_a_pat_near_its_expiry_unless_it_waits(state: ManagedPatState) -> None:
    pat = replace(make_managed_pat(), valid_to=NOW + timedelta(hours=2), state=state)
    failing = replace(pat, last_failure=Failure("busy", "", ""))
    decision = make_policy(RULE).decide(pat, now=NOW, longest=None)
    alone = Standing(pat, False, decision)
    assert alone.may_expire(NOW)
    assert not replace(alone, pat=make_managed_pat()).may_expire(NOW)
    rotating = replace(alone, is_rotating=True)
    assert not rotating.may_expire(NOW)
    assert rotating.find_expiring(NOW) is None
    assert replace(rotating, is_all_paused=True).may_expire(NOW)
    assert replace(rotating, is_awaiting=True).may_expire(NOW)
    reasons = [standing.find_expiring(NOW) for standing in (alone, replace(alone, pat=failing))]
    if state is ManagedPatState.PAUSED:
        assert reasons == [ExpiryForeseen(code="paused", expires_at=pat.valid_to)] * 2
    else:
        assert reasons == [None, ExpiryForeseen(code="busy", expires_at=pat.valid_to)]


def test_standing_of_a_pat_knows_its_open_rotation_and_what_that_waits_for() -> None:
    world = make_world(NAME, "other")
    hook = ScriptedHook(required=True)
    world.policy = replace(world.policy, hooks=(hook.terms,))
    world.rotate(NAME)
    with world.database.read() as reading:
        standings = load_standings(world.make_run(), reading)
    shown = {name: (found.is_rotating, found.is_awaiting, found.is_all_paused) for name, found in standings.items()}
    assert shown == {NAME: (True, True, False), "other": (False, False, False)}
    world.policy = replace(world.policy, hooks=())
    pause_all(world.make_run())
    with world.database.read() as reading:
        standing = load_standings(world.make_run(), reading)[NAME]
    assert (standing.is_rotating, standing.is_awaiting, standing.is_all_paused) == (True, False, True)


@pytest.mark.parametrize(("busy", "kind"), [(0, FailureKind.WRITE_REFUSED), (1, None)])
def test_refused_write_is_no_denial_like_others_unless_an_earlier_one_may_have_landed(
    busy: int, kind: FailureKind | None
) -> None:
    world = make_world()
    for _ in range(busy):
        world.secrets.fail("store", TransientError("busy", service="key_vault", operation="store"))
    world.secrets.fail("store", DeniedError("no", service="key_vault", operation="store", fix="Ask."))
    world.run()
    [rotation] = world.rotations()
    assert rotation.failure is not None
    assert (rotation.state, rotation.failure.kind) == (RotationState.ABANDONED, kind)


def test_only_what_a_person_was_asked_about_by_its_pat_is_refused_when_that_changed() -> None:
    world = make_current()
    asked = world.record()
    world.rotate(NAME)
    with claimed(world.make_run(), NAME) as held:
        check_asked(held, asked)
        check_asked(held, None, by_pat=True)
        with pytest.raises(UsageError, match="now; nothing was changed"):
            check_asked(held, asked, by_pat=True)


def test_limit_that_was_learned_is_in_the_way_of_a_creation_that_it_would_make_due_at_once() -> None:
    world = make_current()
    world.policy = make_policy(replace(RULE, rotate_before=Threshold(duration=timedelta(days=15))))
    wanted = make_order("deploy", ACCOUNT, ORGANIZATION, ("vso.code",), timedelta(days=20))
    assert propose_creation(world.make_run(), wanted).rule.name == "ci"
    with world.database.begin() as work:
        work.limits.save(ACCOUNT, ORGANIZATION, LifetimeLimit(timedelta(days=10), world.clock.now()))
    with pytest.raises(PlanRefusedError):
        propose_creation(world.make_run(), wanted)


def test_two_that_wait_for_a_hook_are_told_by_their_own_names() -> None:
    world = make_world(NAME, "other")
    world.policy = replace(world.policy, hooks=(ScriptedHook(required=True).terms,))
    world.run()
    for name in (NAME, "other"):
        with world.database.read() as reading, pytest.raises(RotationError, match=f"of {name} stays valid"):
            check_overlapping(world.make_run(), reading, name)


def test_everything_paused_leaves_a_pat_with_nothing_to_do() -> None:
    pat = make_managed_pat()
    paused = replace(make_policy(RULE), is_paused=True)
    decision = paused.decide(pat, now=NOW, longest=None)
    assert find_next_step(Matter(pat), paused, decision, NOW, timedelta(minutes=10)) == NextStep(NextAction.NONE, None)


def test_request_that_may_still_take_effect_is_refused_with_the_name_of_its_record() -> None:
    """A person changes the policy, and wants to adopt what was just given up, under another name."""
    world = make_current()
    old = world.record().authorization_id
    world.rotate(NAME)
    world.advance(hours=25)
    world.pats.ignores_revoke = lambda _: True
    world.run()
    run = world.make_run()
    choice = Choice(name="again", secret_name="again")
    written = adopt(run, propose(run, [old], everything=False, choice=choice))
    assert (written.proposals, [(item.kind, item.name) for item in written.refusals]) == (
        (),
        [(RefusalKind.BEING_REVOKED, NAME)],
    )


def test_revocation_that_is_not_confirmed_is_reported_with_its_rotation_and_its_pat() -> None:
    world = make_overlapping()
    old = world.rotations()[-1].predecessor_id
    world.pats.ignores_revoke = lambda _: True
    report = world.run()
    [settling] = report.of_kind(OutcomeKind.SETTLING)
    assert (settling.name, settling.reason) == (NAME, OutcomeReason.REVOCATION_UNCONFIRMED)
    assert (settling.rotation_id, settling.pending_id) == (world.rotations()[-1].id, old)


def test_window_opens_the_first_time_that_the_clocks_show_its_hour_and_closes_the_last_time() -> None:
    """On the night in which they are set back it is half past two twice."""
    berlin = ZoneInfo("Europe/Berlin")
    twice = Timetable((Window((6,), time(2, 30), time(2, 45), berlin),))
    night = datetime(2026, 10, 24, 20, tzinfo=UTC)
    opens = twice.find_opening(night)
    assert opens == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert [
        twice.find_held_back(opens + timedelta(minutes=minutes)) is None for minutes in (0, 14, 16, 59, 61, 74, 76)
    ] == [
        *(True, True, False, False, True, True, False),
    ]


def test_queue_wakes_a_run_when_a_freeze_would_eat_the_overlap() -> None:
    """That is days before the expiry is near, and no window opens then."""
    frozen = Timetable((), (ChangeFreeze(NOW - DAY, NOW + 60 * DAY, "the end of the year"),))
    rule = replace(RULE, rotate_before=Threshold(duration=15 * DAY), overlap=5 * DAY, timetable=frozen)
    pat, policy = make_managed_pat(), make_policy(rule)
    last_call = find_last_call(pat, rule)
    assert NOW < last_call < pat.valid_to - find_last_span(pat.lifetime)
    assert find_due(Matter(pat), policy, {}, NOW, timedelta(minutes=10)) == Due(last_call)


def test_created_pat_is_known_by_the_version_that_holds_it_in_journal_and_record() -> None:
    world = make_current()
    wanted = make_order("deploy", ACCOUNT, ORGANIZATION, ("vso.code",), timedelta(days=20))
    world.watch(lambda: create(world.make_run(), wanted))
    version = world.latest("deploy").version.version
    [rotation] = world.rotations("deploy")
    assert (rotation.secret_version, world.record("deploy").secret_version) == (version, version)


def test_old_pat_of_a_move_that_nobody_can_revoke_is_not_reported_as_revoked() -> None:
    world = make_current()
    leave(world)
    world.watch(lambda: update(world.make_run(), MOVE))
    world.advance(hours=25)
    report = world.run()
    assert (world.states()[-1], report.of_kind(OutcomeKind.RETIRED)) == ("completed", ())


def test_those_after_a_pat_that_is_refused_or_only_watched_are_proposed_all_the_same() -> None:
    world = make_current()
    watched = replace(RULE, name="watched", match=Match(display_name="watched"), action=RuleAction.ALERT)
    world.policy = make_policy(watched, RULE)
    world.secrets.write_foreign(replace(world.location(), name="contoso-full"), "theirs")
    choices = {
        add(world, "elsewhere"): Choice(organization="elsewhere"),
        add(world, "namesake"): Choice(name=NAME),
        add(world, "beside"): Choice(secret_name=world.record().secret_name),
        add(world, "watched"): Choice(),
        add(world, "unreadable"): Choice(),
        add(world, "full"): Choice(),
        add(world, "last"): Choice(),
    }
    world.secrets.fail("fetch_latest", DeniedError("no", service="key_vault", operation="read_secret"))
    plan = propose(world.make_run(), list(choices), everything=False, choices=choices)
    assert [item.kind for item in plan.refusals] == [
        RefusalKind.MISPLACED,
        RefusalKind.NAME_TAKEN,
        RefusalKind.PLACE_TAKEN,
        RefusalKind.UNREADABLE,
        RefusalKind.SOMETHING_ELSE,
    ]
    assert [item.record.name for item in plan.proposals] == ["watched", "last"]


@pytest.mark.parametrize("hours", [1, 25])
def test_person_who_rotates_again_is_told_whether_the_overlap_is_over(hours: int) -> None:
    world = make_world()
    world.run()
    world.advance(hours=hours)
    with pytest.raises(RotationError, match=NAME) as caught:
        rotate_by_hand(world.make_run(), [NAME])
    assert ("The overlap is over" in caught.value.fix) == (hours == 25)


def test_pat_without_an_overlap_is_named_when_that_is_to_be_ended() -> None:
    world = make_current()
    with world.database.read() as reading, pytest.raises(RotatorError, match=NAME):
        check_overlapping(world.make_run(), reading, NAME)
