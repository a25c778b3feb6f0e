"""The port's transactions that only read, on every database: they neither wait for a writer nor make one wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.limit import LifetimeLimit
from rotator.domain.managed_pat import ManagedPat
from rotator.errors import UsageError
from rotator.ports.claims import Claim
from rotator.ports.database import Database
from tests.support.records import DAY, NOW, make_entry, make_managed_pat, make_pat, make_rotation

SPAN = timedelta(minutes=5)


def test_read_gives_what_was_committed_when_everything_is_asked_for(
    database: Database, adopt: Callable[[ManagedPat], Claim]
) -> None:
    """Each of the readers, and the database's clock."""
    claim = adopt(make_managed_pat())
    with database.begin() as work:
        work.journal.insert(make_rotation(), claim)
        work.inventory.save_untracked("build-bot", "contoso", (make_pat("7"),))
        work.limits.save("build-bot", "contoso", LifetimeLimit(DAY, NOW))
        event = work.audit.append(make_entry(), NOW)
    with database.begin() as work:
        its_now = work.now()
    with database.read() as reading:
        record = replace(make_managed_pat(), epoch=claim.epoch)
        assert reading.inventory.load("npm-feed") == record
        assert reading.inventory.load_all() == (record,)
        assert [item.pat for item in reading.inventory.load_untracked()] == [make_pat("7")]
        assert reading.journal.load_open() == reading.journal.load_for("npm-feed") == (make_rotation(),)
        assert reading.audit.load_head() == event
        assert reading.limits.load() == {("build-bot", "contoso"): LifetimeLimit(DAY, NOW)}
        assert its_now <= reading.now() < its_now + SPAN


def test_read_offers_no_way_to_write_when_looked_at(database: Database) -> None:
    """A type checker refuses it; here is what it goes by."""
    with database.read() as reading:
        writes = [
            f"{part} {name}"
            for part in ("inventory", "journal", "audit", "limits")
            for name in ("add", "append", "insert", "remove", "save", "save_untracked")
            if hasattr(getattr(reading, part), name)
        ]
        assert writes == []
        assert not any(hasattr(reading.claims, name) for name in ("claim", "extend", "release"))


def test_read_does_not_wait_when_a_transaction_writes(database: Database, adopt: Callable[[ManagedPat], Claim]) -> None:
    """Not even for the record that it has taken and the log that it appends to; it sees what was committed before."""
    adopt(make_managed_pat())
    with database.begin() as work:
        assert work.inventory.load("npm-feed")
        work.inventory.add(make_managed_pat("other"))
        work.audit.append(make_entry(), NOW)
        with database.read() as reading:
            assert [pat.name for pat in reading.inventory.load_all()] == ["npm-feed"]
            assert reading.inventory.load("npm-feed")
            assert reading.audit.load_head() is None
    with database.read() as reading:
        assert [pat.name for pat in reading.inventory.load_all()] == ["npm-feed", "other"]
        assert reading.audit.load_head()


def test_read_keeps_one_picture_and_nobody_waiting_when_others_write_meanwhile(
    database: Database, adopt: Callable[[ManagedPat], Claim]
) -> None:
    """A reader in the middle of the log: a claim is taken, an event is written, a record goes."""
    adopt(make_managed_pat())
    with database.begin() as work:
        for number in range(3):
            work.audit.append(make_entry(f"event_{number}"), NOW)
    with database.read() as reading:
        events = reading.audit.load_after(None, 9)
        assert next(events).sequence == 1
        with database.begin() as work:
            claim = work.claims.claim("npm-feed", "run-2", now=NOW + SPAN, span=SPAN)
            work.audit.append(make_entry("event_3"), NOW)
        with database.begin() as work:
            work.inventory.remove("npm-feed", claim)
        assert [event.sequence for event in events] == [2, 3]
        assert [pat.name for pat in reading.inventory.load_all()] == ["npm-feed"]
    with database.read() as reading:
        assert reading.audit.load_newest_number() == 4
        assert reading.inventory.load_all() == ()


def test_read_passes_an_error_through_when_one_is_raised_in_it(database: Database) -> None:
    """And the next transactions, of both kinds, work."""

    def stop_midway() -> None:
        with database.read() as reading:
            assert reading.inventory.load_all() == ()
            raise UsageError("stop")

    with pytest.raises(UsageError):
        stop_midway()
    with database.begin() as work:
        work.inventory.add(make_managed_pat())
    with database.read() as reading:
        assert len(reading.inventory.load_all()) == 1
