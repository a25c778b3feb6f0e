"""What a process holds while it does the daemon's jobs again and again, on the sandbox."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.bench.stage import open_stage
from tests.support.ticking import Holding, measure_ticks

_TIMES = 10
_PATS = 5


def measure_many_ticks(ticks: int) -> list[Holding]:
    """Measure ten times in so many ticks, with a few PATs that are not due."""
    with tempfile.TemporaryDirectory() as folder, open_stage(Path(folder)) as stage:
        stage.sign_in()
        managed = [f"managed-{number}" for number in range(_PATS)]
        stage.create_pats(managed, stage.addresses["username"])
        stage.run("inventory", "adopt", *managed, "--yes")
        stage.run("once")
        return measure_ticks(stage.directory / "rotator.yaml", ticks, _TIMES)
