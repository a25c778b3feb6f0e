"""The catalogue of error codes: whole, in plain sentences, and linked to entries of the runbook that exist."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from rotator.domain.error_codes import CODES, find_entry, find_runbook
from rotator.domain.runbook import PAGE as RUNBOOK
from tests.support.codes_in_source import Found, find_codes
from tests.support.source_tree import ROOT
from tests.unit.errors_page import PAGE, render_page

MEANINGS = [(code, meaning) for codes in CODES.values() for code, meaning in codes.items()]


@pytest.fixture(scope="module")
def found() -> Found:
    """What the source gives as codes."""
    return find_codes()


def test_catalogue_has_each_code_of_the_source_and_no_other(found: Found) -> None:
    assert {code for code, _ in MEANINGS} == set(found.codes)
    assert not [code for code, times in Counter(code for code, _ in MEANINGS).items() if times > 1]


def test_every_code_of_the_source_can_be_read_from_it(found: Found) -> None:
    """A literal, a constant, or passed on under the name `code`: then none is missed."""
    assert not found.unread


@pytest.mark.parametrize(
    ("code", "exits"),
    [
        ("not_signed_in", {10}),
        ("mfa_required", {10}),
        ("unknown_name", {2}),
        ("none_configured", {2}),
        ("token_cache_key", {2}),
        ("database_locked", {11}),
        ("database_denied", {1}),
        ("throttled", {1}),
        ("server_error", {1}),
        ("dns_failed", {1}),
        ("proxy_failed", {1}),
        ("vault_answer", {1}),
        ("delivery_refused", {1}),
        ("mint_answer_wrong", {1}),
        ("unknown_account", {1, 2}),
        ("left_behind", set()),
        ("no_rule", set()),
        ("owner_must_sign_in", set()),
        ("rebuilt", set()),
        ("taken_back", set()),
    ],
)
def test_source_says_what_a_command_ends_with(found: Found, code: str, exits: set[int]) -> None:
    assert found.codes[code] == exits


@pytest.mark.parametrize(("code", "meaning"), MEANINGS)
def test_meaning_is_one_plain_sentence(code: str, meaning: str) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
    assert re.fullmatch(r"[A-Z`][^.]*(\b\w+\.\w+\b[^.]*)*\.", meaning), meaning


def test_runbook_tells_of_each_code_that_points_there() -> None:
    headings = set(re.findall(r"^### (\w+)$", (ROOT / RUNBOOK).read_text(encoding="utf-8"), flags=re.MULTILINE))
    places = {find_runbook(code) for code, _ in MEANINGS} - {""}
    assert places <= {f"{RUNBOOK}#{heading}" for heading in headings}
    assert find_runbook("sign_in_required") == "docs/runbook.md#sign_in_needed"
    assert find_entry("sign_in_required") == "sign_in_needed"
    assert find_runbook("usage") == find_entry("usage") == ""
    assert find_runbook("of_an_older_version") == ""


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page(), "run python -m tests.unit.errors_page --write"
