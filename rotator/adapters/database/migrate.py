"""Builds and upgrades the schema with Alembic, all or nothing, one process at a time."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, exists, func, inspect, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from rotator.adapters.daemon_lock import check_no_daemon
from rotator.adapters.database.engine import LOCK_WAIT, MIGRATION, lock_topic, make_engine, make_reader, parse_url
from rotator.adapters.database.failures import describe, explain
from rotator.adapters.database.revision import HEAD, find_problem, load_revision
from rotator.adapters.database.schema import heartbeat, job_run
from rotator.adapters.disk import choose_fix
from rotator.adapters.ownership import hand_over
from rotator.adapters.processes import is_gone
from rotator.domain.job_run import Heartbeat, JobName, JobOutcome, lives
from rotator.domain.words import say_duration, say_moment
from rotator.errors import DatabaseError, DatabaseLockedError, SchemaError


@dataclass(frozen=True)
class Revision:
    """The schema's revision in the database (None when empty or missing) and the newest that this rotator knows.

    `problem` is the error that a run would end with.
    """

    current: str | None
    head: str
    problem: SchemaError | None = field(default=None, compare=False)


def find_scripts() -> Path:
    """Return the folder of the migrations: inside the package when installed from a wheel, else beside it."""
    package = Path(str(resources.files("rotator")))
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def make_config() -> Config:
    """Alembic's configuration, without a connection."""
    config = Config()
    config.set_main_option("script_location", str(find_scripts()).replace("%", "%%"))
    return config


def upgrade(url: str) -> tuple[str | None, str]:
    """Upgrade the database to the newest revision. Returns the revisions before (None if it was empty) and after.

    Creates a missing SQLite file, readable by its owner alone. Everything happens in one transaction, so a crash
    leaves what was there before. DatabaseError for a newer or another program's database, or while a daemon works on
    it: nothing is changed. On PostgreSQL, where daemons of several hosts may work, that is one that did not stop and
    whose last heartbeat says that it may live still.
    """
    place = parse_url(url)
    with _connected(place) as engine, _alone(place):
        if place.drivername == "sqlite":
            _create_file(Path(place.database or ""))
        with engine.begin() as connection:
            # SQLite is serialised by BEGIN IMMEDIATE.
            lock_topic(connection, MIGRATION)
            before = load_revision(connection)
            if before != HEAD:
                if place.drivername == "sqlite":
                    check_no_daemon(Path(place.database or ""))
                else:
                    _check_no_heartbeat(connection, place)
                config = make_config()
                config.attributes["connection"] = connection
                command.upgrade(config, HEAD)
    return before, HEAD


def _check_no_heartbeat(connection: Connection, place: URL) -> None:
    """DatabaseLockedError `daemon_running` while a daemon lives, by what it leaves in the database."""
    found = inspect(connection)
    if not found.has_table(heartbeat.name):
        return  # it is older than daemons
    known = {column["name"] for column in found.get_columns(heartbeat.name)}  # the older ones say less
    now: datetime = connection.execute(select(func.now())).scalar_one()
    stopped = exists().where(job_run.c.holder == heartbeat.c.holder, job_run.c.outcome == JobOutcome.STOPPED)
    stopped = stopped.where(job_run.c.job == JobName.HEARTBEAT)
    rows = connection.execute(select(*(column for column in heartbeat.c if column.name in known)).where(~stopped))
    for beat in sorted((Heartbeat(**row._mapping) for row in rows), key=lambda beat: beat.holder):
        if lives([beat], now) and not is_gone(beat.holder):
            raise DatabaseLockedError(
                f"a daemon works on {describe(place)}: {beat.holder}, whose last heartbeat was at "
                f"{say_moment(beat.beat_at)}",
                code="daemon_running",
                fix="Stop every daemon first: it would keep working with the old schema. One that was killed "
                f"on another host counts for {say_duration(beat.lives_for)} after its last heartbeat. Make a backup, "
                "then try again.",
            )


def current(url: str) -> Revision:
    """Return what the database holds and what this rotator needs. DatabaseError as for `upgrade`; changes nothing."""
    place = parse_url(url)
    with _connected(place) as engine:
        if place.drivername == "sqlite" and not Path(place.database or "").exists():
            found = None
        else:
            with make_reader(engine).begin() as connection:
                found = load_revision(connection)
    return Revision(found, HEAD, find_problem(found, place))


@contextmanager
def _connected(url: URL) -> Iterator[Engine]:
    try:
        # A migration rewrites whole tables, and takes as long as that takes.
        engine = make_engine(url, statement_limit=timedelta(0), answer_limit=timedelta(0))
        try:
            yield engine
        finally:
            engine.dispose()
    except DatabaseError as error:
        raise error from None
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise explain(error, url) from None


@contextmanager
def _alone(url: URL) -> Iterator[None]:
    """Keep other upgrades from creating the same SQLite file: switching to WAL does not wait for others to close it.

    The lock is on the folder. One on the database file would have to open it, and closing that handle would drop
    the locks that SQLite itself holds in this process.
    """
    if url.drivername != "sqlite":
        yield
        return
    handle = os.open(Path(url.database or "").absolute().parent, os.O_RDONLY)
    try:
        deadline = time.monotonic() + LOCK_WAIT.total_seconds()
        while not _try_lock(handle):
            if time.monotonic() > deadline:
                raise DatabaseLockedError(
                    f"{describe(url)} is being upgraded by another process", fix="Wait for it to end, then try again."
                )
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _create_file(path: Path) -> None:
    """Create a database file with mode 0600 and WAL; its journals inherit the mode. An existing one stays as it is."""
    path = Path(os.path.realpath(path))
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            hand_over(descriptor, path.parent)
        finally:
            os.close(descriptor)
    except FileExistsError:
        if path.stat().st_size:
            return
        path.chmod(0o600)
    except OSError as error:
        raise DatabaseError(
            f"the database {path} cannot be created: {error.strerror}",
            code="database_unreachable",
            fix=choose_fix(
                error,
                path,
                "Give the user that runs rotator write access to the folder, or correct the `database` setting.",
            ),
        ) from error
    with closing(sqlite3.connect(path, timeout=LOCK_WAIT.total_seconds(), isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
