"""What commands show together was true together: a change between two looks would be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rotator.engine.keeping import pause, rename
from rotator.engine.overview import view_plan, view_record, view_status
from rotator.ports.database import Database, Reading, UnitOfWork
from tests.support.engine import ACCOUNT, NAME, make_world


class RacedDatabase:
    """Another process changes something as soon as the first look is over."""

    def __init__(self, inner: Database, change: Callable[[], object]) -> None:
        self._inner, self._changes = inner, [change]

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """Look, and be overtaken."""
        with self._inner.read() as reading:
            yield reading
        while self._changes:
            self._changes.pop()()

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """Nothing that only looks writes."""
        raise AssertionError("a look writes")
        yield


def test_record_is_shown_when_it_is_renamed_meanwhile() -> None:
    world = make_world()
    before = world.record()
    database = RacedDatabase(world.database, lambda: rename(world.make_run(), NAME, "another"))
    assert view_record(database, world.policy, NAME, world.clock.now()).pat == before
    assert world.record("another").name == "another"


def test_status_and_plan_are_one_look_each_when_a_record_is_renamed_meanwhile() -> None:
    """The rows, what is pending for them, and the actions: all by the name that it had."""
    world = make_world()
    world.pats.ignores_revoke = lambda authorization_id: True
    world.run()
    world.advance(days=2)
    world.run()
    database = RacedDatabase(world.database, lambda: rename(world.make_run(), NAME, "another"))
    now, timing, rows = world.clock.now(), world.timing, world.show_status()
    plan = view_plan(database, world.policy, [ACCOUNT], now, settle=timing.settle, lease=timing.lease).plan
    assert [action.pat.name for action in plan.actions] == [NAME]
    assert world.record("another").name == "another"

    rename(world.make_run(), "another", NAME)
    database = RacedDatabase(world.database, lambda: rename(world.make_run(), NAME, "another"))
    view = view_status(database, world.policy, [ACCOUNT], now, settle=timing.settle, lease=timing.lease)
    assert view.rows == rows
    assert [item.name for item in view.find_pending(view.rows)] == [NAME]
    assert [memory.account for memory in view.memories] == [ACCOUNT]


def test_plan_counts_the_same_pats_as_status_when_a_person_must_sign_in() -> None:
    """Due or not; one that a person paused waits for nothing."""
    world = make_world()
    for name in ("fresh", "resting"):
        world.add_managed(name, days_left=20)
    pause(world.make_run(), "resting")
    world.pats.signed_out.add(ACCOUNT)
    world.run()
    timing = world.timing
    view = view_plan(
        world.database, world.policy, [ACCOUNT], world.clock.now(), settle=timing.settle, lease=timing.lease
    )
    assert view.hold(()).waiting == {ACCOUNT: 2}
    assert [row.name for row in world.show_status() if row.needs_sign_in] == [NAME, "fresh"]
