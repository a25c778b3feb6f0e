"""Fixtures of the acceptance tests: a sandbox in this process, and the installed command against it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from rotator.sandbox.running import Sandbox
from tests.support.installed_command import PATIENCE, Rotator, approve, config_of, run_command, start_device_login
from tests.support.killing import Stage, open_stage


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Run a sandbox with the demo's seeds; its settings are in `tmp_path / "sandbox"`."""
    with Sandbox(tmp_path / "sandbox") as running:
        yield running


@pytest.fixture
def rotator(sandbox: Sandbox) -> Rotator:
    """Give the command with the sandbox's settings."""

    def run(
        *arguments: str | Path, input: str | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return run_command(*arguments, input=input, env={"ROTATOR_CONFIG": config_of(sandbox), **(env or {})})

    return run


@pytest.fixture
def signed_in(sandbox: Sandbox, rotator: Rotator) -> Rotator:
    """Give the command with a database and with `build-bot` signed in."""
    upgraded = rotator("db", "upgrade")
    assert upgraded.returncode == 0, upgraded.stderr
    process, prompt = start_device_login(sandbox)
    approve(sandbox, prompt)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output + errors
    return rotator


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Prepare a stage on SQLite: signed in, with one PAT adopted. Each module resets it as its tests need."""
    with open_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage
