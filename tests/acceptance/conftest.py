"""Fixtures of the acceptance tests: a sandbox in this process, and the installed command against it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rotator.sandbox.running import Sandbox
from tests.support.filled_log import Filled, open_filled
from tests.support.installed_command import Rotator, make_rotator, sign_in
from tests.support.killing import Stage, open_stage


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Run a sandbox with the demo's seeds; its settings are in `tmp_path / "sandbox"`."""
    with Sandbox(tmp_path / "sandbox") as running:
        yield running


@pytest.fixture
def rotator(sandbox: Sandbox, tmp_path: Path) -> Rotator:
    """Give the command with the sandbox's settings, forked for each run."""

    return make_rotator(sandbox, tmp_path)


@pytest.fixture
def signed_in(sandbox: Sandbox, rotator: Rotator, tmp_path: Path) -> Rotator:
    """Give the command with a database and with `build-bot` signed in."""
    upgraded = rotator("db", "upgrade")
    assert upgraded.returncode == 0, upgraded.stderr
    sign_in(sandbox, tmp_path)
    return rotator


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Prepare a stage on SQLite: signed in, with one PAT adopted. Each module resets it as its tests need."""
    with open_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """Give an installation whose log is full: PATs were adopted, rotated, revoked, refused, paused and forgotten."""
    with open_filled(tmp_path_factory.mktemp("filled")) as made:
        yield made
