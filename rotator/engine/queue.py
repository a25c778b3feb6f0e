"""The queue: each record is entered with the moment at which a run next has work to do on it.

A claim makes its record due, and every change of a record, its rotation or its pending revocations needs one: so no
change is missed, whoever dies. Who gives the claim back enters the moment anew, in the same transaction. What a new
policy, other settings or a learned limit have made stale is computed anew by the next run, some hundred records at a
time. An early moment does no harm: the run that looks finds nothing to do, and enters the next one.

Where daemons share a database, the oldest one does that. The others leave what is stale for them as it is, and look by
their own policy at what it is about: so with different policies nothing is computed in turns, and nothing waits. So do
users whose runs share a database without a daemon: who entered something lately by another policy keeps the queue, for
a day, unless this user's own file was changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from rotator.domain.clocks import MOST_SKEW
from rotator.domain.job_run import find_colleagues
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.next_step import LONG_AGO, Due, Limits, Matter, find_due, is_due
from rotator.domain.pending_revocation import group_pending
from rotator.domain.policy import Policy
from rotator.engine.auditing import load_tellers
from rotator.engine.context import RunContext
from rotator.engine.in_force import put_in_force
from rotator.engine.isolating import naming_bugs
from rotator.engine.waiting import keep_books
from rotator.errors import InternalError
from rotator.ports.database import Reading, UnitOfWork
from rotator.ports.queue import Basis, Entry

Found = TypeVar("Found")

BATCH = 200
"""How many records one transaction computes anew."""
_ALL = 2**31 - 1
_KEPT_FOR = timedelta(days=1)
"""For so long after a run of another policy entered something, others leave the queue as it is."""


@dataclass(frozen=True)
class Terms:
    """By what a run decides: the policy in force and the limits.

    It looks at the records `stale` whatever the queue says: another daemon, maybe of another policy, enters them.
    """

    policy: Policy
    limits: Limits
    stale: tuple[str, ...] = ()


def load_due(run: RunContext) -> tuple[Matter, ...]:
    """Return what there is to do now, those that expire first first; no other record is read.

    First what is stale is computed anew. What turns out not to be due is entered with its next moment.
    """

    def load(reading: Reading, terms: Terms) -> tuple[tuple[Matter, ...], Terms, bool]:
        pats = reading.queue.load_due(run.services.clock.now())
        known = {pat.name for pat in pats}
        pats += tuple(pat for pat in reading.inventory.load_named(terms.stale) if pat.name not in known)
        basis = _make_basis(replace(run, policy=terms.policy), terms.limits)
        return load_matters(reading, pats), terms, bool(pats) and _is_kept_by_another(reading, run, basis)

    matters, terms, is_left = read_fresh(run, load)
    run = replace(run, policy=terms.policy)
    early = {matter.pat.name for matter in matters if not _is_due(run, matter, terms.limits)}
    if early:
        early -= _find_interrupted(run, early)
    due = tuple(matter for matter in matters if matter.pat.name not in early)
    if early and not is_left:
        keep_books(run.services, partial(_enter_free, run, early))
    return tuple(sorted(due, key=lambda matter: (matter.pat.valid_to, matter.pat.name))) if terms.stale else due


def _find_interrupted(run: RunContext, names: Collection[str]) -> frozenset[str]:
    """Return those of these names whose work ended in the middle: claimed, not given back, and nobody's any more.

    What was sent then is looked at without a wait, as nobody saw yet whether it took effect.
    """
    with run.services.database.read() as reading:
        claimed = {claim.name for claim in reading.claims.load_all()}.intersection(names)
        held = reading.claims.find_held(claimed, now=reading.now(), span=run.services.timing.lease)
    return frozenset(claimed - held)


def leave_held(run: RunContext, matters: tuple[Matter, ...]) -> tuple[Matter, ...]:
    """Leave out what another run is working on: that one enters what comes next."""
    if not matters:
        return ()
    names, span = [matter.pat.name for matter in matters], run.services.timing.lease
    with run.services.database.read() as reading:
        held = reading.claims.find_held(names, now=reading.now(), span=span)
    return tuple(matter for matter in matters if matter.pat.name not in held)


def read_fresh(run: RunContext, load: Callable[[Reading, Terms], Found]) -> Found:
    """Return what `load` finds once nothing is stale, in the same transaction, by the policy in force and the limits.

    What is stale is computed anew, in transactions of bounded size, unless another daemon does it. Who has claimed a
    record enters it himself.
    """

    def try_load(*, is_last: bool) -> tuple[tuple[str, ...], tuple[Found, ...]]:
        with run.services.database.read() as reading:
            in_force, limits = _put_in_force(reading, run), reading.limits.load()
            basis = _make_basis(in_force, limits)
            names, terms = reading.queue.find_stale(basis, BATCH), Terms(in_force.policy, limits)
            if names and _is_kept_by_another(reading, run, basis):
                return (), (load(reading, replace(terms, stale=reading.queue.find_stale(basis, _ALL))),)
            return names, (load(reading, terms),) if is_last or not names else ()

    is_last = False
    while True:
        names, found = keep_books(run.services, partial(try_load, is_last=is_last))
        if found:
            return found[0]
        # Where others are at work on all of these, they are left for the next run.
        is_last = not keep_books(run.services, partial(_enter_free, run, names))


def enter(work: UnitOfWork, run: RunContext, pats: Iterable[ManagedPat]) -> int:
    """Enter these records, which nobody else can have claimed, with their next moments. Return how many.

    By one look at the clock, which the entry names: a clock that is set meanwhile leaves no moment of another time.
    """
    run, limits, now = _put_in_force(work, run), work.limits.load(), run.services.clock.now()
    basis, matters = _make_basis(run, limits), load_matters(work, pats)
    for matter in matters:
        due = _find_due(run, matter, limits, now)
        work.queue.save(matter.pat.name, Entry(due.at, basis.limited if due.by_limit else basis.plain, now))
    return len(matters)


def load_matters(reading: Reading, pats: Iterable[ManagedPat]) -> tuple[Matter, ...]:
    """Load what decides about these records."""
    pats = tuple(pats)
    names = [pat.name for pat in pats]
    rotations = {rotation.name: rotation for rotation in reading.journal.load_open_for(names)}
    pending = group_pending(reading.revocations.load_for(names))
    return tuple(
        Matter(pat, rotations.get(pat.name), tuple(p for p in pending.get(pat.name, ()) if p.belongs_to(pat)))
        for pat in pats
    )


def make_basis(policy: Policy, settle: timedelta, limits: Limits, now: datetime) -> Basis:
    """Return what entries are computed by now."""
    written = _digest(repr((replace(policy, is_paused=False), settle)))
    plain = f"{written}{policy.is_paused:d}"
    limited = _digest(repr(sorted((pair, limit.longest, limit.learned_at) for pair, limit in limits.items())))
    return Basis(plain, plain + limited, now + MOST_SKEW, written)


def _make_basis(run: RunContext, limits: Limits) -> Basis:
    return make_basis(run.policy, run.services.timing.settle, limits, run.services.clock.now())


def _put_in_force(reading: Reading, run: RunContext) -> RunContext:
    return replace(run, policy=put_in_force(reading, run.policy))


def _is_kept_by_another(reading: Reading, run: RunContext, basis: Basis) -> bool:
    """Whether another daemon is the oldest of those that live or, without daemons, another user's runs keep it."""
    colleagues = find_colleagues(reading.job_runs.load_heartbeats(), reading.now())
    if colleagues:
        return run.pulse is None or colleagues[0].holder != run.pulse.holder
    return run.pulse is None and _is_kept_by_other_runs(reading, run, basis)


def _is_kept_by_other_runs(reading: Reading, run: RunContext, basis: Basis) -> bool:
    newest = reading.queue.find_newest_other(basis.policy)
    if newest is None or not basis.horizon - _KEPT_FOR < newest <= basis.horizon:
        return False
    tellers = load_tellers(reading)
    told = tellers.pop(run.actor, None)
    return bool(tellers) and (told is None or told < newest)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _enter_free(run: RunContext, names: Collection[str]) -> int:
    with run.services.database.begin() as work:
        return enter(work, run, work.queue.load_free(names))


def _is_due(run: RunContext, matter: Matter, limits: Limits) -> bool:
    """Whether there is something to do; if a bug of ours keeps us from telling, that PAT's work will meet it again."""
    try:
        with naming_bugs():
            return is_due(matter, run.policy, limits, run.services.clock.now(), run.services.timing.settle)
    except InternalError:
        return True


def _find_due(run: RunContext, matter: Matter, limits: Limits, now: datetime) -> Due:
    try:
        with naming_bugs():
            return find_due(matter, run.policy, limits, now, run.services.timing.settle)
    except InternalError:
        return Due(LONG_AGO)
