"""Who owns a file, and who may read and change it."""

from __future__ import annotations

import pwd
import stat
from pathlib import Path

from rotator.ports.host import FileFacts


def read_file_facts(path: Path, *, is_state: bool, is_secret: bool) -> FileFacts | None:
    """Return the facts of a file, of the one that a link leads to; None when there is none that can be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return FileFacts(str(path), name_user(found.st_uid), stat.S_IMODE(found.st_mode), is_state, is_secret)


def name_user(number: int) -> str:
    """Return the name of a user of the operating system, or its number where it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"
