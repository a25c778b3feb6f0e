"""A listing that lacks a PAT of ours: when that proves something, and how it is taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.managed_pat import Hold, Pat
from rotator.domain.policy import Guardrails, RuleAction
from rotator.domain.rotation import RotationState
from rotator.engine.auditing import load_events
from rotator.engine.keeping import forget
from rotator.engine.report import OutcomeKind
from rotator.errors import VerificationError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.pat_service import PatList
from rotator.ports.permit import unclaimed
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, SCOPE, EngineWorld, codes_of, make_world, names_of
from tests.support.engine_scenarios import make_busy, make_overlapping
from tests.support.policies import RULE, make_policy
from tests.support.records import DAY

FRESH = "fresh"


def lose(world: EngineWorld, *lost: str, times: int | None = None) -> None:
    """Let the next lists lack these ids; None: all lists from now on."""
    left = [times]

    def change(listed: tuple[Pat, ...]) -> tuple[Pat, ...]:
        if left[0] is not None:
            left[0] -= 1
            if left[0] < 0:
                return listed
        return tuple(pat for pat in listed if pat.authorization_id not in lost)

    world.pats.change_listed = change


def make_fresh() -> EngineWorld:
    """A world with one PAT that is not due."""
    world = make_world("other")
    world.add_managed(FRESH, days_left=20)
    return world


def make_due() -> EngineWorld:
    """A world with one PAT that is due."""
    world = make_world("other")
    world.add_managed(FRESH)
    return world


@pytest.mark.parametrize("make", [make_fresh, make_due])
def test_live_pat_is_not_called_revoked_when_one_listing_lacks_it(make: Callable[[], EngineWorld]) -> None:
    world = make()
    lose(world, world.record(FRESH).authorization_id, times=1)
    report = world.run()
    assert names_of(report, OutcomeKind.BLOCKED, OutcomeKind.FAILED) == []
    assert world.record(FRESH).last_failure is None


@pytest.mark.parametrize("make", [make_fresh, make_due])
def test_nothing_is_proven_when_all_listings_of_one_run_lack_a_pat(make: Callable[[], EngineWorld]) -> None:
    world = make()
    missed = world.record(FRESH).authorization_id
    lose(world, missed)
    assert codes_of(world.run(), OutcomeKind.FAILED) == ["not_listed"]
    assert world.record(FRESH).hold is None
    assert not world.record(FRESH).blocked
    world.advance(minutes=1)
    assert codes_of(world.run(), OutcomeKind.FAILED) == []
    assert world.record(FRESH).failures == 1
    world.heal()
    world.advance(minutes=10)
    world.run()
    assert world.record(FRESH).last_failure is None
    (seen,) = load_events(world.database, AuditFilter(subject=FRESH, event="pat_reappeared"))
    assert seen.entry.details["authorization_id"] == missed
    world.check_served(FRESH)


def lasts(world: EngineWorld) -> list[ConditionKind]:
    """The kinds of conditions that last of the PAT."""
    with world.database.read() as reading:
        return [condition.kind for condition in reading.conditions.load() if condition.subject == FRESH]


@pytest.mark.parametrize("action", [RuleAction.ROTATE, RuleAction.ALERT])
def test_no_rotation_is_said_to_have_failed_when_lists_lack_a_pat_that_is_not_due(action: RuleAction) -> None:
    """It is noted in the audit log, and nobody is told: it proves nothing, and nothing was to be done."""
    world = make_world("other", policy=make_policy(replace(RULE, action=action)))
    world.add_managed(FRESH, days_left=20)
    world.run()
    lose(world, world.record(FRESH).authorization_id, times=4)
    world.run()
    assert world.record(FRESH).is_called_missing
    assert world.events(FRESH) == ["pat_unlisted succeeded"]
    assert lasts(world) == []
    world.advance(minutes=10)
    world.run()
    assert world.events(FRESH) == ["pat_unlisted succeeded", "pat_reappeared succeeded"]
    assert lasts(world) == []


def test_rotation_is_said_to_fail_once_a_pat_that_lists_lack_is_due() -> None:
    world = make_overlapping()
    world.finish()
    lose(world, world.record().authorization_id)
    world.run()
    before = world.record()
    assert "pat_unlisted" in [event.split()[0] for event in world.events()]
    world.clock.advance(before.valid_to - world.clock.now() - 7 * DAY)
    world.run()
    with world.database.read() as reading:
        assert [condition.kind for condition in reading.conditions.load()] == [ConditionKind.ROTATION_FAILING]
    world.heal()
    world.advance(hours=7)
    world.run()
    with world.database.read() as reading:
        assert reading.conditions.load() == ()


def test_what_the_policy_forbids_is_told_once_although_lists_lack_the_pat_meanwhile() -> None:
    guardrails = Guardrails(deny_scopes=tuple(SCOPE.split()))
    world = make_world("other", policy=make_policy(RULE, guardrails=guardrails))
    world.forget("other")
    world.add_managed(FRESH, days_left=20)
    world.run()
    assert lasts(world) == [ConditionKind.ROTATION_BLOCKED]
    for _ in range(2):
        lose(world, world.record(FRESH).authorization_id, times=4)
        world.run()
        assert lasts(world) == [ConditionKind.ROTATION_BLOCKED]
        world.advance(minutes=10)
        world.run()
        assert lasts(world) == [ConditionKind.ROTATION_BLOCKED]
    told = [event.split()[0] for event in world.events(FRESH)]
    assert told == ["rotation_blocked", *["pat_unlisted", "pat_reappeared"] * 2]


def test_pat_is_called_revoked_when_listings_some_time_apart_lack_it_until_it_is_seen_again() -> None:
    world = make_fresh()
    lose(world, world.record(FRESH).authorization_id)
    world.run()
    world.advance(minutes=5)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["revoked_elsewhere"]
    assert world.record(FRESH).hold is Hold.REVOKED_ELSEWHERE
    world.advance(hours=7)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == []
    world.heal()
    world.run()
    assert (world.record(FRESH).hold, world.record(FRESH).blocked, world.record(FRESH).last_failure) == (
        None,
        False,
        None,
    )
    assert world.events(FRESH)[-1] == "pat_reappeared succeeded"


def miss_for_long(world: EngineWorld, *lost: str) -> list[str]:
    """Some runs some time apart whose lists lack these ids; the codes with which they blocked anything."""
    lose(world, *lost)
    codes = []
    for _ in range(4):
        codes += codes_of(world.run(), OutcomeKind.BLOCKED)
        world.advance(hours=1)
    return codes


def test_pat_is_not_called_revoked_by_any_number_of_listings_when_its_value_signs_in() -> None:
    world = make_overlapping()
    world.finish()
    current = world.record().authorization_id
    assert miss_for_long(world, current) == []
    failure = world.record().last_failure
    assert failure is not None
    assert (failure.code, world.record().hold) == ("not_listed", None)
    world.heal()
    world.run()
    assert world.record().last_failure is None
    world.check_rest()


def test_pat_is_not_called_revoked_when_the_server_does_not_know_it_and_its_value_signs_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = make_overlapping()
    world.finish()
    with monkeypatch.context() as patch:
        patch.setattr(world.pats, "fetch_pat", lambda account, organization, authorization_id: None)
        assert miss_for_long(world, world.record().authorization_id) == []
    assert world.record().hold is None
    world.heal()
    world.run()
    world.check_rest()


@pytest.mark.parametrize("is_hidden", [False, True], ids=["it is listed", "an entry that cannot be read may be it"])
def test_clone_is_not_called_lost_when_the_server_does_not_know_its_id_once(
    monkeypatch: pytest.MonkeyPatch, is_hidden: bool
) -> None:
    """Its value is refused for a while too: one answer that is behind must not make the old PAT current again."""
    world = make_overlapping(hours=25)
    clone, old = world.record().authorization_id, world.rotations()[-1].predecessor_id
    refused = VerificationError("the probe was refused", code="verification_failed")
    world.pats.fail("verify", refused, times=300)
    if is_hidden:
        others = [fake.pat for fake in world.pats.live_pats() if fake.pat.authorization_id != clone]
        world.pats.change_listed = lambda pats: PatList(others, [""])
    with monkeypatch.context() as patch:
        patch.setattr(world.pats, "fetch_pat", lambda account, organization, authorization_id: None)
        world.run()
    assert (world.record().authorization_id, world.states()) == (clone, ["overlapping"])
    assert world.revoked_ids() == []
    world.heal()
    world.finish()
    assert world.revoked_ids() == [old]


@pytest.mark.parametrize("spoil", ["the value is refused", "the version is disabled", "the version is gone"])
def test_pat_is_called_revoked_when_lists_lack_it_and_its_value_proves_nothing(spoil: str) -> None:
    world = make_overlapping()
    world.finish()
    current = world.record().authorization_id
    if spoil == "the value is refused":
        world.pats.pats[current].value = "not accepted"
    elif spoil == "the version is disabled":
        world.secrets.disable(world.location(), world.latest().version.version, permit=unclaimed)
    else:
        world.secrets.soft_delete(world.location())
    assert miss_for_long(world, current) == ["revoked_elsewhere"]


def test_pat_is_not_called_revoked_when_only_one_of_two_lists_may_hide_it() -> None:
    world = make_fresh()
    missed = world.record(FRESH).authorization_id
    lose(world, missed)
    world.run()
    world.advance(minutes=5)
    hiding = iter([(missed,)])
    world.pats.change_listed = lambda pats: PatList(
        [pat for pat in pats if pat.authorization_id != missed], next(hiding, ())
    )
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == []
    assert world.record(FRESH).hold is None


def test_pat_that_becomes_due_while_it_is_called_revoked_is_rotated_when_it_is_seen_again() -> None:
    world = make_due()
    lose(world, world.record(FRESH).authorization_id)
    world.run()
    world.advance(hours=1)
    world.run()
    world.advance(hours=7)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["revoked_elsewhere"]
    world.heal()
    world.run()
    assert world.states(FRESH) == ["overlapping"]


def test_another_hold_stays_when_the_pat_is_seen_again() -> None:
    world = make_fresh()
    record = world.record(FRESH)
    with world.database.begin() as work:
        claim = work.claims.claim(FRESH, "test", now=work.now(), span=timedelta(minutes=1))
        work.inventory.save(replace(record, hold=Hold.FOREIGN_WRITE), claim)
        work.claims.release(claim)
    lose(world, record.authorization_id)
    world.run()
    world.heal()
    world.advance(minutes=10)
    world.run()
    assert (world.record(FRESH).hold, world.record(FRESH).last_failure) == (Hold.FOREIGN_WRITE, None)


def test_change_is_noticed_when_a_second_listing_shows_the_pat() -> None:
    world = make_fresh()
    found = world.pats.pats[world.record(FRESH).authorization_id]
    found.pat = replace(found.pat, scope="vso.code")
    lose(world, found.pat.authorization_id, times=1)
    world.run()
    assert world.record(FRESH).scope == "vso.code"


def test_own_clone_is_not_called_revoked_when_the_list_lags_behind_its_mint() -> None:
    world = make_world()
    known = set(world.pats.pats)
    world.pats.change_listed = lambda listed: tuple(pat for pat in listed if pat.authorization_id in known)
    world.run()
    world.advance(hours=24)
    assert names_of(world.run(), OutcomeKind.RETIRED) == [NAME]
    world.run()
    assert world.record().hold is None
    world.heal()
    world.advance(minutes=10)
    world.run()
    assert world.record().last_failure is None
    world.check_rest()


def test_clone_is_not_given_up_when_it_does_not_authenticate_for_once_and_lists_lack_it() -> None:
    """Azure DevOps answers 401 for a live PAT, and its list has lost it: neither proves that it was revoked."""
    world = make_overlapping()
    old, new = world.live_ids()
    found = world.pats.pats[new]
    value, found.value = found.value, "not accepted"
    lose(world, new)
    assert codes_of(world.run(), OutcomeKind.FAILED) == ["verification_failed"]
    found.value = value
    world.heal()
    assert (world.states(), world.record().authorization_id) == (["overlapping"], new)
    world.finish()
    assert world.revoked_ids() == [old]


def test_clone_is_kept_until_it_is_known_whether_its_old_pat_lives() -> None:
    world = make_overlapping()
    old, new = world.live_ids()
    world.pats.pats[new].revoked = True
    lose(world, old)
    world.run()
    assert world.states() == ["overlapping"]
    world.heal()
    world.advance(hours=1)
    world.run()
    assert world.states() == ["failed", "overlapping"]
    assert world.rotations()[1].predecessor_id == old
    world.finish()


def test_old_pat_is_revoked_again_when_its_revocation_was_lost_and_a_list_lacks_it() -> None:
    world = make_overlapping()
    old, _ = world.live_ids()
    world.run_and_die(after="retiring")
    world.advance(minutes=6)
    assert world.rotations()[0].state is RotationState.RETIRING
    lose(world, old)
    world.run()
    world.heal()
    assert world.states() == ["completed"]
    assert world.revoked_ids() == [old]
    world.check_rest()


def test_listing_with_a_lost_page_blocks_nobody() -> None:
    """The first page said that it was the last one: half of the PATs are missing."""
    world = make_world("a")
    for name in ("b", "c", "d"):
        world.add_managed(name, days_left=20)
    lost = [world.record(name).authorization_id for name in ("b", "c", "d")]
    lose(world, *lost, times=1)
    report = world.run()
    assert names_of(report, OutcomeKind.BLOCKED, OutcomeKind.FAILED) == []
    assert names_of(report, OutcomeKind.ROTATED) == ["a"]


def garble(world: EngineWorld, garbled: str, shown: str) -> None:
    """Let one entry of every list be unreadable; `shown` is what can be read of its id."""
    world.pats.change_listed = lambda listed: PatList(
        [pat for pat in listed if pat.authorization_id != garbled], [shown]
    )


@pytest.mark.parametrize("by_id", [True, False])
def test_pat_never_counts_as_gone_while_its_entry_cannot_be_read(by_id: bool) -> None:
    world = make_fresh()
    garbled = world.record(FRESH).authorization_id
    garble(world, garbled, garbled if by_id else "")
    for _ in range(4):
        report = world.run()
        assert names_of(report, OutcomeKind.BLOCKED) == []
        world.advance(hours=13)
    assert world.record(FRESH).hold is None
    assert world.states("other") == ["completed"]
    world.heal()
    world.run()
    assert world.record(FRESH).last_failure is None


def test_unreadable_entry_is_told_once_and_harms_nobody_else() -> None:
    world = make_fresh()
    garble(world, "none of ours", "0dd00000-1111-4222-8333-444444444444")
    for _ in range(3):
        assert names_of(world.run(), OutcomeKind.BLOCKED, OutcomeKind.FAILED) == []
        world.advance(hours=13)
    place = "build-bot/contoso"
    assert world.events(place) == ["listing_damaged unknown"]
    assert world.states("other") == ["completed"]
    world.heal()
    world.run()
    assert world.events(place) == ["listing_damaged unknown", "listing_repaired succeeded"]


def test_listing_stays_damaged_until_it_is_read_again_or_nothing_is_managed_there() -> None:
    """Neither an account nor an organization that cannot be looked at proves that the listing is whole."""
    world = make_fresh()
    forget(world.make_run(), "other")
    garble(world, "none of ours", "0dd00000-1111-4222-8333-444444444444")
    world.run()
    world.heal()
    world.sign_in.refusals[ACCOUNT] = make_busy("refresh", "entra")
    world.run()
    world.heal()
    world.pats.fail("fetch_pats")
    world.run()
    place = f"{ACCOUNT}/{ORGANIZATION}"
    told = ["listing_damaged unknown", "organization_down failed"]
    assert world.events(place) == told
    forget(world.make_run(), FRESH)
    world.run()
    assert world.events(place) == [*told, "listing_repaired succeeded", "organization_dropped succeeded"]


def list_untracked(world: EngineWorld) -> list[tuple[str, str]]:
    """What is remembered as untracked: organization and display name."""
    with world.database.read() as reading:
        return sorted((item.organization, item.pat.display_name) for item in reading.inventory.load_untracked())


@pytest.mark.parametrize("by_id", [True, False])
def test_only_what_an_unreadable_entry_may_be_stays_remembered_and_where_it_was(by_id: bool) -> None:
    """With an id that can be read it hides one PAT; without, any that is not listed. A listed one is as listed."""
    world = make_fresh()
    world.add_managed("far", organization="fabrikam", days_left=20)
    end = world.clock.now() + timedelta(days=9)
    hidden, listed, gone = (world.pats.add_pat(ACCOUNT, ORGANIZATION, name, SCOPE, end) for name in ("a", "b", "c"))
    world.pats.add_pat(ACCOUNT, "fabrikam", "d", SCOPE, end)
    world.run()
    assert list_untracked(world) == [("contoso", "a"), ("contoso", "b"), ("contoso", "c"), ("fabrikam", "d")]
    gone.revoked = True
    listed.pat = replace(listed.pat, display_name="renamed")
    garble(world, hidden.pat.authorization_id, hidden.pat.authorization_id if by_id else "")
    world.run()
    still = [] if by_id else [("contoso", "c")]
    assert list_untracked(world) == [("contoso", "a"), *still, ("contoso", "renamed"), ("fabrikam", "d")]


def test_pat_that_was_left_behind_stays_so_while_its_entry_cannot_be_read() -> None:
    world = make_world()
    world.pats.fail("mint", after_effect=True)
    world.pats.organizations["contoso"].max_lifetime = timedelta(days=20)
    world.run()
    near = world.live_ids()[1]
    world.advance(minutes=11)
    world.run()
    world.run()
    assert world.events(near) == ["pat_left_behind unknown"]
    garble(world, near, near)
    world.run()
    assert world.events(near) == ["pat_left_behind unknown"]
