"""The port Queue, on every database: which records are due, which entries are stale, and what a claim does to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.domain.managed_pat import ManagedPat
from rotator.domain.next_step import LONG_AGO
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.domain.rotation import RotationState
from rotator.ports.claims import Claim
from rotator.ports.database import Database
from rotator.ports.queue import Basis, Entry
from tests.support.records import DAY, NOW, make_managed_pat, make_rotation

BASIS = Basis("aa", "aabb", NOW + timedelta(minutes=1), "a")
NAMES = ("ci-build", "deploy", "npm-feed")


def add(database: Database, *names: str, next_at: datetime | None = None, basis: str = BASIS.plain) -> None:
    """Records with that entry, in this order of expiry."""
    with database.begin() as work:
        for number, name in enumerate(names):
            work.inventory.add(replace(make_managed_pat(name), valid_to=NOW + number * DAY))
            work.queue.save(name, Entry(next_at, basis, NOW))


def find_stale(database: Database, basis: Basis = BASIS, limit: int = 9) -> list[str]:
    """The names whose entry is stale."""
    with database.read() as reading:
        return sorted(reading.queue.find_stale(basis, limit))


def list_due(database: Database, now: datetime = NOW) -> list[str]:
    """The names that are due."""
    with database.read() as reading:
        return [pat.name for pat in reading.queue.load_due(now)]


def test_queue_load_due_returns_what_expires_first_first(database: Database) -> None:
    add(database, "npm-feed", "ci-build", next_at=NOW)
    add(database, "deploy", next_at=NOW + timedelta.resolution)
    add(database, "never", next_at=None)
    assert list_due(database) == ["npm-feed", "ci-build"]
    assert list_due(database, NOW + DAY) == ["deploy", "npm-feed", "ci-build"]
    assert list_due(database, NOW - DAY) == []


def test_queue_find_next_returns_the_earliest_moment_that_is_ahead(database: Database) -> None:
    with database.read() as reading:
        assert reading.queue.find_next(NOW) is None
    add(database, "npm-feed", next_at=NOW)
    add(database, "ci-build", next_at=NOW + 2 * DAY)
    add(database, "deploy", next_at=NOW + DAY)
    with database.read() as reading:
        assert reading.queue.find_next(NOW - DAY) == NOW
        assert reading.queue.find_next(NOW) == NOW + DAY
        assert reading.queue.find_next(NOW + 2 * DAY) is None


def test_queue_find_stale_returns_what_was_not_computed_by_this_basis(database: Database) -> None:
    add(database, "plain", next_at=NOW)
    add(database, "limited", next_at=NOW, basis=BASIS.limited)
    assert find_stale(database) == []
    for basis in ("", "99", "aa00", "aaff", "bb", "aabb00"):
        add(database, f"by-{basis}", basis=basis)
    assert find_stale(database) == ["by-", "by-99", "by-aa00", "by-aabb00", "by-aaff", "by-bb"]
    assert len(find_stale(database, limit=2)) == 2
    assert len(find_stale(database, limit=2**31 - 1)) == 6
    assert find_stale(database, replace(BASIS, limited="aacc")).count("limited") == 1


def test_queue_find_stale_returns_what_a_clock_that_was_ahead_has_computed(database: Database) -> None:
    add(database, "plain", "limited")
    with database.begin() as work:
        work.queue.save("limited", Entry(None, BASIS.limited, NOW))
    assert find_stale(database, replace(BASIS, horizon=NOW)) == []
    assert find_stale(database, replace(BASIS, horizon=NOW - timedelta.resolution)) == ["limited", "plain"]


def test_queue_finds_the_newest_entry_that_was_made_by_another_policy(database: Database) -> None:
    """A new record's entry is of no policy. What begins with the same digits is of the same one."""

    def find() -> datetime | None:
        with database.read() as reading:
            return reading.queue.find_newest_other("aa")

    add(database, "plain", "limited", "new")
    with database.begin() as work:
        work.inventory.add(make_managed_pat("untouched"))
        work.queue.save("limited", Entry(None, "aaff", NOW + DAY))
    assert find() is None
    for basis, since in (("a9", NOW), ("ab", NOW - DAY), ("99", NOW + DAY)):
        with database.begin() as work:
            work.queue.save("new", Entry(None, basis, since))
        assert find() == since


def test_queue_has_a_stale_entry_for_a_new_record(database: Database) -> None:
    with database.begin() as work:
        work.inventory.add(make_managed_pat())
    assert (find_stale(database), list_due(database)) == (["npm-feed"], [])


def test_queue_makes_due_whatever_is_claimed(database: Database, adopt: Callable[[ManagedPat], Claim]) -> None:
    """Until an entry is saved again; nobody else computes it meanwhile."""
    claim = adopt(make_managed_pat())
    assert (list_due(database, LONG_AGO), find_stale(database)) == (["npm-feed"], [])
    with database.begin() as work:
        assert work.queue.load_free(["npm-feed"]) == ()
        assert work.claims.release(claim)
        work.queue.save("npm-feed", Entry(NOW + DAY, BASIS.plain, NOW))
    assert (list_due(database), find_stale(database)) == ([], [])
    with database.begin() as work:
        assert [pat.name for pat in work.queue.load_free(["npm-feed", "unknown"])] == ["npm-feed"]
        assert not work.claims.release(claim)


def test_queue_keeps_the_entry_of_a_record_that_is_renamed(
    database: Database, adopt: Callable[[ManagedPat], Claim]
) -> None:
    claim = adopt(make_managed_pat())
    with database.begin() as work:
        work.inventory.rename("npm-feed", "deploy", claim)
    assert list_due(database) == ["deploy"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_journal_and_revocations_load_what_belongs_to_some_names(
    database: Database, adopt: Callable[[ManagedPat], Claim], count: int
) -> None:
    """Only open rotations, and every pending revocation."""
    for name in NAMES:
        claim, closed = adopt(make_managed_pat(name)), replace(make_rotation(f"c-{name}", name), state=_CLOSED)
        place = ("build-bot", "contoso", "https://contoso-kv.vault.azure.net", f"contoso-{name}")
        moments = (NOW + DAY, NOW, NOW)
        pending = PendingRevocation(f"old-{name}", name, *place, RevocationKind.ROTATED, *moments)
        with database.begin() as work:
            work.journal.insert(closed, claim)
            work.journal.insert(make_rotation(f"o-{name}", name), claim)
            work.revocations.save(pending, claim)
    names = NAMES[:count]
    with database.read() as reading:
        assert sorted(r.id for r in reading.journal.load_open_for(names)) == [f"o-{name}" for name in names]
        assert [item.name for item in reading.revocations.load_for(names)] == list(names)
        found = reading.revocations.load_by_ids([f"old-{name}" for name in names])
        assert [item.name for item in found] == list(names)


_CLOSED = RotationState.COMPLETED
