"""One daemon for one SQLite database: a lock beside it, which the kernel gives back when its process ends."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
        holder = f"process {os.getpid()} on {socket.gethostname()} since {say_moment(now)}"
        with suppress(OSError):  # the disk is full: the daemon goes on without it, and tells of that
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def check_no_daemon(database: Path) -> None:
    """DatabaseLockedError `daemon_running`, which says who it is, while a daemon works on a database file.

    Nothing is made or changed. Where the lock's file cannot be read, nobody can tell.
    """
    real = Path(os.path.realpath(database))
    try:
        descriptor = os.open(real.with_name(f"{real.name}.daemon"), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DatabaseLockedError(
            f"a daemon works on {database}: {_read_holder(descriptor)}",
            code="daemon_running",
            fix="Stop it first: it would keep working with the old schema. Make a backup, then try again.",
        ) from None
    finally:
        os.close(descriptor)


def _make_held(descriptor: int, database: Path) -> DatabaseLockedError:
    return DatabaseLockedError(
        f"another daemon works on {database}: {_read_holder(descriptor)}",
        code="daemon_running",
        fix="One daemon is enough for an SQLite database: end one of them. Several hosts need PostgreSQL.",
    )


def _read_holder(descriptor: int) -> str:
    return os.pread(descriptor, _LONGEST, 0).decode(errors="replace") or "another process"
