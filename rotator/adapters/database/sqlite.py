"""SQLite as people run it: read by others, read-only for a while, on a network share, with a log that grows.

SQLite keeps two files beside the database: `-wal`, what was committed and is not yet in the database itself, and
`-shm`, an index into it. Both get the mode that the database has when they are made. Whoever made them while the
database was read-only, and left them, kept every later writer out.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from stat import S_IMODE, S_ISREG
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool, QueuePool

from rotator.adapters.regular_files import check_regular
from rotator.errors import DatabaseError, DatabaseLockedError

LONGEST_WAL = 8 * 2**20
"""In bytes: what stays of `-wal` when it starts anew. It grows while another program looks at the database for long."""

_READS_ONLY = "rotator_reads_only"

FileId = tuple[int, int]
"""The device and the number of a file: another file at the same path has another one."""

_NETWORK = frozenset({"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "nfs", "nfs4", "smb3", "smbfs"})
"""File systems as /proc/self/mountinfo names them, on which hosts do not see each other's locks and shared memory."""


def make_sqlite(url: URL, lock_wait: timedelta, kept: int) -> Engine:
    """Return an engine whose transactions are begun by `begin_sqlite`. Nothing is opened yet; so many stay open."""
    path = find_path(url)
    check_path(path)
    if not may_write(path):
        return create_engine(url, creator=lambda: _open_to_read(path), poolclass=NullPool, hide_parameters=True)
    _mend_sides(path)
    return create_engine(
        url, creator=_make_creator(path, lock_wait), poolclass=QueuePool, pool_size=kept, hide_parameters=True
    )


def check_path(path: Path) -> None:
    """DatabaseError when there is no folder for the file, or what is there is no file."""
    fix = "Name a file, or one that does not exist yet, in the `database` setting."
    try:
        if not path.parent.is_dir():
            raise DatabaseError(
                f"the folder {path.parent} for {path.name} does not exist",
                code="database_unreachable",
                fix="Create the folder, or correct the `database` setting.",
            )
        check_regular(path)
    except OSError as error:
        if isinstance(error, PermissionError):
            fix = f"Give the user that runs rotator access to {path.parent}, or correct the `database` setting."
        raise DatabaseError(
            f"the database {path} cannot be opened: {error.strerror}", code="database_unreachable", fix=fix
        ) from error


def begin_sqlite(connection: Connection, *, reads_only: bool) -> None:
    """Begin a transaction: one that writes takes the lock at once, one that only reads takes none."""
    if connection.info.get(_READS_ONLY) is not reads_only:  # it stays as it was set, as long as the connection does
        connection.exec_driver_sql(f"PRAGMA query_only = {reads_only:d}")
        connection.info[_READS_ONLY] = reads_only
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def find_path(url: URL) -> Path:
    """Return where the database is."""
    return Path(url.database or "").absolute()


def find_file_id(path: Path) -> FileId | None:
    """Return which file is at a path now; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def may_write(path: Path) -> bool:
    """Whether this user may write the database, and the folder, in which every writer makes files."""
    folder = (Path(os.path.realpath(path)) if path.is_symlink() else path).parent
    return os.access(folder, os.W_OK) and (os.access(path, os.W_OK) or not path.exists())


@contextmanager
def reading_unchanged(path: Path) -> Iterator[None]:
    """Let a reader who may not write read a database that nobody writes meanwhile; DatabaseLockedError otherwise.

    Such a reader takes no lock, so SQLite does not notice a writer for it.
    """
    if may_write(path):
        yield
        return
    before = _look(path)
    yield
    if _look(path) != before:
        raise DatabaseLockedError(
            f"the database {path} was written while it was read by a user who may not write it", fix="Try again."
        )


def find_share(path: Path, table: Path) -> str | None:
    """Return the kind of network share that holds a path, by the kernel's table of mounts; else None."""
    mounts = table.read_text(errors="replace") if table.exists() else ""
    places: dict[Path, str] = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if after:
            place = before.split()[4].encode().decode("unicode_escape")
            places[Path(place)] = after.split()[0]  # a later mount hides an earlier one
    real = path.resolve()
    holders = [places[folder] for folder in (real, *real.parents) if folder in places]
    return holders[0] if holders and holders[0] in _NETWORK else None


def _make_creator(path: Path, lock_wait: timedelta) -> Callable[[], sqlite3.Connection]:
    # mode=rw never creates the file: only an upgrade does, with the right permissions.
    address = f"file:{quote(str(path))}?mode=rw"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            address, uri=True, timeout=lock_wait.total_seconds(), isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA foreign_keys = on")
        connection.execute("PRAGMA synchronous = full")
        connection.execute(f"PRAGMA journal_size_limit = {LONGEST_WAL}")
        return connection

    return connect


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Open it without making files beside it. `immutable` would not see what is in a `-wal`, so only where none is."""
    option = "" if name_side(path, "wal").exists() else "&immutable=1"
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro{option}", uri=True, isolation_level=None, check_same_thread=False
    )


def _look(path: Path) -> tuple[bool, int, int]:
    """Return what changes when somebody writes: whether there is a `-wal`, and the database's size and time."""
    found = path.stat()
    return name_side(path, "wal").exists(), found.st_size, found.st_mtime_ns


def name_side(path: Path, kind: str) -> Path:
    """Return the file beside the database: where a link leads to it, SQLite puts that beside the database itself."""
    real = Path(os.path.realpath(path))
    return real.with_name(f"{real.name}-{kind}")


def _mend_sides(path: Path) -> None:
    """Give the files beside the database its mode. DatabaseError with the commands when only their owner can."""
    for side in (name_side(path, "wal"), name_side(path, "shm")):
        try:
            _mend_side(side, S_IMODE(path.stat().st_mode))
        except FileNotFoundError:
            continue  # there is none, or its last user has just closed it
        except OSError as error:
            raise DatabaseError(
                f"the database {path} cannot be written: {side.name} beside it has another mode, and another owner",
                code="database_read_only",
                fix=f"As root, run: chown --reference={path} {side} && chmod --reference={path} {side}",
            ) from error


def _mend_side(side: Path, mode: int) -> None:
    """Change a file's mode where it differs, and nothing that a link in its place leads to.

    It is not opened for reading: closing it would drop the locks that SQLite holds on it in this process.
    """
    descriptor = os.open(side, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor).st_mode
        if S_ISREG(found) and S_IMODE(found) != mode:
            Path(f"/proc/self/fd/{descriptor}").chmod(mode)
    finally:
        os.close(descriptor)
