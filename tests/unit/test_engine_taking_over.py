"""Rules with `adopt: true`: what a run takes over, what waits for a person, and what becomes of the first PATs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.cli.output.plan import render_plan
from rotator.domain.managed_pat import Failure, Pat
from rotator.domain.plan import ActionKind, ActionReason
from rotator.domain.policy import Decision, Guardrails, Match, RuleAction, Verdict
from rotator.domain.refusal import RefusalKind
from rotator.domain.rotation import RotationState
from rotator.engine.adopting import adopt, propose
from rotator.engine.auditing import load_events
from rotator.engine.choices import Choice
from rotator.engine.keeping import forget, revoke_current, revoke_previous
from rotator.engine.left_behind import revoke_left_behind
from rotator.engine.looking import look
from rotator.engine.next_words import say_next
from rotator.engine.planning import make_plan
from rotator.engine.rebuilding import rebuild
from rotator.engine.report import OutcomeKind
from rotator.engine.run import recover_interrupted
from rotator.engine.status import PatState, PatStatus
from rotator.engine.tags import AUTHORIZATION_TAG, KEPT_TAG
from rotator.engine.updating import make_change, update
from rotator.errors import TransientError, UsageError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.pat_service import PatList
from rotator.ports.secret_store import SecretLocation
from tests.support.engine import ACCOUNT, OVERLAP, SCOPE, VAULT, EngineWorld, make_world, names_of
from tests.support.policies import RULE, make_policy

HOOK = "hook"
ADOPTING = replace(RULE, name="hooks", match=Match(display_name="hook*"), adopt=True, overlap=OVERLAP)


def make_adopting_world() -> EngineWorld:
    """A world whose policy asks to take over every PAT called hook-something."""
    return make_world(policy=make_policy(ADOPTING, replace(RULE, overlap=OVERLAP)))


def add(world: EngineWorld, *names: str, days: float = 20, organization: str | None = "contoso") -> list[str]:
    """PATs of a person; their ids."""
    end = world.clock.now() + timedelta(days=days)
    start = end - timedelta(days=30)
    made = [world.pats.add_pat(ACCOUNT, organization, name, SCOPE, end, valid_from=start) for name in names]
    return [fake.pat.authorization_id for fake in made]


def place(name: str = HOOK) -> SecretLocation:
    return SecretLocation(VAULT, f"contoso-{name}", ACCOUNT)


def show_untracked(world: EngineWorld) -> dict[str, PatStatus]:
    """What `status` says of what nobody manages, by id."""
    return {row.authorization_id: row for row in world.show_status() if row.state is PatState.UNTRACKED}


def find_wait(world: EngineWorld, found: str) -> str | None:
    """The code of why a PAT waits for a person."""
    error = show_untracked(world)[found].last_error
    return error.code if error is not None else None


def is_live(world: EngineWorld, found: str) -> bool:
    return not world.pats.pats[found].revoked


def test_new_pat_is_taken_over_and_told_when_its_rule_says_so_and_its_secret_is_absent() -> None:
    world = make_adopting_world()
    found, other = add(world, HOOK, "plain")
    report = world.run()
    [outcome] = report.of_kind(OutcomeKind.ADOPTED)
    assert (outcome.name, outcome.decision) == (HOOK, Decision(Verdict.NOT_DUE, world.policy.rules[0]))
    record = world.record(HOOK)
    assert (record.authorization_id, record.secret_name, record.confirmed_version) == (found, "contoso-hook", None)
    assert record.taken_over
    assert world.events(HOOK) == ["pat_taken_over succeeded"]
    (event,) = load_events(world.database, AuditFilter(subject=HOOK))
    assert event.entry.details["secret_holds"] == "absent"
    assert ("pat_taken_over", HOOK) in [(name, line.get("name")) for name, line in world.told]
    assert find_wait(world, other) is None
    assert names_of(world.run(), OutcomeKind.ADOPTED) == []


def test_organization_without_any_managed_pat_is_looked_at_when_a_rule_may_adopt_there() -> None:
    world = make_adopting_world()
    add(world, HOOK, organization="fabrikam")
    assert names_of(world.run(), OutcomeKind.ADOPTED) == [HOOK]
    assert world.record(HOOK).organization == "fabrikam"


@pytest.mark.parametrize(
    ("match", "is_taken"),
    [
        (Match(account=ACCOUNT, organization="contoso", display_name=HOOK, scope="vso.code"), True),
        (Match(account="release-bot"), False),
        (Match(organization="fabrikam"), False),
        (Match(scope="vso.build"), False),
    ],
)
def test_new_pat_is_taken_over_only_when_all_of_its_rule_matches(match: Match, is_taken: bool) -> None:
    world = make_world(policy=make_policy(RULE))
    add(world, HOOK)
    world.run()
    world.policy = make_policy(replace(ADOPTING, match=match), RULE)
    assert len(make_plan(world.make_run()).of_kind(ActionKind.ADOPT)) == is_taken
    assert names_of(world.run(), OutcomeKind.ADOPTED) == [HOOK] * is_taken


def test_new_pat_is_taken_over_when_only_a_doubted_answer_named_it_before() -> None:
    """Not everything that the audit log says of a PAT means that it was managed."""
    world = make_adopting_world()
    world.policy = make_policy(replace(ADOPTING, adopt=False), RULE)
    (found,) = add(world, HOOK)
    world.pats.swap_mint_answer(found, effect=False)
    world.run()
    assert "mint_answer_doubted unknown" in world.events()
    world.policy = make_policy(ADOPTING, RULE)
    assert names_of(world.run(), OutcomeKind.ADOPTED) == [HOOK]
    assert world.record(HOOK).authorization_id == found


def test_nothing_is_taken_over_when_recovering_or_without_adopt() -> None:
    world = make_adopting_world()
    add(world, HOOK)
    recover_interrupted(world.make_run())
    world.policy = make_policy(RULE)
    world.run()
    with world.database.read() as reading:
        assert reading.inventory.load(HOOK) is None


def test_first_predecessor_is_left_behind_and_reported_when_its_successor_is_in_use() -> None:
    world = make_adopting_world()
    (found,) = add(world, HOOK, days=5)
    assert names_of(world.run(), OutcomeKind.ADOPTED, OutcomeKind.ROTATED) == [HOOK, HOOK, "npm-feed"]
    assert not world.record(HOOK).taken_over
    assert world.rotations(HOOK)[0].keeps_predecessor
    (row,) = (row for row in world.show_status() if row.name == HOOK)
    assert (row.revoke_after, say_next(row, world.clock.now())) == (None, "end overlap in 24 h")
    world.advance(hours=24)
    said = "\n".join(render_plan(make_plan(world.make_run())))
    assert f"- {HOOK} " in said
    assert "leave the old PAT behind" in said
    assert "1 to leave behind" in said
    for _ in range(3):
        world.advance(hours=25)
        world.run()
    assert world.rotations(HOOK)[0].state is RotationState.COMPLETED
    assert is_live(world, found)
    assert find_wait(world, found) == "left_behind"
    assert "predecessor_kept succeeded" in world.events(HOOK)
    assert world.events(found) == ["pat_left_behind unknown"]
    left = revoke_left_behind(world.make_run(), found)
    assert left.kind.value == "kept_predecessor"
    assert not is_live(world, found)
    world.finish(HOOK)


def test_second_rotation_revokes_its_predecessor_when_the_first_kept_its_own() -> None:
    world = make_adopting_world()
    add(world, HOOK, days=5)
    world.run()
    first = world.record(HOOK).authorization_id
    for days in (23, 2):
        world.advance(days=days)
        world.run()
    assert world.record(HOOK).authorization_id != first
    assert not is_live(world, first)


def test_first_predecessor_lives_when_the_rule_asks_for_no_overlap_and_a_person_rotates() -> None:
    world = make_adopting_world()
    world.policy = make_policy(replace(ADOPTING, overlap=timedelta(0)), RULE)
    (found,) = add(world, HOOK)
    world.run()
    world.rotate(HOOK)
    assert world.rotations(HOOK)[0].state is RotationState.COMPLETED
    assert is_live(world, found)


def test_first_predecessor_is_revoked_when_a_person_ends_its_overlap() -> None:
    world = make_adopting_world()
    (found,) = add(world, HOOK, days=5)
    world.run()
    assert revoke_previous(world.make_run(), HOOK) == found
    assert not is_live(world, found)


def test_first_predecessor_is_current_and_kept_again_when_its_clone_was_revoked_outside() -> None:
    world = make_adopting_world()
    (found,) = add(world, HOOK, days=5)
    world.run()
    world.pats.pats[world.record(HOOK).authorization_id].revoked = True
    for _ in range(3):
        world.advance(hours=25)
        world.run()
    assert is_live(world, found)
    assert find_wait(world, found) == "left_behind"


@pytest.mark.parametrize("is_known", [True, False])
def test_rebuild_does_not_retire_the_first_predecessor_when_the_database_is_behind(is_known: bool) -> None:
    world = make_adopting_world()
    backup = world.database.back_up()
    (found,) = add(world, HOOK, days=5)
    if is_known:
        world.policy = make_policy(replace(ADOPTING, rotate_before=replace(RULE.rotate_before, share=0.01)), RULE)
        world.run()
        backup = world.database.back_up()
        world.policy = make_policy(ADOPTING, RULE)
    world.run()
    clone = world.record(HOOK).authorization_id
    stored = world.secrets.versions_of(place())[0]
    assert stored.version.tags[KEPT_TAG] == "true"
    backup()
    run = world.make_run()
    rebuild(run, look(run))
    assert world.record(HOOK).authorization_id == clone
    for _ in range(3):
        world.advance(hours=25)
        world.run()
    assert is_live(world, found)
    assert find_wait(world, found) == "left_behind"


def _fill(world: EngineWorld, value: str) -> None:
    world.secrets.write_foreign(place(), value)


@pytest.mark.parametrize(
    ("code", "arrange"),
    [
        ("occupied", lambda world, found: _fill(world, world.pats.pats[found].value)),
        ("something_else", lambda world, found: _fill(world, "Server=tcp:db")),
        ("same_name", lambda world, found: add(world, HOOK)),
        ("same_name", lambda world, found: add(world, "HOOK!")),
        ("secret_taken", lambda world, found: add_record_at(world, "contoso-hook")),
        ("managed_before", lambda world, found: adopt_and_forget(world, found)),
        ("blocked", lambda world, found: deny_scopes(world)),
    ],
)
def test_pat_waits_for_a_person_and_is_shown_when_something_speaks_against_it(
    code: str, arrange: Callable[[EngineWorld, str], object]
) -> None:
    world = make_adopting_world()
    (found,) = add(world, HOOK)
    arrange(world, found)
    report = world.run()
    assert names_of(report, OutcomeKind.ADOPTED, OutcomeKind.FAILED) == []
    assert find_wait(world, found) == code
    assert world.events(found) == ["adoption_blocked unknown"]
    actions = {action.pat.authorization_id: action for action in make_plan(world.make_run()).actions}
    assert (actions[found].kind, actions[found].reason) == (ActionKind.BLOCKED, ActionReason.ADOPTION_BLOCKED)
    assert actions[found].decision == Decision(Verdict.NOT_DUE, ADOPTING)
    failure = actions[found].failure
    assert failure is not None
    assert (failure.code, bool(failure.fix)) == (code, True)
    assert (f'"{HOOK}"' in failure.message) == (code == "same_name")
    before = world.database.dump()
    world.run()
    assert world.database.dump() == before


def add_record_at(world: EngineWorld, secret_name: str) -> None:
    """Another ManagedPat has the secret."""
    (other,) = add(world, "elsewhere")
    run = world.make_run()
    adopt(run, propose(run, [other], everything=False, choice=Choice("elsewhere", secret_name)))


def adopt_and_forget(world: EngineWorld, found: str) -> None:
    """A person had it managed, and decided otherwise."""
    run = world.make_run()
    adopt(run, propose(run, [found], everything=False))
    forget(run, HOOK)


def deny_scopes(world: EngineWorld) -> None:
    """The policy forbids what it may do."""
    guardrails = Guardrails(deny_scopes=(SCOPE.split()[0],))
    world.policy = make_policy(ADOPTING, RULE, guardrails=guardrails)
    world.advance(hours=1)
    world.run()
    world.advance(hours=1)


def test_pat_of_all_organizations_waits_when_a_rule_asks_for_it() -> None:
    world = make_adopting_world()
    (found,) = add(world, HOOK, organization=None)
    world.run()
    assert find_wait(world, found) == "all_organizations"


def test_wait_is_over_and_told_when_its_cause_is_gone() -> None:
    world = make_adopting_world()
    found, twin = add(world, HOOK, HOOK)
    world.run()
    assert {find_wait(world, found), find_wait(world, twin)} == {"same_name"}
    world.pats.pats[twin].revoked = True
    report = world.run()
    assert names_of(report, OutcomeKind.ADOPTED) == [HOOK]
    assert world.events(twin) == world.events(found) == ["adoption_blocked unknown", "adoption_cleared succeeded"]


def test_wait_is_over_and_told_when_the_rule_no_longer_asks_for_it() -> None:
    world = make_adopting_world()
    found, _ = add(world, HOOK, HOOK)
    world.run()
    world.policy = make_policy(replace(ADOPTING, adopt=False), RULE)
    world.run()
    assert find_wait(world, found) is None
    assert world.events(found)[-1] == "adoption_cleared succeeded"


def test_wait_is_kept_when_its_organization_cannot_be_looked_at() -> None:
    world = make_adopting_world()
    found, _ = add(world, HOOK, HOOK)
    world.run()
    error = TransientError("no", service="azure_devops", operation="fetch_pats")
    world.pats.fail("fetch_pats", error, times=3)
    world.run()
    assert find_wait(world, found) == "same_name"
    assert world.events(found) == ["adoption_blocked unknown"]


@pytest.mark.parametrize("hiding", [0, 1])
def test_neither_of_two_namesakes_is_taken_over_when_one_of_two_lists_hides_one(hiding: int) -> None:
    world = make_adopting_world()
    first, _ = add(world, HOOK, HOOK)
    listings = iter(range(2))

    def hide(listed: tuple[Pat, ...]) -> PatList:
        if not any(pat.display_name == HOOK for pat in listed):
            return PatList(listed)
        is_hidden = next(listings, None) == hiding
        return PatList([pat for pat in listed if not is_hidden or pat.authorization_id != first])

    world.pats.change_listed = hide
    assert names_of(world.run(), OutcomeKind.ADOPTED) == []


def test_two_that_would_share_a_secret_both_wait_when_the_rule_gives_them_one() -> None:
    world = make_adopting_world()
    world.policy = make_policy(replace(ADOPTING, secret_name="shared"), RULE)
    first, second = add(world, "hook-a", "hook-b")
    world.run()
    assert {find_wait(world, first), find_wait(world, second)} == {"secret_taken"}


@pytest.mark.parametrize(("is_alive", "expected"), [(True, "occupied"), (False, None)])
def test_secret_that_we_wrote_for_another_pat_is_taken_over_only_when_that_one_is_gone(
    is_alive: bool, expected: str | None
) -> None:
    """The record was forgotten: consumers may still read what is in its secret."""
    world = make_adopting_world()
    add(world, HOOK, days=5)
    world.run()
    world.advance(hours=25)
    world.run()
    old = world.record(HOOK).authorization_id
    forget(world.make_run(), HOOK)
    for fake in world.pats.pats.values():
        if fake.pat.display_name == HOOK and (fake.pat.authorization_id != old or not is_alive):
            fake.revoked = True
    if is_alive:
        world.pats.pats[old].pat = replace(world.pats.pats[old].pat, display_name="renamed")
    (new,) = add(world, HOOK)
    world.run()
    if expected is None:
        assert world.record(HOOK).authorization_id == new
    else:
        assert find_wait(world, new) == expected


def test_pat_is_a_failure_and_no_wait_when_what_its_secret_holds_cannot_be_looked_up() -> None:
    """The secret holds what we wrote for another PAT, and the server does not say whether that one lives."""
    world = make_adopting_world()
    add(world, HOOK, days=5)
    world.run()
    world.advance(hours=25)
    world.run()
    old = world.record(HOOK).authorization_id
    forget(world.make_run(), HOOK)
    for fake in world.pats.pats.values():
        if fake.pat.display_name == HOOK:
            fake.revoked = True
    (new,) = add(world, HOOK)
    world.pats.fail("fetch_pat", times=30)
    report = world.run()
    assert old != new
    assert names_of(report, OutcomeKind.FAILED) == [HOOK]
    assert find_wait(world, new) is None
    world.heal()
    assert names_of(world.run(), OutcomeKind.ADOPTED) == [HOOK]


def test_pat_that_cannot_be_looked_at_is_a_failure_and_no_wait_when_its_vault_does_not_answer() -> None:
    world = make_adopting_world()
    (found,) = add(world, HOOK)
    world.policy = make_policy(ADOPTING, replace(RULE, action=RuleAction.ALERT))
    error = TransientError("no", service="key_vault", operation="fetch_latest")
    world.secrets.fail("fetch_latest", error, times=30)
    report = world.run()
    (unread,) = [outcome for outcome in report.outcomes if outcome.kind is OutcomeKind.FAILED]
    assert (unread.name, unread.account, unread.organization) == (HOOK, ACCOUNT, "contoso")
    assert (unread.authorization_id, unread.failure) == (found, Failure.of(error))
    assert find_wait(world, found) is None
    world.heal()
    assert names_of(world.run(), OutcomeKind.ADOPTED) == [HOOK]


def test_record_is_only_watched_when_its_rule_says_alert() -> None:
    world = make_adopting_world()
    world.policy = make_policy(replace(ADOPTING, action=RuleAction.ALERT), RULE)
    (found,) = add(world, HOOK, days=5)
    _fill(world, "Server=tcp:db")
    assert names_of(world.run(), OutcomeKind.ADOPTED) == [HOOK]
    assert world.record(HOOK).authorization_id == found
    assert world.rotations(HOOK) == []


def test_plan_shows_what_a_run_would_take_over_when_the_last_look_saw_it() -> None:
    world = make_adopting_world()
    (found,) = add(world, HOOK)
    world.policy = make_policy(replace(ADOPTING, adopt=False), RULE)
    world.run()
    world.policy = make_policy(ADOPTING, RULE)
    plan = make_plan(world.make_run())
    (action,) = plan.of_kind(ActionKind.ADOPT)
    assert (action.pat.authorization_id, action.pat.name, plan.has_changes) == (found, HOOK, True)
    assert (action.reason, action.decision) == (ActionReason.TO_BE_ADOPTED, Decision(Verdict.NOT_DUE, ADOPTING))
    world.run()
    assert replace(world.record(HOOK), taken_over=False, epoch=0) == action.pat
    assert make_plan(world.make_run()).of_kind(ActionKind.ADOPT) == ()


def test_plan_names_each_new_pat_otherwise_when_two_have_one_display_name() -> None:
    world = make_adopting_world()
    world.policy = make_policy(replace(ADOPTING, adopt=False), RULE)
    add(world, HOOK, HOOK)
    world.run()
    world.policy = make_policy(ADOPTING, RULE)
    names = [action.pat.name for action in make_plan(world.make_run()).of_kind(ActionKind.ADOPT)]
    assert (len(names), len(set(names))) == (2, 2)


@pytest.mark.parametrize("is_pending", [False, True])
def test_plan_shows_no_takeover_when_the_pat_was_managed_since_the_last_look(is_pending: bool) -> None:
    """It waits for a person, or its revocation is pending: then it is shown as that."""
    world = make_adopting_world()
    world.policy = make_policy(replace(ADOPTING, adopt=False), RULE)
    (found,) = add(world, HOOK)
    world.run()
    run = world.make_run()
    adopt(run, propose(run, [found], everything=False))
    if is_pending:
        world.pats.ignores_revoke = lambda authorization_id: True
        revoke_current(run, HOOK)
    forget(run, HOOK)
    world.policy = make_policy(ADOPTING, RULE)
    actions = [action for action in make_plan(world.make_run()).actions if action.pat.authorization_id == found]
    assert [action.failure.code for action in actions if action.failure] == ["managed_before"] * (not is_pending)


def test_plan_shows_no_takeover_when_an_unanswered_mint_made_the_pat() -> None:
    """Somebody's look saw it before that mint was in the journal."""
    world = make_adopting_world()
    add(world, HOOK, days=5)
    world.run_and_die(before="minted")
    made = world.live_ids(HOOK)[-1]
    with world.database.begin() as work:
        work.inventory.save_untracked(ACCOUNT, "contoso", (world.pats.pats[made].pat,))
    assert made not in [action.pat.authorization_id for action in make_plan(world.make_run()).actions]


def test_nothing_is_written_when_the_first_pat_was_taken_over_by_another_run() -> None:
    world = make_adopting_world()
    add(world, HOOK)
    world.run()
    with pytest.raises(UsageError, match="is the current PAT"):
        revoke_left_behind(world.make_run(), world.record(HOOK).authorization_id)


def test_pat_that_a_person_forgot_since_the_list_was_read_is_not_taken_over_again() -> None:
    world = make_adopting_world()
    [found] = add(world, HOOK)
    run = world.make_run()
    plan = propose(run, [found], everything=False)
    world.run()
    forget(world.make_run(), HOOK)
    written = adopt(run, plan, by_rule=True)
    assert written.proposals == ()
    assert [refusal.kind for refusal in written.refusals] == [RefusalKind.MANAGED_BEFORE]


def test_clone_with_another_name_is_not_taken_over_from_the_secret_of_a_record_when_the_database_was_restored() -> None:
    """The update that made it is forgotten, its rotation is not due, and so nothing is called behind yet."""
    world = make_world("other")
    world.add_managed(HOOK, days_left=28)
    restore = world.database.back_up()
    update(world.make_run(), make_change(HOOK, display_name="hook-2", scopes=(), lifetime=None))
    clone = world.latest(HOOK).version.tags[AUTHORIZATION_TAG]
    restore()
    world.policy = make_policy(replace(RULE, adopt=True))
    for _ in range(3):
        world.run()
        world.advance(hours=1)
    with world.database.read() as reading:
        assert {pat.name for pat in reading.inventory.load_all()} == {"other", HOOK}
    assert find_wait(world, clone) == "served"
