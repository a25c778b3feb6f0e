"""The rotation's table of steps, the likeness of a listed PAT, and lifetimes that survive many clones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rotator.domain.managed_pat import Failure, Pat
from rotator.domain.rotation import (
    CLOSED_STATES,
    STEPS,
    Likeness,
    Rotation,
    RotationState,
    compare_mint,
    make_kept_lifetime,
    make_offset_range,
)
from rotator.errors import IllegalTransitionError
from tests.support.records import DAY, NOW, make_rotation

exactly = settings(deadline=None, derandomize=True)

LEGAL = {
    "planned": "minting abandoned failed",
    "minting": "minted abandoning abandoned failed",
    "minted": "verified abandoning",
    "verified": "storing abandoning",
    "storing": "stored abandoning failed",
    "stored": "overlapping completed failed",
    "overlapping": "retiring completed failed",
    "retiring": "completed overlapping failed",
    "abandoning": "abandoned failed",
    "completed": "",
    "abandoned": "",
    "failed": "",
}
PAIRS = [(a, b, b.value in LEGAL[a.value].split()) for a, b in product(RotationState, repeat=2)]
LATER = NOW + timedelta(seconds=5)


def find_reachable(start: RotationState, *, without: Iterable[RotationState] = ()) -> set[RotationState]:
    """The states that can follow `start` in any number of steps that avoid some states."""
    avoided, found, edge = set(without), set[RotationState](), [start]
    while edge:
        following = STEPS[edge.pop()] - found - avoided
        found |= following
        edge.extend(following)
    return found


@pytest.mark.parametrize(("before", "after", "legal"), PAIRS, ids=[f"{a}-{b}" for a, b, _ in PAIRS])
def test_rotation_advances_only_when_the_table_allows(before: RotationState, after: RotationState, legal: bool) -> None:
    rotation = replace(make_rotation(), state=before)
    if (before, after) == (RotationState.STORED, RotationState.COMPLETED):
        rotation = replace(rotation, predecessor_id="")
    if legal:
        assert rotation.advance(after, LATER) == replace(rotation, state=after, updated_at=LATER)
    else:
        with pytest.raises(IllegalTransitionError, match=f"rotation r1: {before} cannot become {after}"):
            rotation.advance(after, LATER)


def test_table_knows_every_state() -> None:
    assert set(STEPS) == set(RotationState) == {RotationState(name) for name in LEGAL}


def test_rotation_has_nothing_to_do_when_closed() -> None:
    assert {state.value for state in CLOSED_STATES} == {"completed", "abandoned", "failed"}
    for state in RotationState:
        assert replace(make_rotation(), state=state).is_open == (state not in CLOSED_STATES)


def test_rotation_never_stores_again_when_abandoning() -> None:
    assert find_reachable(RotationState.ABANDONING) == {RotationState.ABANDONED, RotationState.FAILED}


def test_clone_is_never_abandoned_when_consumers_may_read_it() -> None:
    for state in (RotationState.STORED, RotationState.OVERLAPPING, RotationState.RETIRING):
        assert not find_reachable(state) & {RotationState.ABANDONING, RotationState.ABANDONED}


@pytest.mark.parametrize("needed", ["minting", "minted", "verified", "storing", "stored", "overlapping"])
def test_nothing_is_retired_when_a_step_before_was_left_out(needed: str) -> None:
    reachable = find_reachable(RotationState.PLANNED, without=[RotationState(needed)])
    assert RotationState.RETIRING not in reachable
    assert (RotationState.COMPLETED in reachable) == (needed == "overlapping")


@pytest.mark.parametrize(("predecessor_id", "skipped"), [("old", "completed"), ("", "overlapping")])
def test_rotation_overlaps_exactly_when_it_replaces_a_pat(predecessor_id: str, skipped: str) -> None:
    rotation = replace(make_rotation(), state=RotationState.STORED, predecessor_id=predecessor_id)
    with pytest.raises(IllegalTransitionError, match=f"stored cannot become {skipped}"):
        rotation.advance(RotationState(skipped), LATER)


def test_every_rotation_can_end() -> None:
    for state in set(RotationState) - CLOSED_STATES:
        assert find_reachable(state) & CLOSED_STATES


def test_rotation_keeps_what_a_step_learned_when_it_goes_on() -> None:
    failure = Failure("code", "message", "fix")
    rotation = make_rotation().advance(RotationState.MINTING, LATER, known_ids=("a",), planned_valid_to=NOW + DAY)
    noted = rotation.note(LATER + DAY, failure=failure)
    assert (noted.state, noted.known_ids, noted.planned_valid_to) == (RotationState.MINTING, ("a",), NOW + DAY)
    assert (noted.failure, noted.updated_at, noted.created_at) == (failure, LATER + DAY, NOW)
    assert (rotation.failure, rotation.updated_at) == (None, LATER)


PLANNED = (NOW + 30 * DAY).replace(microsecond=0)
MINTING = make_rotation().advance(RotationState.MINTING, NOW, planned_valid_to=PLANNED, known_ids=("known",))
OURS = Pat("new", MINTING.display_name, "vso.packaging vso.code", ("ORG-1",), NOW, PLANNED)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def test_listed_pat_is_ours_when_everything_fits() -> None:
    assert compare_mint(OURS, MINTING, "org-1") is Likeness.OURS
    assert compare_mint(replace(OURS, scope="vso.code  vso.packaging"), MINTING, "Org-1") is Likeness.OURS
    assert compare_mint(OURS, MINTING, None) is Likeness.OURS


FLIPPED = {
    "display name": replace(OURS, display_name="npm-feed (BUILD)"),
    "display name with a blank": replace(OURS, display_name=OURS.display_name + " "),
    "more scopes": replace(OURS, scope=OURS.scope + " vso.work"),
    "fewer scopes": replace(OURS, scope="vso.code"),
    "other scopes": replace(OURS, scope="vso.code vso.packaging_write"),
    "other organization": replace(OURS, target_accounts=("org-2",)),
    "second organization": replace(OURS, target_accounts=("org-1", "org-2")),
    "no organization": replace(OURS, target_accounts=()),
    "all organizations": replace(OURS, target_accounts=None),
    "listed before": replace(OURS, authorization_id="known"),
    "predecessor": replace(OURS, authorization_id=MINTING.predecessor_id),
}


@pytest.mark.parametrize("pat", FLIPPED.values(), ids=FLIPPED)
@pytest.mark.parametrize("earlier", [timedelta(0), SECOND])
def test_listed_pat_is_foreign_when_one_property_differs(pat: Pat, earlier: timedelta) -> None:
    assert compare_mint(replace(pat, valid_to=PLANNED - earlier), MINTING, "org-1") is Likeness.FOREIGN


@pytest.mark.parametrize(
    ("valid_from", "valid_to", "likeness"),
    [
        (NOW, PLANNED - SECOND, Likeness.NEAR),
        (NOW, PLANNED - timedelta(microseconds=1), Likeness.NEAR),
        (NOW, PLANNED - 29 * DAY, Likeness.NEAR),
        (NOW, PLANNED + timedelta(microseconds=1), Likeness.FOREIGN),
        (NOW, PLANNED + SECOND, Likeness.FOREIGN),
        (NOW - HOUR, PLANNED - SECOND, Likeness.NEAR),
        (NOW - HOUR - timedelta(microseconds=1), PLANNED - SECOND, Likeness.FOREIGN),
        (NOW + DAY, PLANNED - SECOND, Likeness.NEAR),
        (NOW - DAY, PLANNED, Likeness.OURS),
    ],
)
def test_listed_pat_is_near_when_created_since_with_an_earlier_expiry(
    valid_from: datetime, valid_to: datetime, likeness: Likeness
) -> None:
    pat = replace(OURS, valid_from=valid_from, valid_to=valid_to)
    assert compare_mint(pat, MINTING, "org-1") is likeness


def test_listed_pat_is_foreign_when_nothing_was_asked_for_yet() -> None:
    rotation: Rotation = replace(make_rotation(), known_ids=("known",))
    assert compare_mint(OURS, rotation, "org-1") is Likeness.FOREIGN


LIFETIMES = st.integers(120, 365 * 86400).map(lambda seconds: timedelta(seconds=seconds))
NOMINAL = [timedelta(minutes=2), timedelta(minutes=59), HOUR, 12 * HOUR, 13 * HOUR, 23 * HOUR, DAY, 7 * DAY, 365 * DAY]


@exactly
@given(LIFETIMES)
def test_kept_lifetime_is_a_little_longer_when_it_is_not_round(lifetime: timedelta) -> None:
    kept = make_kept_lifetime(lifetime)
    step = HOUR if lifetime >= DAY else HOUR / 6 if lifetime >= HOUR else HOUR / 60
    assert lifetime - 5 * SECOND <= kept < lifetime + step
    assert make_kept_lifetime(kept) == kept


@exactly
@given(LIFETIMES)
def test_offset_tells_attempts_apart_and_stays_small_when_the_lifetime_is_any(lifetime: timedelta) -> None:
    low, high = make_offset_range(lifetime)
    assert 1 <= low <= high < 600
    assert high * SECOND <= lifetime / 50


@exactly
@given(
    LIFETIMES, st.timedeltas(-2 * SECOND, 2 * SECOND), st.timedeltas(timedelta(0), SECOND - timedelta(microseconds=1))
)
@example(DAY, timedelta(0), timedelta(0))
@example(13 * HOUR, timedelta(0), timedelta(0))
def test_lifetime_stays_nominal_when_kept_over_a_thousand_clones(
    lifetime: timedelta, skew: timedelta, cut: timedelta
) -> None:
    """Each clone falls short by its offset, by the fraction cut off its expiry and by how late the server dates it."""
    nominal = current = make_kept_lifetime(lifetime)
    for generation in range(1000):
        low, high = make_offset_range(current)
        offset = low + generation % (high - low + 1)
        current = make_kept_lifetime(current - offset * SECOND - cut - skew)
        assert current == nominal, f"generation {generation}, offset {offset}"


@pytest.mark.parametrize("nominal", NOMINAL, ids=str)
def test_kept_lifetime_undoes_every_offset_when_the_lifetime_is_round(nominal: timedelta) -> None:
    low, high = make_offset_range(nominal)
    kept = {offset: make_kept_lifetime(nominal - offset * SECOND) for offset in range(low, high + 1)}
    assert {offset: span for offset, span in kept.items() if span != nominal} == {}


@pytest.mark.parametrize(
    ("lifetime", "expected"),
    [
        (30 * DAY, (240, 479)),
        (10 * HOUR, (240, 479)),
        (10 * HOUR - SECOND, (239, 477)),
        (timedelta(seconds=300), (2, 3)),
        (timedelta(seconds=299), (1, 1)),
        (SECOND, (1, 1)),
    ],
    ids=str,
)
def test_offset_is_a_150th_of_the_lifetime_when_that_is_between_a_second_and_four_minutes(
    lifetime: timedelta, expected: tuple[int, int]
) -> None:
    assert make_offset_range(lifetime) == expected


@pytest.mark.parametrize(
    ("lifetime", "expected"),
    [
        (30 * DAY - timedelta(minutes=15), 30 * DAY),
        (DAY + timedelta(minutes=30), DAY + HOUR),
        (DAY + 6 * SECOND, DAY + HOUR),
        (DAY - HOUR / 2, DAY - HOUR / 2),
        (2 * HOUR + timedelta(minutes=5), 2 * HOUR + HOUR / 6),
        (HOUR + 6 * SECOND, HOUR + HOUR / 6),
        (HOUR + 5 * SECOND, HOUR),
        (timedelta(minutes=30, seconds=30), timedelta(minutes=31)),
        (3 * SECOND, timedelta(minutes=1)),
    ],
    ids=str,
)
def test_kept_lifetime_is_rounded_up_to_the_step_of_its_size(lifetime: timedelta, expected: timedelta) -> None:
    assert make_kept_lifetime(lifetime) == expected


def test_each_pat_of_a_move_has_its_own_account_and_both_of_another_rotation_have_one() -> None:
    rotation = replace(make_rotation(), new_authorization_id="id-new")
    moving = replace(rotation, predecessor_account="left-bot")
    old = rotation.predecessor_id
    assert [rotation.find_owner(found) for found in (old, "id-new", None)] == ["build-bot"] * 3
    assert [moving.find_owner(found) for found in (old, "id-new", None)] == ["left-bot", "build-bot", "build-bot"]
    created = replace(moving, predecessor_id="")
    assert created.find_owner(None) == "build-bot"
