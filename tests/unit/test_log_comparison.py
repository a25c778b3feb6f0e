"""The service log against ours, by cases: whose doing an entry was, and what of ours is lacking."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.domain.log_comparison import EARLY, LATE, LogComparison, OwnAction, compare_logs
from rotator.domain.service_log import LAG, EntryKind, Owner, ServiceLogEntry, find_owner, find_possible_owner

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
SINCE = NOW - timedelta(days=30)
DONE = NOW - timedelta(days=10)
EXPIRY = DONE + timedelta(days=30)
MINT = OwnAction(
    kind=EntryKind.MINTED,
    number=7,
    account="build-bot",
    organization="contoso",
    name="npm-feed",
    began_at=DONE,
    ended_at=DONE + timedelta(seconds=2),
    is_certain=True,
    names=frozenset({"npm-feed"}),
    valid_to=EXPIRY,
    answer_ids=frozenset({"e2e-1"}),
)
REVOCATION = replace(
    MINT, kind=EntryKind.REVOKED, number=9, names=frozenset(), valid_to=None, answer_ids=frozenset({"e2e-2"})
)
MINTED = ServiceLogEntry(
    "1", EntryKind.MINTED, DONE + timedelta(seconds=1), "Bot@contoso.com", "", "", "npm-feed", EXPIRY
)
REVOKED = ServiceLogEntry("2", EntryKind.REVOKED, DONE + timedelta(seconds=1), "bot@contoso.com", "", "", "npm-feed")


def compare(*entries: ServiceLogEntry, actions: tuple[OwnAction, ...] = (), hides: bool = False) -> LogComparison:
    return compare_logs(entries, actions, SINCE, NOW, NOW, hides=hides)


@pytest.mark.parametrize(
    ("entry", "action"),
    [
        (MINTED, MINT),
        (replace(MINTED, valid_to=None), MINT),
        (replace(MINTED, display_name=""), MINT),
        (replace(MINTED, valid_to=EXPIRY + timedelta(milliseconds=3)), MINT),
        (replace(MINTED, display_name="npm-feed #rot-0123456789abcdef"), MINT),
        (MINTED, replace(MINT, is_certain=False, answer_ids=frozenset())),
        (replace(MINTED, valid_to=EXPIRY - timedelta(days=5)), replace(MINT, is_certain=False)),
        (MINTED, replace(MINT, began_at=DONE - LATE, ended_at=DONE - LATE + timedelta(minutes=1))),
        (replace(MINTED, at=DONE + timedelta(days=3), display_name="x", answer_ids=frozenset({"e2e-1"})), MINT),
        (REVOKED, REVOCATION),
        (REVOKED, replace(REVOCATION, names=frozenset({"npm-feed"}))),
    ],
)
def test_entry_is_explained_when_its_ids_or_what_it_says_fit(entry: ServiceLogEntry, action: OwnAction) -> None:
    found = compare(entry, actions=(action,))
    assert found.explained == ((entry, action),)
    assert (found.foreign, found.lacking) == ((), ())


@pytest.mark.parametrize(
    ("entry", "action"),
    [
        (MINTED, None),
        (MINTED, REVOCATION),
        (replace(MINTED, valid_to=EXPIRY + timedelta(minutes=1)), MINT),
        (replace(MINTED, valid_to=EXPIRY - timedelta(days=5)), MINT),
        (replace(MINTED, valid_to=EXPIRY + timedelta(days=5)), replace(MINT, is_certain=False)),
        (replace(MINTED, display_name="mine"), MINT),
        (replace(MINTED, display_name="", valid_to=None), MINT),
        (replace(MINTED, at=DONE - EARLY - timedelta(seconds=1)), MINT),
        (replace(MINTED, at=DONE + LATE + timedelta(seconds=3)), MINT),
        (replace(REVOKED, display_name="other"), replace(REVOCATION, names=frozenset({"npm-feed"}))),
        (replace(REVOKED, kind=EntryKind.REVOKED_BY_SYSTEM), REVOCATION),
        (replace(REVOKED, kind=EntryKind.FOUND_IN_PUBLIC), REVOCATION),
        (replace(MINTED, kind=EntryKind.CHANGED), MINT),
    ],
)
def test_entry_is_foreign_when_nothing_of_ours_fits(entry: ServiceLogEntry, action: OwnAction | None) -> None:
    found = compare(entry, actions=() if action is None else (action,))
    assert found.explained == ()
    assert found.foreign == (entry,)


def test_one_action_explains_one_entry_when_somebody_does_the_same_by_hand() -> None:
    """The nearer one is ours; what has the id of our answer is ours however often it is told."""
    by_hand = replace(REVOKED, id="3", at=REVOKED.at + timedelta(minutes=2))
    found = compare(by_hand, REVOKED, actions=(REVOCATION,))
    assert found.explained == ((REVOKED, REVOCATION),)
    assert found.foreign == (by_hand,)
    again = [replace(REVOKED, id=name, answer_ids=frozenset({"e2e-2"})) for name in ("4", "5")]
    assert len(compare(*again, actions=(REVOCATION,)).explained) == 2


def test_mints_are_told_apart_by_their_expiry_when_two_are_made_at_once() -> None:
    other = replace(MINT, number=8, valid_to=EXPIRY + timedelta(seconds=5), answer_ids=frozenset())
    second = replace(MINTED, id="9", valid_to=EXPIRY + timedelta(seconds=5), at=MINTED.at - timedelta(seconds=1))
    found = compare(MINTED, second, actions=(MINT, other))
    assert [(entry.id, action.number) for entry, action in found.explained] == [("1", 7), ("9", 8)]


def test_expiry_is_nobodys_doing() -> None:
    expired = replace(MINTED, kind=EntryKind.EXPIRED)
    found = compare(expired)
    assert (found.expired, found.foreign) == ((expired,), ())


@pytest.mark.parametrize("action", [MINT, REVOCATION])
def test_certain_change_of_ours_is_lacking_when_the_log_had_its_time(action: OwnAction) -> None:
    assert compare(actions=(action,)).lacking == (action,)


@pytest.mark.parametrize(
    ("change", "hides"),
    [
        ({"began_at": NOW - LAG, "ended_at": NOW - LAG + timedelta(seconds=1)}, False),
        ({"began_at": SINCE, "ended_at": SINCE}, False),
        ({}, True),
    ],
)
def test_change_of_ours_is_not_judged_when_its_entry_may_be_late_hidden_or_outside(
    change: dict[str, datetime], hides: bool
) -> None:
    action = MINT if not change else replace(MINT, began_at=change["began_at"], ended_at=change["ended_at"])
    found = compare(actions=(action,), hides=hides)
    assert (found.lacking, found.unsettled) == ((), (action,))


def test_possible_change_of_ours_is_never_lacking() -> None:
    found = compare(actions=(replace(MINT, is_certain=False),))
    assert found.lacking == found.unsettled == ()


BOT = Owner("build-bot", "bot@contoso.com", "id-1", "Build Bot", frozenset({"npm-feed"}))
OTHER = Owner("deploy-bot", "deploy@contoso.com", "id-2", "Deploy Bot")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, BOT),
        ({"actor": "", "actor_id": "id-2"}, OTHER),
        ({"actor": "admin@contoso.com", "owner": "BUILD bot"}, BOT),
        ({"actor": "bot@contoso.com", "owner": "Somebody"}, BOT),
        ({"actor": "admin@contoso.com", "owner": "Somebody"}, None),
        ({"actor": "admin@contoso.com", "owner": "Build  Bot"}, BOT),
        ({"actor": "", "owner": "Former Name of Build Bot"}, BOT),
        ({"actor": "", "owner": "somebody@contoso.com"}, None),
        ({"actor": "", "owner": "Somebody", "display_name": "somebody's"}, None),
        ({"actor": "admin@contoso.com"}, None),
        ({"actor": "Azure DevOps Service"}, BOT),
        ({"actor": "", "display_name": "somebody's"}, None),
    ],
)
def test_entry_belongs_to_the_user_whom_it_names(change: dict[str, str], expected: Owner | None) -> None:
    named = {"actor": "bot@contoso.com", "actor_id": "", "owner": "", "display_name": "npm-feed", **change}
    texts = (named["actor"], named["actor_id"], named["owner"], named["display_name"])
    entry = ServiceLogEntry("1", EntryKind.REVOKED, DONE, *texts)
    assert find_owner(entry, [BOT, OTHER]) is expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"owner": "Build Bot"}, True),
        ({"owner": "Build Bot", "display_name": "by-hand"}, True),
        ({"owner": "somebody@contoso.com"}, True),
        ({"owner": "somebody@contoso.com", "display_name": "by-hand"}, False),
        ({"actor": "somebody@contoso.com", "display_name": "by-hand"}, False),
        ({"actor": "", "actor_id": "id-1", "display_name": "by-hand"}, True),
        ({"actor": "", "display_name": "by-hand"}, False),
    ],
)
def test_entry_may_be_about_a_pat_of_whom_nobody_knows(change: dict[str, str], expected: bool) -> None:
    named = {"actor": "admin@contoso.com", "actor_id": "", "owner": "", "display_name": "npm-feed", **change}
    texts = (named["actor"], named["actor_id"], named["owner"], named["display_name"])
    entry = ServiceLogEntry("1", EntryKind.FOUND_IN_PUBLIC, DONE, *texts)
    unknown = replace(BOT, user_id="", display_name="", is_known=False)
    assert find_possible_owner(entry, [OTHER, unknown]) is (unknown if expected else None)
    assert find_possible_owner(entry, [OTHER, BOT]) is None


@pytest.mark.parametrize(("name", "is_ours"), [("npm-feed", True), ("", False), ("other", False)])
def test_revocation_of_whoevers_pat_explains_what_names_it(name: str, is_ours: bool) -> None:
    action = replace(REVOCATION, names=frozenset({"npm-feed"}), answer_ids=frozenset(), of_any_user=True)
    assert bool(compare(replace(REVOKED, display_name=name), actions=(action,)).explained) is is_ours


@pytest.mark.parametrize("is_known", [True, False])
def test_leak_of_a_pat_that_several_accounts_manage_is_told_or_waits_for_who_they_are(is_known: bool) -> None:
    others = replace(OTHER, managed_names=BOT.managed_names, is_known=is_known)
    entry = ServiceLogEntry("1", EntryKind.FOUND_IN_PUBLIC, DONE, "", "", "Somebody", "npm-feed")
    assert find_owner(entry, [BOT, others]) is (BOT if is_known else None)
    assert find_possible_owner(entry, [BOT, others]) is (None if is_known else others)
