"""What was once verified of the audit log: signed, so that only a holder of the key can say that it was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rotator.domain.canonical import encode_canonical
from rotator.domain.managed_pat import check_aware

WHOLE_EVERY = timedelta(days=7)
"""How long it counts that all of the log was checked; after that all of it is checked again."""


@dataclass(frozen=True)
class VerifiedLog:
    """The first `size` events were as they were written, up to the checkpoint of that size, number `checkpoints`.

    `head` is the hash of the last of them. `checked_at` is when the first of them was last checked.
    """

    installation: str
    size: int
    head: str
    checkpoints: int
    checked_at: datetime
    key_id: str
    signature: str = ""

    def __post_init__(self) -> None:
        check_aware(self.checked_at)

    def make_statement(self) -> bytes:
        """Return what is signed: everything that it says."""
        return encode_canonical(
            {
                "purpose": "rotator-audit-verified",
                "version": 1,
                "installation": self.installation,
                "size": self.size,
                "head": self.head,
                "checkpoints": self.checkpoints,
                "checked_at": self.checked_at.astimezone(UTC).isoformat(timespec="microseconds"),
                "key": self.key_id,
            }
        )

    def counts_at(self, now: datetime) -> bool:
        """Whether it was not too long ago; what lies ahead, by a clock that was set back, counts for nothing."""
        return timedelta(0) <= now - self.checked_at < WHOLE_EVERY
