"""Paths in the two files and on the command line."""

from __future__ import annotations

from pathlib import Path


def expand_home(text: str | Path) -> Path:
    """The path with `~` or `~USER` in front replaced by that user's folder. ValueError when there is no such user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f'"{text}" begins with a user whom this host does not know: write the whole path') from None
