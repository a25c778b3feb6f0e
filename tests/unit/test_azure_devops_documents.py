"""The JSON of Azure DevOps, read and refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from rotator.adapters.azure_devops.documents import (
    MalformedError,
    PatRefusal,
    find_refusal,
    parse_answer,
    parse_identity,
    parse_json,
    parse_moment,
    parse_page,
    parse_pat,
    render_moment,
)
from rotator.ports.pat_service import MintedPat

ENTRY = {
    "displayName": "new_token",
    "validTo": "2020-12-01T23:46:23.32Z",
    "scope": "app_token",
    "targetAccounts": ["38aaa865-2c70-4bf7-a308-0c6539c38c1a"],
    "validFrom": "2020-11-02T22:56:52.1033333Z",
    "authorizationId": "4ab5764f-4193-4f1d-b995-64144880b7d7",
    "token": None,
}


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2020-11-02T22:56:52Z", 0),
        ("2020-11-02T22:56:52.3Z", 300_000),
        ("2020-11-02T22:56:52.32Z", 320_000),
        ("2020-11-02T22:56:52.1033333Z", 103_333),
        ("2020-11-02T22:56:52.1466667Z", 146_666),
        ("2020-11-02T23:56:52.1033333+01:00", 103_333),
    ],
)
def test_moment_is_read_when_it_has_up_to_seven_digits(text: str, microsecond: int) -> None:
    assert parse_moment(text) == datetime(2020, 11, 2, 22, 56, 52, microsecond, tzinfo=UTC)


@pytest.mark.parametrize(
    "value", ["", "soon", "2020-11-02T22:56:52", "0001-01-01T00:00:00+14:00", 1604357812, None, "2020-13-02T00:00:00Z"]
)
def test_moment_is_malformed_when_it_is_no_aware_date(value: object) -> None:
    with pytest.raises(MalformedError):
        parse_moment(value)


def test_moment_is_sent_in_whole_seconds_of_utc() -> None:
    moment = datetime(2026, 12, 3, 10, 0, 5, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert render_moment(moment) == "2026-12-03T09:00:05Z"
    assert parse_moment(render_moment(moment)) == moment.replace(microsecond=0)


def test_moment_is_refused_when_it_has_no_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        render_moment(datetime.fromisoformat("2026-12-03"))


@pytest.mark.parametrize("name", ["authorizationId", "scope", "validFrom", "validTo"])
@pytest.mark.parametrize("value", [None, 7, ""])
def test_pat_is_malformed_when_a_field_is_not_usable(name: str, value: object) -> None:
    with pytest.raises(MalformedError):
        parse_pat({**ENTRY, name: value})


@pytest.mark.parametrize("targets", ["x", [None], {}])
def test_pat_is_malformed_when_its_targets_are_no_ids(targets: object) -> None:
    with pytest.raises(MalformedError):
        parse_pat({**ENTRY, "targetAccounts": targets})


def test_pat_is_for_all_organizations_when_it_names_none() -> None:
    assert parse_pat({**ENTRY, "targetAccounts": None}).target_accounts is None


def test_pat_has_an_empty_name_when_the_service_has_none() -> None:
    assert parse_pat({**ENTRY, "displayName": None}).display_name == ""


def test_malformed_error_holds_nothing_of_the_content_when_raised() -> None:
    with pytest.raises(MalformedError) as caught:
        parse_answer({"patToken": {**ENTRY, "token": "s3cr3t", "validTo": "s3cr3t"}, "patTokenError": "none"})
    assert "s3cr3t" not in repr(caught.value) + repr(caught.value.__context__)


def test_answer_holds_the_value_when_minting() -> None:
    answer = parse_answer({"patToken": {**ENTRY, "token": "s3cr3t"}, "patTokenError": "none"})
    assert isinstance(answer, MintedPat)
    assert answer.value is not None
    assert answer.value.reveal() == "s3cr3t"


def test_answer_is_a_refusal_when_it_names_an_error() -> None:
    document = {"patToken": None, "patTokenError": "accessDenied", "patTokenErrorMessage": "No."}
    assert parse_answer(document) == PatRefusal("accessDenied", "No.")
    assert find_refusal({**document, "patTokenErrorMessage": None}) == PatRefusal("accessDenied", "")
    assert find_refusal({"patTokenError": 7}) == PatRefusal("7", "")


@pytest.mark.parametrize("document", [None, [], {}, {"patTokenError": "none"}, {"patTokenError": None}])
def test_refusal_is_none_when_no_error_is_named(document: object) -> None:
    assert find_refusal(document) is None


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"\xff\xfe", b"[" * 100_000])
def test_json_is_none_when_the_body_is_none(body: bytes) -> None:
    assert parse_json(body) is None


def test_json_is_read_when_a_byte_order_mark_leads() -> None:
    assert parse_json(b"\xef\xbb\xbf" + json.dumps({"a": 1}).encode()) == {"a": 1}


@pytest.mark.parametrize("ending", [{}, {"continuationToken": None}, {"continuationToken": ""}])
def test_page_is_the_last_when_the_token_is_missing_null_or_empty(ending: dict[str, str | None]) -> None:
    assert parse_page({"patTokens": [], **ending}) == ((), "")


@pytest.mark.parametrize("odd", [None, [], {}, "text"])
def test_identity_is_no_identity_when_the_document_says_nothing_of_a_user(odd: object) -> None:
    with pytest.raises(MalformedError, match="nothing of a user"):
        parse_identity(odd)


@pytest.mark.parametrize(
    "odd",
    [
        {"scope": None},
        {"validFrom": "0001-01-01T00:00:00"},
        {"validFrom": "0001-01-01T00:00:00Z"},
        {"validTo": "9999-12-31T23:59:59.9999999Z"},
        {"targetAccounts": []},
    ],
)
def test_odd_entry_is_set_aside_by_its_id_when_it_cannot_be_read(odd: dict[str, object]) -> None:
    other = "0000000A-1111-4222-8333-44444444444B"
    pats, _ = parse_page({"patTokens": [{**ENTRY, **odd}, {**ENTRY, "authorizationId": other}]})
    assert [pat.authorization_id for pat in pats] == [other.lower()]
    assert pats.unreadable == (ENTRY["authorizationId"],)


@pytest.mark.parametrize("entry", [7, None, {}, {"displayName": "almost nothing"}, {**ENTRY, "authorizationId": "no"}])
def test_odd_entry_has_no_id_when_that_is_not_readable(entry: object) -> None:
    pats, _ = parse_page({"patTokens": [entry]})
    assert (pats, pats.unreadable) == ((), ("",))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("release \ud83d", "release \ufffd"),
        ("tab\tnew\nline\0end", "tab\ufffdnew\ufffdline\ufffdend"),
        ("x" * 300, "x" * 300),
    ],
)
def test_display_name_is_harmless_whatever_it_holds(name: str, shown: str) -> None:
    assert parse_pat({**ENTRY, "displayName": name}).display_name == shown
