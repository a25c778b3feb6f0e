"""The checkpoints of the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from rotator.domain.checkpoint import Checkpoint


class CheckpointsReader(Protocol):
    """Reads the checkpoints. Raises AuditChainError for one that cannot be read, because it was altered."""

    def load_newest(self) -> Checkpoint | None:
        """Return the one of the greatest size."""

    def load_signed(self, within: int) -> Checkpoint | None:
        """Return the one of the greatest size up to `within` that has a signature."""

    def load_after(self, size: int, limit: int) -> Iterator[Checkpoint]:
        """Return the first `limit` that are greater than a size, by size; those before an unreadable one are given."""


class Checkpoints(CheckpointsReader, Protocol):
    """The checkpoints. None is ever changed, or removed."""

    def add(self, checkpoint: Checkpoint, after: int) -> bool:
        """Add one whose predecessor has the size `after` (0: the first). False if there is a greater one by now."""
