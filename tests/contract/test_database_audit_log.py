"""The port AuditLog, on every database."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from rotator.domain.audit_event import GENESIS_HASH, AuditEntry, AuditEvent, Outcome, make_hash
from rotator.engine.auditing import load_events
from rotator.engine.log_checking import check_log
from rotator.errors import UsageError
from rotator.ports.audit_log import AuditFilter
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
        assert list(work.audit.load_after(None, 9)) == [first, second]
        assert work.audit.load_head() == work.audit.load(2) == second
        assert _check_chain(work.audit.load_after(None, 9)) == 2
        assert second.occurred_at == NOW
        assert first.entry == make_entry()


def test_audit_log_keeps_what_it_hashed_when_a_detail_is_no_text_that_can_be_encoded(database: Database) -> None:
    """A reason typed in Latin-1 comes as halves of surrogate pairs."""
    with database.begin() as work:
        event = work.audit.append(replace(make_entry(), details={"reason": "\udcfcber"}), NOW)
    with database.read() as reading:
        assert list(reading.audit.load_after(None, 9)) == [event]
        assert _check_chain([event]) == 1


def test_audit_log_load_gives_one_event_when_asked_by_number(database: Database) -> None:
    """None before the first and after the last; the newest number is known of an empty log too."""
    with database.begin() as work:
        assert work.audit.load_newest_number() == 0
        assert work.audit.load(1) is None
        work.audit.append(make_entry("a"), NOW)
        second = work.audit.append(make_entry("b"), NOW)
    with database.read() as reading:
        assert reading.audit.load_newest_number() == 2
        assert reading.audit.load(2) == second
        assert reading.audit.load(0) is reading.audit.load(3) is None


def _append_three(database: Database) -> None:
    """`a x` of run 1, `b x` of run 2 a microsecond later, `a y` of run 2 a second later."""
    with database.begin() as work:
        work.audit.append(make_entry("a", "x", "1"), NOW)
        work.audit.append(_about_pat(make_entry("b", "x", "2")), NOW + timedelta(microseconds=1))
        work.audit.append(make_entry("a", "y", "2"), NOW + timedelta(seconds=1))


def _about_pat(entry: AuditEntry) -> AuditEntry:
    return replace(
        entry,
        outcome=Outcome.FAILED,
        details={"about": "ID-2", "authorization_id": 'ID-"%', "why": '"authorization_id": "ID-3"'},
    )


def _numbers(events: Iterable[AuditEvent]) -> list[int]:
    return [event.sequence for event in events]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (AuditFilter(), [1, 2, 3]),
        (AuditFilter(subject="x"), [1, 2]),
        (AuditFilter(event="a"), [1, 3]),
        (AuditFilter(run_id="2"), [2, 3]),
        (AuditFilter(since=NOW + timedelta(microseconds=1)), [2, 3]),
        (AuditFilter(until=NOW + timedelta(microseconds=1)), [1]),
        (AuditFilter(since=NOW + timedelta(microseconds=1), until=NOW + timedelta(seconds=1)), [2]),
        (AuditFilter(outcome=Outcome.SUCCEEDED), [1, 3]),
        (AuditFilter(outcome=Outcome.FAILED, subject="x"), [2]),
        (AuditFilter(outcome=Outcome.UNKNOWN), []),
        (AuditFilter(actor="root@host", run_id="2"), [2, 3]),
        (AuditFilter(actor="root"), []),
        (AuditFilter(since=NOW, subject="y", event="a", run_id="2"), [3]),
        (AuditFilter(subject="z"), []),
        (AuditFilter(authorization_id='ID-"%'), [2]),
        (AuditFilter(authorization_id='ID-"%', event="a"), []),
        *((AuditFilter(authorization_id=other), []) for other in ('id-"%', "ID-", "%", "ID-2", "ID-3")),
    ],
    ids=str,
)
def test_audit_log_gives_the_wanted_events_in_order_when_filtered(
    database: Database, wanted: AuditFilter, numbers: list[int]
) -> None:
    """From either end, no more than asked for; `since` includes its own moment, `until` does not."""
    _append_three(database)
    with database.read() as reading:
        for limit in (1, 2, 9):
            assert _numbers(reading.audit.load_newest(limit, wanted)) == numbers[-limit:]
            assert _numbers(reading.audit.load_after(None, limit, wanted)) == numbers[:limit]
        assert _numbers(reading.audit.load_after(1, 9, wanted)) == [number for number in numbers if number > 1]
        assert _numbers(reading.audit.load_after(3, 9, wanted)) == []


def test_audit_log_counts_the_named_events_when_they_come_after_a_number(database: Database) -> None:
    with database.begin() as work:
        for event in ("pat_minted", "pat_verified", "pat_minted", "pat_minted", "pat_revoked"):
            work.audit.append(make_entry(event), NOW)
    with database.read() as reading:
        assert reading.audit.count({"pat_minted", "pat_revoked"}, 0) == {"pat_minted": 3, "pat_revoked": 1}
        assert reading.audit.count({"pat_minted", "pat_verified"}, 2) == {"pat_minted": 2}
        assert reading.audit.count({"pat_minted"}, 5) == {}


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
    assert _check_chain(load_events(database)) == 200
    for thread in range(8):
        mine = [event.entry.event for event in load_events(database, AuditFilter(subject=f"thread-{thread}"))]
        assert mine == [f"event_{number}" for number in range(25)]


def test_audit_log_gives_a_part_when_left_after_the_first_events(database: Database) -> None:
    """The transaction can go on."""
    with database.begin() as work:
        for _ in range(25):
            work.audit.append(make_entry(), NOW)
        events = work.audit.load_after(None, 25)
        assert [next(events).sequence, next(events).sequence] == [1, 2]
        assert _check_chain(work.audit.load_after(None, 25)) == 25
        assert work.audit.append(make_entry(), NOW).sequence == 26


def test_events_are_those_of_the_beginning_when_others_append_meanwhile(database: Database) -> None:
    """Several pages, taken slowly: whoever appends waits for nobody, and what is new is left for the next time."""

    def append(count: int) -> None:
        with database.begin() as work:
            for _ in range(count):
                work.audit.append(make_entry(), NOW)

    append(2500)
    seen = []
    for event in load_events(database):
        seen.append(event)
        if event.sequence % 500 == 1:
            append(300)
    assert _check_chain(seen) == 2500
    assert check_log(database).events == 4000


def test_events_are_all_given_when_they_fill_whole_pages(database: Database) -> None:
    """None, one, a page less one, a page, a page and one."""
    counts, number = [], 0
    for wanted in (0, 1, 999, 1000, 1001):
        with database.begin() as work:
            while number < wanted:
                number = work.audit.append(make_entry(), NOW).sequence
        counts.append(len(list(load_events(database))))
    assert counts == [0, 1, 999, 1000, 1001]
