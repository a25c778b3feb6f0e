"""The queue, on the fakes: what runs enter, and what is computed anew when the policy or a limit changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from rotator.domain.limit import LifetimeLimit
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.next_step import LONG_AGO
from rotator.domain.policy import Decision, Policy, RuleAction
from rotator.domain.settling import make_settled_at
from rotator.domain.threshold import Threshold
from rotator.engine.claiming import claimed
from rotator.engine.keeping import pause, resume
from rotator.engine.queue import BATCH, enter, load_due, make_basis
from rotator.engine.run import run_once
from rotator.ports.queue import Entry
from tests.support.clock import FakeClock
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, EngineWorld, make_world
from tests.support.policies import RULE, make_policy

DAY = timedelta(days=1)


def find_next(world: EngineWorld) -> datetime | None:
    """The earliest moment ahead."""
    with world.database.read() as reading:
        return reading.queue.find_next(world.clock.now())


def list_due(world: EngineWorld) -> list[str]:
    """What a run would work on now."""
    return [matter.pat.name for matter in load_due(world.make_run())]


def test_run_enters_when_the_overlap_ends_and_then_when_the_new_pat_is_due() -> None:
    world = make_world()
    assert list_due(world) == [NAME]
    world.run()
    until = world.rotations()[0].overlap_until
    assert until is not None
    assert (list_due(world), find_next(world)) == ([], until)
    world.clock.advance(until - world.clock.now())
    assert list_due(world) == [NAME]
    world.run()
    pat = world.record()
    assert (list_due(world), find_next(world)) == ([], pat.valid_to - pat.lifetime / 4)


def test_record_is_due_when_its_run_died_and_until_it_is_given_back() -> None:
    world = make_world()
    world.run_and_die(after="minted")
    assert list_due(world) == [NAME]
    world.advance(minutes=6)
    world.run()
    assert list_due(world) == []
    with claimed(world.make_run(), NAME):
        assert list_due(world) == []  # another run has it, and there is nothing to do
        with world.database.read() as reading:
            assert [pat.name for pat in reading.queue.load_due(LONG_AGO)] == [NAME]
    assert find_next(world) is not None


def test_pausing_and_resuming_enter_the_record_anew() -> None:
    world = make_world()
    pause(world.make_run(), NAME)
    assert (list_due(world), find_next(world)) == ([], None)
    resume(world.make_run(), NAME)
    assert list_due(world) == [NAME]


def test_new_policy_makes_every_entry_anew_in_transactions_of_bounded_size() -> None:
    count = 2 * BATCH + 1
    world = make_world(*(f"pat-{number:04}" for number in range(count)))
    load_due(world.make_run())
    assert len(list_due(world)) == count
    world.policy = make_policy(replace(RULE, action=RuleAction.ALERT))
    begun = world.database.begun
    assert list_due(world) == []
    assert world.database.begun - begun == 3
    load_due(world.make_run())
    assert world.database.begun - begun == 3


def test_limit_that_is_learned_or_forgotten_makes_anew_what_it_puts_off() -> None:
    world = make_world(policy=make_policy(replace(RULE, rotate_before=Threshold(duration=8 * DAY))))
    assert list_due(world) == [NAME]
    with world.database.begin() as work:
        work.limits.save(ACCOUNT, ORGANIZATION, LifetimeLimit(7 * DAY, world.clock.now()))
    assert list_due(world) == []
    put_off = find_next(world)
    assert put_off is not None
    with world.database.begin() as work:
        work.limits.forget(ACCOUNT, ORGANIZATION)
    assert list_due(world) == [NAME]


def test_entry_that_a_clock_ahead_has_made_is_made_anew_when_the_clock_is_right() -> None:
    world = make_world()
    world.host_clock.ahead = 3650 * DAY
    with claimed(world.make_run(), NAME) as held:
        failed = replace(held.pat, failures=1, retry_at=world.host_clock.now() + timedelta(minutes=5))
        held.save(failed)
    assert list_due(world) in ([], [NAME])
    world.host_clock.ahead = timedelta(0)
    assert list_due(world) == [NAME]


class BrokenPolicy(Policy):
    """A policy that cannot decide about one ManagedPat, by a bug of ours."""

    def decide(self, pat: ManagedPat, *, now: datetime, longest: timedelta | None) -> Decision:
        """See `Policy`."""
        if pat.name == NAME:
            raise ZeroDivisionError
        return super().decide(pat, now=now, longest=longest)


def test_bug_about_one_record_leaves_it_due_and_its_neighbours_as_they_are() -> None:
    world = make_world("ci-build", NAME)
    sound = world.policy
    world.policy = BrokenPolicy(sound.rules, sound.guardrails, sound.digest)
    assert list_due(world) == ["ci-build", NAME]


class SteppingClock:
    """A clock that is set 20 days ahead after its first look."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock, self._looks = clock, 0

    def now(self) -> datetime:
        """Return the time, or what it was set to."""
        self._looks += 1
        return self._clock.now() + timedelta(days=20 if self._looks > 1 else 0)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._clock.sleep(seconds)


def test_entry_is_of_one_look_at_the_clock_when_that_is_set_meanwhile() -> None:
    """Else it has the moment of one time and the date of another, and nothing shows that it is wrong."""
    world = make_world()
    world.add_managed("later", days_left=25)
    run, later = world.make_run(), world.record("later")
    stepping = replace(run, services=replace(run.services, clock=SteppingClock(world.clock)))
    with world.database.begin() as work:
        enter(work, run, [later])
    with world.database.read() as reading:
        expected = reading.queue.find_next(world.clock.now())
    with world.database.begin() as work:
        enter(work, stepping, [later])
    with world.database.read() as reading:
        assert reading.queue.find_next(world.clock.now()) == expected


def test_request_without_an_answer_is_entered_for_the_end_of_its_wait_and_is_not_due_before() -> None:
    world = make_world()
    world.pats.postpone_mint()
    world.run()
    [rotation] = world.rotations()
    until = make_settled_at(rotation, world.record(), world.timing.settle)
    assert until is not None
    assert find_next(world) == until
    with world.database.begin() as work:
        basis = make_basis(world.policy, world.timing.settle, {}, world.clock.now())
        work.queue.save(NAME, Entry(LONG_AGO, basis.plain, world.clock.now()))
    assert (list_due(world), find_next(world)) == ([], until)
    world.clock.advance(until - world.clock.now())
    assert list_due(world) == [NAME]


def test_run_whose_queue_another_user_keeps_begins_with_what_expires_first() -> None:
    world = make_world("a", "b")
    world.add_managed("c", days_left=1)
    alert = make_policy(replace(RULE, action=RuleAction.ALERT))
    run_once(replace(world.make_run(), actor="other@host", policy=replace(alert, digest="2" * 64)))
    world.advance(minutes=1)
    assert list_due(world) == ["c", "a", "b"]
    with world.database.read() as reading:
        basis = make_basis(world.policy, world.timing.settle, {}, world.clock.now())
        assert len(reading.queue.find_stale(basis, 9)) == 3
