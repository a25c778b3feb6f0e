"""The port RequestCounts, on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from rotator.domain.request_count import RequestCounts, RequestOutcome
from rotator.ports.database import Database

SENT = ("azure_devops", RequestOutcome.SUCCEEDED)
LOST = ("key_vault", RequestOutcome.UNANSWERED)


def add(database: Database, counts: RequestCounts) -> None:
    """Add these."""
    with database.begin() as work:
        work.request_counts.add(counts)


def load(database: Database) -> RequestCounts:
    """What there is."""
    with database.read() as reading:
        return reading.request_counts.load()


def test_requests_are_added_to_those_that_are_there(database: Database) -> None:
    assert load(database) == {}
    add(database, {SENT: 3})
    add(database, {LOST: 1, SENT: 2**33})
    assert load(database) == {SENT: 3 + 2**33, LOST: 1}


def test_no_request_is_lost_when_several_add_at_once(database: Database) -> None:
    """Whatever their order."""
    both = [{SENT: 1, LOST: 1}, {LOST: 1, SENT: 1}] * 20
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda counts: add(database, counts), both))
    assert load(database) == {SENT: 40, LOST: 40}
