"""What a transaction does once it is committed, on every database."""

from __future__ import annotations

from contextlib import suppress

from rotator.engine.auditing import load_events
from rotator.ports.database import Database
from tests.support.records import NOW, make_entry


def test_acts_are_done_in_order_when_the_transaction_is_committed(database: Database) -> None:
    """What it wrote can be read by then."""
    done: list[object] = []
    with database.begin() as work:
        work.audit.append(make_entry(), NOW)
        work.afterwards(lambda: done.append([event.entry for event in load_events(database)]))
        work.afterwards(lambda: done.append("second"))
        assert done == []
    assert done == [[make_entry()], "second"]


def test_nothing_is_done_when_the_transaction_is_rolled_back(database: Database) -> None:
    done: list[int] = []
    with suppress(ZeroDivisionError), database.begin() as work:
        work.afterwards(lambda: done.append(1))
        raise ZeroDivisionError
    assert done == []
