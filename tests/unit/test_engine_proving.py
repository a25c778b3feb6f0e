"""An answer to a mint that belongs to another request: nothing is revoked on its word, and the mint is looked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.adapters.azure_devops.documents import parse_answer
from rotator.domain.managed_pat import Pat
from rotator.domain.secret_value import SecretValue
from rotator.engine.report import OutcomeKind
from rotator.errors import RejectedError, TransientError
from rotator.ports.pat_service import MintedPat, PatList
from tests.support.engine import ACCOUNT, LIFETIME, NAME, ORGANIZATION, SCOPE, EngineWorld, codes_of, make_world
from tests.support.fake_pat_service import FakePat

SETTLE = {"minutes": 11}
NEVER_SHOWN = "f" * 32
FABRIKAM = "38c1b7f4-52f0-4f3c-8a75-2f1f6f3f0c02"
ANSWER = {
    "patToken": {
        "displayName": "prod-deploy",
        "validTo": "2027-05-01T00:00:00Z",
        "scope": "vso.release_manage",
        "targetAccounts": ["38c1b7f4-52f0-4f3c-8a75-2f1f6f3f0c01"],
        "validFrom": "2026-05-05T08:00:00Z",
        "authorizationId": "00000001-7A11-4C0E-9D00-0123456789AB",
        "token": "A" * 76 + "AZDOBBBB",
    },
    "patTokenError": "none",
}
"""An answer to a mint of `npm-feed`, for another PAT of the same user, its id in capitals."""


def make_world_with_a_person() -> tuple[EngineWorld, FakePat]:
    """A ManagedPat that is due, and a person's PAT, which was there first."""
    world = make_world("other")
    del world.pats.pats[world.record("other").authorization_id]
    world.pats._made = 0
    world.forget("other")
    end = datetime(2027, 5, 1, tzinfo=UTC)
    person = world.pats.add_pat(ACCOUNT, ORGANIZATION, "prod-deploy", "vso.release_manage", end)
    world.add_managed(NAME)
    return world, person


def check_doubted(world: EngineWorld, reason: str) -> None:
    """The run doubted the answer for that reason; nothing was revoked or stored."""
    assert world.told[-2][0] == "mint_answer_doubted"
    assert world.told[-2][1]["doubt"] == reason
    assert world.told[-2][1]["authorization_id"] in {*world.pats.pats, NEVER_SHOWN}
    assert world.states() == ["minting"]
    assert world.revoked_ids() == []
    assert world.count("store") == 0


@pytest.mark.parametrize("effect", [True, False])
def test_persons_pat_is_not_revoked_when_the_mint_is_answered_with_it(effect: bool) -> None:
    world, person = make_world_with_a_person()
    parsed = parse_answer(ANSWER)
    assert isinstance(parsed, MintedPat)
    assert parsed.pat.authorization_id.lower() == person.pat.authorization_id
    if effect:
        world.pats.change_minted = lambda minted: parsed
    else:
        world.pats.swap_mint_answer(person.pat.authorization_id, effect=False)
    assert codes_of(world.run(), OutcomeKind.FAILED) == ["mint_answer_doubted"]
    check_doubted(world, "listed_before")
    assert world.told[-2][1]["authorization_id"] == person.pat.authorization_id
    world.pats.change_minted = None
    world.advance(**SETTLE)
    world.run()
    assert world.codes() == ["value_lost" if effect else "mint_not_created"]
    world.finish()
    assert person in world.pats.live_pats()
    assert person.pat.authorization_id not in world.revoked_ids()


def test_pat_of_another_record_is_not_revoked_when_the_mint_is_answered_with_it() -> None:
    """A clone that was minted a moment ago, after the listing, and is in use."""
    world = make_world("a", NAME)
    world.pats.fail("mint", TransientError("busy", service="azure_devops", operation="mint"), skip=1)
    report = world.run()
    assert [entry.name for entry in report.of_kind(OutcomeKind.ROTATED)] == ["a"]
    current = world.record("a").authorization_id
    world.advance(minutes=6)
    world.pats.pats[current].revoked = True  # so that no listing shows it
    world.pats.swap_mint_answer(current)
    listed = world.pats.pats[current]
    world.database.interrupts["planned"] = lambda: setattr(listed, "revoked", False)
    world.run()
    assert (world.told[-2][1]["doubt"], world.told[-2][1]["authorization_id"]) == ("in_use", current)
    assert current not in world.revoked_ids()
    assert listed in world.pats.live_pats("a")


CHANGES: list[Callable[[FakePat], None]] = [
    lambda fake: setattr(fake, "pat", replace(fake.pat, scope="vso.code")),
    lambda fake: setattr(fake, "pat", replace(fake.pat, display_name="of-a-person")),
    lambda fake: setattr(fake, "pat", replace(fake.pat, target_accounts=None)),
    lambda fake: setattr(fake, "pat", replace(fake.pat, target_accounts=(FABRIKAM,))),
    lambda fake: setattr(fake, "pat", replace(fake.pat, valid_to=fake.pat.valid_to + timedelta(seconds=1))),
]


@pytest.mark.parametrize("change", CHANGES, ids=["scope", "name", "organizations", "another organization", "later"])
def test_pat_made_meanwhile_is_not_revoked_when_it_is_not_like_what_was_asked_for(
    change: Callable[[FakePat], None],
) -> None:
    world = make_world()

    def swap(minted: MintedPat) -> MintedPat:
        fake = world.pats.pats[minted.pat.authorization_id]
        change(fake)
        return MintedPat(fake.pat, minted.value)

    world.pats.change_minted = swap
    world.run()
    check_doubted(world, "not_like_ours")
    other = world.live_ids()[-1:] if world.live_ids() else []
    world.pats.change_minted = None
    world.advance(**SETTLE)
    for _ in range(4):
        world.run()
        world.advance(hours=25)
    assert not set(other) & (set(world.revoked_ids()) - {r.predecessor_id for r in world.rotations()})


def test_earlier_expiry_is_not_believed_when_the_answer_says_another() -> None:
    """A look-alike that a person made since the listing, and an answer with its id and another expiry."""
    world = make_world()
    made: list[FakePat] = []

    def swap(minted: MintedPat) -> MintedPat:
        made.append(world.add_lookalike(world.clock.now() + timedelta(days=20)))
        return MintedPat(replace(minted.pat, authorization_id=made[0].pat.authorization_id), minted.value)

    world.pats.change_minted = swap
    world.run()
    check_doubted(world, "not_like_ours")
    world.pats.change_minted = None
    world.finish(besides=(made[0].pat.authorization_id,))


def test_clone_is_kept_when_the_server_shortened_its_life_and_the_answer_says_so() -> None:
    world = make_world()
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=20)
    report = world.run()
    assert [entry.name for entry in report.of_kind(OutcomeKind.ROTATED)] == [NAME]
    with world.database.read() as reading:
        assert reading.limits.load()[ACCOUNT, ORGANIZATION].longest == timedelta(days=20)


@pytest.mark.parametrize("shows_id", [True, False])
@pytest.mark.parametrize("more", [0, 1])
def test_shorter_life_is_believed_beside_an_entry_that_could_not_be_read_before_either(
    shows_id: bool, more: int
) -> None:
    """A person's entry that is odd for good must not keep every clone from being believed; one more may be ours."""
    world, person = make_world_with_a_person()
    odd = person.pat.authorization_id

    def garble(listed: tuple[Pat, ...]) -> PatList:
        shown = [pat for pat in listed if pat.authorization_id != odd]
        return PatList(shown, [odd.upper() if shows_id else ""] + [""] * (more * world.count("mint")))

    world.pats.change_listed = garble
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=20)
    report = world.run()
    if more:
        check_doubted(world, "another_may_be_ours")
    else:
        assert [entry.name for entry in report.of_kind(OutcomeKind.ROTATED)] == [NAME]


def test_pat_is_rotated_under_a_shorter_maximum_although_no_list_shows_what_is_new() -> None:
    """The first answer is doubted; the second mint asks for what was granted, and needs no list."""
    world = make_world()
    known = set(world.pats.pats)
    world.pats.change_listed = lambda listed: tuple(pat for pat in listed if pat.authorization_id in known)
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=20)
    world.run()
    check_doubted(world, "not_listed")
    world.advance(hours=1)
    report = world.run()
    assert [entry.name for entry in report.of_kind(OutcomeKind.ROTATED)] == [NAME]


def test_clone_is_kept_when_the_server_needs_a_while_to_show_it() -> None:
    world = make_world()
    busy = TransientError("busy", service="azure_devops", operation="fetch_pat", retry_after=3.0)
    world.pats.fail("fetch_pat", busy, skip=1, times=3)
    report = world.run()
    assert [entry.name for entry in report.of_kind(OutcomeKind.ROTATED)] == [NAME]
    assert world.clock.slept[:3] == [3, 3, 4]
    world.finish()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TransientError("busy", service="azure_devops", operation="fetch_pat"), "not_shown"),
        (RejectedError("no", service="azure_devops", operation="fetch_pat", code="odd_answer"), "odd_answer"),
    ],
)
def test_mint_is_looked_for_when_the_new_pat_cannot_be_asked_for(
    error: TransientError | RejectedError, reason: str
) -> None:
    world = make_world()
    world.pats.fail("fetch_pat", error, skip=1, times=100)
    began = world.clock.now()
    world.run()
    check_doubted(world, reason)
    assert world.clock.now() - began <= world.timing.store_patience
    world.heal()
    world.finish()


def test_answer_is_doubted_when_the_server_never_shows_its_pat() -> None:
    world = make_world()
    world.pats.change_minted = lambda minted: replace(minted, pat=replace(minted.pat, authorization_id=NEVER_SHOWN))
    world.run()
    check_doubted(world, "not_shown")
    world.pats.change_minted = None
    world.finish()


def test_clone_is_revoked_when_its_answer_has_another_expiry_than_the_server() -> None:
    """It is ours by everything that the server shows; the answer that brought its value is not to be trusted."""
    world = make_world()
    world.pats.change_minted = lambda minted: replace(
        minted, pat=replace(minted.pat, valid_to=minted.pat.valid_to - timedelta(days=1))
    )
    world.run()
    (failure,) = [rotation.failure for rotation in world.rotations()]
    assert failure is not None
    assert (failure.code, bool(failure.message)) == ("mint_answer_wrong", True)
    assert world.count("store") == 0
    world.pats.change_minted = None
    world.finish()


def test_shorter_life_is_believed_when_an_entry_of_the_list_can_be_read_again() -> None:
    """It may be the only try before the old PAT expires."""
    world = make_world()
    world.pats.organizations[ORGANIZATION].max_lifetime = LIFETIME - timedelta(days=2)
    lists: list[PatList] = []

    def garble(listed: tuple[Pat, ...]) -> PatList:
        if world.count("mint"):
            lists.append(PatList(listed, [] if lists else [""]))
            return lists[-1]
        return PatList(listed)

    world.pats.change_listed = garble
    world.run()
    assert world.codes() == []
    assert len(lists) == 2
    assert world.count("store") == 1


def test_all_listed_ids_are_known_before_the_mint_and_dropped_when_the_clone_is_known() -> None:
    world, person = make_world_with_a_person()
    world.run_and_die(after="minting")
    listed = {person.pat.authorization_id, world.record().authorization_id}
    assert set(world.rotations()[0].known_ids) == listed
    world.advance(**SETTLE)
    world.run()
    assert world.codes() == ["mint_not_created"]
    assert world.rotations()[-1].known_ids == ()


def test_only_ids_of_the_display_name_are_kept_when_the_mint_is_refused() -> None:
    """They could still tell a late PAT of ours; the rest would fill the journal where a rule refuses every mint."""
    world, _ = make_world_with_a_person()
    world.pats.organizations[ORGANIZATION].mint_error = "globalPATCreationBlocked"
    world.run()
    assert world.rotations()[0].known_ids == (world.record().authorization_id,)


def test_rotation_asks_azure_devops_once_more_when_it_proves_the_answer() -> None:
    """Six requests where there were five: who we are, the list, the old PAT, the mint, the proof, the probe."""
    world = make_world()
    world.run()
    called = [call for call, _, _ in world.pats.calls]
    assert called == ["fetch_identity", "fetch_pats", "fetch_pat", "mint", "fetch_pat", "verify"]


def test_person_with_the_same_name_is_left_alone_when_the_mint_is_answered_with_a_look_alike() -> None:
    """Made after the listing, it is new; its expiry is not the one that was asked for."""
    world = make_world()
    made: list[FakePat] = []
    world.database.interrupts["minting"] = lambda: made.append(
        world.pats.add_pat(ACCOUNT, ORGANIZATION, NAME, SCOPE, world.clock.now() + 2 * LIFETIME)
    )
    world.pats.change_minted = lambda minted: MintedPat(made[0].pat, SecretValue(made[0].value))
    world.run()
    check_doubted(world, "not_like_ours")
    world.pats.change_minted = None
    world.finish(besides=(made[0].pat.authorization_id,))


@pytest.mark.parametrize(("is_listed", "doubt"), [(True, "another_may_be_ours"), (False, "not_listed")])
def test_earlier_expiry_is_not_believed_when_the_list_says_otherwise(is_listed: bool, doubt: str) -> None:
    """A person made a look-alike since the listing, and the answer is that PAT's, whole."""
    world = make_world()
    made: list[FakePat] = []

    def swap(minted: MintedPat) -> MintedPat:
        made.append(world.add_lookalike(world.clock.now() + timedelta(days=9)))
        if not is_listed:
            world.pats.change_listed = lambda pats: tuple(pat for pat in pats if pat != made[0].pat)
        return MintedPat(made[0].pat, SecretValue(made[0].value))

    world.pats.change_minted = swap
    world.run()
    check_doubted(world, doubt)
    with world.database.read() as reading:
        assert reading.limits.load()[ACCOUNT, ORGANIZATION].longest == made[0].pat.lifetime
    world.pats.change_minted = world.pats.change_listed = None
    world.advance(**SETTLE)
    world.run()
    assert made[0] in world.pats.live_pats()
    assert made[0].pat.authorization_id not in world.revoked_ids()


@pytest.mark.parametrize(("age", "heard"), [(180, {}), (10, {"azure_devops": timedelta(seconds=40)})])
def test_earlier_expiry_is_not_believed_when_the_pat_is_older_than_the_request_for_it(
    age: int, heard: dict[str, timedelta]
) -> None:
    """The list before the mint hid a person's look-alike, the list after it hides the clone.

    By the clock that dates both, where that was heard: it need not be the host's.
    """
    world = make_world()
    world.witnesses.ahead = heard
    world.advance(seconds=-age)
    dated = world.clock.now() + heard.get("azure_devops", timedelta(0))
    theirs = world.pats.add_pat(ACCOUNT, ORGANIZATION, NAME, SCOPE, dated + timedelta(days=9), valid_from=dated)
    world.advance(seconds=age)
    world.pats.change_listed = lambda pats: tuple(pat for pat in pats if world.count("mint") or pat != theirs.pat)

    def swap(minted: MintedPat) -> MintedPat:
        world.pats.change_listed = lambda pats: tuple(pat for pat in pats if pat != minted.pat)
        return MintedPat(theirs.pat, SecretValue(theirs.value))

    world.pats.change_minted = swap
    world.run()
    check_doubted(world, "older")
    world.pats.change_minted = world.pats.change_listed = None
    world.finish(besides=(theirs.pat.authorization_id,))
    assert theirs.pat.authorization_id not in world.revoked_ids()


def test_shorter_life_is_believed_when_only_the_first_list_after_the_mint_lacks_it() -> None:
    """A list may lag a moment behind; giving up then costs an attempt, which may be the last one before the expiry."""
    world = make_world()
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=20)
    minted: list[Pat] = []
    lists = iter([False])

    def note(answer: MintedPat) -> MintedPat:
        minted.append(answer.pat)
        return answer

    world.pats.change_minted = note
    world.pats.change_listed = lambda pats: (
        tuple(pat for pat in pats if pat not in minted or next(lists, True)) if minted else pats
    )
    report = world.run()
    assert [entry.name for entry in report.of_kind(OutcomeKind.ROTATED)] == [NAME]
    assert world.clock.slept == [1.0]


def test_adopted_pat_of_another_record_is_not_revoked_when_the_mint_is_answered_with_it() -> None:
    """No rotation of ours made it, and the list before the mint lacked it."""
    world = make_world(NAME)
    current = world.add_managed("other", days_left=20).authorization_id
    listed = world.pats.pats[current]
    listed.revoked = True  # so that no listing shows it
    world.pats.swap_mint_answer(current)
    world.database.interrupts["planned"] = lambda: setattr(listed, "revoked", False)
    world.run()
    told = [line for event, line in world.told if event == "mint_answer_doubted"]
    assert [(line["doubt"], line["authorization_id"]) for line in told] == [("in_use", current)]
    assert current not in world.revoked_ids()


def test_shorter_life_needs_no_list_when_the_clone_is_marked() -> None:
    world = make_world()
    world.marker_key = SecretValue("a key")
    known = set(world.pats.pats)
    world.pats.change_listed = lambda listed: tuple(pat for pat in listed if pat.authorization_id in known)
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=20)
    report = world.run()
    assert [entry.name for entry in report.of_kind(OutcomeKind.ROTATED)] == [NAME]
