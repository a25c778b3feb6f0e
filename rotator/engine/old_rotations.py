"""Old rotations leave the journal: what each named and wrote is kept for ever, the rest is in the audit log.

A rotation is old once nothing accounts for its PATs and nothing that is asked about a span of time can need it. Moving
it changes no answer about a PAT, a secret or a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from rotator.domain.rotation import Trace
from rotator.engine.accounting import get_ids, load_keepers
from rotator.engine.clocks import check_clocks
from rotator.engine.context import RunContext
from rotator.engine.moments import find_earliest, is_witnessed
from rotator.engine.records import LATE_STORE_SPAN
from rotator.engine.waiting import keep_books
from rotator.errors import ClockSkewError, FailoverError
from rotator.ports.database import Reading

OLD_AFTER = timedelta(days=90)
"""How long after its PATs and its overlap ended a rotation stays in the journal."""
_PAGE = 200
"""How many one transaction moves: others write in between."""


def archive_rotations(run: RunContext, after: timedelta = OLD_AFTER) -> int:
    """Move what is old, by the earliest clock at hand, and return how many.

    None while the clock is wrong or nothing confirms it, or where the database's server was replaced since its records
    were compared with their secrets.
    """
    try:
        check_clocks(run, revokes=True)
    except (ClockSkewError, FailoverError):
        return 0
    moved, last = 0, ""
    while True:
        with run.services.database.read() as reading:
            page = _load_page(run, reading, after, last)
            is_any = bool(_find_old(run, reading, page))
        if is_any:
            moved += keep_books(run.services, partial(_move, run, after, last))
        if len(page) < _PAGE:
            return moved
        last = page[-1].id


def _move(run: RunContext, after: timedelta, last: str) -> int:
    """Move those of the page after that id, as they are now. Repeated, it finds none of those that it moved."""
    with run.services.database.begin() as work:
        return work.journal.archive(_find_old(run, work, _load_page(run, work, after, last)))


def _load_page(run: RunContext, reading: Reading, after: timedelta, last: str) -> tuple[Trace, ...]:
    """Load the next rotations that are over for so long; late writes are looked for even longer.

    None by the host's clock alone: where that is years ahead, what is young would look old.
    """
    if not is_witnessed(run, reading):
        return ()
    ended = find_earliest(run, reading) - after
    return reading.journal.load_past(ended - LATE_STORE_SPAN, ended, last, _PAGE)


def _find_old(run: RunContext, reading: Reading, page: Sequence[Trace]) -> list[str]:
    """Return those of whose PATs nothing accounts for one: no record, no rotation, no pending revocation."""
    ids = {found for trace in page for found in get_ids(trace)}
    keepers = load_keepers(reading, ids, find_earliest(run, reading))
    kept = {found for found in ids if keepers.find_by_id(found) or keepers.find_pending(found)}
    return [trace.id for trace in page if kept.isdisjoint(get_ids(trace))]
