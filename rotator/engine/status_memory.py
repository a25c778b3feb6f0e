"""How every PAT stands, kept in memory for the monitoring: read whole once, and then only what may have changed.

A record changes with an event about it, by a look at the server, by a probe, or because a moment has come. Policy,
pause, learned limits and refused sign-ins change many rows at once; they are few, and are read each time: if one
differs, everything is read again. What `rotator once` saw untracked, beside a daemon, shows after the daemon's own next
look.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from rotator.domain.events.catalogue import CATALOGUE
from rotator.domain.events.event import SubjectKind
from rotator.domain.job_run import JobName
from rotator.domain.measurements import PatFigures
from rotator.domain.next_step import BY_HAND
from rotator.domain.policy import Policy
from rotator.domain.urgency import find_last_span
from rotator.engine.in_force import put_in_force
from rotator.engine.status import (
    NeededSignIn,
    PatState,
    PatStatus,
    arrange,
    find_at_work,
    list_managed,
    list_untracked,
    load_needed,
)
from rotator.engine.subjects import name_vault_at
from rotator.errors import AuditChainError
from rotator.ports.database import Reading

_MOST_NEWS = 500
"""After more events than that everything is read again: that costs no more."""
_LOOKS = (JobName.RECONCILE, JobName.PROBE)
"""The jobs that change records, or what is known of them, without an event of each."""


@dataclass(frozen=True)
class Places:
    """Where there are managed PATs: accounts with their organizations, and vaults as subjects."""

    pairs: frozenset[tuple[str, str]]
    vaults: frozenset[str]


@dataclass(frozen=True)
class Board:
    """The rows of `status`, and of each name whether its value worked at the last probe. The same object: no news."""

    rows: tuple[PatStatus, ...] = ()
    works: Mapping[str, bool] = field(default_factory=dict)

    @cached_property
    def figures(self) -> tuple[PatFigures, ...]:
        """The managed ones as figures for monitoring, by name."""
        return tuple(sorted((self._measure(row) for row in self._managed), key=lambda pat: pat.name))

    @cached_property
    def places(self) -> Places:
        """Where the managed ones are."""
        vaults = {row.vault for row in self._managed if row.vault is not None}
        pairs = frozenset((row.account, row.organization) for row in self._managed)
        return Places(pairs, frozenset(map(name_vault_at, vaults)))

    @cached_property
    def _managed(self) -> tuple[PatStatus, ...]:
        return tuple(row for row in self.rows if row.state is not PatState.UNTRACKED)

    def _measure(self, row: PatStatus) -> PatFigures:
        return PatFigures(
            row.name,
            row.account,
            row.organization,
            row.state.value,
            row.expires_at if row.authorization_id else None,
            row.rotate_after,
            self.works.get(row.name),
            row.record_id,
        )


@dataclass(frozen=True)
class _Basis:
    """What every row depends on; `looks` is when the jobs that look last began and ended.

    `limits` are the longest lifetimes, and how much they count now. Each mint may date them anew: that changes no row.
    """

    policy: Policy
    limits: Mapping[tuple[str, str], tuple[timedelta, bool, bool]]
    needed: Mapping[str, NeededSignIn]
    looks: tuple[tuple[datetime, datetime | None] | None, ...]
    spans: tuple[timedelta, timedelta]


class StatusMemory:
    """Returns what `status_in` does, and reads what may have changed since the last time. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._basis: _Basis | None = None
        self._newest = 0
        self._looked_at: datetime | None = None
        self._turns_at: datetime | None = None
        self._board = Board()
        self._managed: dict[str, PatStatus] = {}
        self._untracked: list[PatStatus] = []
        self._at_work: dict[str, tuple[str, ...]] = {}

    def look(self, reading: Reading, policy: Policy, now: datetime, *, settle: timedelta, lease: timedelta) -> Board:
        """Look at every PAT; `settle` and `lease` as for `status_in`."""
        with self._lock:
            basis = _make_basis(reading, policy, now, (settle, lease))
            names = self._find_changed(reading, basis, now)
            newest = reading.audit.load_newest_number()
            if names is None or names:
                self._basis = None  # after a look that fails half-way the next one reads everything
                self._read(reading, basis, names, now)
            self._newest, self._basis, self._looked_at = newest, basis, now
            return self._board

    def _find_changed(self, reading: Reading, basis: _Basis, now: datetime) -> set[str] | None:
        """Name the ManagedPats that are to be read again; None: all of them, and what nobody manages."""
        if self._basis != basis or self._looked_at is None or now < self._looked_at:
            return None
        names = _load_news(reading, self._newest)
        if names is None:
            return None
        names.update(row.name for row in self._list_restless(now))
        return names

    def _list_restless(self, now: datetime) -> Iterator[PatStatus]:
        """Yield the rows that time may have changed: those at work or due now, and those of which a moment has come."""
        since = self._looked_at or now
        if self._turns_at is None or now < self._turns_at:
            return
        for row in self._board.rows:
            if _is_restless(row, now) or any(since < moment <= now for moment in _list_moments(row)):
                yield row

    def _read(self, reading: Reading, basis: _Basis, names: set[str] | None, now: datetime) -> None:
        """Read these ManagedPats again, or everything, and show them as they are now."""
        journal, (settle, lease) = reading.journal, basis.spans
        if names is None:
            pats, rotations, pending = reading.inventory.load_all(), journal.load_open(), reading.revocations.load()
            self._managed, self._at_work, works = {}, {}, dict(reading.probes.load_results())
            self._untracked = list_untracked(reading, now)
        else:
            pats, rotations = reading.inventory.load_named(names), journal.load_open_for(names)
            pending = reading.revocations.load_for(names)
            works = {name: works for name, works in self._board.works.items() if name not in names}
            works |= reading.probes.load_results(names)
            for name in names:
                self._managed.pop(name, None)
                self._at_work.pop(name, None)
        fresh = list_managed(reading, basis.policy, pats, rotations, pending, now, settle=settle, lease=lease)
        self._managed |= {row.name: row for row in fresh}
        self._at_work |= find_at_work(reading, rotations, now)
        at_work = (found for ids in self._at_work.values() for found in ids)
        self._show(Board(arrange(self._managed.values(), self._untracked, at_work), works), now)

    def _show(self, board: Board, now: datetime) -> None:
        """Remember the board, and when time may next change a row of it: at once where one is at work or due."""
        self._board = board
        moments = (moment for row in board.rows for moment in _list_moments(row) if moment > now)
        is_restless = any(_is_restless(row, now) for row in board.rows)
        self._turns_at = now if is_restless else min(moments, default=None)


def _make_basis(reading: Reading, policy: Policy, now: datetime, spans: tuple[timedelta, timedelta]) -> _Basis:
    last = (reading.job_runs.find_last(job, reading.now()) for job in _LOOKS)
    looks = tuple(None if run is None else (run.began_at, run.ended_at) for run in last)
    limits = {
        pair: (limit.longest, limit.is_believed(now), now < limit.list_turns()[0])
        for pair, limit in reading.limits.load().items()
    }
    return _Basis(put_in_force(reading, policy), limits, load_needed(reading), looks, spans)


def _load_news(reading: Reading, after: int) -> set[str] | None:
    """Name the ManagedPats that events are about since that number.

    None where one is about a PAT by its id, where there are very many or fewer than there were, and where the log was
    altered.
    """
    if reading.audit.load_newest_number() < after:
        return None
    try:
        entries = [found.entry for found in reading.audit.load_after(after, _MOST_NEWS + 1)]
    except AuditChainError:
        return None
    kinds = {entry.event: CATALOGUE[entry.event].type.subject for entry in entries if entry.event in CATALOGUE}
    if len(entries) > _MOST_NEWS or SubjectKind.PAT in kinds.values():
        return None
    return {entry.subject for entry in entries if kinds.get(entry.event) is SubjectKind.MANAGED_PAT}


def _is_restless(row: PatStatus, now: datetime) -> bool:
    """Whether it may change though no event tells it, and at no moment that the row tells.

    Work on it is due, its first PAT is being made, a run is at work on it (its claim may end, which no event tells), or
    a pause holds an old PAT that expires meanwhile.
    """
    if row.state is PatState.UNTRACKED or row.next_action in BY_HAND:
        return False
    is_held = row.at_work is not None or (row.next_at is None and row.revoke_after is not None)
    return not row.authorization_id or is_held or (row.next_at is not None and row.next_at <= now)


def _list_moments(row: PatStatus) -> Iterable[datetime]:
    """Return the moments at which it stands differently, though nothing happens."""
    near = row.expires_at - find_last_span(row.expires_at - row.valid_from)
    found = (row.next_at, row.rotate_after, row.revoke_after, row.expires_at, near)
    return () if row.state is PatState.UNTRACKED else tuple(moment for moment in found if moment is not None)
