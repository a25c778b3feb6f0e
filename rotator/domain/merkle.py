"""The Merkle tree of RFC 6962 over the hashes of the audit log: one root covers every event and their order.

A tree that only grows is known by its peaks: the roots of the largest perfect trees that it is made of, from the left.
Their number is the number of ones in its size, so a tree of a million leaves is kept in a few lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256().digest()


def make_leaf(data: bytes) -> bytes:
    """Return the hash of one leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def make_node(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class GrowingTree:
    """A tree that leaves are added to, kept as its peaks."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if len(self.peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks, not {len(self.peaks)}")

    def add(self, data: bytes) -> None:
        """Add a leaf at the right."""
        sha256 = hashlib.sha256
        node, peaks, full = sha256(b"\x00" + data).digest(), self.peaks, self.size
        while full & 1:
            node = sha256(b"\x01" + peaks.pop() + node).digest()
            full >>= 1
        peaks.append(node)
        self.size += 1

    def make_root(self) -> bytes:
        """Return the root."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in self.peaks[-2::-1]:
            root = make_node(peak, root)
        return root


def is_included(data: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a proof shows that these data are the leaf at `index` of the tree of that size and root."""
    if not 0 <= index < size:
        return False
    node, last = make_leaf(data), size - 1
    for other in proof:
        if not last:
            return False
        if index & 1 or index == last:
            node = make_node(other, node)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            node = make_node(node, other)
        index, last = index >> 1, last >> 1
    return not last and node == root


def is_consistent(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that the tree of `size` and `root` has the older one as its beginning."""
    if old_size == 0 or old_size == size:
        return not proof and (old_root == EMPTY_ROOT if old_size == 0 else old_root == root)
    if not 0 < old_size < size:
        return False
    path = [old_root, *proof] if old_size.bit_count() == 1 else list(proof)
    if not path:
        return False
    index, last = old_size - 1, size - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    old = new = path[0]
    for other in path[1:]:
        if not last:
            return False
        if index & 1 or index == last:
            old, new = make_node(other, old), make_node(other, new)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            new = make_node(new, other)
        index, last = index >> 1, last >> 1
    return not last and old == old_root and new == root
