"""`make bench`: what rotator takes, beside the bare minimum for the same, measured in one run on this machine.

Nothing here passes or fails by a time: figures of one machine say nothing about another, ratios say a little.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Measure, then print a table or one JSON document; progress goes to stderr."""
    options = _read_options()
    # Started as a script: what is ours must be found from the root, as the tests find it.
    sys.path[0] = str(ROOT)
    from tests.bench.asking import measure_requests
    from tests.bench.checking import measure_check
    from tests.bench.daemon import measure_daemon_rotations, measure_idle_daemon
    from tests.bench.idle import IdleTiming, measure_idle
    from tests.bench.planning import measure_inventory
    from tests.bench.report import (
        render_asked,
        render_check,
        render_idle,
        render_idle_daemon,
        render_inventory,
        render_rotations,
        render_starts,
        render_ticks,
    )
    from tests.bench.rotating import PARALLEL, RotationTiming, measure_rotations
    from tests.bench.starting import measure_starts
    from tests.bench.ticking import measure_many_ticks

    load = os.getloadavg()[0]
    _tell(f"starting rotator and python, {options.starts} times each")
    starts = measure_starts(options.starts)
    _tell(f"looking at {options.rows} rows")
    inventory = measure_inventory(options.rows)
    idle: list[IdleTiming] = []
    for database in ("SQLite", "PostgreSQL"):
        for records, closed in ((100, 1_000), (options.records, options.closed)):
            _tell(f"working when nothing is due, on {database} with {records} records: filling it first")
            idle.append(measure_idle(database, records, closed))
    rotations: list[RotationTiming] = []
    for database in ("SQLite", "PostgreSQL"):
        _tell(f"rotating {options.pats} PATs on {database}: starting the sandbox, signing in, adopting")
        for timing in measure_rotations(database, options.pats, options.latency / 1000):
            _tell(f"  {timing.what}: {timing.rotator:.2f} s, bare {timing.bare:.2f} s")
            rotations.append(timing)
    _tell("counting the requests to PostgreSQL")
    asked = measure_requests()
    in_daemon: list[RotationTiming] = []
    for database in ("SQLite", "PostgreSQL"):
        _tell(f"rotating {options.pats} PATs in a running daemon on {database}")
        in_daemon += measure_daemon_rotations(database, options.pats, options.latency / 1000)
    _tell(f"watching an idle daemon, twice for {options.idle} s")
    idle_daemon = measure_idle_daemon(options.pats, options.idle)
    _tell(f"doing {options.ticks} ticks")
    held = measure_many_ticks(options.ticks)
    _tell(f"checking an audit log of {options.events} events: filling it first")
    check = measure_check(options.events)
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "load": round(load, 2)}
    if options.json:
        document = {
            "schema_version": 1,
            "machine": machine,
            "rotations": [asdict(timing) for timing in [*rotations, *in_daemon]],
            "database_requests": asdict(asked),
            "idle_daemon": asdict(idle_daemon),
            "ticks": [asdict(found) for found in held],
            "starts": [asdict(timing) for timing in starts],
            "inventory": [asdict(timing) for timing in inventory],
            "check": asdict(check),
            "idle": [asdict(timing) for timing in idle],
        }
        print(json.dumps(document, indent=2))
        return 0
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    title = f"{options.pats} PATs on the sandbox, {options.latency} ms latency per request, {PARALLEL} at a time"
    _print_part(title, render_rotations(rotations))
    _print_part("The same in one tick of a running daemon", render_rotations(in_daemon))
    _print_part("Requests to PostgreSQL for one PAT, rotated and its predecessor revoked", render_asked(asked))
    _print_part("A daemon that has nothing to rotate", render_idle_daemon(idle_daemon))
    _print_part("A daemon's jobs without pauses, on real sockets", render_ticks(held))
    _print_part("Start of the command", render_starts(starts))
    _print_part("A run of the daemon's work when nothing is due", render_idle(idle))
    _print_part("A check of the whole audit log on SQLite", render_check(check))
    _print_part(f"An inventory of {options.rows} PATs on SQLite", render_inventory(inventory))
    return 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=main.__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables; seconds")
    parser.add_argument("--pats", type=int, default=50, help="how many are rotated, 50 at most (the policy's limit)")
    parser.add_argument("--latency", type=int, default=50, help="milliseconds before each answer")
    parser.add_argument("--rows", type=int, default=10_000, help="how many the large inventory has")
    parser.add_argument("--records", type=int, default=100_000, help="how many a daemon has, none of them due")
    parser.add_argument("--closed", type=int, default=1_000_000, help="how many rotations are in its past")
    parser.add_argument("--events", type=int, default=1_000_000, help="how many the audit log has that is checked")
    parser.add_argument("--idle", type=int, default=300, help="seconds for which an idle daemon is watched, twice")
    parser.add_argument("--ticks", type=int, default=10_000, help="how often the jobs of a daemon are done")
    parser.add_argument("--starts", type=int, default=10, help="how often each command is started")
    return parser.parse_args()


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_part(title: str, lines: Iterable[str]) -> None:
    print(f"\n{title}")
    for line in lines:
        print(f"  {line}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
