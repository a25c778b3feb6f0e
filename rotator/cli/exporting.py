"""Where an export goes: into a temporary file while the log is read, then to stdout or a private file."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rotator.errors import UsageError

_IN_MEMORY = 1 << 20


@contextmanager
def spooled() -> Iterator[IO[str]]:
    """A stream to write to and to read again.

    Reading the log holds a transaction, and a slow reader of our output (a pager) must not make runs wait for it.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, mode="w+", encoding="utf-8", newline="") as spool:
        yield spool


def send_out(spool: IO[str], path: Path | None) -> None:
    """Everything in the spool to stdout, or to a file that its owner alone may read, whatever its mode was."""
    spool.seek(0)
    if path is None:
        shutil.copyfileobj(spool, sys.stdout)
        sys.stdout.flush()
        return
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "w", encoding="utf-8", newline="") as stream:
            if stat.S_ISREG(os.fstat(number).st_mode):
                os.fchmod(number, 0o600)
            shutil.copyfileobj(spool, stream)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", code="output", fix="Choose another --output."
        ) from error
