"""What every user of a host sees of its processes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def find_in_processes(secrets: Iterable[str]) -> list[str]:
    """Return where one of them is among the arguments of any process, or in its environment where we may look."""
    wanted = [secret.encode() for secret in secrets]
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                shown = (folder / name).read_bytes()
            except OSError:
                continue  # it has ended, or it is another user's
            found += [f"{folder.name}/{name}" for secret in wanted if secret in shown]
    return found
