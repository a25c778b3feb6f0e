"""What helps when a file cannot be written."""

from __future__ import annotations

import errno
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)


def choose_fix(error: OSError, path: Path, otherwise: str) -> str:
    """Return the fix: a full disk needs space, whatever the user may write; else it is `otherwise`."""
    return f"Free space on the disk that holds {path.parent}." if error.errno in _FULL else otherwise
