"""Rotating many PATs with the installed command, and the bare sequence of the same requests beside it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bare import BareRun
from tests.bench.kinds import Kind
from tests.bench.stage import open_stage
from tests.support.postgres import PostgresServer

PARALLEL = 8
"""What the sandbox's settings say in azure_devops.max_parallel."""
OTHER_USER = "someone.else@contoso.com"
_OVERLAP = 1.0
"""Seconds, as the stage sets it: over when the second run starts."""


@dataclass(frozen=True)
class RotationTiming:
    """One run of `rotator once` and its bare sequence; seconds. `requests` are those of the run, by kind."""

    database: str
    what: str
    pats: int
    rotator: float
    cpu: float
    bare: float
    requests: dict[Kind, int]

    @property
    def ratio(self) -> float:
        """How much longer ours takes."""
        return self.rotator / self.bare


def measure_rotations(database: str, pats: int, latency: float) -> Iterator[RotationTiming]:
    """A run that mints and stores all, one that revokes all predecessors, and one that finds nothing to do."""
    with ExitStack() as stack:
        stage = stack.enter_context(open_stage(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        if database == "PostgreSQL":
            server = PostgresServer()
            stack.callback(server.stop)
            stage.use_database(server.url(server.create_database()))
        stage.sign_in()
        managed, others = ([f"{kind}-{number:03}" for number in range(1, pats + 1)] for kind in ("managed", "bare"))
        stage.create_pats(managed, stage.addresses["username"])
        # Somebody else's: to rotator they would be what it watches out for, another writer of its secrets.
        stage.create_pats(others, OTHER_USER)
        stage.run("inventory", "adopt", *managed, "--yes")
        stage.slow_down(latency)
        bare = BareRun(stage, others, OTHER_USER)
        stage.count_requests()
        for what in ("rotate", "revoke the old", "nothing due"):
            spent = stage.run("once", "--json")
            over = time.monotonic() + _OVERLAP
            counts = stage.count_requests()
            seconds = bare.measure(counts, PARALLEL)
            stage.count_requests()
            yield RotationTiming(database, what, pats, spent.wall, spent.cpu, seconds, counts)
            time.sleep(max(0.0, over - time.monotonic()))
