"""An audit log that somebody has changed who may write the database: the first event that is not as it was is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.engine.auditing import list_named, load_events
from rotator.engine.checkpointing import seal
from rotator.engine.context import Trust
from rotator.engine.gaps import check_readable
from rotator.engine.log_checking import check_log
from rotator.errors import AuditChainError
from tests.support.old_log import make_old_run
from tests.support.records import NOW, make_entry

ROWS = 1100
"""More than one page."""

# What was done to the log, and the event that is named. SQLite takes a value of any type in any column.
ANYWHERE = {
    "no JSON": ("UPDATE audit_event SET details = 'no JSON' WHERE sequence = 1050", 1050),
    "no object": ("UPDATE audit_event SET details = '[1]' WHERE sequence = 3", 3),
    "unknown word": ("UPDATE audit_event SET outcome = 'perhaps' WHERE sequence = 1100", 1100),
    "unreadable after an altered one": (
        "UPDATE audit_event SET details = CASE sequence WHEN 5 THEN 'x' ELSE '{}' END WHERE sequence IN (3, 5)",
        3,
    ),
    "one before the first": (
        "INSERT INTO audit_event SELECT 0, occurred_at, event, subject, outcome, actor, run_id, details, "
        "previous_hash, hash, encoding FROM audit_event WHERE sequence = 1",
        0,
    ),
    "end of a page deleted": ("DELETE FROM audit_event WHERE sequence = 1000", 1000),
    "moved to the end": ("UPDATE audit_event SET sequence = 9000000000 WHERE sequence = 700", 700),
}
SQLITE_ONLY = {
    "bytes": ("UPDATE audit_event SET subject = x'00ff' WHERE sequence = 3", 3),
    "bytes for an object": ("UPDATE audit_event SET details = x'7b7d' WHERE sequence = 3", 3),
    "nested too deeply": (
        "UPDATE audit_event SET details = replace(hex(zeroblob(50000)), '0', '[') WHERE sequence = 3",
        3,
    ),
    "no time": ("UPDATE audit_event SET occurred_at = 'yesterday' WHERE sequence = 3", 3),
    "a number for a time": ("UPDATE audit_event SET occurred_at = x'05' WHERE sequence = 3", 3),
    "no time zone": ("UPDATE audit_event SET occurred_at = '2026-03-01T12:00:00.000000' WHERE sequence = 3", 3),
    "no number": ("UPDATE audit_event SET sequence = 'abc' WHERE sequence = 3", "abc"),
}
CASES = [
    pytest.param(kind, *case, id=f"{name}-{kind}")
    for kind, cases in (("sqlite", ANYWHERE | SQLITE_ONLY), ("postgresql", ANYWHERE))
    for name, case in cases.items()
]


def _change(url: str, statement: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        if url.startswith("sqlite"):
            for verb in ("update", "delete"):
                connection.execute(text(f"DROP TRIGGER audit_event_no_{verb}"))
        else:
            connection.execute(text("DROP TRIGGER audit_event_no_change ON audit_event"))
        connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize(("kind", "statement", "number"), CASES)
def test_log_names_the_first_bad_event_when_it_was_changed(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, statement: str, number: int | str
) -> None:
    """By the check; and every event before it can still be taken out."""
    url = f"sqlite:///{tmp_path}/rotator.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    upgrade(url)
    database = SqlDatabase(url)
    with database.begin() as work:
        for _ in range(ROWS):
            work.audit.append(make_entry(), NOW)
    assert check_log(database).events == ROWS
    _change(url, statement)
    with pytest.raises(AuditChainError) as found:
        check_log(database)
    database.close()
    assert found.value.sequence == (number if isinstance(number, int) else 0)
    assert f"audit event {number} " in found.value.message
    assert found.value.fix


def test_events_before_an_unreadable_one_are_given_when_it_is_met(tmp_path: Path) -> None:
    """In the middle of a page, of one event's own, and among the newest."""
    url = f"sqlite:///{tmp_path}/rotator.db"
    upgrade(url)
    database = SqlDatabase(url)
    with database.begin() as work:
        for number in range(6):
            work.audit.append(make_entry("odd" if number % 2 else "even"), NOW)
    _change(url, "UPDATE audit_event SET details = '' WHERE sequence = 4")
    events = load_events(database)
    assert [next(events).sequence for _ in range(3)] == [1, 2, 3]
    with pytest.raises(AuditChainError, match=r"audit event 4 .* cannot be read"):
        next(events)
    with database.read() as reading:
        with pytest.raises(AuditChainError, match="audit event 4 "):
            reading.audit.load(4)
        with pytest.raises(AuditChainError, match="audit event 4 "):
            reading.audit.load_newest(3)
        assert [event.sequence for event in reading.audit.load_newest(2)] == [5, 6]
    database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_unreadable_events_that_work_looks_at_keep_nobody_from_it_and_are_named(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Also where the log was verified before, beyond them. The true ones beside them count."""
    url = f"sqlite:///{tmp_path}/rotator.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    upgrade(url)
    signer = Ed25519Signer(make_signing_key())
    trust = Trust((signer.public_key,), is_signed)
    database = SqlDatabase(url)
    with database.begin() as work:
        for name in ("signing_key_changed", "gap_accepted", "log_archived", "log_anchored") * 2:
            work.audit.append(replace(make_entry(), event=name), NOW)
    _change(url, "UPDATE audit_event SET details = 'no JSON' WHERE sequence IN (3, 5, 6, 8)")
    run = make_old_run(database, signer)
    assert seal(run, timedelta(0), begins=True) is not None
    with database.read() as reading:
        for name, numbers in (("gap_accepted", [2]), ("signing_key_changed", [1]), ("log_archived", [7])):
            assert [event.sequence for event in list_named(reading, name)] == numbers
    with pytest.raises(AuditChainError, match=r"audit event 3 .* cannot be read"):
        check_log(database, (), trust)
    with pytest.raises(AuditChainError, match=r"audit event 5 .* cannot be read"):
        check_readable(database)
    database.close()
