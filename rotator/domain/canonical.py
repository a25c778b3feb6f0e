"""Text to be hashed or signed: JSON in one spelling, restricted so that it is what RFC 8785 prescribes.

Keys are ASCII, so that every rule for sorting them gives one order. Integers are those that a double holds exactly.
There are no fractions, whose spelling would be a matter of its own, and no halves of surrogate pairs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

Scalar = str | int | bool | None
"""What a field may hold; one that is nested holds these only."""

LARGEST = 2**53 - 1
"""The largest number that a field may hold."""
quote = json.encoder.encode_basestring
"""The one spelling of a text."""
_WORDS = {True: "true", False: "false", None: "null"}


def encode_canonical(document: dict[str, Scalar | dict[str, Scalar]]) -> bytes:
    """Return the document's one spelling, in UTF-8. ValueError for what has none."""
    parts = []
    for name in sorted(document):
        value = document[name]
        if isinstance(value, dict):
            parts.append(f"{encode_fields({name: None})[1:-5]}{encode_fields(value)}")
        else:
            parts.append(encode_fields({name: value})[1:-1])
    return f"{{{','.join(parts)}}}".encode()


def encode_fields(fields: Mapping[str, Scalar]) -> str:
    """Return the one spelling of fields that hold scalars only, as text. ValueError for what has none.

    It is called for each event of a log that is checked, so it is written for speed.
    """
    if not "".join(fields).isascii():
        raise ValueError("the name of a field is not ASCII")
    parts = []
    for name in sorted(fields):
        value = fields[name]
        if isinstance(value, str):
            text = quote(value)
        elif isinstance(value, bool) or value is None:
            text = _WORDS[value]
        elif not isinstance(value, int):
            raise ValueError(f"{name} is neither text nor a whole number, a truth value or nothing")
        elif not -LARGEST <= value <= LARGEST:
            raise ValueError(f"{name} is too large a number")
        else:
            text = f"{value:d}"
        parts.append(f"{quote(name)}:{text}")
    return f"{{{','.join(parts)}}}"
