"""The one spelling of what is hashed and signed: that of RFC 8785, for what may be spelled at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rotator.domain.canonical import encode_canonical


def test_spelling_is_that_of_the_standard_when_text_is_odd() -> None:
    """As in RFC 8785, 3.2.2 and 3.2.3, without fractions: control characters, quotes, what JSON may escape."""
    document: dict[str, Any] = {
        "string": '\u20ac$\u000f\nA\'B"\\\\"/\x7f\u2028',
        "numbers": 9007199254740991,
        "literals": {"c": None, "b": True, "a": False},
        "1": "\r",
        "10": -1,
    }
    expected = (
        '{"1":"\\r","10":-1,"literals":{"a":false,"b":true,"c":null},"numbers":9007199254740991,'
        '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/\x7f\u2028"}'
    )
    assert encode_canonical(document) == expected.encode()
    assert json.loads(encode_canonical(document)) == document


ODD: list[Any] = [
    {"n": 2**53},
    {"n": -(2**53)},
    {"inner": {"n": 2**53}},
    {"n": 1.5},
    {"inner": {"n": 1.0}},
    {"n": ["x"]},
    {"inner": {"n": {}}},
    {"\u00fc": 1},
    {"inner": {"\u00fc": 1}},
    {"n": "\ud800"},
]


@pytest.mark.parametrize("document", ODD, ids=str)
def test_document_is_refused_when_it_has_several_spellings(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"ASCII|large|neither|surrogates"):
        encode_canonical(document)
