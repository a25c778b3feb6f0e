"""Roots and proofs of a Merkle tree whose leaves are all at hand, as RFC 6962 defines them.

The product never has all leaves at once: it keeps the peaks of a tree that grows, and makes proofs as the leaves go by.
"""

from __future__ import annotations

from collections.abc import Sequence

from rotator.domain.merkle import GrowingTree


def make_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over these data."""
    tree = GrowingTree()
    for data in leaves:
        tree.add(data)
    return tree.make_root()


def make_inclusion_proof(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the audit path of the leaf at `index`, from 0, as RFC 6962 (2.1.1) orders it."""
    if len(leaves) == 1:
        return []
    half = _split(len(leaves))
    if index < half:
        return [*make_inclusion_proof(index, leaves[:half]), make_root(leaves[half:])]
    return [*make_inclusion_proof(index - half, leaves[half:]), make_root(leaves[:half])]


def make_consistency_proof(old_size: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the proof that the tree over all these data grew from its first `old_size` (RFC 6962, 2.1.2)."""
    return [] if old_size == 0 else _prove_growth(old_size, leaves, is_whole=True)


def _prove_growth(old_size: int, leaves: Sequence[bytes], *, is_whole: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if is_whole else [make_root(leaves)]
    half = _split(len(leaves))
    if old_size <= half:
        return [*_prove_growth(old_size, leaves[:half], is_whole=is_whole), make_root(leaves[half:])]
    return [*_prove_growth(old_size - half, leaves[half:], is_whole=False), make_root(leaves[:half])]


def _split(size: int) -> int:
    """Return the largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1
