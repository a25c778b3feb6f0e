"""`python -m tests.simulation --runs N [--seed S] [--everywhere]`: many histories; a failing one prints its seed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import repeat

from tests.simulation.crashing import Crash
from tests.simulation.simulation import crash_everywhere, simulate

_SHARE = 50


def ignore_crashes_in_finalizers(unraisable: sys.UnraisableHookArgs) -> None:
    """Ignore a Crash that comes from the unfinished generators of a dead simulated process when they are collected."""
    if unraisable.exc_type is not Crash:
        sys.__unraisablehook__(unraisable)


def prepare_process() -> None:
    """What each process of the pool begins with."""
    sys.unraisablehook = ignore_crashes_in_finalizers


def live(seeds: range) -> tuple[Counter[str], dict[int, str]]:
    """Run the histories of some seeds; return what happened in them, and for those that broke the promise, how."""
    totals: Counter[str] = Counter()
    broken: dict[int, str] = {}
    for seed in seeds:
        try:
            history = simulate(seed)
        except Exception as error:
            broken[seed] = repr(error)
            continue
        totals.update(runs=1, crashes=history.crashes, faults=history.faults, thaws=history.thaws, stops=history.stops)
        totals.update(
            adoptions=history.adoptions, takeovers=history.takeovers, commands=history.commands, outages=history.outages
        )
        totals.update(creations=history.creations, updates=history.updates)
        totals.update(
            slow=history.slow,
            short_lives=history.short_lives,
            wrong_clocks=history.wrong_clocks,
            daemons=history.daemons,
        )
        totals.update(
            restores=history.restores,
            late_restores=history.late_restores,
            rebuilds=history.rebuilds,
            transient_breaks=history.breaks,
        )
        totals.update(
            database_faults=history.database_faults,
            ignored_revocations=history.ignored_revocations,
            ignored_stores=history.ignored_stores,
            calendars=history.calendars,
            pauses=history.pauses,
            old_rotations=history.old_rotations,
            whims=history.whims,
        )
    return totals, broken


def main() -> int:
    """Run the histories of consecutive seeds; the exit code is 1 if one of them broke the promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed; repeat a history with --runs 1 --seed N")
    parser.add_argument(
        "--everywhere",
        action="store_true",
        help="also each crash of a rotation, create, update that leaves another world",
    )
    options = parser.parse_args()
    began, jobs = time.monotonic(), os.cpu_count() or 1
    totals: Counter[str] = Counter()
    broken: dict[int, str] = {}
    end = options.seed + options.runs
    with ProcessPoolExecutor(jobs, initializer=prepare_process) as pool:
        shares = [range(first, min(first + _SHARE, end)) for first in range(options.seed, end, _SHARE)]
        for number, (found, failed) in enumerate(pool.map(live, shares), start=1):
            totals.update(found)
            if sys.stderr.isatty():
                print(f"\r{number * 100 // len(shares)} % of {options.runs} runs", end="", file=sys.stderr, flush=True)
            broken |= failed
            for seed, error in failed.items():
                print(f"seed {seed}: {error}", flush=True)
        if options.everywhere:
            totals["crash_points"] = sum(pool.map(partial(crash_everywhere, is_whole=False), range(jobs), repeat(jobs)))
    print(", ".join(f"{count} {what.replace('_', ' ')}" for what, count in totals.items()))
    span = f"seeds {options.seed} to {end - 1}, {time.monotonic() - began:.0f} s"
    print(f"{len(broken)} broke the promise, {span}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
