"""Where an installation's settings come from, and who uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """The settings file, if one was named; the environment; the folder to look in otherwise; the kernel's mounts.

    `command` is what the audit log says of the command that a person gave.
    """

    settings: Path | None
    environment: Mapping[str, str]
    folder: Path
    mounts: Path = Path("/proc/self/mountinfo")
    command: Mapping[str, str] = field(default_factory=dict)
