"""Where an export goes: to stdout or into a private file."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rotator.errors import UsageError


@contextmanager
def opened(path: Path | None) -> Iterator[IO[str]]:
    """A stream to stdout, or to a file that its owner alone may read, whatever its mode was."""
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "w", encoding="utf-8", newline="") as stream:
            if stat.S_ISREG(os.fstat(number).st_mode):
                os.fchmod(number, 0o600)
            yield stream
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", code="output", fix="Choose another --output."
        ) from error
