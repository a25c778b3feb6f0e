"""Where the audit log's checkpoints are kept outside of the database, beside the vaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


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
