"""The first files of an installation: what root writes belongs to the owner of the folder, as a service user may be."""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make a folder, with all above it that are missing. OSError when that fails."""
    from rotator.adapters import ownership

    ownership.make_folder(path)


def write_key(path: Path, key: str) -> None:
    """Write a key into a new file that its owner alone may read. OSError when something is there, or it fails."""
    _write(path, path.parent, key, 0o600)


def write_text(path: Path, text: str) -> None:
    """Write a file, or replace the one that is there, link or not, whole. OSError when that fails."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    _write(fresh, path, text, 0o666)
    fresh.replace(path)


def _write(path: Path, guide: Path, text: str, mode: int) -> None:
    from rotator.adapters.ownership import make_file

    with os.fdopen(make_file(path, mode, guide), "w", encoding="utf-8") as file:
        file.write(text)
