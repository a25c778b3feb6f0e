"""Remember, for each account, when each organization last worked, and why it does not since."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial

from rotator.domain.managed_pat import Failure
from rotator.domain.organization import OrganizationMemory
from rotator.domain.sign_in import SignInMemory
from rotator.engine.context import RunContext
from rotator.engine.moments import read_clocks
from rotator.engine.waiting import keep_books
from rotator.errors import RotatorError
from rotator.ports.database import Reading, UnitOfWork

Pair = tuple[str, str]


def remember_organizations(
    run: RunContext, looked: Collection[Pair], down: Mapping[Pair, RotatorError], every: Collection[Pair] | None = None
) -> None:
    """Remember what a look saw; if that is no news, no writer waits. A wrong clock dates nothing.

    `looked` could be worked with, `down` could not: with "" for the organization, none of the account's could. `every`:
    where there is something to look for now; what is remembered of other places is forgotten.
    """
    with run.services.database.read() as reading:
        if not any(_find_changes(run, reading, looked, down, every)):
            return
    keep_books(run.services, partial(_write, run, looked, down, every))


def save_sign_in(work: UnitOfWork, memory: SignInMemory) -> None:
    """Save what is remembered of a sign-in. An organization that its refusal kept from working no longer fails by it.

    Whether it works now shows only when somebody looks at it again.
    """
    refusal = work.sign_ins.load(memory.account).refusal
    work.sign_ins.save(memory)
    if refusal is None or memory.refusal == refusal:
        return
    for found in work.organizations.load():
        if found.account == memory.account and found.failure == refusal:
            work.organizations.save(found.refused(memory.refusal))


def _write(
    run: RunContext, looked: Collection[Pair], down: Mapping[Pair, RotatorError], every: Collection[Pair] | None
) -> None:
    with run.services.database.begin() as work:
        changed, gone = _find_changes(run, work, looked, down, every)
        for memory in changed:
            work.organizations.save(memory)
        work.organizations.forget(gone)


def _find_changes(
    run: RunContext,
    reading: Reading,
    looked: Collection[Pair],
    down: Mapping[Pair, RotatorError],
    every: Collection[Pair] | None,
) -> tuple[list[OrganizationMemory], list[Pair]]:
    """Return what is to be saved, and where nothing is to be looked for any more."""
    if read_clocks(run, reading).is_wrong:
        return [], []
    now = run.services.clock.now()
    before = {(memory.account, memory.organization): memory for memory in reading.organizations.load()}
    changed = []
    for pair in _list_pairs(looked, down, every, before):
        known, error = before.get(pair, OrganizationMemory(*pair)), down.get(pair) or down.get((pair[0], ""))
        after = known.worked(now) if error is None else known.failed(Failure.of(error), now)
        changed += [after] if after != known else []
    return changed, [] if every is None else [pair for pair in before if pair not in every]


def _list_pairs(
    looked: Iterable[Pair], down: Iterable[Pair], every: Collection[Pair] | None, before: Iterable[Pair]
) -> list[Pair]:
    """Return the pairs that a look says something about: of an account that is down, all that are known."""
    out = {account for account, organization in down if not organization}
    waiting = {pair for pair in (before if every is None else every) if pair[0] in out}
    return sorted(waiting | set(looked) | {pair for pair in down if pair[1]})
