"""Where the audit log's checkpoints are kept outside of the database, beside the vaults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Stamp:
    """What an authority signed of an anchor: that `data` existed `at` some time; `signed` is that, as RFC 3161 has it.

    `fault` says why it does not hold.
    """

    at: datetime | None = None
    data: bytes = b""
    signed: bytes = b""
    fault: str | None = None


class AnchorPlace(Protocol):
    """A file, or whoever listens at an address. Raises RotatorError when it cannot be used now."""

    @property
    def name(self) -> str:
        """What the audit log calls it; no secret."""

    def find_last(self) -> str | None:
        """Return the last anchor that it has, as it was given, as far as anybody can tell; None if there is none."""

    def give(self, anchor: str, anchor_id: str) -> None:
        """Give it one more, durably. The same anchor has the same id, however often it is given."""

    def read(self) -> Iterator[str] | None:
        """Return all that it has, as they were given; None where it cannot be asked."""

    def read_stamp(self, anchor: str) -> Stamp | None:
        """Return what an authority signed of one of these; None where this place asks none."""
