"""The newest of many, and the greatest: what a list of a review keeps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappush, heappushpop
from typing import Generic, TypeVar

MOST_ROWS = 500
"""How many rows a list keeps, so that a review of any log fits into memory and onto a page: the newest."""

T = TypeVar("T")


class Newest(Generic[T]):
    """The newest of many, and how many there were."""

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._kept: deque[T] = deque(maxlen=most)
        self.total = 0

    def add(self, item: T) -> None:
        """Add one that is newer than all before."""
        self._kept.append(item)
        self.total += 1

    def __iter__(self) -> Iterator[T]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


class Greatest(Generic[T]):
    """The greatest of many by a number; of equal ones the first."""

    def __init__(self, most: int) -> None:
        self._most, self._kept, self._seen = most, list[tuple[float, int, T]](), 0

    def add(self, item: T, size: float) -> None:
        """Add one of a size."""
        self._seen += 1
        entry = size, -self._seen, item
        if len(self._kept) < self._most:
            heappush(self._kept, entry)
        else:
            heappushpop(self._kept, entry)

    def __iter__(self) -> Iterator[T]:
        return (item for *_, item in sorted(self._kept, key=lambda entry: entry[:2], reverse=True))
