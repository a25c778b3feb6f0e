"""A promoted standby that may have lost commits: every secret is looked at before anything is minted or revoked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import SubjectKind
from rotator.domain.managed_pat import Hold
from rotator.engine.auditing import load_events
from rotator.engine.claiming import ClaimedPat
from rotator.engine.failover import DATABASE, reconcile_timeline
from rotator.engine.keeping import revoke_current
from rotator.engine.looking import look
from rotator.engine.rebuilding import rebuild
from rotator.engine.report import OutcomeKind
from rotator.engine.run import recover_interrupted
from rotator.errors import FailoverError, RotatorError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Database, UnitOfWork
from tests.support.engine import NAME, EngineWorld, codes_of, make_world, names_of
from tests.support.engine_scenarios import make_busy

FIRST = "timeline_reconciled succeeded"
CHANGED = "timeline_changed unknown"


def make_seen(*names: str) -> EngineWorld:
    """A world whose database is on timeline 1, and a run has seen that; nothing was due."""
    world = make_world(*names)
    world.database.clocks.timeline = "a1/1"
    return world


def promote(world: EngineWorld, timeline: str = "a1/2") -> None:
    """Another server takes over."""
    world.database.clocks.timeline = timeline


def list_lasting(world: EngineWorld) -> list[str]:
    """The subjects of the condition that a failover begins."""
    with world.database.read() as reading:
        return [c.subject for c in reading.conditions.load() if c.kind is ConditionKind.TIMELINE_CHANGED]


def list_kinds(world: EngineWorld) -> list[ConditionKind]:
    """What lasts of the ManagedPat."""
    with world.database.read() as reading:
        return [c.kind for c in reading.conditions.load() if c.subject == NAME]


def test_timeline_is_noted_when_it_is_first_seen() -> None:
    world = make_seen()
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    world.run()
    assert world.events(DATABASE) == [FIRST]


class Overtaken:
    """A database on which another run does something before this one's next change."""

    def __init__(self, inner: Database, other: Callable[[], object]) -> None:
        self._inner, self._others = inner, [other]
        self.read = inner.read

    def begin(self) -> AbstractContextManager[UnitOfWork]:
        """See the port."""
        if self._others:
            self._others.pop()()
        return self._inner.begin()


def test_replicas_that_look_at_the_same_time_tell_of_a_timeline_once() -> None:
    """Of the first one, of another one, and of the end of what a failover began."""
    world = make_seen()

    def note(held: ClaimedPat, error: RotatorError) -> None:
        raise AssertionError(error)

    def look_together() -> None:
        other, run = world.make_run(), world.make_run()
        database = Overtaken(run.services.database, lambda: reconcile_timeline(other, note))
        reconcile_timeline(replace(run, services=replace(run.services, database=database)), note)

    look_together()
    assert world.events(DATABASE) == [FIRST]
    promote(world)
    look_together()
    assert world.events(DATABASE) == [FIRST, CHANGED, FIRST]
    promote(world, "a1/3")
    world.secrets.fail("fetch_versions", make_busy("fetch_versions", "key_vault"), times=9)
    look_together()
    assert world.events(DATABASE) == [FIRST, CHANGED, FIRST, CHANGED]
    world.heal()
    look_together()
    assert world.events(DATABASE) == [FIRST, CHANGED, FIRST, CHANGED, FIRST]


def test_command_by_hand_is_the_first_one_when_no_run_has_seen_the_timeline() -> None:
    world = make_seen()
    assert names_of(world.rotate(NAME), OutcomeKind.ROTATED) == [NAME]
    world.run()
    assert world.events(DATABASE) == [FIRST]


def test_run_goes_on_when_a_failover_lost_nothing() -> None:
    """It says so, after a look at every secret."""
    world = make_seen()
    world.run()
    world.advance(hours=24)
    promote(world)
    assert names_of(world.run(), OutcomeKind.RETIRED) == [NAME]
    assert world.events(DATABASE) == [FIRST, CHANGED, FIRST]
    assert list_lasting(world) == []


@pytest.mark.parametrize("recovers", [False, True])
def test_record_is_blocked_when_a_failover_lost_its_rotation(recovers: bool) -> None:
    """At once, although it is not due; a rebuild from the vault puts it right, and the condition ends."""
    world = make_seen("other")
    world.add_managed(NAME, days_left=20)
    world.run()
    lose = world.database.back_up()
    world.rotate(NAME)
    lose()
    promote(world)
    report = recover_interrupted(world.make_run()) if recovers else world.run()
    assert codes_of(report, OutcomeKind.BLOCKED) == ["database_behind"]
    assert (world.record().blocked, world.revoked_ids(), world.count("mint")) == (True, [], 2)
    assert list_lasting(world) == [DATABASE]
    world.run()
    assert world.events(DATABASE) == [FIRST, CHANGED]
    assert world.events().count("rotation_blocked failed") == 1
    rebuild(world.make_run(), look(world.make_run()))
    world.run()
    assert world.events(DATABASE) == [FIRST, CHANGED, FIRST]
    assert (world.record().blocked, list_lasting(world)) == (False, [])


def test_pat_no_longer_counts_as_vanished_when_a_failover_lost_what_replaced_it() -> None:
    """The vault explains why it is gone: the database is behind, and that is told instead."""
    world = make_seen()
    world.run()
    world.advance(hours=25)
    world.run()
    world.pats.pats[world.record().authorization_id].revoked = True
    world.run()
    lose = world.database.back_up()
    world.rotate(NAME)
    lose()
    assert list_kinds(world) == [ConditionKind.PAT_VANISHED]
    promote(world)
    world.run()
    assert (world.record().hold, list_kinds(world)) == (
        Hold.DATABASE_BEHIND,
        [ConditionKind.ROTATION_BLOCKED],
    )


def test_others_are_rotated_when_a_secret_cannot_be_read_after_a_failover() -> None:
    world = make_seen("other")
    world.run()
    world.add_managed(NAME)
    promote(world)
    world.secrets.fail("fetch_versions", make_busy("fetch_versions", "key_vault"))
    assert NAME in names_of(world.run(), OutcomeKind.ROTATED)
    assert list_lasting(world) == [DATABASE]
    world.run()
    assert world.events(DATABASE) == [FIRST, CHANGED, FIRST]


def test_nothing_is_minted_by_hand_when_nobody_has_looked_since_a_failover() -> None:
    world = make_seen()
    world.run()
    promote(world)
    world.advance(hours=25)
    world.add_managed("other", days_left=20)
    report = world.rotate("other")
    assert codes_of(report, OutcomeKind.FAILED) == [FailoverError.code]
    assert (world.count("mint"), world.record("other").failures) == (1, 0)
    world.run()
    assert names_of(world.rotate("other"), OutcomeKind.ROTATED) == ["other"]


def test_nothing_is_revoked_when_a_failover_comes_after_the_look() -> None:
    world = make_seen()
    world.run()
    world.advance(hours=24)

    def read() -> bool:
        promote(world)
        return False

    world.secrets.is_stale = read
    report = world.run()
    assert codes_of(report, OutcomeKind.FAILED) == [FailoverError.code]
    assert world.revoked_ids() == []
    assert names_of(world.run(), OutcomeKind.RETIRED) == [NAME]
    promote(world, "a1/3")
    with pytest.raises(FailoverError):
        revoke_current(world.make_run(), NAME)


def test_every_record_is_counted_when_some_are_behind_held_or_unread() -> None:
    """One that another run works on is counted too, and those after it are blocked all the same."""
    unread, behind = ("a", "b"), ("c", "d", "e")
    world = make_seen("other")
    for name in (*behind, *unread):
        world.add_managed(name, days_left=20)
    world.run()
    lose = world.database.back_up()
    world.rotate(*behind)
    lose()
    promote(world)
    with world.database.begin() as work:
        work.claims.claim("c", "other-run", now=work.now(), span=world.timing.lease)
    world.secrets.fail("fetch_versions", make_busy("fetch_versions", "key_vault"), times=len(unread))
    noted: list[str] = []
    reconcile_timeline(world.make_run(), lambda held, error: noted.append(f"{held.pat.name} {error.code}"))
    assert noted == ["d database_behind", "e database_behind"]
    details = list(load_events(world.database, AuditFilter(subject=DATABASE)))[-1].entry.details
    assert (details["previous"], details["behind"], details["unread"]) == ("a1/1", 3, 2)
    assert world.told[-1][1][SubjectKind.DATABASE.key] == DATABASE


def test_failover_is_over_when_a_secret_holds_nothing() -> None:
    world = make_seen()
    world.run()
    world.add_managed("other", days_left=20)
    world.secrets.soft_delete(world.location("other"))
    promote(world)
    world.run()
    assert world.events(DATABASE) == [FIRST, CHANGED, FIRST]
