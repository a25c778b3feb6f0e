"""The port Probes, on every database: which values are to be tried, and what is known of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from rotator.domain.managed_pat import ManagedPat
from rotator.domain.probe import Probe
from rotator.ports.claims import Claim
from rotator.ports.database import Database
from tests.support.records import DAY, NOW, make_managed_pat

HORIZON = NOW + DAY


def add(database: Database, **next_at: datetime | None) -> None:
    """Records with these names, each to be tried at that moment; None: it was never tried."""
    with database.begin() as work:
        for name in next_at:
            work.inventory.add(make_managed_pat(name))
    for name, moment in next_at.items():
        if moment is not None:
            enter(database, name, Probe(f"id-{name}", moment, True))


def enter(database: Database, name: str, probe: Probe) -> bool:
    """Enter what a try showed."""
    with database.begin() as work:
        found = work.inventory.load(name)
        assert found is not None
        return work.probes.save(found.record_id or "", probe)


def load_due(database: Database, now: datetime = NOW, limit: int = 9) -> list[tuple[str, Probe | None]]:
    """What is to be tried."""
    with database.read() as reading:
        return [(pat.name, probe) for pat, probe in reading.probes.load_due(now, HORIZON, limit)]


def load_results(database: Database) -> dict[str, bool]:
    """What is known."""
    with database.read() as reading:
        return dict(reading.probes.load_results())


def test_value_is_due_when_it_was_never_tried_or_its_moment_has_come(database: Database) -> None:
    """Never tried first, then the one that has waited longest; a moment beyond the horizon is that of a wrong clock."""
    add(database, late=NOW - DAY, now=NOW, ahead=NOW + DAY, beyond=HORIZON + DAY, never=None)
    due = [("never", None), ("late", Probe("id-late", NOW - DAY, True)), ("now", Probe("id-now", NOW, True))]
    assert load_due(database) == [*due, ("beyond", Probe("id-beyond", HORIZON + DAY, True))]
    assert load_due(database, limit=2) == due[:2]
    assert [name for name, _ in load_due(database, NOW + DAY)] == ["never", "late", "now", "ahead", "beyond"]


def test_value_is_not_due_without_a_pat_or_while_its_record_is_claimed(
    database: Database, adopt: Callable[[ManagedPat], Claim]
) -> None:
    adopt(make_managed_pat("claimed"))
    with database.begin() as work:
        work.inventory.add(replace(make_managed_pat("unmade"), authorization_id=""))
    with database.read() as reading:
        assert (load_due(database), reading.probes.count()) == ([], 1)


def test_result_is_kept_as_long_as_the_pat_is_the_current_one(
    database: Database, adopt: Callable[[ManagedPat], Claim]
) -> None:
    """Also under another name; of the next PAT nothing is known, and of a PAT that was replaced nothing is entered."""
    record = make_managed_pat("ci-build")
    claim = adopt(record)
    refused = Probe("id-ci-build", NOW, works=False, failures=3)
    assert enter(database, "ci-build", refused)
    assert load_results(database) == {"ci-build": False}
    with database.begin() as work:
        work.inventory.rename("ci-build", "ci", claim)
    assert (load_results(database), load_due(database)) == ({"ci": False}, [("ci", refused)])
    with database.begin() as work:
        taken = work.claims.claim("ci", "run-2", now=NOW, span=DAY)
        work.inventory.save(replace(record, name="ci", authorization_id="id-2"), taken)
        work.claims.release(taken)
    assert (load_results(database), load_due(database)) == ({}, [("ci", refused)])
    assert not enter(database, "ci", refused)
    assert enter(database, "ci", Probe("id-2", NOW + DAY))
    assert (load_results(database), load_due(database)) == ({}, [])
