"""What of an answer is read: text that is UTF-8, so that its brackets can be counted before a library decodes it."""

from __future__ import annotations

import pytest

from rotator.adapters.answer_limits import MOST_VALUES, has_too_many_values, is_utf8

JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "content_type", "holds"),
    [
        (b"{}", JSON, True),
        (b"{}", "application/json; charset=utf-8", True),
        (b"{}", 'application/json; charset="UTF-8"; api-version=7.1', True),
        (b"", "", True),
        (b"\xef\xbb\xbf{}", JSON, True),
        ("[[[[".encode("utf-16"), JSON, False),
        ("[[[[".encode("utf-16-le"), JSON, False),
        ("[[[[".encode("utf-32-be"), JSON, False),
        ("[[[[".encode("utf-7"), "application/json; charset=utf-7", False),
        (b"{}", "application/json; charset=rot13", False),
    ],
)
def test_text_is_utf8_when_neither_its_head_nor_its_label_says_otherwise(
    body: bytes, content_type: str, holds: bool
) -> None:
    assert is_utf8(body, content_type) is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        (b"[" + b"1," * (MOST_VALUES - 1) + b"1]", False),
        (b"[" + b"1," * MOST_VALUES + b"1]", True),
        (b'\xef\xbb\xbf \n{"a": [' + b"{}," * MOST_VALUES + b"{}]}", True),
        (b"<html>" + b"," * MOST_VALUES, False),
    ],
)
def test_values_of_json_are_counted_by_their_commas(body: bytes, holds: bool) -> None:
    assert has_too_many_values(body) is holds
