"""Other programs, for the commands that start some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO


def start_own_command(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, stderr: int | IO[str]
) -> Popen[str]:
    """Start a program of ours, with a pipe for its output."""
    from rotator.adapters.children import start_child

    return start_child(arguments, environment, folder=folder, stdout=PIPE, stderr=stderr)


def launch_browser(url: str) -> None:
    """Open a page in the person's browser."""
    from rotator.adapters.browser import open_browser

    open_browser(url)
