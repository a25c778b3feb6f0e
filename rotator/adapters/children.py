"""Starts other programs. Nothing else in rotator does."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO


def start_child(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    folder: Path | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[str] = subprocess.PIPE,
    stderr: int | IO[str] = subprocess.PIPE,
    own_group: bool = False,
) -> subprocess.Popen[str]:
    """Start a program, without a shell, with exactly this environment. OSError when it cannot be.

    `own_group`: it leads a session and a process group of its own, which has all that it starts.
    """
    return subprocess.Popen(  # noqa: S603
        list(arguments),
        cwd=folder,
        env=dict(environment),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=own_group,
    )
