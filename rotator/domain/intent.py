"""The intent of a mint as the vault carries it, so that a mint is recognised although the database has lost it."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from rotator.domain.managed_pat import make_place, make_scopes
from rotator.domain.rotation import Rotation
from rotator.domain.secret_value import SecretValue

LONGEST_TEXT = 256
"""How many characters the value of a tag may have."""
_DIGITS = 12
"""Of the digest, in hexadecimal. So four intents fit into a tag."""
_INTENT = re.compile(r"([^\s:]{1,64}):([0-9a-f]{8}):([0-9a-f]{8}):([0-9a-f]{12})")
_PURPOSE = b"rotator: intents in tags\n"


@dataclass(frozen=True)
class Intent:
    """What a rotation was about to ask for: the exact second of the expiry, and the `look`, a digest of everything.

    With the key of the marks the look is an HMAC: nobody without it can make an intent. It is bound to its rotation,
    its times and its secret, so that an intent proves nothing beside another secret, or for a PAT of another record.
    """

    rotation_id: str
    planned_at: datetime
    planned_valid_to: datetime
    look: str

    @classmethod
    def of(cls, rotation: Rotation, key: SecretValue | None) -> Self:
        """Return the intent of a planned rotation, signed if there is a key."""
        planned_at, planned_valid_to = rotation.created_at, rotation.planned_valid_to
        if planned_valid_to is None:
            raise ValueError("an intent without an expiry")
        blank = cls(rotation.id, planned_at.replace(microsecond=0), planned_valid_to, look="")
        place = make_place(rotation.vault, rotation.secret_name)
        where = name_where(rotation.organization, rotation.account if rotation.is_move else None)
        return replace(blank, look=blank.make_look(place, where, rotation.display_name, rotation.scope, key))

    def make_look(self, place: str, where: str, display_name: str, scope: str, key: SecretValue | None) -> str:
        """Return the digest that this intent has if it was written beside that secret, for that mint."""
        said = (self._tell(), place, where.lower(), display_name, " ".join(make_scopes(scope)))
        text = _PURPOSE + "\n".join(said).encode(errors="surrogatepass")
        made = hashlib.sha256(text) if key is None else hmac.new(key.reveal().encode(), text, hashlib.sha256)
        return made.hexdigest()[:_DIGITS]

    def is_of(self, place: str, where: str, display_name: str, scope: str, key: SecretValue | None) -> bool:
        """Whether it was written beside that secret, for that mint, and where there is a key by somebody who has it."""
        return hmac.compare_digest(self.look, self.make_look(place, where, display_name, scope, key))

    def _tell(self) -> str:
        moments = (f"{int(moment.timestamp()):08x}" for moment in (self.planned_at, self.planned_valid_to))
        return ":".join((self.rotation_id, *moments))

    def __str__(self) -> str:
        """Return the intent as the tag has it."""
        return f"{self._tell()}:{self.look}"


def name_where(organization: str, moves_to: str | None) -> str:
    """Return where a mint makes a PAT: in an organization, for the record's account or the one that it moves to."""
    return organization if moves_to is None else f"{moves_to}/{organization}"


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
            planned_at, planned_valid_to = (datetime.fromtimestamp(int(match[group], 16), UTC) for group in (2, 3))
            found.append(Intent(match[1], planned_at, planned_valid_to, match[4]))
    return tuple(found)
