"""Handles, secret names, the look of a PAT, and times that must have a zone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.domain.audit_event import make_event
from rotator.domain.managed_pat import (
    NAME_PATTERN,
    Failure,
    check_aware,
    is_pat_shaped,
    make_name,
    make_scopes,
    make_secret_name,
)
from rotator.domain.rotation import RotationState
from rotator.errors import NotListedError, RotationError, RotatorError
from tests.support.records import DAY, NOW, make_entry, make_managed_pat, make_pat, make_rotation

exactly = settings(deadline=None, derandomize=True)

NAIVE = NOW.replace(tzinfo=None)
ORGANIZATIONS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9-]{0,49}", fullmatch=True)


@pytest.mark.parametrize(
    ("display_name", "name"),
    [
        ("npm-feed", "npm-feed"),
        ("NPM Feed (build)", "npm-feed-build"),
        ("  spaced\tout\n", "spaced-out"),
        ("v1.2_beta", "v1.2_beta"),
        ("../../etc/passwd", "etc-passwd"),
        ("-._--x--._-", "x"),
        ("Grüße", "gr-e"),
        ("日本語", "pat"),
        ("🔑", "pat"),
        ("", "pat"),
        ("\x00\u2028", "pat"),
        ("x" * 300, "x" * 80),
    ],
)
def test_name_is_plain_when_made_from_a_display_name(display_name: str, name: str) -> None:
    assert make_name(display_name, "Contoso", frozenset()) == name


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        ({"other"}, "feed"),
        ({"feed"}, "feed-contoso"),
        ({"feed", "feed-contoso"}, "feed-contoso-2"),
        ({"feed", "feed-contoso", "feed-contoso-2", "feed-contoso-4"}, "feed-contoso-3"),
        ({"feed-contoso"}, "feed"),
    ],
)
def test_name_gets_the_organization_then_a_number_when_taken(taken: set[str], name: str) -> None:
    assert make_name("Feed", "Contoso", frozenset(taken)) == name


@exactly
@given(st.lists(st.text(max_size=120), min_size=1, max_size=12), ORGANIZATIONS)
def test_names_are_valid_and_unique_when_made_from_any_text(display_names: list[str], organization: str) -> None:
    taken: frozenset[str] = frozenset()
    for display_name in [*display_names, *display_names, *display_names]:
        name = make_name(display_name, organization, taken)
        assert NAME_PATTERN.fullmatch(name)
        assert name not in taken
        taken |= {name}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("contoso-npm-feed", "contoso-npm-feed"),
        ("Contoso.NPM_feed", "Contoso-NPM-feed"),
        ("--a---b--", "a-b"),
        ("a/../b", "a-b"),
        ("Straße", "Stra-e"),
        ("日本", "pat"),
        ("", "pat"),
        ("y" * 200, "y" * 127),
    ],
)
def test_secret_name_keeps_what_key_vault_allows_when_made(text: str, name: str) -> None:
    assert make_secret_name(text) == name


@exactly
@given(st.text(max_size=300))
def test_secret_name_is_valid_and_stable_when_made_from_any_text(text: str) -> None:
    name = make_secret_name(text)
    assert re.fullmatch(r"[0-9A-Za-z-]{1,127}", name)
    assert make_secret_name(name) == name.strip("-")


@pytest.mark.parametrize(
    ("value", "shaped"),
    [
        ("a" * 76 + "AZDO" + "b" * 4, True),
        ("Z9" * 38 + "AZDO1234", True),
        ("a" * 76 + "azdo" + "b" * 4, False),
        ("a" * 75 + "AZDO" + "b" * 5, False),
        ("a" * 84, False),
        ("a" * 76 + "AZDO" + "b" * 5, False),
        ("a" * 75 + "_AZDO" + "b" * 4, False),
        ("a2" * 26, True),
        ("a" * 51, False),
        ("a" * 53, False),
        ("A" * 52, False),
        ("a" * 51 + "1", False),
        ("a" * 52 + "\n", False),
        (" " + "a" * 52, False),
        ("", False),
    ],
)
def test_pat_shape_is_recognised_when_it_is_whole(value: str, shaped: bool) -> None:
    assert is_pat_shaped(value) is shaped


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("vso.packaging vso.code", ("vso.code", "vso.packaging")),
        ("  vso.code\tvso.code ", ("vso.code",)),
        ("app_token", ("app_token",)),
        ("", ()),
    ],
)
def test_scopes_are_sorted_and_single_when_split(scope: str, scopes: tuple[str, ...]) -> None:
    assert make_scopes(scope) == scopes


def test_lifetime_runs_from_creation_to_expiry() -> None:
    assert make_managed_pat().lifetime == 30 * DAY
    assert make_pat("a").lifetime == 2 * DAY
    assert make_managed_pat().scopes == ("vso.code", "vso.packaging")


def test_aware_times_pass_unchanged_when_in_another_zone() -> None:
    moment = datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=5)))
    assert check_aware(moment) is moment


NAIVE_MAKERS: dict[str, Callable[[], object]] = {
    "check_aware": lambda: check_aware(NAIVE),
    "Pat.valid_from": lambda: replace(make_pat("a"), valid_from=NAIVE),
    "Pat.valid_to": lambda: replace(make_pat("a"), valid_to=NAIVE),
    "ManagedPat.valid_from": lambda: replace(make_managed_pat(), valid_from=NAIVE),
    "ManagedPat.valid_to": lambda: replace(make_managed_pat(), valid_to=NAIVE),
    "ManagedPat.retry_at": lambda: replace(make_managed_pat(), retry_at=NAIVE),
    "Rotation.created_at": lambda: replace(make_rotation(), created_at=NAIVE),
    "Rotation.updated_at": lambda: replace(make_rotation(), updated_at=NAIVE),
    "Rotation.predecessor_valid_to": lambda: replace(make_rotation(), predecessor_valid_to=NAIVE),
    "Rotation.planned_valid_to": lambda: make_rotation().note(NOW, planned_valid_to=NAIVE),
    "Rotation.sent_at": lambda: make_rotation().note(NOW, sent_at=NAIVE),
    "Rotation.mint_begun_at": lambda: make_rotation().note(NOW, mint_begun_at=NAIVE),
    "Rotation.new_valid_from": lambda: make_rotation().note(NOW, new_valid_from=NAIVE),
    "Rotation.new_valid_to": lambda: make_rotation().note(NOW, new_valid_to=NAIVE),
    "Rotation.overlap_until": lambda: make_rotation().note(NOW, overlap_until=NAIVE),
    "Rotation.note": lambda: make_rotation().note(NAIVE),
    "Rotation.advance": lambda: make_rotation().advance(RotationState.MINTING, NAIVE),
    "AuditEvent.occurred_at": lambda: make_event(make_entry(), previous=None, occurred_at=NAIVE),
}


@pytest.mark.parametrize("make", NAIVE_MAKERS.values(), ids=NAIVE_MAKERS)
def test_naive_time_is_refused_when_it_enters_the_domain(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        make()


@pytest.mark.parametrize(("error", "is_missing"), [(NotListedError("x"), True), (RotationError("x"), False)])
def test_pat_is_called_missing_when_its_failure_says_that_a_list_lacked_it(
    error: RotatorError, is_missing: bool
) -> None:
    assert replace(make_managed_pat(), last_failure=Failure.of(error)).is_called_missing is is_missing
