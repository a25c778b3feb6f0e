"""Each mend of the product, taken out again, breaks the promise in the history of its seed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.simulation.mends import MENDS, load_seeds
from tests.support.proving import with_sample
from tests.support.source_tree import ROOT


@pytest.mark.prove
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", with_sample({name: (name,) for name in MENDS}, ["odd-entry"]))
def test_promise_breaks_without_the_mend(name: str) -> None:
    """In a process of its own, which keeps the tracing out of this one."""
    command = [sys.executable, "-m", "tests.simulation.mends", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_table_has_every_mend() -> None:
    assert list(load_seeds()) == list(MENDS)
