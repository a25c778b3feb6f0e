"""A ManagedPat moves to another account: its old PAT is one account's, and its clone the other's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.log_comparison import OwnAction
from rotator.domain.plan import ActionKind, ActionReason
from rotator.domain.policy import Guardrails, Match, RuleAction
from rotator.domain.sign_in import SignInMemory
from rotator.engine.keeping import pause, revoke_previous
from rotator.engine.left_behind import LeftBehindKind, load_left_behind, revoke_left_behind
from rotator.engine.looking import look
from rotator.engine.own_actions import load_own_actions
from rotator.engine.planning import make_plan
from rotator.engine.rebuilding import rebuild
from rotator.engine.records import known_in
from rotator.engine.report import OutcomeKind
from rotator.engine.signing_in import hold_for_sign_ins
from rotator.engine.status import NeededSignIn, PatState
from rotator.engine.updating import Change, make_change, preview, update
from rotator.errors import (
    DeniedError,
    PlanRefusedError,
    RejectedError,
    RotationError,
    RotatorError,
    SignInRequiredError,
    UsageError,
)
from tests.support.engine import (
    ACCOUNT,
    MUTATIONS,
    NAME,
    ORGANIZATION,
    OVERLAP,
    SCOPE,
    EngineWorld,
    make_world,
    names_of,
)
from tests.support.engine_fakes import CallT, CallTape, ProcessDied
from tests.support.moves import HEIR, MOVE, end_overlap, leave, make_current, make_left, move, owners
from tests.support.policies import RULE, make_policy

Arrange = Callable[[EngineWorld], object]


def check_moved(world: EngineWorld, *, besides: tuple[str, ...] = ()) -> None:
    """The record, the server and the vault say that it is the other account's."""
    record = world.record()
    assert (record.account, record.wanted_account, record.last_failure) == (HEIR, None, None)
    assert owners(world) == {record.authorization_id: HEIR, **dict.fromkeys(besides, ACCOUNT)}
    world.check_rest(besides=besides)


def test_move_mints_for_the_other_account_and_revokes_the_old_one_as_its_own_after_the_overlap() -> None:
    world = make_current()
    old = world.record().authorization_id
    assert names_of(move(world), OutcomeKind.ROTATED) == [NAME]
    record = world.record()
    assert owners(world) == {old: ACCOUNT, record.authorization_id: HEIR}
    assert (record.account, record.wanted_account) == (HEIR, None)
    [*_, rotation] = world.rotations()
    assert (rotation.account, rotation.predecessor_place) == (HEIR, (ACCOUNT, ORGANIZATION))
    assert world.latest().version.tags["rotator-account"] == HEIR
    assert world.events()[-9:] == [
        "move_started intended",
        "rotation_planned intended",
        "mint_started intended",
        "pat_minted succeeded",
        "pat_verified succeeded",
        "store_started intended",
        "secret_stored succeeded",
        "pat_moved succeeded",
        "overlap_started succeeded",
    ]
    end_overlap(world)
    check_moved(world)
    assert world.revoked_ids()[-1] == old
    assert not world.database.dump().count("PendingRevocation(")


def test_move_from_an_account_that_cannot_sign_in_leaves_the_old_pat_behind_and_says_so() -> None:
    world = make_left()
    old = world.record().authorization_id
    shown = preview(world.make_run(), MOVE)
    assert (shown.revokes, shown.wanted.as_wanted().account) == (False, HEIR)
    assert names_of(move(world), OutcomeKind.ROTATED) == [NAME]
    end_overlap(world)
    check_moved(world, besides=(old,))
    assert old not in world.revoked_ids()
    assert "predecessor_kept succeeded" in world.events()
    assert world.events(old) == ["pat_left_behind unknown"]
    [row] = [row for row in world.show_status() if row.state is PatState.UNTRACKED]
    assert (row.authorization_id, row.account, row.last_error and row.last_error.code) == (old, ACCOUNT, "left_behind")
    assert ACCOUNT in (row.last_error.message if row.last_error else "")
    with world.database.read() as reading:
        [left] = load_left_behind(reading, world.clock.now())
    assert (left.kind, left.pat.valid_to) == (LeftBehindKind.KEPT_PREDECESSOR, world.pats.pats[old].pat.valid_to)


def test_old_pat_that_was_left_is_revoked_on_a_persons_word_once_its_account_works_again() -> None:
    world = make_left()
    old = world.record().authorization_id
    move(world)
    end_overlap(world)
    with pytest.raises(SignInRequiredError):
        revoke_left_behind(world.make_run(), old)
    world.heal()
    world.run()
    assert revoke_left_behind(world.make_run(), old).name == NAME
    world.run()
    check_moved(world)
    assert world.events(old)[-1] == "left_behind_resolved succeeded"


def test_old_pat_stays_reported_when_the_settings_no_longer_name_its_account() -> None:
    world = make_left()
    old = world.record().authorization_id
    move(world)
    world.accounts = tuple(account for account in world.accounts if account.name != ACCOUNT)
    end_overlap(world)
    check_moved(world, besides=(old,))
    assert [row.authorization_id for row in world.show_status() if row.state is PatState.UNTRACKED] == [old]
    world.advance(days=31)
    world.run()
    assert [row for row in world.show_status() if row.state is PatState.UNTRACKED] == []


def test_move_works_when_the_old_account_is_no_longer_in_the_settings() -> None:
    world = make_current()
    old = world.record().authorization_id
    world.accounts = tuple(account for account in world.accounts if account.name != ACCOUNT)
    assert names_of(move(world), OutcomeKind.ROTATED) == [NAME]
    end_overlap(world)
    check_moved(world, besides=(old,))


def test_old_pat_is_left_when_its_account_stops_working_during_the_overlap() -> None:
    world = make_current()
    old = world.record().authorization_id
    move(world)
    leave(world)
    end_overlap(world)
    check_moved(world, besides=(old,))


def test_old_pat_is_revoked_later_when_its_account_is_unreachable_only_for_now() -> None:
    world = make_current()
    old = world.record().authorization_id
    move(world)
    world.advance(hours=25)
    world.pats.fail("revoke", times=2)
    world.run()
    world.heal()
    end_overlap(world)
    check_moved(world)
    assert world.revoked_ids().count(old) > 1


def test_request_without_effect_is_repeated_as_the_old_account() -> None:
    world = make_current()
    old = world.record().authorization_id
    move(world)
    world.pats.ignores_revoke = lambda found: found == old
    end_overlap(world)
    assert owners(world)[old] == ACCOUNT
    world.pats.ignores_revoke = lambda _: False
    end_overlap(world)
    check_moved(world)


def test_previous_is_revoked_by_hand_as_the_old_account_and_never_left_behind() -> None:
    world = make_left()
    old = world.record().authorization_id
    move(world)
    with pytest.raises(SignInRequiredError):
        revoke_previous(world.make_run(), NAME)
    assert world.states()[-1] == "overlapping"
    world.heal()
    assert revoke_previous(world.make_run(), NAME) == old
    check_moved(world)


def test_audit_log_says_whose_each_pat_is() -> None:
    world = make_current()
    began, old = world.clock.now(), world.record().authorization_id
    move(world)
    new = world.record().authorization_id
    end_overlap(world)
    actions: tuple[OwnAction, ...] = load_own_actions(world.database, began, world.clock.now())
    told = {(action.kind.value, action.authorization_id): action.account for action in actions}
    assert (told["minted", new], told["revoked", old]) == (HEIR, ACCOUNT)


def test_move_goes_back_when_a_person_moves_it_back() -> None:
    world = make_current()
    move(world)
    end_overlap(world)
    move(world, Change(NAME, account=ACCOUNT))
    end_overlap(world)
    assert set(owners(world).values()) == {ACCOUNT}
    world.check_rest()
    assert world.record().account == ACCOUNT


def test_move_does_nothing_when_it_is_that_accounts_already() -> None:
    world = make_current()
    assert move(world, Change(NAME, account=ACCOUNT)).outcomes == ()
    assert not MUTATIONS & set(world.timeline)


def unname(world: EngineWorld) -> None:
    """The settings do not name that account."""
    world.accounts = world.accounts[:1]


def displace(world: EngineWorld) -> None:
    """The settings do not name the organization for it."""
    first, second = world.accounts
    world.accounts = (first, replace(second, organizations=("fabrikam",)))


def sign_out(world: EngineWorld) -> None:
    """Nobody is signed in for it."""
    world.sign_in.refusals[HEIR] = SignInRequiredError("nobody is signed in", account=HEIR, fix="Sign in.")


def shut_out(world: EngineWorld) -> None:
    """Its user has no access to the organization."""
    denied = DeniedError("no access", service="azure_devops", operation="fetch_identity", status=403, fix="Ask for it.")
    world.pats.fail("fetch_identity", denied)


def halt(world: EngineWorld) -> None:
    """The record is paused."""
    pause(world.make_run(), NAME)


def rotate(world: EngineWorld) -> None:
    """A rotation is in its overlap."""
    world.rotate(NAME)
    world.timeline.clear()


def name_alike(world: EngineWorld) -> None:
    """The other account has a PAT of that name."""
    world.pats.add_pat(HEIR, ORGANIZATION, NAME, SCOPE, world.clock.now() + timedelta(days=5))


def ignore(world: EngineWorld) -> None:
    """A rule says that the other account is to be left alone."""
    first = replace(RULE, name="hands-off", match=Match(account=HEIR), action=RuleAction.IGNORE)
    world.policy = make_policy(first, replace(RULE, overlap=OVERLAP))


def uncover(world: EngineWorld) -> None:
    """No rule covers the other account."""
    world.policy = make_policy(replace(RULE, match=Match(account=ACCOUNT), overlap=OVERLAP))


@pytest.mark.parametrize(
    ("arrange", "kind", "said"),
    [
        (unname, UsageError, f'no account "{HEIR}"'),
        (displace, UsageError, "has no organization"),
        (sign_out, SignInRequiredError, "nobody is signed in"),
        (shut_out, DeniedError, "no access"),
        (halt, UsageError, "is paused"),
        (rotate, RotationError, "still in its overlap"),
        (name_alike, PlanRefusedError, f'called "{NAME}" already'),
        (ignore, PlanRefusedError, "hands-off"),
        (uncover, PlanRefusedError, "no rule"),
    ],
)
@pytest.mark.parametrize("act", [preview, update])
def test_move_is_refused_before_anything_is_sent(
    arrange: Arrange, kind: type[RotatorError], said: str, act: Callable[..., object]
) -> None:
    world = make_current()
    arrange(world)
    before = world.record()
    with pytest.raises(kind, match=said) as refused:
        act(world.make_run(), MOVE)
    assert refused.value.fix
    assert (refused.value.code == "paused") == (arrange is halt)
    assert replace(world.record(), epoch=before.epoch) == before
    assert not MUTATIONS & set(world.timeline)


@pytest.mark.parametrize(
    ("arrange", "fix"),
    [
        (displace, f"Name it in the organizations of {HEIR} in rotator.yaml, or choose an account that has it."),
        (name_alike, f"Give {NAME} another name first: `rotator update {NAME} --display-name OTHER`."),
    ],
)
def test_refused_move_says_what_a_person_can_do_where_neither_name_nor_organization_can_be_chosen(
    arrange: Arrange, fix: str
) -> None:
    world = make_current()
    arrange(world)
    with pytest.raises(RotatorError) as refused:
        preview(world.make_run(), MOVE)
    assert refused.value.fix == fix


def test_move_that_the_server_refuses_leaves_the_pat_where_it_is() -> None:
    world = make_current()
    before = world.record()
    rejected = RejectedError("no", service="azure_devops", operation="mint", status=400, fix="Ask.")
    world.pats.fail("mint", rejected)
    assert names_of(move(world), OutcomeKind.BLOCKED) == [NAME]
    assert replace(world.record(), epoch=before.epoch) == before
    assert "update_dropped failed" in world.events()
    world.finish()
    assert world.record().account == ACCOUNT


def test_move_that_the_policy_forbids_since_does_not_keep_the_pat_from_being_rotated() -> None:
    world = make_current()
    world.database.dies_after = "move_started"
    with pytest.raises(ProcessDied):
        move(world)
    world.database.revive()
    world.policy = replace(world.policy, guardrails=Guardrails(deny_scopes=("vso.release",)))
    uncover(world)
    world.advance(days=26)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    assert (world.record().account, world.record().wanted_account) == (ACCOUNT, None)


def test_move_and_update_are_both_made_when_both_are_wanted() -> None:
    world = make_current()
    world.database.dies_after = "move_started"
    with pytest.raises(ProcessDied):
        move(world)
    world.database.revive()
    world.advance(minutes=11)
    update(world.make_run(), make_change(NAME, display_name="npm-publish", scopes=(), lifetime=None))
    record = world.record()
    assert (record.account, record.display_name, record.is_update_wanted) == (HEIR, "npm-publish", False)
    assert [event for event in world.events() if event.startswith(("pat_moved", "pat_updated"))] == [
        "pat_updated succeeded",
        "pat_moved succeeded",
    ]


def test_plan_of_an_interrupted_move_waits_for_the_new_accounts_sign_in_only() -> None:
    world = make_left()
    world.database.dies_after = "move_started"
    with pytest.raises(ProcessDied):
        move(world)
    world.database.revive()
    [action] = make_plan(world.make_run()).actions
    assert (action.kind.value, action.reason.value) == ("rotate", "to_be_updated")
    world.advance(minutes=11)
    world.run()
    end_overlap(world)
    assert world.record().account == HEIR


def test_clone_that_somebody_revokes_gives_way_to_the_old_account_and_its_pat() -> None:
    world = make_current()
    old = world.record().authorization_id
    move(world)
    world.pats.pats[world.record().authorization_id].revoked = True
    world.run()
    record = world.record()
    assert (record.authorization_id, record.account) == (old, ACCOUNT)
    world.finish()
    assert world.record().account == ACCOUNT


def test_clone_that_somebody_revokes_stays_current_when_the_old_account_cannot_work() -> None:
    world = make_left()
    old = world.record().authorization_id
    move(world)
    new = world.record().authorization_id
    world.pats.pats[new].revoked = True
    for _ in range(2):
        world.advance(minutes=11)
        world.run()
    record = world.record()
    assert (record.authorization_id, record.account) == (new, HEIR)
    assert world.states()[-1] == "failed"
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]
    end_overlap(world)
    check_moved(world, besides=(old,))


def test_mint_of_a_move_is_revoked_when_the_database_does_not_know_that_it_moved() -> None:
    world = make_current()
    restore = world.database.back_up()
    world.pats.fail("mint", after_effect=True)
    move(world)
    [lost] = [found for found, owner in owners(world).items() if owner == HEIR]
    restore()
    world.advance(minutes=11)
    world.rotate(NAME)
    for _ in range(3):
        world.advance(hours=13)
        world.run()
    assert lost in world.revoked_ids()
    assert set(owners(world).values()) == {ACCOUNT}


@pytest.mark.parametrize("has_left", [False, True])
def test_rebuild_of_a_database_that_does_not_know_the_move_gives_the_old_pat_its_overlap(has_left: bool) -> None:
    world = make_current()
    old, restore = world.record().authorization_id, world.database.back_up()
    move(world)
    new = world.record().authorization_id
    restore()
    if has_left:
        leave(world)
    world.advance(minutes=11)
    rebuild(world.make_run(), look(world.make_run()))
    record, [*_, rotation] = world.record(), world.rotations()
    assert (record.account, record.authorization_id, rotation.state.value) == (HEIR, new, "overlapping")
    assert (rotation.predecessor_id, rotation.predecessor_place[0]) == (old, ACCOUNT)
    end_overlap(world)
    check_moved(world, besides=(old,) if has_left else ())


def test_rebuild_of_a_database_from_before_the_rotation_that_was_moved_since_finds_the_old_pat_in_its_account() -> None:
    """Only the tags in the vault say whose the PAT is that the move replaced."""
    world = make_world()
    restore = world.database.back_up()
    world.run()
    world.advance(hours=25)
    world.run()
    old = world.record().authorization_id
    move(world)
    new = world.record().authorization_id
    restore()
    world.advance(minutes=11)
    rebuild(world.make_run(), look(world.make_run()))
    record, [*_, rotation] = world.record(), world.rotations()
    assert (record.account, record.authorization_id, rotation.state.value) == (HEIR, new, "overlapping")
    assert (rotation.predecessor_id, rotation.predecessor_place[0]) == (old, ACCOUNT)
    end_overlap(world)
    check_moved(world)


class DyingTape(CallTape[CallT]):
    """A fake's list of calls at one of which the process dies, before it has any effect."""

    def __init__(self, world: EngineWorld, left: list[int]) -> None:
        super().__init__(world.timeline)
        self._world, self._left = world, left

    def append(self, call: CallT) -> None:
        """Note one call, or die."""
        self._left[0] -= 1
        if self._left[0] < 0:
            self._world.database.die()
        super().append(call)


ASKED = ("fetch_identity", "fetch_pats")
WORKS = (*ASKED, "move_started", *ASKED, "fetch_pat", "planned", "fetch_versions", "prove_writable")
GONE = (*ASKED, "move_started", "sign_in_lapsed", "planned", "fetch_versions", "prove_writable")
MADE = ("minting", "mint", "fetch_pat", "minted", "verify", "verified", "storing", "store", "fetch_version", "stored")
STORED = ("fetch_latest", "overlapping")
"""Every request and commit of a move, up to the overlap; with an account that works, and with one that is gone."""
CALLS = frozenset(
    {
        *("fetch_identity", "fetch_pats", "fetch_pat", "fetch_versions", "fetch_version", "fetch_latest"),
        *("prove_writable", "mint", "verify", "store"),
    }
)
DEATHS = [
    *((False, number, (*WORKS, *MADE, *STORED)) for number in range(len((*WORKS, *MADE, *STORED)))),
    *((True, number, (*GONE, *MADE, *STORED)) for number in range(len((*GONE, *MADE, *STORED)))),
]
"""For each: whether the account has left, and which request or commit is never reached."""


@pytest.mark.parametrize("has_left", [False, True])
def test_move_makes_exactly_the_requests_and_commits_that_are_killed(has_left: bool) -> None:
    world = make_left() if has_left else make_current()
    move(world)
    every = (*(GONE if has_left else WORKS), *MADE, *STORED)
    told = [mark for mark in world.timeline if mark in every]
    assert tuple(told[: len(every)]) == every


def kill(world: EngineWorld, number: int, every: tuple[str, ...]) -> None:
    """A move that dies right before that request or commit."""
    if every[number] in CALLS:
        left = [sum(mark in CALLS for mark in every[:number])]
        world.pats.calls, world.secrets.calls = DyingTape(world, left), DyingTape(world, left)
    else:
        world.database.dies_before = every[number]
    with pytest.raises(ProcessDied):
        move(world)
    world.database.revive()
    world.pats.calls, world.secrets.calls = CallTape(world.timeline), CallTape(world.timeline)


@pytest.mark.parametrize(("has_left", "number", "every"), DEATHS)
def test_move_that_was_killed_anywhere_is_finished_by_the_next_runs(
    has_left: bool, number: int, every: tuple[str, ...]
) -> None:
    world = make_left() if has_left else make_current()
    old = world.record().authorization_id
    kill(world, number, every)
    assert world.is_live()
    if world.record().wanted_account is None:
        assert number <= every.index("move_started")
        world.advance(minutes=11)
        move(world)
    for _ in range(2):
        world.advance(minutes=11)
        world.run()
    end_overlap(world)
    check_moved(world, besides=(old,) if has_left else ())
    assert world.events().count("pat_moved succeeded") == 1


@pytest.mark.parametrize("mark", ["revoke_started", "revoke", "retiring", "completed"])
def test_end_of_a_move_that_was_killed_is_made_by_the_next_runs(mark: str) -> None:
    world = make_current()
    old = world.record().authorization_id
    move(world)
    world.advance(hours=25)
    if mark == "revoke":
        world.pats.fail("revoke", ProcessDied(), after_effect=True)
        with pytest.raises(ProcessDied):
            world.run()
    else:
        world.run_and_die(before=mark)
    world.advance(minutes=11)
    leave_after = mark == "completed"
    if leave_after:
        leave(world)
    world.run()
    end_overlap(world)
    assert not any(rotation.is_open for rotation in world.rotations())
    assert world.record().account == HEIR
    assert leave_after or old not in owners(world)


@pytest.mark.parametrize("mark", ["predecessor_kept", "completed"])
def test_old_pat_is_left_behind_once_when_the_run_that_leaves_it_is_killed(mark: str) -> None:
    world = make_left()
    old = world.record().authorization_id
    move(world)
    world.advance(hours=25)
    world.run_and_die(before=mark)
    world.advance(minutes=11)
    end_overlap(world)
    check_moved(world, besides=(old,))
    assert world.events(old) == ["pat_left_behind unknown"]


def test_list_of_the_old_account_is_looked_at_while_the_old_pat_that_was_left_there_lives() -> None:
    world = make_left()
    move(world)
    end_overlap(world)
    with world.database.read() as reading:
        assert known_in(reading, world.clock.now()).left_in == {(ACCOUNT, ORGANIZATION)}


def lapse(world: EngineWorld) -> None:
    """The sign-in of the old account has ended; its user is still there."""
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("a password has changed", account=ACCOUNT, fix="Sign in.")
    world.pats.signed_out.add(ACCOUNT)


def test_old_pat_waits_while_its_account_only_has_to_sign_in_again_and_is_revoked_then() -> None:
    world = make_current()
    old = world.record().authorization_id
    move(world)
    lapse(world)
    end_overlap(world)
    assert (world.states()[-1], old in world.live_ids()) == ("overlapping", True)
    assert "predecessor_kept succeeded" not in world.events()
    [row] = world.show_status()
    assert row.last_error is not None
    assert (row.last_error.code, f"rotator login {ACCOUNT}" in row.last_error.fix) == ("old_account_signed_out", True)
    world.heal()
    end_overlap(world)
    check_moved(world)
    assert world.revoked_ids()[-1] == old


def test_old_pat_waits_for_a_sign_in_no_longer_than_until_it_expires() -> None:
    world = make_current()
    old = world.record().authorization_id
    move(world)
    lapse(world)
    world.advance(days=31)
    world.run()
    assert world.states()[-2] == "completed"
    assert old not in world.live_ids()


def test_current_pat_is_rotated_in_time_although_the_old_account_must_sign_in() -> None:
    world = make_world(policy=make_policy(replace(RULE, overlap=OVERLAP, lifetime=timedelta(days=8))))
    world.run()
    world.advance(hours=25)
    world.run()
    world.heal()
    world.policy = make_policy(replace(RULE, overlap=OVERLAP, lifetime=timedelta(days=4)))
    old = world.record().authorization_id
    move(world)
    lapse(world)
    left: list[str | None] = []
    for _ in range(12):
        world.advance(hours=7)
        report = world.run()
        left = [outcome.left_id for outcome in report.of_kind(OutcomeKind.RECOVERED)]
        if left:
            break
    assert (left, world.record().valid_to > world.clock.now()) == ([old], True)
    assert names_of(report, OutcomeKind.ROTATED) == [NAME]
    assert world.is_live()


def test_old_pat_is_left_when_a_person_takes_its_signed_out_account_from_the_settings() -> None:
    world = make_current()
    old = world.record().authorization_id
    move(world)
    lapse(world)
    end_overlap(world)
    world.accounts = tuple(account for account in world.accounts if account.name != ACCOUNT)
    end_overlap(world)
    check_moved(world, besides=(old,))


def test_plan_promises_no_revocation_that_waits_for_the_old_accounts_sign_in() -> None:
    world = make_current()
    move(world)
    world.advance(hours=25)
    needed = {ACCOUNT: NeededSignIn(None, SignInMemory(ACCOUNT))}
    [action] = hold_for_sign_ins(make_plan(world.make_run()), needed, {}).actions
    assert (action.kind, action.reason) == (ActionKind.BLOCKED, ActionReason.SIGN_IN_NEEDED)
    assert action.failure is not None
    assert ACCOUNT in action.failure.fix
