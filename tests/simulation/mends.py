"""Each mend of the product, taken out again, must break the promise in a history whose seed is known.

`python -m tests.simulation.mends` tries them all, with the mend and without it. Every change to the product or the
world gives a seed another history: where the named one shows nothing any more, one of those after it must. `--write`
looks for the seeds anew, and writes the table in README.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast
from unittest.mock import patch

from rotator.domain import policy
from rotator.domain.account import Identity
from rotator.domain.clocks import Verdict
from rotator.domain.limit import LifetimeLimit
from rotator.domain.managed_pat import ManagedPat, Pat
from rotator.domain.rotation import RotationKind, Traced
from rotator.domain.urgency import find_last_span
from rotator.engine import (
    adopting,
    losses,
    minting,
    overlapping,
    planning,
    preflight,
    proposing,
    proving,
    reconciling,
    restoring,
    retiring,
    revoking,
    run,
    storing,
    working,
)
from rotator.engine.accounting import Keepers, load_keepers
from rotator.engine.claiming import ClaimedPat, claimed
from rotator.engine.context import RunContext
from rotator.engine.listing import Listing, ServerView
from rotator.engine.proving import _doubt
from rotator.engine.working import PatWork
from rotator.errors import ClaimHeldError, PatGoneError, RejectedError, RotatorError, UnknownOutcomeError
from rotator.ports.database import Reading
from rotator.ports.pat_service import PatFilter
from rotator.ports.secret_store import SecretLocation, StoredSecret
from tests.simulation import people
from tests.simulation.crashing import Crash
from tests.simulation.simulation import simulate
from tests.support.fake_database import _MemoryInventory, _MemoryRevocations

TABLE = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- mends: begin -->\n", "<!-- mends: end -->\n"
MOST_TRIES = 2_000
_MAY_WRITE_LATE = cast(Callable[[Traced], bool], vars(Traced)["may_write_late"].fget)


@dataclass(frozen=True)
class Mend:
    """One mend: its number among the faults, what it does, and what undoes it (owner, name, replacement)."""

    number: int
    name: str
    what: str
    changes: tuple[tuple[object, str, object], ...]

    @contextmanager
    def taken_out(self) -> Iterator[None]:
        """Inside, the product is without it."""
        with ExitStack() as stack:
            for owner, attribute, replacement in self.changes:
                stack.enter_context(patch.object(owner, attribute, replacement))
            yield


def holds(seed: int) -> bool:
    """Whether the history of a seed keeps the promise."""
    sys.unraisablehook = _ignore_crashes
    try:
        simulate(seed)
    except (AssertionError, RotatorError):
        return False
    return True


def is_proven(name: str, seed: int) -> bool:
    """Whether the history of that seed keeps the promise with the mend, and breaks it without."""
    with MENDS[name].taken_out():
        is_broken = not holds(seed)
    return is_broken and holds(seed)


def find_seed(name: str, first: int = 0) -> int | None:
    """The first seed from there on that proves a mend; None when there is none among many."""
    return next((seed for seed in range(first, first + MOST_TRIES) if is_proven(name, seed)), None)


def load_seeds() -> dict[str, int]:
    """The seed of each mend, from the table."""
    text = TABLE.read_text(encoding="utf-8")
    rows = text[text.index(_BEGIN) + len(_BEGIN) : text.index(_END)].splitlines()[2:]
    cells = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows]
    return {name: int(seed) for _, name, _, seed in cells}


def save_seeds(seeds: dict[str, int]) -> None:
    """Write the table anew, with the mends that have a seed."""
    known = [mend for mend in MENDS.values() if mend.name in seeds]
    rows = [f"| {mend.number} | `{mend.name}` | {mend.what} | {seeds[mend.name]} |" for mend in known]
    table = "\n".join(["| | mend | what it does | seed |", "|---|---|---|---|", *rows])
    text = TABLE.read_text(encoding="utf-8")
    head, tail = text[: text.index(_BEGIN) + len(_BEGIN)], text[text.index(_END) :]
    TABLE.write_text(f"{head}{table}\n{tail}", encoding="utf-8")


def _ignore_crashes(unraisable: sys.UnraisableHookArgs) -> None:
    """Ignore what the unfinished generators of a dead simulated process raise when they are collected."""
    if unraisable.exc_type is not Crash:
        sys.__unraisablehook__(unraisable)


# The product as it was.


def _keep_records_only(reading: Reading, authorization_ids: Collection[str], now: datetime) -> Keepers:
    return replace(load_keepers(reading, authorization_ids, now), rotations=(), mints=())


def _believe(held: ClaimedPat, answered: Pat, organization_id: str | None) -> Pat:
    return answered


def _doubt_and_forget(
    held: ClaimedPat, identifier: str, doubt: str, granted: timedelta | None = None
) -> UnknownOutcomeError:
    return _doubt(held, identifier, doubt)


def _list_whole(view: ServerView, account: str, organization: str, identity: Identity) -> Listing:
    pats = view._run.services.pats.fetch_pats(account, organization, PatFilter.ACTIVE)
    if pats.unreadable:
        raise RejectedError(
            "an entry cannot be read", service="azure_devops", operation="fetch_pats", code="odd_answer"
        )
    return Listing(account, organization, identity, tuple(pats))


def _put_account_down(view: ServerView, account: str, organization: str, error: RotatorError) -> None:
    view._down.setdefault((account, ""), error)


def _call_gone(held: ClaimedPat, view: ServerView) -> Pat:
    raise PatGoneError("it was revoked outside rotator: the server no longer lists it as active")


def _end_the_run(this: run.Run, pat: ManagedPat, work: PatWork) -> None:
    try:
        with claimed(this.run, pat.name) as held:
            this._guarded(held, work)
    except ClaimHeldError:
        return


def _forget_at_once(context: RunContext, name: str) -> None:
    """Without a claim, and without a look at what is open when it is written."""
    with context.services.database.begin() as work:
        assert isinstance(work.inventory, _MemoryInventory)
        work.inventory._tables.pats.pop(name, None)
        work.inventory._tables.entries.pop(name, None)


def _call_no_restore_late(attempt: Traced) -> bool:
    """Nobody looks for the write of a restore that was not answered."""
    return attempt.kind is not RotationKind.RESTORE and _MAY_WRITE_LATE(attempt)


def _believe_for_ever(
    limits: Mapping[tuple[str, str], LifetimeLimit], pat: ManagedPat, now: datetime
) -> timedelta | None:
    limit = limits.get((pat.account, pat.organization))
    return None if limit is None else limit.longest


def _read_once(held: ClaimedPat, *, twice: bool = False) -> StoredSecret | None:
    return held.services.secrets.fetch_latest(held.location)


def _believe_vault(context: RunContext, location: SecretLocation, version: str) -> bool:
    return True


def _read_host_only(held: ClaimedPat) -> list[datetime]:
    return [held.services.clock.now()]


MENDS = {
    mend.name: mend
    for mend in (
        Mend(
            1,
            "adopting-beside-a-rotation",
            "nothing that a rotation accounts for is adopted",
            ((adopting, "load_keepers", _keep_records_only),),
        ),
        Mend(2, "answer-of-another-request", "a mint's answer is proven", ((minting, "prove_answer", _believe),)),
        Mend(
            3,
            "late-restore",
            "the write that puts a value back is looked for when it is late",
            ((Traced, "may_write_late", property(_call_no_restore_late)),),
        ),
        Mend(
            3,
            "restore-without-effect",
            "putting a value back is done when the vault shows it",
            ((restoring, "is_shown", _believe_vault),),
        ),
        Mend(4, "odd-entry", "an entry that cannot be read harms itself only", ((ServerView, "_list", _list_whole),)),
        Mend(
            4,
            "doubted-answer-under-a-limit",
            "what a doubted answer grants is asked for next, whatever the list hides",
            (
                (proving, "_doubt", _doubt_and_forget),
                (Listing, "ids", property(lambda listed: tuple(pat.authorization_id for pat in listed.pats))),
            ),
        ),
        Mend(
            5,
            "brake-lets-expire",
            "the brake on lost clones is bounded by the time left",
            ((losses, "bound_wait", lambda wanted, left: wanted), (losses, "is_explained", lambda rotation: False)),
        ),
        Mend(
            6,
            "short-life-near-the-end",
            "near an expiry a short life is better than none, and what was learned is doubted",
            (
                (policy, "is_near_expiry", lambda valid_from, valid_to, now: False),
                (planning, "find_longest", _believe_for_ever),
                (working, "find_longest", _believe_for_ever),
            ),
        ),
        Mend(
            7,
            "one-organization-denies",
            "an organization that lets nobody in stops its own PATs only",
            ((ServerView, "_put_down", _put_account_down),),
        ),
        Mend(
            8,
            "incomplete-listing",
            "one listing that lacks a PAT proves nothing",
            ((preflight, "check_listed", _call_gone), (reconciling, "check_listed", _call_gone)),
        ),
        Mend(
            9,
            "database-fault-of-one",
            "a fault of the database harms one PAT",
            ((run.Run, "_isolate", _end_the_run),),
        ),
        Mend(
            10,
            "revocation-without-effect",
            "a revocation is looked for until it is proven",
            ((_MemoryRevocations, "save", lambda revocations, pending, claim: None),),
        ),
        Mend(
            11,
            "clock-guard",
            "a wrong clock mints and revokes nothing",
            ((Verdict, "is_wrong", property(lambda verdict: False)), (overlapping, "list_moments", _read_host_only)),
        ),
        Mend(
            12,
            "mint-of-a-lost-database",
            "a mint that only a lost database knew is recognised by the vault",
            tuple((module, "enter_unknown", lambda held, versions, pats: None) for module in (preflight, working)),
        ),
        Mend(
            13,
            "forgetting-beside-a-run",
            "forgetting needs the claim, and what is open without a record is closed",
            ((people, "forget", _forget_at_once), (run, "close_forgotten", lambda context: ())),
        ),
        Mend(
            14,
            "any-secret-written-over",
            "the first rotation writes over nothing that no person gave up",
            (
                (proposing, "refuse_sight", lambda pat, sight, choice: None),
                (preflight, "check_history", lambda context, pat, newest: None),
            ),
        ),
        Mend(
            14,
            "copied-tags",
            "what has our tags is compared with what we wrote",
            tuple((module, "is_forged", lambda *_: False) for module in (overlapping, retiring, revoking)),
        ),
        Mend(
            15,
            "namesakes",
            "of two PATs of one name none is adopted without a choice",
            ((proposing, "_find_contested", lambda covered: {}),),
        ),
        Mend(
            16,
            "stale-reads",
            "a rotation is frozen only when somebody else's version is seen above ours",
            ((overlapping, "fetch_served", _read_once), (retiring, "fetch_served", _read_once)),
        ),
        Mend(
            16,
            "store-without-effect",
            "a write that has no effect is no sight of another writer",
            ((storing, "is_shown", _believe_vault),),
        ),
        Mend(
            19,
            "window-eats-the-overlap",
            "a window holds nothing back once the overlap would not fit before the expiry",
            ((policy, "find_last_call", lambda pat, rule: pat.valid_to - find_last_span(pat.lifetime)),),
        ),
    )
}


def main() -> int:
    """Try every mend; the exit code is 1 if one is not proven by its seed, or with `--write` by no seed at all."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mends")
    parser.add_argument("--write", action="store_true", help="look for the seeds anew, and write mends.txt")
    parser.add_argument("names", nargs="*", help="only these")
    options = parser.parse_args()
    names = options.names or list(MENDS)
    found: dict[str, int | None]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        if options.write:
            found = {}
            for name, seed in zip(names, pool.map(find_seed, names), strict=True):
                found[name] = seed
                print(f"{name}: {seed}", flush=True)
            seeds = load_seeds() | {name: seed for name, seed in found.items() if seed is not None}
            save_seeds(seeds)
            return int(None in found.values())
        seeds = load_seeds()
        found = dict(zip(names, pool.map(find_seed, names, [seeds[name] for name in names]), strict=True))
    for name, seed in found.items():
        print(f"{name}, seed {seeds[name]}: {'NOT PROVEN' if seed is None else f'broken without it in {seed}'}")
    return int(None in found.values())


if __name__ == "__main__":
    sys.exit(main())
