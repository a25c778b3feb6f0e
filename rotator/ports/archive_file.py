"""The file of an archive of the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol


class ArchiveFile(Protocol):
    """A file of lines. Raises UsageError `archive_file` when it cannot be read or written."""

    @property
    def name(self) -> str:
        """Where it is."""

    def write(self, lines: Iterable[bytes]) -> None:
        """Write it whole, and durably: what a crash leaves is no file of that name, or all of it.

        One that has these lines already stays. UsageError when there is another one.
        """

    def read(self) -> Iterator[bytes]:
        """Yield its lines."""
