"""Text from outside is harmless behind the door, and an id has one spelling."""

from __future__ import annotations

import pytest

from rotator.domain.outside import find_id, make_canonical, make_harmless, show_hidden

ID = "0000000a-1111-4222-8333-44444444444b"


@pytest.mark.parametrize("text", ["", "npm-feed", "é ü \N{GRINNING FACE}", "a b"])
def test_text_stays_as_it_is_when_it_is_harmless(text: str) -> None:
    assert make_harmless(text) == text


@pytest.mark.parametrize("sign", ["\0", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\u2028", "\ud83d"])
def test_sign_is_replaced_when_it_could_harm(sign: str) -> None:
    assert make_harmless(f"a{sign}b") == "a\ufffdb"
    make_harmless(f"a{sign}b").encode()


@pytest.mark.parametrize("text", [ID, ID.upper(), f" {ID} "])
def test_id_has_one_spelling(text: str) -> None:
    assert find_id(text) == make_canonical(text) == ID


@pytest.mark.parametrize("text", ["", "not-a-guid", ID[:-1], ID.replace("-", ""), f"{ID}\n{ID}"])
def test_text_is_no_id_when_it_lacks_the_form(text: str) -> None:
    assert find_id(text) is None


@pytest.mark.parametrize("hidden", ["\u200b", "\xad", "\ufeff", "\u2060", "\U000e0041"])
def test_what_has_no_width_is_seen(hidden: str) -> None:
    assert show_hidden(f"npm{hidden}-feed") == f"npm{hidden.encode('unicode_escape').decode()}-feed"
