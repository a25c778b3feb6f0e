"""How long a dead daemon's work lies: counted in heartbeats, on a clock that is moved by seconds."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from rotator.engine.jobs import work_due
from tests.support.engine import EngineWorld, make_world
from tests.support.engine_fakes import ProcessDied
from tests.unit.test_engine_heartbeats import BEAT, MARKS, Replica

SECOND = timedelta(seconds=1)
LATE = ("minting", "storing")
"""The request may take effect late: what is looked at then is left alone until `rotation.settle` has passed."""
PHASES = range(0, 30, 3)
"""How many seconds after the dead one's the heart of another one beats."""


class Colleague(Replica):
    """A daemon that is awake when its heart beats, and when a heartbeat told it to work; and at no other time."""

    def __init__(self, world: EngineWorld, host: str, beats_at: datetime) -> None:
        super().__init__(world, host)
        self.beats_at, self.beats = beats_at, 0
        self.works_at: datetime | None = None

    def wake(self, *, works: bool) -> bool:
        """Do what is to be done now; return whether that was work."""
        now = self.world.clock.now()
        if now >= self.beats_at:
            self.beats, self.beats_at = self.beats + 1, now + BEAT
            left = self.beat()
            if left is not None:
                self.works_at = min(now + left, self.works_at or now + left)
        if not works or self.works_at is None or now < self.works_at:
            return False
        self.works_at = None
        work_due(self.make_run(), self.pulse)
        return True


def make_colleagues(phase: int) -> tuple[EngineWorld, Replica, list[Colleague]]:
    """One that has just said that it lives, and two others that know its heart; a PAT is due."""
    world = make_world()
    start = world.clock.now()
    mortal = Replica(world, "a")
    others = [
        Colleague(world, host, start + SECOND * (number % 30)) for host, number in (("b", phase), ("c", phase + 11))
    ]
    for other in others:
        other.pulse.work_began_at = start
    for second in range(91):
        if second % 30 == 0:
            mortal.beat()
        for other in others:
            other.wake(works=False)
        if second < 90:
            world.clock.advance(SECOND)
    for other in others:
        other.beats, other.works_at = 0, None
    return world, mortal, others


@pytest.mark.parametrize("after", [0, 14, 29])
@pytest.mark.parametrize("mark", MARKS)
def test_work_of_a_dead_daemon_is_gone_on_with_two_heartbeats_after_its_last_one(mark: str, after: int) -> None:
    """At whatever step it died, however the others' hearts beat: after two of each of them, and not a second more."""
    for phase in PHASES:
        world, mortal, others = make_colleagues(phase)
        last = world.clock.now()
        world.clock.advance(after * SECOND)
        world.database.interrupts[mark] = world.database.die
        with pytest.raises(ProcessDied):
            mortal.run()
        world.database.revive()
        epoch = world.record().epoch
        while not [other for other in others if other.wake(works=True)]:
            world.clock.advance(SECOND)
        assert world.clock.now() - last == 2 * BEAT, phase
        assert max(other.beats for other in others) <= 2
        assert world.record().epoch > epoch or mark in LATE, phase
