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
_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def encode_canonical(document: Mapping[str, Scalar | Mapping[str, Scalar]]) -> bytes:
    """Return the document's one spelling, in UTF-8. ValueError for what has none."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            for inner, held in value.items():
                _check(inner, held)
        else:
            _check(name, value)
    return _ENCODE(document).encode()


def _check(name: str, value: object) -> None:
    if not name.isascii():
        raise ValueError(f"the name of the field {name!r} is not ASCII")
    if isinstance(value, int):
        if not -_LARGEST <= value <= _LARGEST:
            raise ValueError(f"{name} is too large a number")
    elif value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is neither text nor a whole number, a truth value or nothing")
