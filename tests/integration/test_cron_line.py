"""The line for cron in the quick start: it runs with its settings, and never beside another run of it."""

import fcntl
import os
import re
import subprocess
from pathlib import Path

from tests.support.programs import need
from tests.support.source_tree import ROOT

_PROGRAM = "/opt/rotator/bin/rotator"


def _read_crontab() -> tuple[str, str]:
    """Its line with a variable, and the command of its line with a time."""
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    [table] = re.findall(r"```crontab\n(.*?)```", page, re.DOTALL)
    variable, line = table.splitlines()
    assert re.fullmatch(r"[1-9]\d? \* \* \* \* .+", line), "a minute of every hour, and not 0, when everybody's begin"
    return variable, line.split(maxsplit=5)[5]


def test_line_of_cron_runs_once_and_leaves_a_run_that_is_still_at_work_alone(tmp_path: Path) -> None:
    need("flock", "util-linux")
    variable, command = _read_crontab()
    program, said = tmp_path / "rotator", tmp_path / "said"
    program.write_text(f'#!/bin/sh\necho "$ROTATOR_CONFIG" "$@" >> {said}\n', encoding="utf-8")
    program.chmod(0o700)
    environment = {"HOME": str(tmp_path), "PATH": os.defpath, **dict([variable.split("=", 1)])}

    def run() -> int:
        line = command.replace(_PROGRAM, str(program))
        return subprocess.run(["/bin/sh", "-c", line], env=environment, check=False).returncode

    assert _PROGRAM in command
    with (tmp_path / "rotator.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run() != 0
        assert not said.exists()
    assert run() == 0
    assert said.read_text(encoding="utf-8") == "/etc/rotator/rotator.yaml once --quiet\n"
