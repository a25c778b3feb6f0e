"""A PAT that became a task of runs only lately is not overdue, however long ago its rule would have made it due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.adapters.logs import make_progress
from rotator.domain.events.inventory import PatResumed
from rotator.domain.job_run import RunTimes
from rotator.domain.limit import LifetimeLimit
from rotator.engine.adopting import adopt, propose
from rotator.engine.alarm import Cause, Tolerance, find_findings
from rotator.engine.auditing import Author, record, record_policy
from rotator.engine.keeping import pause, rename, resume
from rotator.engine.limits import forget_limits
from rotator.engine.newly_due import find_newly_due
from rotator.engine.pausing import pause_all, resume_all
from rotator.engine.signing_in import SignInDesk
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, EngineWorld, make_world
from tests.support.engine_fakes import PersonsSignIn

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def world() -> EngineWorld:
    """A PAT that is due for 2.5 days, and a policy that runs have used for long."""
    made = make_world()
    record_policy(made.make_run())
    made.advance(hours=4)
    return made


def list_overdue(world: EngineWorld, written_at: datetime | None = None) -> list[str]:
    """What is overdue now for a check that puts up with three hours."""
    now, rows = world.clock.now(), world.show_status()
    newly_due = find_newly_due(world.database, world.policy, rows, now, 3 * HOUR, written_at)
    tolerance = Tolerance(3 * HOUR, newly_due=newly_due)
    found = find_findings(rows, (), (), RunTimes(now, now), now, tolerance)
    return [name for finding in found if finding.cause is Cause.OVERDUE for name in finding.subjects]


def adopt_late(world: EngineWorld) -> None:
    """Forget the PAT; a person adopts it, although it is due already."""
    run, identifier = world.make_run(), world.record().authorization_id
    world.forget()
    adopt(run, propose(run, [identifier], everything=False))


def resume_by_name(world: EngineWorld) -> None:
    """Pause it, for days; then resume it."""
    pause(world.make_run(), NAME)
    world.advance(hours=20)
    assert list_overdue(world) == []
    resume(world.make_run(), NAME)


def resume_everything(world: EngineWorld) -> None:
    """Pause everything, for a day."""
    pause_all(world.make_run())
    world.advance(hours=20)
    resume_all(world.make_run())


def change_policy(world: EngineWorld) -> None:
    """A run uses another policy."""
    world.policy = replace(world.policy, digest="1" * 64)
    record_policy(world.make_run())


def log_in(world: EngineWorld) -> None:
    """A person signs the account in."""
    author = Author("anna", "1", make_progress())
    desk = SignInDesk(world.database, world.clock, world.witnesses, PersonsSignIn(), author)
    desk.sign_in(ACCOUNT, "browser", lambda sign_ins: sign_ins.status(ACCOUNT))


def learn_limit(world: EngineWorld, *, before: timedelta) -> None:
    """The server was seen to grant a day only, so long ago."""
    with world.database.begin() as work:
        work.limits.save(ACCOUNT, ORGANIZATION, LifetimeLimit(DAY, world.clock.now() - before))


def lift_limit(world: EngineWorld) -> None:
    """A person has rotator forget what the server was seen to grant."""
    learn_limit(world, before=2 * DAY)
    forget_limits(world.make_run())


MADE_DUE: dict[str, Callable[[EngineWorld], object]] = {
    "adopted": adopt_late,
    "resumed": resume_by_name,
    "all resumed": resume_everything,
    "another policy": change_policy,
    "signed in": log_in,
    "limit forgotten": lift_limit,
    "limit believed no more": lambda world: learn_limit(world, before=DAY),
    "renamed": lambda world: rename(world.make_run(), NAME, "other"),
}


@pytest.mark.parametrize("act", MADE_DUE.values(), ids=MADE_DUE.keys())
def test_pat_is_not_overdue_at_once_when_something_else_than_time_made_it_due(
    world: EngineWorld, act: Callable[[EngineWorld], object]
) -> None:
    """But when no rotation has begun for as long as that since then."""
    assert list_overdue(world) == [NAME]
    act(world)
    assert list_overdue(world) == []
    world.advance(hours=3, minutes=1)
    assert len(list_overdue(world)) == 1


def test_policy_that_no_run_has_used_makes_nothing_overdue_at_once(world: EngineWorld) -> None:
    written_at = world.clock.now()
    assert list_overdue(world, written_at) == [NAME]  # the file was touched: runs use this policy
    world.policy = replace(world.policy, digest="1" * 64)
    assert list_overdue(world, written_at) == []
    world.advance(hours=3, minutes=1)
    assert list_overdue(world, written_at) == [NAME]


def test_pat_that_has_expired_is_overdue_although_it_was_just_adopted(world: EngineWorld) -> None:
    world.advance(days=4, hours=19)
    adopt_late(world)
    assert list_overdue(world) == []
    world.advance(hours=2)
    assert list_overdue(world) == [NAME]


def test_event_about_another_pat_or_dated_ahead_excuses_nothing(world: EngineWorld) -> None:
    world.add_managed("other", days_left=20)
    pause(world.make_run(), "other")
    resume(world.make_run(), "other")
    assert list_overdue(world) == [NAME]
    with world.database.begin() as work:
        record(work, world.make_run(), NAME, PatResumed(), world.clock.now() + 400 * DAY)
    assert list_overdue(world) == [NAME]


def test_altered_log_excuses_nothing(world: EngineWorld) -> None:
    resume_by_name(world)
    assert list_overdue(world) == []
    world.database.spoil(NAME, "pat_resumed")
    assert list_overdue(world) == [NAME]
