"""Proofs of RFC 6962 about a tree that does not fit into memory: its leaves go by once, and what is needed is kept."""

from __future__ import annotations

from collections.abc import Iterable

from rotator.domain.merkle import EMPTY_ROOT, make_leaf, make_node

Span = tuple[int, int]
"""The leaves from one to before another, counted from 0."""


def list_inclusion_spans(index: int, size: int) -> list[Span]:
    """Return the subtrees whose roots prove that a tree of that size has the leaf, in the order of the proof."""
    spans: list[Span] = []
    first, last = 0, size
    while last - first > 1:
        middle = first + _split(last - first)
        if index < middle:
            spans.append((middle, last))
            last = middle
        else:
            spans.append((first, middle))
            first = middle
    return spans[::-1]


def list_consistency_spans(old_size: int, size: int) -> list[Span]:
    """Return the subtrees whose roots prove that a tree grew from its first `old_size` leaves, in that order."""
    if old_size in (0, size):
        return []
    spans: list[Span] = []
    first, last, is_whole = 0, size, True
    while old_size != last:
        middle = first + _split(last - first)
        if old_size <= middle:
            spans.append((middle, last))
            last = middle
        else:
            spans.append((first, middle))
            first, is_whole = middle, False
    return [*([] if is_whole else [(first, last)]), *spans[::-1]]


def cut(span: Span) -> list[Span]:
    """Return the perfect subtrees that a span consists of, from the left; for one that begins a tree its peaks."""
    first, last = span
    parts: list[Span] = []
    while first < last:
        width = 1 << (last - first).bit_length() - 1
        parts.append((first, first + width))
        first += width
    return parts


class NodeKeeper:
    """A tree that leaves are added to; it keeps the roots of the spans that were asked for before.

    `size` and `peaks` are those of the tree that it begins with: of that, nothing else is known.
    """

    def __init__(self, spans: Iterable[Span], size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self._wanted = {part for span in spans for part in cut(span)}
        begun = dict(zip(cut((0, size)), peaks, strict=True))
        self._kept = {part: node for part, node in begun.items() if part in self._wanted}
        self._peaks = [(first, node) for (first, _), node in begun.items()]
        self.size = size

    def add(self, data: bytes) -> None:
        """Add a leaf at the right."""
        first, node = self.size, make_leaf(data)
        self.size += 1
        self._keep(first, node)
        full = first
        while full & 1:
            first, left = self._peaks.pop()
            node = make_node(left, node)
            self._keep(first, node)
            full >>= 1
        self._peaks.append((first, node))

    def _keep(self, first: int, node: bytes) -> None:
        if (first, self.size) in self._wanted:
            self._kept[first, self.size] = node

    def list_peaks(self, size: int) -> list[bytes]:
        """Return the peaks of the tree of the first leaves. KeyError if nobody asked for them."""
        return [self._kept[part] for part in cut((0, size))]

    def make_root(self, span: Span) -> bytes:
        """Return the root of a span. KeyError if nobody asked for it, or its leaves have not all been added."""
        nodes = [self._kept[part] for part in cut(span)]
        if not nodes:
            return EMPTY_ROOT
        root = nodes.pop()
        while nodes:
            root = make_node(nodes.pop(), root)
        return root


def _split(size: int) -> int:
    """Return the largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1
