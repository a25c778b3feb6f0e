"""Proofs made while the leaves go by are those that the whole tree gives."""

from __future__ import annotations

import hashlib

import pytest

from rotator.domain.merkle import GrowingTree
from rotator.domain.proofs import NodeKeeper, list_consistency_spans, list_inclusion_spans
from tests.support.whole_tree import make_consistency_proof, make_inclusion_proof, make_root

LEAVES = [hashlib.sha256(bytes([number])).digest() for number in range(70)]


def _keep(spans: list[tuple[int, int]], size: int) -> NodeKeeper:
    keeper = NodeKeeper(spans)
    for leaf in LEAVES[:size]:
        keeper.add(leaf)
    return keeper


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 9, 31, 32, 33, 64, 65, 70])
def test_proofs_are_those_of_the_whole_tree(size: int) -> None:
    for index in range(size):
        spans = list_inclusion_spans(index, size)
        keeper = _keep(spans, size)
        assert [keeper.make_root(span) for span in spans] == make_inclusion_proof(index, LEAVES[:size])
    for old_size in range(size + 1):
        spans = list_consistency_spans(old_size, size)
        keeper = _keep(spans, size)
        assert [keeper.make_root(span) for span in spans] == make_consistency_proof(old_size, LEAVES[:size])


@pytest.mark.parametrize("size", range(71))
def test_peaks_and_root_are_those_of_a_growing_tree(size: int) -> None:
    tree = GrowingTree()
    for leaf in LEAVES[:size]:
        tree.add(leaf)
    keeper = _keep([(0, size)], len(LEAVES))
    assert keeper.list_peaks(size) == tree.peaks
    assert keeper.make_root((0, size)) == make_root(LEAVES[:size])


def test_what_nobody_asked_for_is_not_kept() -> None:
    keeper = _keep([(0, 4)], 70)
    with pytest.raises(KeyError):
        keeper.make_root((4, 8))


@pytest.mark.parametrize("begun", [1, 2, 3, 7, 8, 20, 33, 64, 69])
def test_proofs_of_later_leaves_need_only_the_peaks_of_a_tree_that_was_begun(begun: int) -> None:
    """As of a log whose older events are in an archive."""
    peaks = _keep([(0, begun)], begun).list_peaks(begun)

    def go_on(spans: list[tuple[int, int]], size: int) -> list[bytes]:
        keeper = NodeKeeper(spans, begun, peaks)
        for leaf in LEAVES[begun:size]:
            keeper.add(leaf)
        return [keeper.make_root(span) for span in spans]

    for size in range(begun + 1, len(LEAVES) + 1):
        for index in range(begun, size):
            spans = list_inclusion_spans(index, size)
            assert go_on(spans, size) == make_inclusion_proof(index, LEAVES[:size])
        for old_size in range(begun, size):
            spans = list_consistency_spans(old_size, size)
            assert go_on(spans, size) == make_consistency_proof(old_size, LEAVES[:size])
        assert go_on([(0, size)], size) == [make_root(LEAVES[:size])]
