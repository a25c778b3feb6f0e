"""The intent of a mint as the vault carries it, so that a mint is recognised although the database has lost it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from rotator.domain.managed_pat import make_scopes
from rotator.domain.rotation import Rotation

LONGEST_TEXT = 256
"""How many characters the value of a tag may have."""
_INTENT = re.compile(r"([^\s:]{1,64}):(\d{1,10}):(\d{1,10}):([0-9a-f]{8})")


@dataclass(frozen=True)
class Intent:
    """What a rotation was about to ask for: the exact second of the expiry, and the `look`, a digest of the rest."""

    rotation_id: str
    planned_at: datetime
    planned_valid_to: datetime
    look: str

    @classmethod
    def of(cls, rotation: Rotation) -> Self:
        """Return the intent of a planned rotation."""
        planned_at, planned_valid_to = rotation.created_at, rotation.planned_valid_to
        if planned_valid_to is None:
            raise ValueError("an intent without an expiry")
        look = make_look(rotation.organization, rotation.display_name, rotation.scope)
        return cls(rotation.id, planned_at.replace(microsecond=0), planned_valid_to, look)

    def __str__(self) -> str:
        """Return the intent as the tag has it."""
        moments = (int(moment.timestamp()) for moment in (self.planned_at, self.planned_valid_to))
        return ":".join((self.rotation_id, *map(str, moments), self.look))


def make_look(organization: str, display_name: str, scope: str) -> str:
    """Return the digest of what a mint asks for besides its expiry."""
    text = "\n".join((organization, display_name, " ".join(make_scopes(scope))))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


def write_intents(intents: Iterable[Intent]) -> str:
    """Return the value of the tag: the newest intents first, as many as there is room for."""
    text = ""
    for intent in sorted(intents, key=lambda item: (item.planned_at, item.rotation_id), reverse=True):
        longer = f"{text} {intent}".lstrip()
        if len(longer) > LONGEST_TEXT:
            break
        text = longer
    return text


def read_intents(text: str) -> tuple[Intent, ...]:
    """Return the intents in the value of a tag; what is none is left out."""
    found = []
    for part in text.split():
        match = _INTENT.fullmatch(part)
        if match is not None:
            planned_at, planned_valid_to = (datetime.fromtimestamp(int(match[group]), UTC) for group in (2, 3))
            found.append(Intent(match[1], planned_at, planned_valid_to, match[4]))
    return tuple(found)
