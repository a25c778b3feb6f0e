"""Nothing grows in a daemon that runs for long: memory, threads, sockets and file handles stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotator.sandbox.running import Sandbox
from tests.support.installed_command import Rotator
from tests.support.ticking import Holding, measure_ticks

TIMES = 6
MOST_SOCKETS = 4
"""One for each of the two PATs to each of two services: whether both are worked on at once is up to the threads."""
MOST_OBJECTS, MOST_MEMORY = 1500, 2 * 1024
"""How much more there may be at the end than after the first third."""


@pytest.mark.prove
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("ticks", [pytest.param(240, marks=pytest.mark.sample), 10_200])
def test_process_holds_the_same_after_many_ticks(sandbox: Sandbox, signed_in: Rotator, ticks: int) -> None:
    """Every job is done on real sockets; the first third is when everything is done for the first time."""
    adopted = signed_in("inventory", "adopt", "npm-feed", "ci-build")
    assert adopted.returncode == 0, adopted.stderr
    assert signed_in("once").returncode == 0
    held = measure_ticks(Path(sandbox.addresses.config_path), ticks, TIMES)
    early, late = held[TIMES // 3 - 1], held[-1]
    assert (late.threads, late.files) == (early.threads, early.files), held
    assert max(found.sockets for found in held) <= MOST_SOCKETS, held
    assert grown(held, "objects") < MOST_OBJECTS, held
    assert grown(held, "memory") < MOST_MEMORY, held


def grown(held: list[Holding], what: str) -> int:
    """By how much it has grown since the first third."""
    found = [getattr(holding, what) for holding in held]
    return int(found[-1] - found[TIMES // 3 - 1])
