"""Text to be hashed or signed: JSON in one spelling, restricted so that it is what RFC 8785 prescribes.

Keys are ASCII, so that every rule for sorting them gives one order. Integers are those that a double holds exactly.
There are no fractions, whose spelling would be a matter of its own, and no halves of surrogate pairs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

Scalar = str | int | bool | None
"""What a field may hold; one that is nested holds these only."""

_LARGEST = 2**53 - 1
quote = json.encoder.encode_basestring
"""The one spelling of a text."""
_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def encode_canonical(document: dict[str, Scalar | dict[str, Scalar]]) -> bytes:
    """Return the document's one spelling, in UTF-8. ValueError for what has none."""
    for name in _check(document):
        inner = document[name]
        if not isinstance(inner, dict) or _check(inner):
            raise ValueError(f"{name} is neither text nor a whole number, a truth value or nothing")
    return _ENCODE(document).encode()


def encode_fields(fields: Mapping[str, Scalar]) -> str:
    """Return the one spelling of fields that hold scalars only, as text. ValueError for what has none."""
    if others := _check(fields):
        raise ValueError(f"{others[0]} is neither text nor a whole number, a truth value or nothing")
    return _ENCODE(fields)


def _check(fields: Mapping[str, object]) -> list[str]:
    """Return the names of the fields that are no scalars. ValueError for one that has several spellings.

    It is called for each event of a log that is checked, so it is written for speed.
    """
    if not "".join(fields).isascii():
        raise ValueError("the name of a field is not ASCII")
    others = []
    for name, value in fields.items():
        if isinstance(value, str) or value is None:
            continue
        if not isinstance(value, int):
            others.append(name)
        elif not -_LARGEST <= value <= _LARGEST:
            raise ValueError(f"{name} is too large a number")
    return others
