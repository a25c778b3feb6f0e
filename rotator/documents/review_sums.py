"""Sums of a review, in the document of `rotator audit report`: they count what its lists leave out, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import TypeVar

from rotator.documents.document import write_moment, write_moment_or_none
from rotator.documents.review_parts import FatesDocument, ProofDocument, SpanSumDocument, TallyDocument
from rotator.engine.review.facts import Fate
from rotator.engine.review.marks import Mark, SpanSum, Tally

Key = TypeVar("Key", str, tuple[str, str])


def make_sums(sums: Iterable[SpanSum]) -> list[SpanSumDocument]:
    """Give sums, those that lasted longest first."""
    return [
        {
            "kind": found.kind,
            "code": found.code,
            "count": found.count,
            "first": prove(found.first),
            "last": prove(found.last),
            "seconds": count_seconds(found.total),
            "unmeasured": found.unmeasured,
            "longest": prove(found.longest),
            "longest_seconds": count_seconds(found.most),
        }
        for found in sorted(sums, key=lambda found: (-found.total, found.kind, found.code or ""))
    ]


def sort_tallies(tallies: Mapping[Key, Tally]) -> list[tuple[Key, Tally]]:
    """Return tallies by their keys, in order."""
    return sorted(tallies.items(), key=lambda item: item[0])


def make_tally(name: str, tally: Tally, subject: str | None = None) -> TallyDocument:
    """Give a tally."""
    return {
        "name": name,
        "subject": subject,
        "count": tally.count,
        "first": prove(tally.first),
        "last": prove(tally.last),
    }


def make_fates(fates: Collection[Fate]) -> FatesDocument:
    """Count rotations by what became of them."""
    counts = Counter(fates)
    return {
        "begun": len(fates),
        "completed": counts[Fate.COMPLETED],
        "abandoned": counts[Fate.ABANDONED],
        "undone": counts[Fate.UNDONE],
        "open": counts[Fate.OPEN],
    }


def count_seconds(span: timedelta) -> int:
    """Return whole seconds; 0 for a span below 0."""
    return max(0, span // timedelta(seconds=1))


def prove(mark: Mark) -> ProofDocument:
    """Give the event that proves something."""
    return {
        "event": mark.sequence,
        "at": write_moment(mark.at),
        "placed": write_moment_or_none(mark.placed),
        "guessed": mark.is_guessed,
    }


def prove_or_none(mark: Mark | None) -> ProofDocument | None:
    """Give the event that proves something, if one does."""
    return None if mark is None else prove(mark)
