"""One daemon for one SQLite database: a lock beside it, which the kernel gives back when its process ends."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rotator.adapters.ownership import open_lock
from rotator.domain.words import say_moment
from rotator.errors import ConfigError, DatabaseLockedError

_LONGEST = 200


@contextmanager
def only_daemon(database: Path, now: datetime) -> Iterator[None]:
    """Hold the lock of a database file. DatabaseLockedError `daemon_running`, which says who holds it, when it is held.

    A file has one lock, by whichever symbolic link it is reached. ConfigError when the lock's file cannot be made: a
    restart mends no wrong folder.
    """
    real = Path(os.path.realpath(database))  # `Path.resolve` raises what is no OSError where links form a loop
    path = real.with_name(f"{real.name}.daemon")
    try:
        descriptor = open_lock(path, real)
    except OSError as error:
        raise ConfigError(
            [f"database: the lock file {path} cannot be opened: {error.strerror}"],
            code="daemon_lock",
            fix="Check the path in `database`, and give the user that runs rotator write access to its folder.",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _make_held(descriptor, database) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {say_moment(now)}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _make_held(descriptor: int, database: Path) -> DatabaseLockedError:
    holder = os.pread(descriptor, _LONGEST, 0).decode(errors="replace") or "another process"
    return DatabaseLockedError(
        f"another daemon works on {database}: {holder}",
        code="daemon_running",
        fix="One daemon is enough for an SQLite database: end one of them. Several hosts need PostgreSQL.",
    )
