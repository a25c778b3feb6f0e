"""`python -m tests.simulation --runs N [--seed S]`: many histories; a failing one prints its seed."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter

from tests.simulation.simulation import simulate


def main() -> int:
    """Run the histories of consecutive seeds; the exit code is 1 when one of them broke the promise."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep-going", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()
    totals: Counter[str] = Counter()
    failed = []
    for seed in range(options.seed, options.seed + options.runs):
        try:
            history = simulate(seed)
        except Exception as error:
            failed.append(seed)
            print(f"seed {seed}: {error!r}", flush=True)
            if not options.keep_going:
                traceback.print_exc()
                break
        else:
            totals.update(
                crashes=history.crashes,
                faults=history.faults,
                thaws=history.thaws,
                restores=history.restores,
                transient_breaks=history.breaks,
            )
            totals.update(history.notes)
    print(dict(totals), f"{time.monotonic() - began:.0f} s", f"failed seeds: {failed}")
    return 1 if failed else 0


sys.exit(main())
