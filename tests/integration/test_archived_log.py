"""A log whose older events are in archives, on SQLite and PostgreSQL, and what somebody may do to either.

The attacker owns the database and the files, recomputes every hash, and does not have the signing key.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.adapters.archive_file import LocalArchiveFile
from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.domain.archive import KEPT, Archive, make_event_line, make_seal_line, read_line
from rotator.domain.audit_event import AuditEvent, make_hash
from rotator.domain.checkpoint import make_key_id
from rotator.engine.anchoring import Anchor
from rotator.engine.archives import read_events
from rotator.engine.archiving import plan_archive, write_archive
from rotator.engine.checkpointing import seal
from rotator.engine.context import Trust
from rotator.engine.log_checking import LogSummary, check_log
from rotator.errors import AuditChainError, DatabaseError, RotatorError, UsageError
from rotator.ports.database import Database, Reading
from tests.support.forgery import chain_anew, drop_triggers, execute, load_log
from tests.support.old_log import LATER, fill_old_log, insert_events, make_moment, make_old_run
from tests.support.records import make_entry
from tests.support.stage_database import PostgresCopy, SqliteFile, StageDatabase

KEY, THEIRS = Ed25519Signer(make_signing_key()), Ed25519Signer(make_signing_key())
TRUST = Trust((KEY.public_key,), is_signed)
SIZES, EVENTS, ENDS = (20, 40, 60), 65, (20, 40)
"""Where the checkpoints are, how many events there were before the archives, and where these end."""
SPECIAL = {5: "policy_changed", 25: "pat_forgotten", 45: "log_anchored"}


@dataclass(frozen=True)
class Log:
    """A log of 65 events and two of its archives: up to 20, and up to 40."""

    url: str
    database: SqlDatabase
    paths: tuple[Path, ...]

    @property
    def files(self) -> list[LocalArchiveFile]:
        """The archives."""
        return [LocalArchiveFile(path) for path in self.paths]

    def check(self, *files: LocalArchiveFile, trust: Trust = TRUST, anchors: Sequence[Anchor] = ()) -> LogSummary:
        """What the command checks."""
        return check_log(self.database, anchors, trust, LATER, (), files)

    def find_wrong(self, *files: LocalArchiveFile, trust: Trust = TRUST) -> AuditChainError:
        """The error of the check."""
        with pytest.raises(AuditChainError) as caught:
            self.check(*files, trust=trust)
        assert caught.value.fix
        return caught.value

    def list_numbers(self) -> list[int]:
        """The events that the database has."""
        return [event.sequence for event in load_log(self.database)[0]]


def archive(database: Database, end: int, path: Path, signer: Ed25519Signer = KEY) -> int:
    """Put the events up to a checkpoint into a file; return how many were deleted."""
    run = make_old_run(database, signer)
    plan = plan_archive(run, make_moment(end + 5))
    return write_archive(run, plan, LocalArchiveFile(path)).deleted


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StageDatabase:
    """A database with the log as rotator wrote it, remembered before (`whole`) and after its archives."""
    stage: StageDatabase
    folder = tmp_path_factory.mktemp("log")
    if request.param == "sqlite":
        stage = SqliteFile(folder / "rotator.db")
    else:
        stage = PostgresCopy(request.getfixturevalue("postgres_server"))
    upgrade(stage.url())
    fill_old_log(stage.url(), KEY, (*SIZES, EVENTS), SPECIAL)
    stage.keep("whole")
    stage.restore("whole")
    database = SqlDatabase(stage.url())
    for end in ENDS:
        archive(database, end, folder / f"{end}.archive")
    database.close()
    stage.keep()
    request.node.stash[FOLDER] = folder
    return stage


FOLDER = pytest.StashKey[Path]()


@pytest.fixture
def paths(whole: StageDatabase, request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, ...]:
    """Copies of the archives."""
    [folder] = [node.stash[FOLDER] for node in request.node.listchain() if FOLDER in node.stash]
    for end in ENDS:
        shutil.copy(folder / f"{end}.archive", tmp_path)
    return tuple(tmp_path / f"{end}.archive" for end in ENDS)


@pytest.fixture
def log(whole: StageDatabase, paths: tuple[Path, ...]) -> Iterator[Log]:
    """The log with its archives, as it was."""
    whole.restore()
    database = SqlDatabase(whole.url())
    yield Log(whole.url(), database, paths)
    database.close()


@pytest.fixture
def unarchived(whole: StageDatabase) -> Iterator[SqlDatabase]:
    """The log before there were archives."""
    whole.restore("whole")
    database = SqlDatabase(whole.url())
    yield database
    database.close()


def test_log_verifies_across_its_archives_with_and_without_them(log: Log) -> None:
    assert log.list_numbers() == [5, 25, *range(41, EVENTS + 3)]
    for count in (0, 1, 2):
        summary = log.check(*log.files[:count])
        assert (summary.events, summary.checkpoints, summary.signed) == (EVENTS + 2, 5, EVENTS + 2)
        assert [found.last for found in summary.archives.missing] == list(ENDS[count:])
    assert [found.last for found in log.check(log.files[1]).archives.missing] == [20]


def test_archive_can_be_checked_with_a_tool_that_makes_sha256(log: Log) -> None:
    *lines, last = log.paths[0].read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        digest, _, text = line.rstrip(b"\n").partition(b" ")
        assert hashlib.sha256(text).hexdigest() == digest.decode()
        assert json.loads(text)["sequence"] == number
    assert json.loads(last.partition(b" ")[2])["body_hash"] == hashlib.sha256(b"".join(lines)).hexdigest()
    assert log.paths[0].stat().st_mode & 0o777 == 0o600


def test_log_goes_on_after_its_archives(log: Log) -> None:
    with log.database.begin() as work:
        assert work.audit.append(make_entry(), LATER).sequence == EVENTS + 3
    seal(make_old_run(log.database, KEY), timedelta(0))
    assert log.check(*log.files).signed == EVENTS + 3


Lines = list[bytes]


def _alter(lines: Lines) -> Lines:
    return [*lines[:9], lines[9].replace(b"root@host", b"nobody@ho"), *lines[10:]]


def _alter_and_chain(lines: Lines) -> Lines:
    """Alter an event, and make all hashes fit."""
    events = [found for line in _alter(lines)[:-1] if isinstance(found := read_line(line), AuditEvent)]
    return [*map(make_event_line, chain_anew(events)), lines[-1]]


def _seal_anew(lines: Lines) -> Lines:
    """The same, sealed with another key."""
    forged = _alter_and_chain(lines)
    old = read_line(lines[-1])
    assert isinstance(old, Archive)
    last = read_line(forged[-2])
    assert isinstance(last, AuditEvent)
    new = replace(
        old,
        head=last.hash,
        body_hash=hashlib.sha256(b"".join(forged[:-1])).hexdigest(),
        key=make_key_id(THEIRS.public_key),
    )
    return [*forged[:-1], make_seal_line(replace(new, signature=THEIRS.sign(new.make_statement())))]


FILES: dict[str, tuple[Callable[[Lines], Lines], int, str]] = {
    "altered": (_alter, 10, "audit event 10 was altered"),
    "altered and hashed anew": (_alter_and_chain, 20, "not those that were sealed"),
    "sealed with another key": (_seal_anew, 20, "which the settings do not name"),
    "deleted": (lambda lines: [*lines[:9], *lines[10:]], 10, "audit event 10 is missing or moved"),
    "inserted": (lambda lines: [*lines[:9], lines[3], *lines[9:]], 10, "audit event 10 is missing or moved"),
    "reordered": (lambda lines: [*lines[:9], lines[10], lines[9], *lines[11:]], 10, "audit event 10 is missing"),
    "cut before its seal": (lambda lines: lines[:15], 15, "its end is missing"),
    "cut in the middle": (lambda lines: [*lines[:15], lines[-1]], 16, "it has the events up to 15"),
    "empty": (lambda lines: [], 0, "its last line does not seal it"),
    "no text": (lambda lines: [b"\xff\xfe\n", *lines], 1, "line 1 cannot be read"),
    "no event": (lambda lines: [*lines[:4], b'0 {"sequence": "5"}\n', *lines[5:]], 5, "line 5 cannot be read"),
    "nested too deeply": (lambda lines: [b"0 " + b"[" * 100_000 + b"\n", *lines], 1, "line 1 cannot be read"),
    "seal altered": (lambda lines: [*lines[:-1], lines[-1].replace(b'"kept":1', b'"kept":0')], 20, "does not fit"),
    "seal of no archive": (lambda lines: [*lines[:-1], b"archive {}\n"], 0, "its last line does not seal it"),
}


@pytest.mark.parametrize(("change", "number", "words"), FILES.values(), ids=FILES)
def test_file_is_named_when_it_was_changed(log: Log, change: Callable[[Lines], Lines], number: int, words: str) -> None:
    path = log.paths[0]
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    error = log.find_wrong(*log.files)
    assert (error.sequence, error.archive) == (number, str(path))
    assert words in error.message
    assert log.check().signed == EVENTS + 2


def test_missing_archive_is_named_when_another_stands_in_its_place(log: Log) -> None:
    log.paths[1].write_bytes(log.paths[0].read_bytes())
    assert [found.last for found in log.check(*log.files).archives.missing] == [40]
    log.paths[1].unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        log.check(*log.files)


def test_archive_of_another_installation_is_named(log: Log, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/other.db"
    upgrade(url)
    fill_old_log(url, THEIRS, (*SIZES, EVENTS), SPECIAL)
    other = SqlDatabase(url)
    path = tmp_path / "other.archive"
    archive(other, 20, path, THEIRS)
    other.close()
    file = LocalArchiveFile(path)
    assert "which the settings do not name" in log.find_wrong(file).message
    both = Trust((KEY.public_key, THEIRS.public_key), is_signed)
    assert "is of another installation" in log.find_wrong(file, trust=both).message


def test_archive_is_named_when_the_log_does_not_know_it(
    log: Log, whole: StageDatabase, unarchived: SqlDatabase
) -> None:
    """The database was put back to before it; its events are there."""
    error = replace(log, database=unarchived).find_wrong(log.files[0])
    assert "no `log_archived` of this log names it" in error.message


DATABASES = {
    "kept event altered": ("UPDATE audit_event SET actor = 'nobody' WHERE sequence = 5", 5, "was altered"),
    "kept event deleted": ("DELETE FROM audit_event WHERE sequence = 25", 40, "keeps others"),
    "kept event moved": ("UPDATE audit_event SET sequence = 6 WHERE sequence = 5", 6, "was altered"),
    "event in the range": (
        "INSERT INTO audit_event SELECT 7, occurred_at, event, subject, outcome, actor, run_id, details, "
        "previous_hash, hash, encoding FROM audit_event WHERE sequence = 41",
        7,
        "audit event 7",
    ),
    "statement deleted": ("DELETE FROM audit_event WHERE sequence = 67", 21, "audit event 21 is missing"),
    "all statements deleted": ("DELETE FROM audit_event WHERE event = 'log_archived'", 1, "is missing or moved"),
    "statement altered": (
        "UPDATE audit_event SET details = replace(details, 'policy_changed', 'none') WHERE sequence = 67",
        67,
        "has a signature that does not fit",
    ),
    "no statement": ("UPDATE audit_event SET details = '{}' WHERE sequence = 67", 67, "names no archive"),
    "more deleted": ("DELETE FROM audit_event WHERE sequence = 41", 41, "audit event 41 is missing"),
    "checkpoint deleted": ("DELETE FROM checkpoint WHERE size = 40", 40, "the checkpoint of 40 audit events"),
    "checkpoint altered": ("UPDATE checkpoint SET peaks = '[]' WHERE size = 40", 40, "40"),
    "signature altered": ("UPDATE checkpoint SET signature = 'x' WHERE size = 40", 40, "signature"),
    "earlier checkpoint altered": (
        "UPDATE checkpoint SET made_at = '2026-04-01T00:00:00.000000Z' WHERE size = 20",
        20,
        "20",
    ),
    "first event altered": ("UPDATE audit_event SET actor = 'nobody' WHERE sequence = 41", 41, "was altered"),
}


@pytest.mark.parametrize(("statement", "number", "words"), DATABASES.values(), ids=DATABASES)
def test_event_is_named_when_the_database_was_changed(log: Log, statement: str, number: int, words: str) -> None:
    drop_triggers(log.url)
    execute(log.url, statement)
    error = log.find_wrong()
    assert error.sequence == number, error.message
    assert words in error.message


@pytest.mark.parametrize(
    ("signer", "words"),
    [(KEY, "has a signature that does not fit"), (THEIRS, "which the settings do not name")],
    ids=["our signature of another", "another key"],
)
def test_statement_is_named_when_it_was_forged(log: Log, signer: Ed25519Signer, words: str) -> None:
    """Somebody writes an archive of more events into the log, so that these can be deleted."""
    [*_, newest] = load_log(log.database)[0]
    with log.database.read() as reading:
        checkpoint = reading.checkpoints.load_signed(60)
    assert checkpoint is not None
    said = {name: value for name, value in newest.entry.details.items() if name != "file"}
    said |= {"first": 41, "last": 60, "previous_hash": said["head"], "head": checkpoint.head}
    said["key"] = make_key_id(signer.public_key)
    with log.database.begin() as work:
        event = work.audit.append(replace(newest.entry, details=said), LATER)
        work.audit.delete_archived(60, KEPT, 99)
    error = log.find_wrong()
    assert (error.sequence, words in error.message) == (event.sequence, True)


@pytest.mark.parametrize("number", [5, 25, 41, 45, 66, 67])
def test_database_refuses_to_delete_what_no_archive_covers_and_what_is_kept(log: Log, number: int) -> None:
    for statement in ("DELETE FROM audit_event", "UPDATE audit_event SET actor = 'nobody'"):
        with pytest.raises(Exception, match="append-only"):
            execute(log.url, f"{statement} WHERE sequence = {number}")
    with pytest.raises(DatabaseError), log.database.begin() as work:
        work.audit.delete_archived(number, ("log_archived",), 99)
    assert log.check().signed == EVENTS + 2


@pytest.mark.parametrize("kind", KEPT)
def test_database_keeps_every_kind_that_is_needed_for_ever(log: Log, kind: str) -> None:
    [event] = [event for event in read_events(log.files[0]) if event.sequence == 7]
    insert_events(log.url, [replace(event, entry=replace(event.entry, event=kind, details={"last": 0}))])
    with pytest.raises(Exception, match="append-only"):
        execute(log.url, "DELETE FROM audit_event WHERE sequence = 7")


def test_archive_is_finished_when_its_events_were_not_all_deleted(log: Log) -> None:
    """As a process leaves it that was killed between two of the transactions that delete."""
    rest = [event for event in read_events(log.files[1]) if event.sequence > 30]
    insert_events(log.url, rest)
    summary = log.check()
    assert (summary.archives.left, summary.events) == (31, EVENTS + 2)
    run = make_old_run(log.database, KEY)
    plan = plan_archive(run, LATER)
    assert (plan.first, plan.last) == (21, 40)
    with pytest.raises(UsageError, match="is not the archive of the events 21 to 40"):
        write_archive(run, plan, log.files[0])
    assert write_archive(run, plan, log.files[1]).deleted == 10
    assert log.check(*log.files).archives.left is None
    assert log.list_numbers() == [5, 25, *range(41, EVENTS + 3)]


def test_rest_of_an_archive_is_named_when_it_is_another_one(log: Log) -> None:
    rest = [event for event in read_events(log.files[1]) if event.sequence > 30]
    forged = replace(rest[0], entry=replace(rest[0].entry, actor="nobody"))
    previous, made = forged.previous_hash, []
    for event in [forged, *rest[1:]]:
        digest = make_hash(event.sequence, event.occurred_at, event.entry, previous)
        made.append(replace(event, previous_hash=previous, hash=digest))
        previous = digest
    insert_events(log.url, made)
    error = log.find_wrong()
    assert (error.sequence, "not what was archived" in error.message) == (31, True)


def test_anchors_of_archived_events_hold_and_are_compared_where_they_can_be(log: Log) -> None:
    with log.database.read() as reading:
        checkpoints = list(reading.checkpoints.load_after(0, 9))
    first = checkpoints[0]
    own = Anchor("vault", first.size, first.head, is_own=True)
    head = Anchor("feed", 7, "0" * 64)
    assert log.check(anchors=[own, head]).events == EVENTS + 2
    with pytest.raises(AuditChainError, match="has other content now"):
        log.check(anchors=[replace(own, hash="0" * 64)])
    with pytest.raises(AuditChainError, match="is gone"):
        log.check(anchors=[replace(own, sequence=21)])
    with pytest.raises(AuditChainError, match="audit event 7, which"):
        log.check(*log.files, anchors=[own, head])


class Meddling:
    """Port Database; before the read of a number something happens."""

    def __init__(self, database: SqlDatabase, number: int, act: Callable[[], object]) -> None:
        self.begin = database.begin
        self._inner, self._left, self._act = database, number, act

    def read(self) -> AbstractContextManager[Reading]:
        """See the port."""
        self._left -= 1
        if self._left == 0:
            self._act()
        return self._inner.read()


@pytest.mark.parametrize("number", range(1, 9))
def test_check_does_not_cry_wolf_when_events_go_into_an_archive_meanwhile(
    unarchived: SqlDatabase, tmp_path: Path, number: int
) -> None:
    done = []
    path = tmp_path / "meanwhile.archive"
    database = Meddling(unarchived, number, lambda: done.append(archive(unarchived, 40, path)))
    assert check_log(database, (), TRUST, LATER).signed >= 60
    assert done in ([38], [])


def test_two_archives_at_once_leave_one(unarchived: SqlDatabase, tmp_path: Path) -> None:
    run = make_old_run(unarchived, KEY)
    plan = plan_archive(run, make_moment(25))
    archive(unarchived, 40, tmp_path / "first.archive")
    with pytest.raises(RotatorError, match="meanwhile"):
        write_archive(run, replace(plan, before=0), LocalArchiveFile(tmp_path / "second.archive"))
    assert check_log(unarchived, (), TRUST, LATER).archives.last == 40


def test_file_of_the_same_name_stays_when_it_is_another_one(unarchived: SqlDatabase, tmp_path: Path) -> None:
    path = tmp_path / "40.archive"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is another file"):
        archive(unarchived, 40, path)
    assert path.read_text() == "mine"
    assert [found.name for found in tmp_path.iterdir()] == ["40.archive"]
    assert check_log(unarchived, (), TRUST, LATER).archives.named == ()
