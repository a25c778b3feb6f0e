"""What the monitoring keeps in memory of the PATs: the same as a look at all of them, for the price of what changed."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import NoReturn

import pytest

from rotator.domain.events.inventory import PatAdopted
from rotator.domain.job_run import JobName
from rotator.domain.policy import Match, RuleAction
from rotator.engine.auditing import record
from rotator.engine.jobs import JobResult, probe_values, reconcile_all, refresh_sign_ins, work_due
from rotator.engine.keeping import forget, pause, rename, resume
from rotator.engine.measuring import RotationTally, measure
from rotator.engine.pausing import pause_all, resume_all
from rotator.engine.periods import do_in_period
from rotator.engine.pulse import Pulse
from rotator.engine.status import PatState
from rotator.engine.status_memory import Board, StatusMemory
from rotator.errors import DatabaseError, RotatorError, SignInRequiredError, TransientError
from tests.support.engine import ACCOUNT, OVERLAP, EngineWorld, make_world
from tests.support.policies import RULE, make_policy

DAY = timedelta(days=1)
AWAY = TransientError("it is away", service="azure_devops", operation="ask", code="server_error")
BY_HAND = replace(RULE, name="by-hand", match=Match(display_name="manual"), action=RuleAction.ALERT)


def look(world: EngineWorld, memory: StatusMemory) -> Board:
    """One look now, with that memory."""
    timing = world.timing
    with world.database.read() as reading:
        return memory.look(reading, world.policy, world.clock.now(), settle=timing.settle, lease=timing.lease)


def do_shared(world: EngineWorld, job: JobName, act: Callable[..., JobResult]) -> None:
    """One period of a job of the daemon."""
    world.advance(seconds=1)
    do_in_period(world.make_run(), job, world.clock.now(), "daemon-1", act)


def adopt(world: EngineWorld, name: str, days_left: float) -> None:
    """One more record, as it is adopted."""
    added = world.add_managed(name, days_left=days_left)
    event = PatAdopted(
        account=added.account,
        organization=added.organization,
        authorization_id=added.authorization_id,
        vault=added.vault,
        secret_name=added.secret_name,
        rule=RULE.name,
    )
    with world.database.begin() as work:
        record(work, world.make_run(), name, event, world.clock.now())


def lapse(world: EngineWorld) -> None:
    """The sign-in of an account ends, and this is met."""
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("it lapsed", account=ACCOUNT)
    refresh_sign_ins(world.make_run())


def revoke_outside(world: EngineWorld, chance: random.Random) -> None:
    """Somebody revokes a PAT on the web page, if there is one."""
    for fake in chance.sample(world.pats.live_pats(), min(1, len(world.pats.live_pats()))):
        fake.revoked = True


def make_long_world(chance: random.Random) -> tuple[EngineWorld, list[Callable[[], object]]]:
    """A world of a few PATs, and what may happen in it."""
    world = make_world("a", "b", policy=make_policy(BY_HAND, replace(RULE, overlap=OVERLAP)))
    for name, days in (("fresh", 20), ("manual", 9), ("late", 0.5)):
        world.add_managed(name, days_left=days)
    pulse = Pulse("daemon-1", world.clock.now())
    names = ["a", "b", "fresh", "manual", "late"]
    steps: list[Callable[[], object]] = [
        *[lambda: work_due(world.make_run(), pulse)] * 6,
        *[partial(do_shared, world, JobName.RECONCILE, reconcile_all)] * 2,
        *[partial(do_shared, world, JobName.PROBE, partial(probe_values, period=DAY))] * 2,
        *[lambda: world.advance(hours=chance.choice([0.1, 1, 7, 23, 25]))] * 5,
        lambda: world.advance(days=chance.choice([2, 5, 9])),
        lambda: refresh_sign_ins(world.make_run()),
        lambda: pause(world.make_run(), chance.choice(names)),
        lambda: resume(world.make_run(), chance.choice(names)),
        lambda: forget(world.make_run(), chance.choice(names)),
        lambda: rename(world.make_run(), chance.choice(names), "renamed"),
        lambda: adopt(world, f"new-{world.clock.now():%j%H%M%S}", days_left=chance.choice([1, 8, 25])),
        lambda: pause_all(world.make_run()),
        lambda: resume_all(world.make_run()),
        partial(lapse, world),
        world.heal,
        partial(revoke_outside, world, chance),
        lambda: world.pats.fail("mint", AWAY),
        lambda: world.secrets.fail("store", AWAY),
    ]
    return world, steps


@pytest.mark.parametrize("seed", range(20))
def test_memory_shows_what_a_look_at_everything_shows(seed: int) -> None:
    chance = random.Random(seed)
    world, steps = make_long_world(chance)
    memory, seen = StatusMemory(), set[PatState]()
    for _ in range(60):
        with suppress(RotatorError):  # what is refused changes nothing
            chance.choice(steps)()
        found = look(world, memory)
        assert found == look(world, StatusMemory())
        assert found.rows == world.show_status()
        seen.update(row.state for row in found.rows)
    assert len(seen) > 3


@pytest.mark.parametrize("part", ["inventory", "journal", "probes"])
def test_look_that_the_database_ended_half_way_hides_nothing_from_the_next(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """The first look, which reads everything, and one that reads what changed since."""
    world, memory = make_world("a", "b"), StatusMemory()
    for name, act in (("load_all", lambda: None), ("load_named", lambda: pause(world.make_run(), "a"))):
        act()
        with world.database.read() as reading, monkeypatch.context() as patch:
            names = {"inventory": [name], "journal": ["load_open", "load_open_for"], "probes": ["load_results"]}
            for method in names[part]:
                patch.setattr(type(getattr(reading, part)), method, _lose_the_database)
            with pytest.raises(DatabaseError):
                look(world, memory)
        assert look(world, memory) == look(world, StatusMemory())


def _lose_the_database(*_: object) -> NoReturn:
    raise DatabaseError("the connection was lost", code="database_unreachable")


def test_look_reads_no_record_while_nothing_happens_and_then_those_it_happened_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is rendered again either: the figures are the very same object."""
    world = make_world("a", "b")
    world.add_managed("fresh", days_left=20)
    memory, pulse, asked = StatusMemory(), Pulse("daemon-1", world.clock.now()), list[str]()

    def measure_now() -> object:
        return measure(world.make_run(), world.database, (), RotationTally(), memory).pats

    def watch(reader: type, name: str, *, refuses: bool) -> None:
        load = getattr(reader, name)

        def note(self: object, *given: Iterable[str]) -> object:
            if "/rotator/engine/status" in sys._getframe(1).f_code.co_filename:
                assert given or not refuses, f"a tick called {name}"
                asked.append(f"{name} {', '.join(sorted(given[0])) if given else ''}")
            return load(self, *given)

        monkeypatch.setattr(reader, name, note)

    work_due(world.make_run(), pulse)
    world.advance(hours=25)
    work_due(world.make_run(), pulse)
    world.advance(minutes=2)
    before = measure_now()
    with world.database.read() as reading:
        for part, names in (
            (reading.inventory, ("load_all", "load_named", "load_untracked")),
            (reading.journal, ("load_open", "load_open_for")),
            (reading.probes, ("load_results",)),
        ):
            for name in names:
                watch(type(part), name, refuses=True)
    world.advance(minutes=5)
    work_due(world.make_run(), pulse)
    assert (measure_now() is before, asked) == (True, [])
    pause(world.make_run(), "fresh")
    assert measure_now() is not before
    assert asked == ["load_named fresh", "load_open_for fresh", "load_results fresh"]
