"""The checkpoints of the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from rotator.domain.checkpoint import Checkpoint
from rotator.domain.verified_log import VerifiedLog


class CheckpointsReader(Protocol):
    """Reads the checkpoints. Raises AuditChainError for one that cannot be read, because it was altered."""

    def load_newest(self) -> Checkpoint | None:
        """Return the one of the greatest size."""

    def load_signed(self, within: int) -> Checkpoint | None:
        """Return the one of the greatest size up to `within` that has a signature."""

    def load_after(self, size: int, limit: int) -> Iterator[Checkpoint]:
        """Return the first `limit` that are greater than a size, by size; those before an unreadable one are given."""

    def load_verified(self) -> VerifiedLog | None:
        """Return what was last verified of the log; None if that cannot be read either."""


class Checkpoints(CheckpointsReader, Protocol):
    """The checkpoints. None is ever changed, or removed."""

    def hold(self, size: int) -> bool:
        """Keep others from adding one until the transaction ends. False if there is one greater than that by now."""

    def add(self, checkpoint: Checkpoint, after: int) -> bool:
        """Add one whose predecessor has the size `after` (0: the first). False if there is a greater one by now."""

    def save_verified(self, verified: VerifiedLog) -> None:
        """Remember what was verified of the log, in place of what was before."""
