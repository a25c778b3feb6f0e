"""The port AuditLog, on every database."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from rotator.domain.audit_event import GENESIS_HASH, AuditEvent, make_hash
from rotator.errors import UsageError
from rotator.ports.database import Database
from tests.support.records import NOW, make_entry


def _check_chain(events: Iterable[AuditEvent]) -> int:
    """The number of events, after recomputing every hash from what was loaded."""
    count, previous = 0, GENESIS_HASH
    for event in events:
        count += 1
        assert event.sequence == count
        assert event.previous_hash == previous
        assert event.hash == make_hash(count, event.occurred_at, event.entry, previous)
        previous = event.hash
    return count


def test_audit_log_gives_back_what_was_appended_when_loaded(database: Database) -> None:
    """Numbered from 1; a time of another zone keeps its moment; the hash recomputes."""
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    with database.begin() as work:
        assert work.audit.load_head() is None
        first = work.audit.append(make_entry(), NOW)
        second = work.audit.append(replace(make_entry("pat_minted"), details={}), elsewhere)
    with database.begin() as work:
        assert list(work.audit.load()) == [first, second]
        assert work.audit.load_head() == second
        assert _check_chain(work.audit.load()) == 2
        assert second.occurred_at == NOW
        assert first.entry == make_entry()


def test_audit_log_load_filters_when_asked(database: Database) -> None:
    """Each filter, and all together; `since` includes its own moment."""
    with database.begin() as work:
        work.audit.append(make_entry("a", "x", "1"), NOW)
        work.audit.append(make_entry("b", "x", "2"), NOW + timedelta(microseconds=1))
        work.audit.append(make_entry("a", "y", "2"), NOW + timedelta(seconds=1))

        def numbers(events: Iterable[AuditEvent]) -> list[int]:
            return [event.sequence for event in events]

        assert numbers(work.audit.load(subject="x")) == [1, 2]
        assert numbers(work.audit.load(event="a")) == [1, 3]
        assert numbers(work.audit.load(run_id="2")) == [2, 3]
        assert numbers(work.audit.load(since=NOW + timedelta(microseconds=1))) == [2, 3]
        assert numbers(work.audit.load(since=NOW, subject="y", event="a", run_id="2")) == [3]
        assert numbers(work.audit.load(subject="z")) == []


def test_audit_log_leaves_no_gap_when_a_transaction_is_rolled_back(database: Database) -> None:
    """The number is used again."""

    def stop_midway() -> None:
        with database.begin() as work:
            work.audit.append(make_entry("lost"), NOW)
            raise UsageError("stop")

    with pytest.raises(UsageError):
        stop_midway()
    with database.begin() as work:
        assert work.audit.append(make_entry("kept"), NOW).sequence == 1


def test_audit_log_chain_holds_when_eight_threads_append(database: Database) -> None:
    """25 events each, one transaction per event: no gap, no fork."""

    def append(thread: int) -> None:
        for number in range(25):
            with database.begin() as work:
                work.audit.append(make_entry(f"event_{number}", f"thread-{thread}"), NOW)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(append, range(8)))
    with database.begin() as work:
        assert _check_chain(work.audit.load()) == 200
        for thread in range(8):
            mine = [event.entry.event for event in work.audit.load(subject=f"thread-{thread}")]
            assert mine == [f"event_{number}" for number in range(25)]


def test_audit_log_load_streams_when_the_log_is_long(database: Database) -> None:
    """Several batches, left after the first events; the transaction can go on."""
    with database.begin() as work:
        for _ in range(2500):
            work.audit.append(make_entry(), NOW)
        events = work.audit.load()
        assert [next(events).sequence, next(events).sequence] == [1, 2]
        assert _check_chain(work.audit.load()) == 2500
        assert work.audit.append(make_entry(), NOW).sequence == 2501
