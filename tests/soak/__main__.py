"""`python -m tests.soak [--days N] [--seed S]`: years of a daemon, with progress; the seed decides all that happens.

With `--keep DIR` people are there too, the audit log is signed, and DIR gets the report of the year and its archive.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

from tests.simulation.__main__ import ignore_crashes_in_finalizers
from tests.simulation.world import InvariantError
from tests.soak.keeping import keep, open_kept
from tests.soak.years import Years, check_growth

_TOLD_EVERY = 50


def main() -> int:
    """Live so many days; the exit code is 1 if the promise was broken, or something grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--days", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the report of the year and its archive there")
    options = parser.parse_args()
    sys.unraisablehook = ignore_crashes_in_finalizers
    if options.keep is None:
        return _live(Years(options.seed), options.seed, options.days)
    with open_kept(options.seed) as years:
        code = _live(years, options.seed, options.days)
        print(*keep(years, options.keep), sep="\n")
    return code


def _live(years: Years, seed: int, days: int) -> int:
    began, told = time.monotonic(), [0]

    def tell(day: int, rotations: int) -> None:
        if day >= told[-1] + _TOLD_EVERY:
            told.append(day)
            span = time.monotonic() - began
            print(f"day {day} of {days}: {rotations} rotations, {span:.0f} s", file=sys.stderr, flush=True)

    try:
        report = years.live(days, tell)
        check_growth(report, years.bounded)
    except InvariantError as error:
        print(f"seed {seed}, {years.report.counts}: {error}")
        return 1
    print(", ".join(f"{count} {what}" for what, count in sorted(report.counts.items())))
    print(f"at rest {len(report.sizes)} times, at last with {report.sizes[-1]}")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    span = time.monotonic() - began
    print(f"seed {seed}: every PAT stayed alive for {days} days; {span:.0f} s, {most} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
