"""The Merkle tree, against a library that implements RFC 6962 too, and by what may not be proven."""

from __future__ import annotations

import hashlib

import pytest
from pymerkle import InmemoryTree

from rotator.domain.merkle import (
    EMPTY_ROOT,
    GrowingTree,
    is_consistent,
    is_included,
    make_leaf,
    make_node,
)
from tests.support.whole_tree import make_consistency_proof, make_inclusion_proof, make_root

SIZES = [*range(1, 12), 16, 17, 31, 33]
LEAVES = [hashlib.sha256(f"event {number}".encode()).digest() for number in range(40)]


def make_oracle(size: int) -> InmemoryTree:
    """The library's tree over the first leaves."""
    tree = InmemoryTree(algorithm="sha256")
    for data in LEAVES[:size]:
        tree.append_entry(data)
    return tree


def test_roots_are_those_of_the_library_when_the_tree_grows() -> None:
    tree, oracle = GrowingTree(), make_oracle(0)
    assert tree.make_root() == EMPTY_ROOT == hashlib.sha256().digest()
    for size, data in enumerate(LEAVES, start=1):
        tree.add(data)
        oracle.append_entry(data)
        assert tree.make_root() == oracle.get_root(size) == make_root(LEAVES[:size])


def test_tree_goes_on_when_only_its_size_and_peaks_were_kept() -> None:
    tree = GrowingTree()
    for data in LEAVES:
        tree = GrowingTree(tree.size, list(tree.peaks))
        assert len(tree.peaks) == tree.size.bit_count()
        tree.add(data)
    assert tree.make_root() == make_root(LEAVES)


@pytest.mark.parametrize(("size", "peaks"), [(0, 1), (1, 0), (3, 1), (4, 2)])
def test_tree_is_refused_when_size_and_peaks_do_not_belong_together(size: int, peaks: int) -> None:
    with pytest.raises(ValueError, match="peaks"):
        GrowingTree(size, [EMPTY_ROOT] * peaks)


def test_leaf_is_no_node_when_it_holds_what_a_node_is_made_of() -> None:
    left, right = LEAVES[:2]
    assert make_leaf(left + right) != make_node(left, right)


@pytest.mark.parametrize("size", SIZES)
def test_inclusion_is_proven_for_each_leaf_and_for_no_other_place(size: int) -> None:
    oracle, root = make_oracle(size), make_root(LEAVES[:size])
    for index in range(size):
        proof = make_inclusion_proof(index, LEAVES[:size])
        assert [make_leaf(LEAVES[index]), *proof] == [bytes.fromhex(n) for n in _list_path(oracle, index, size)]
        assert is_included(LEAVES[index], index, size, proof, root)
        assert not is_included(LEAVES[index] + b"x", index, size, proof, root)
        assert not is_included(LEAVES[index], index, size, [*proof, EMPTY_ROOT], root)
        assert not is_included(LEAVES[index], index, size, proof, EMPTY_ROOT)
        if size > 1:
            assert not is_included(LEAVES[index], (index + 1) % size, size, proof, root)
            assert not is_included(LEAVES[index], index, size, proof[:-1], root)
    assert not is_included(LEAVES[0], size, size, [], root)
    assert not is_included(LEAVES[0], -1, size, [], root)


def _list_path(oracle: InmemoryTree, index: int, size: int) -> list[str]:
    path: list[str] = oracle.prove_inclusion(index + 1, size).serialize()["path"]
    return path


@pytest.mark.parametrize("size", SIZES)
def test_consistency_is_proven_for_each_older_tree_and_for_no_other(size: int) -> None:
    root = make_root(LEAVES[:size])
    for old in range(size + 1):
        old_root, proof = make_root(LEAVES[:old]), make_consistency_proof(old, LEAVES[:size])
        assert is_consistent(old, old_root, size, root, proof)
        assert not is_consistent(old, make_leaf(b"other"), size, root, proof)
        assert not is_consistent(old, old_root, size, root, [*proof, EMPTY_ROOT])
        if old:
            assert not is_consistent(old, old_root, size, make_leaf(b"other"), proof)
        if proof:
            assert not is_consistent(old, old_root, size, root, proof[:-1])
            assert not is_consistent(old, old_root, size, root, [])
    assert not is_consistent(size + 1, root, size, root, [])


def test_consistency_is_refused_when_the_log_was_rewritten_before_its_old_end() -> None:
    forged = [*LEAVES[:3], b"forged", *LEAVES[4:9]]
    for old in range(5, 9):
        proof = make_consistency_proof(old, forged)
        assert not is_consistent(old, make_root(LEAVES[:old]), 9, make_root(forged), proof)
