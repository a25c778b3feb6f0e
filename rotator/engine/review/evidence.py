"""What proves a review to somebody who has neither the database nor rotator: events, checkpoints and proofs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from rotator.domain.audit_event import AuditEvent, spell_event
from rotator.domain.checkpoint import Checkpoint
from rotator.domain.proofs import NodeKeeper, list_consistency_spans, list_inclusion_spans
from rotator.engine.review.facts import Review
from rotator.engine.review.marks import Mark
from rotator.engine.review.policies import list_policies
from rotator.engine.review.reviewing import is_of_period, load_checkpoints, load_readable
from rotator.ports.database import Database

_PAGE = 10_000


@dataclass(frozen=True)
class Evidence:
    """The events `first` to `last`, those `cited` from outside of them, and the checkpoints, from small to great.

    `peaks` are those of the tree before the first event. `inclusion` has for each event its proof in the tree of the
    greatest checkpoint, `consistency` for two sizes that the tree of the one goes on from that of the other: those of
    checkpoints, and from the last event on.
    """

    first: int
    last: int
    cited: tuple[int, ...]
    checkpoints: tuple[Checkpoint, ...]
    peaks: tuple[bytes, ...]
    inclusion: Mapping[int, list[bytes]]
    consistency: Mapping[tuple[int, int], list[bytes]]


def gather_evidence(database: Database, review: Review) -> Evidence:
    """Return what proves a review. Of a log that is not whole, what there is: then it does not fit, and that shows."""
    base = _find_base(database, review)
    archived = 0 if base is None else base.size
    first, last = max(review.findings.first or 0, archived + 1), review.findings.last or 0
    first, last = (first, last) if first <= last else (0, 0)
    outside = (number for number in _list_cited(review) if number > archived and not first <= number <= last)
    cited = tuple(sorted(set(outside)))
    kept = tuple(found for found in _choose(database, review, first, last) if found.size >= archived)
    size = kept[-1].size if kept else 0
    ends = (number for number in (first, min(last, size)) if 0 < first <= number)
    included = {number: list_inclusion_spans(number - 1, size) for number in (*cited, *ends) if number <= size}
    grown = {
        (old.size, new.size): list_consistency_spans(old.size, new.size)
        for old, new in pairwise(kept)
        if not (max(0, first - 1) <= old.size and new.size <= last)
    }
    if 0 < last < size:
        grown[last, size] = list_consistency_spans(last, size)
    before = (0, max(0, first - 1))
    spans = [span for found in (*included.values(), *grown.values()) for span in found]
    keeper = NodeKeeper([before, *spans], archived, () if base is None else map(bytes.fromhex, base.peaks))
    for digest in _load_leaves(database, max(size, before[1]), archived):
        keeper.add(digest)
    is_whole = keeper.size >= max(size, before[1])
    return Evidence(
        first=first,
        last=last,
        cited=cited,
        checkpoints=kept,
        peaks=tuple(keeper.list_peaks(before[1])) if is_whole else (),
        inclusion={number: _prove(keeper, spans) for number, spans in included.items()} if is_whole else {},
        consistency={sizes: _prove(keeper, spans) for sizes, spans in grown.items()} if is_whole else {},
    )


def _find_base(database: Database, review: Review) -> Checkpoint | None:
    """Return the checkpoint at the end of the archives of old events; None if there are none, or the log is not whole.

    What is before it can only be proven with these archives.
    """
    archived = 0 if review.log.summary is None else review.log.summary.archives.last
    if not archived:
        return None
    with database.read() as reading:
        return reading.checkpoints.load_signed(archived)


def spell_events(database: Database, first: int, last: int) -> Iterator[bytes]:
    """Yield the line that the hash of each event of a range is made of; what cannot be read is left out."""
    if not first:
        return
    for event in load_readable(database, last, after=first - 1):
        if not isinstance(event, int) and (line := _spell(event)) is not None:
            yield line


def spell_cited(database: Database, numbers: Iterable[int]) -> Iterator[bytes]:
    """Yield the line of each of these events that can be read."""
    for number in numbers:
        yield from spell_events(database, number, number)


def _spell(event: AuditEvent) -> bytes | None:
    try:
        return spell_event(event)
    except ValueError:
        return None


def _prove(keeper: NodeKeeper, spans: Iterable[tuple[int, int]]) -> list[bytes]:
    return [keeper.make_root(span) for span in spans]


def _load_leaves(database: Database, size: int, number: int) -> Iterator[bytes]:
    """Yield the hashes of the first events after a number, as they are stored; fewer if one is missing or no hash."""
    while number < size:
        with database.read() as reading:
            page = list(reading.audit.load_hashes(number, min(_PAGE, size - number)))
        for found, digest in page:
            number += 1
            try:
                leaf = bytes.fromhex(digest)
            except (TypeError, ValueError):
                return
            if found != number:
                return
            yield leaf
        if not page:
            return


def _choose(database: Database, review: Review, first: int, last: int) -> Iterator[Checkpoint]:
    """Yield the checkpoints of the period, the first of all, the one before the period's events, and the newest.

    And those after which the key was changed, as a change says what the log was there; and the newest that the review
    names, as another process may have made one since.
    """
    kept = {change.size for change in review.log.summary.changes.values()} if review.log.summary else set[int]()
    kept.add(review.log.size)
    waiting: Checkpoint | None = None
    is_first = True
    for found in load_checkpoints(database):
        if is_first or found.size in kept or is_of_period(found, review.period, review.findings):
            if waiting is not None and waiting.size < first:
                yield waiting
            yield found
            is_first, waiting = False, None
        else:
            waiting = found
    if waiting is not None:
        yield waiting


def _list_cited(review: Review) -> Iterator[int]:
    """Yield the numbers of all events that the review names."""
    found = review.findings
    for pat in review.pats:
        yield from _list_marks(pat.trail.managed, pat.trail.reach, pat.trail.rotated)
    for span in (*found.exceptions, *found.failures, *found.longest_failures, *found.without_sign_in):
        yield from _list_marks(span.begun, span.ended)
    for found_sum in (*found.exception_sums.values(), *found.failure_sums.values()):
        yield from _list_marks(found_sum.first, found_sum.last, found_sum.longest)
    for run in found.by_hand:
        yield from _list_marks(run.gone, run.made)
    for rotation in found.ordered:
        yield from _list_marks(rotation.planned, rotation.in_vault, rotation.gone)
    for left in review.left_behind:
        identifier = left.pat.authorization_id
        asked = found.asked.get(identifier)
        yield from _list_marks(found.left.get(identifier) or (asked.first if asked else None))
    for use in found.values.uses.values():
        yield from _list_marks(use.begun, use.ended)
    for outlived in (*found.values.outlived, *([found.values.longest] if found.values.longest else [])):
        cause = outlived.cause.begun if outlived.cause else None
        asked = outlived.asked.first if outlived.asked else None
        yield from _list_marks(outlived.told, asked, outlived.gone, outlived.restored, cause)
    for expired in found.values.expired:
        yield from _list_marks(expired.told, expired.replaced)
    for tally in found.revocations.values():
        yield from _list_marks(tally.slowest_proof)
    yield from _list_marks(found.began)
    events = (*found.gaps, *([found.policy_before] if found.policy_before else []))
    yield from (event.sequence for event in events)
    yield from _list_marks(*(mark for _, _, mark in list_policies(review)))
    yield from found.outside.cited


def _list_marks(*marks: Mark | None) -> Iterator[int]:
    return (mark.sequence for mark in marks if mark is not None)
