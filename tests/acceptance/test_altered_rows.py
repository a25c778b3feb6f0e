"""Somebody altered a row of the audit log, or of its checkpoints: every command that reads it ends with words."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.filled_log import Filled, open_filled
from tests.support.forgery import drop_triggers
from tests.support.installed_command import run_forked
from tests.support.proving import with_sample

pytestmark = pytest.mark.prove

FAR = "9999-12-31T23:59:59.999999+14:00"
VALUES = (None, "", "x", b"\xff", -1, 25.5, 2**63 - 1, FAR, "0001-01-01T00:00:00.000000Z", "[]", "[1]", "{", "null")
"""What is put in place of what a column holds. SQLite takes any in any column."""
FIELDS = (None, True, "", "x", -1, 2**63, 1.5, FAR, "ab" * 32)
"""What is put in place of every field of an event."""
ROWS = {
    "audit_event": ("sequence = 25", "sequence = (SELECT max(sequence) FROM audit_event)"),
    "checkpoint": ("size = (SELECT min(size) FROM checkpoint)", "size = (SELECT max(size) FROM checkpoint)"),
}
COLUMNS = {
    "audit_event": "sequence occurred_at event subject outcome actor run_id details previous_hash hash encoding",
    "checkpoint": "size head root installation made_at anchors key_id signature peaks",
}
CASES: dict[str, tuple[object, ...]] = {
    f"{table}.{column}={value!r}": (table, column, value)
    for table, columns in COLUMNS.items()
    for column in columns.split()
    for value in VALUES
    if (column, value) != ("size", -1)  # as if that checkpoint were deleted
}
SAMPLE = (
    "audit_event.sequence=25.5",
    "audit_event.sequence=9223372036854775807",
    "audit_event.sequence=b'\\xff'",
    "audit_event.details='[1]'",
    "checkpoint.anchors=9223372036854775807",
    "checkpoint.signature='0001-01-01T00:00:00.000000Z'",
    "checkpoint.peaks='[1]'",
    "checkpoint.peaks='{'",
)
REPORT = ("audit", "report", "--output", "{}/page.html", "--archive", "{}/evidence.zip", "--force")
VERIFY = ("audit", "verify", "--all")
COMMANDS = (
    *(("audit", "export", "--format", form) for form in ("jsonl", "csv", "cef", "ocsf")),
    ("audit", "reconcile", "--dry-run"),
    ("audit", "list"),
    ("doctor",),
    ("once",),
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """An installation whose log real commands filled."""
    with open_filled(tmp_path_factory.mktemp("altered")) as made:
        yield made


class Altered:
    """A copy of the installation, in which one row at a time is another."""

    def __init__(self, filled: Filled, folder: Path) -> None:
        self.folder = folder / "installation"
        shutil.copytree(filled.database.parent, self.folder)
        self.file = self.folder / "rotator.db"
        drop_triggers(f"sqlite:///{self.file}")
        with closing(sqlite3.connect(self.file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._was = self.file.read_bytes()

    def restore(self) -> None:
        """Put the database back as it was."""
        for suffix in ("-wal", "-shm"):
            self.file.with_name(f"rotator.db{suffix}").unlink(missing_ok=True)
        self.file.write_bytes(self._was)

    def alter(self, statement: str, *values: object) -> bool:
        """Make one row another, and return whether it is: a key cannot be nothing, and a value may be the same."""
        self.restore()
        with closing(sqlite3.connect(self.file)) as connection:
            before = list(connection.iterdump())
            try:
                connection.execute(statement, values)
            except sqlite3.IntegrityError:
                return False
            connection.commit()
            return list(connection.iterdump()) != before

    def check(self, what: str, *others: tuple[str, ...]) -> None:
        """The page and the archive are made and say that the log was altered; the other commands end with words."""
        (self.folder / "page.html").unlink(missing_ok=True)
        for words in (REPORT, VERIFY, *others):
            code, said = self.run(*(word.format(self.folder) for word in words))
            assert "bug in rotator" not in said, f"{what}: {words}: {said}"
            assert "Traceback" not in said, f"{what}: {words}: {said}"
            assert code == 1 or words not in (REPORT, VERIFY), f"{what}: {words}: {said}"
        assert (self.folder / "page.html").exists(), what

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command, and return its code and what it says."""
        done = run_forked(*words, folder=self.folder, env={"ROTATOR_CONFIG": str(self.folder / "rotator.yaml")})
        return done.returncode, done.stdout[-2000:] + done.stderr


@pytest.fixture(scope="module")
def altered(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> Altered:
    """The copy."""
    return Altered(filled, tmp_path_factory.mktemp("copy"))


@pytest.mark.parametrize(("table", "column", "value"), with_sample(CASES, SAMPLE))
def test_altered_column_is_told_in_words(altered: Altered, table: str, column: str, value: object) -> None:
    number = list(CASES.values()).index((table, column, value))
    for place, row in enumerate(ROWS[table]):
        if altered.alter(" ".join(("UPDATE", table, "SET", column, "= ? WHERE", row)), value):
            altered.check(f"{table}.{column} = {value!r} where {row}", COMMANDS[(2 * number + place) % len(COMMANDS)])


@pytest.mark.parametrize("value", [pytest.param({}, marks=pytest.mark.sample), *FIELDS])
def test_altered_fields_of_events_of_each_kind_are_told_in_words(altered: Altered, value: object) -> None:
    """All fields of the first event of each kind."""
    altered.restore()
    with closing(sqlite3.connect(altered.file)) as connection:
        query = "SELECT event, min(sequence), details FROM audit_event GROUP BY event"
        for _, sequence, details in list(connection.execute(query)):
            made = value if value == {} else dict.fromkeys(json.loads(details), value)
            statement = "UPDATE audit_event SET details = ? WHERE sequence = ?"
            connection.execute(statement, (json.dumps(made), sequence))
        connection.commit()
    altered.check(f"every field {value!r}", *COMMANDS)
