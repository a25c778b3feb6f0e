"""Where an installation's settings come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Origin:
    """The settings file, if one was named; the environment; the folder to look in otherwise; the kernel's mounts."""

    settings: Path | None
    environment: Mapping[str, str]
    folder: Path
    mounts: Path = Path("/proc/self/mountinfo")
