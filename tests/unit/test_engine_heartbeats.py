"""The claims of a daemon bind by its heartbeats: it stops before others take over, and what thaws does nothing."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.adapters.database.watch import ClaimsWatch
from rotator.domain.condition import ConditionKind
from rotator.domain.events.daemon import DaemonCrashed, DaemonsAgreed, DaemonsMixed
from rotator.domain.policy import Policy, RuleAction
from rotator.domain.threshold import Threshold
from rotator.engine.auditing import find_lasting, load_events, record_policy
from rotator.engine.claiming import claimed
from rotator.engine.context import RunContext, Services
from rotator.engine.jobs import beat, work_due
from rotator.engine.keeping import rename
from rotator.engine.lives import end_life
from rotator.engine.pulse import Pulse
from rotator.engine.queue import make_basis
from rotator.engine.report import OutcomeKind, RunReport
from rotator.engine.run import run_once
from rotator.engine.stalled import note_once
from rotator.errors import ClaimHeldError, ClaimLostError, DatabaseUnreachableError
from rotator.ports.audit_log import AuditFilter
from tests.support.clock import FakeClock
from tests.support.engine import MUTATIONS, NAME, EngineWorld, codes_of, make_world, names_of
from tests.support.engine_fakes import CommitFault, ProcessDied
from tests.support.policies import RULE, make_policy
from tests.support.stop import make_stop

BEAT = timedelta(seconds=30)
MIXED = "versions 1.0 (rotator@a), 1.1 (rotator@b)"
MARKS = ["planned", "minting", "minted", "verified", "storing", "stored"]


class Replica:
    """A daemon on a host of its own: its runs and its heartbeats."""

    def __init__(self, world: EngineWorld, host: str) -> None:
        self.world, self.process, self.actor = world, f"{host}#1.1", f"rotator@{host}"
        self.pulse = Pulse(f"start@{self.process}", world.clock.now(), 2 * BEAT, "1.0")
        self._services: Services = world.make_services()
        self.watch = ClaimsWatch()
        self.policy: Policy | None = None

    def make_run(self) -> RunContext:
        """A run of it, which sees with its own eyes."""
        self.world.database.clocks.watch = self.watch
        run = self.world.make_run(self._services)
        policy = self.policy or run.policy
        return replace(run, claimant=f"{run.run_id}@{self.process}", pulse=self.pulse, actor=self.actor, policy=policy)

    def beat(self) -> timedelta | None:
        """Its heartbeat; how long it leaves until the next work, if it says so."""
        found = beat(self.make_run(), self.pulse).work_at
        return None if found is None else found - self.world.clock.now()

    def run(self) -> RunReport:
        """Its work."""
        return self.world.watch(lambda: run_once(self.make_run()))


def make_replicas() -> tuple[EngineWorld, Replica, Replica]:
    """Two that live, and something that is due."""
    world = make_world()
    first, second = Replica(world, "a"), Replica(world, "b")
    first.beat()
    second.beat()
    return world, first, second


def list_mutations(world: EngineWorld) -> list[str]:
    """What was sent so far."""
    return [mark for mark in world.timeline if mark in MUTATIONS]


@pytest.mark.parametrize("beats_first", [False, True])
@pytest.mark.parametrize("mark", MARKS)
def test_frozen_daemon_that_thaws_does_nothing_when_another_one_took_over(mark: str, beats_first: bool) -> None:
    """Long before its lease ends; also when its heartbeat is the first that goes on, and says that it lives."""
    world, first, second = make_replicas()
    frozen: dict[str, object] = {}

    def freeze() -> None:
        world.clock.advance(2 * BEAT)
        with world.database.begin() as work:  # the other one has it, and did nothing yet
            work.claims.claim(NAME, f"other@{second.process}", now=work.now(), span=world.timing.lease)
        frozen.update(sent=list_mutations(world), states=world.states())
        if beats_first:
            first.beat()

    world.database.interrupts[mark] = freeze
    assert codes_of(first.run(), OutcomeKind.FAILED) == ["claim_lost"]
    assert frozen == {"sent": list_mutations(world), "states": world.states()}
    world.advance(minutes=11)
    world.finish()


@pytest.mark.parametrize("mark", MARKS)
def test_late_heartbeat_costs_no_claim_when_nobody_took_over(mark: str) -> None:
    """The job that beats had no turn for five of its intervals; the work itself says that the daemon lives."""
    world, first, _ = make_replicas()
    world.database.interrupts[mark] = lambda: world.clock.advance(4 * BEAT)
    assert names_of(first.run(), OutcomeKind.ROTATED) == [NAME]
    assert list_mutations(world).count("mint") == 1
    with world.database.read() as reading:
        newest = {found.process: found for found in reading.job_runs.load_heartbeats()}[first.process]
    said = (newest.beat_at, newest.actor, newest.version, newest.policy)
    assert said == (world.clock.now(), first.actor, first.pulse.version, world.policy.digest)
    world.finish()


def test_claim_is_not_taken_over_while_the_heart_beats() -> None:
    world, first, second = make_replicas()
    with claimed(first.make_run(), NAME):
        for _ in range(4):
            world.clock.advance(BEAT)
            first.beat()
            assert second.beat() is None
            with pytest.raises(ClaimHeldError), claimed(second.make_run(), NAME):
                pass


@pytest.mark.parametrize("is_back", [False, True])
@pytest.mark.parametrize("mark", MARKS)
def test_command_that_just_began_watches_a_silent_daemon_before_it_goes_on(mark: str, *, is_back: bool) -> None:
    """It has seen no heartbeat, and a clock may have made a step. A daemon that is back meanwhile keeps its work."""
    world, first, _ = make_replicas()
    world.database.interrupts[mark] = world.database.die
    with pytest.raises(ProcessDied):
        first.run()
    world.database.revive()
    world.clock.advance(BEAT + timedelta(seconds=1))
    before, sent = world.clock.now(), list_mutations(world)
    world.database.clocks.watch = ClaimsWatch()
    if is_back:
        world.stop = make_stop(ClockWithBeats(world.clock, first))
    report = world.watch(lambda: run_once(world.make_run()))
    assert world.clock.now() - before >= 2 * BEAT
    assert bool(report.of_kind(OutcomeKind.HELD)) == is_back
    assert not is_back or list_mutations(world) == sent


@pytest.mark.parametrize("is_back", [False, True])
def test_command_on_one_pat_watches_the_silent_daemon_that_holds_it(*, is_back: bool) -> None:
    """Each command is a process that has seen no heartbeat: else none would ever get it from a host that died."""
    world, first, _ = make_replicas()
    world.database.interrupts["minting"] = world.database.die
    with pytest.raises(ProcessDied):
        first.run()
    world.database.revive()
    world.clock.reboot()  # to the command it was claimed elsewhere
    world.clock.advance(BEAT + timedelta(seconds=1))
    world.database.clocks.watch = ClaimsWatch()
    if is_back:
        world.stop = make_stop(ClockWithBeats(world.clock, first))
    before = world.clock.now()
    with pytest.raises(ClaimHeldError) if is_back else nullcontext(), claimed(world.make_run(), NAME):
        pass
    assert world.clock.now() - before == 2 * BEAT


def test_rename_watches_the_silent_daemon_that_holds_it() -> None:
    """It claims for the length of a transaction, and is a process that has seen no heartbeat, like any command."""
    world = hold_by_the_dead()
    assert rename(world.make_run(), NAME, "renamed").name == "renamed"


def hold_by_the_dead() -> EngineWorld:
    """A daemon of a host that is gone holds a claim; a process begins that has seen nothing."""
    world, first, _ = make_replicas()
    with world.database.begin() as work:
        work.claims.claim(NAME, f"run-1@{first.process}", now=work.now(), span=world.timing.lease)
    world.clock.reboot()  # to the command it was claimed elsewhere
    world.clock.advance(timedelta(hours=1))
    world.database.clocks.watch = ClaimsWatch()
    return world


class ClockWithBeats:
    """A clock in whose sleeps a daemon goes on."""

    def __init__(self, clock: FakeClock, replica: Replica) -> None:
        self._clock, self._replica = clock, replica

    def now(self) -> datetime:
        """The time."""
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        """Move the time on; in the middle of that the daemon says that it lives."""
        self._clock.sleep(seconds / 2)
        self._replica.beat()
        self._clock.sleep(seconds / 2)


@pytest.mark.parametrize("step", [timedelta(seconds=61), timedelta(hours=1), timedelta(minutes=-61)])
def test_step_of_the_databases_clock_takes_no_work_from_anybody(step: timedelta) -> None:
    world, first, second = make_replicas()
    for _ in range(3):
        world.clock.advance(BEAT)
        first.beat()
        second.beat()
    with claimed(first.make_run(), NAME) as held:
        world.database.skew = step
        for _ in range(3):
            with pytest.raises(ClaimHeldError), claimed(second.make_run(), NAME):
                pass
            assert second.beat() != timedelta(0)
            held.check_claim()
            world.clock.advance(BEAT)
            first.beat()


def test_claim_is_taken_over_two_heartbeats_after_the_last_one() -> None:
    """The other's heartbeat says when, and its work goes on then; the old holder can send and write nothing more."""
    world, first, second = make_replicas()
    work_due(second.make_run(), second.pulse)
    world.advance(days=40)
    first.beat()
    second.beat()
    with suppress(ClaimLostError), claimed(first.make_run(), NAME) as held:
        world.clock.advance(BEAT + timedelta(seconds=5))
        assert second.beat() == BEAT - timedelta(seconds=5)
        world.clock.advance(BEAT - timedelta(seconds=5))
        assert second.beat() == timedelta(0)
        with claimed(second.make_run(), NAME) as taken:
            taken.check_claim()
            with pytest.raises(ClaimLostError):
                held.check_claim()
            with pytest.raises(ClaimLostError):
                held.renew()


def test_nothing_is_sent_when_the_heartbeat_is_late_and_cannot_be_committed() -> None:
    """A quarter of the span before anybody takes over."""
    world, first, _ = make_replicas()
    with claimed(first.make_run(), NAME) as held:
        world.clock.advance(BEAT + BEAT / 2 - timedelta(seconds=1))
        held.renew()
        begun = world.database.begun
        held.check_claim()
        assert world.database.begun == begun
        world.clock.advance(timedelta(seconds=1))
        world.database.faults[begun + 1] = CommitFault.DROPPED
        with pytest.raises(DatabaseUnreachableError):
            held.check_claim()
        held.check_claim()


def test_nothing_is_sent_after_a_wait_when_a_failover_lost_the_claim() -> None:
    """By its own clock the claim is valid, and its heart beats: only the database knows that another one has it."""
    world, first, second = make_replicas()
    lose = world.database.back_up()
    with suppress(ClaimLostError), claimed(first.make_run(), NAME) as held:
        lose()
        with claimed(second.make_run(), NAME) as taken:
            taken.check_claim()
            world.clock.advance(timedelta(seconds=5))
            with pytest.raises(ClaimLostError):
                held.check_claim()
            taken.check_claim()


def test_step_of_the_databases_clock_makes_nobody_call_the_others_dead() -> None:
    world = make_world()
    replicas = [Replica(world, host) for host in "abc"]
    for number, replica in enumerate(replicas):
        replica.pulse.began_at += timedelta(seconds=number)
    for step in (timedelta(0), timedelta(minutes=10), timedelta(0)):
        world.database.skew = step
        for _ in range(8):
            world.clock.advance(BEAT)
            for replica in replicas:
                replica.beat()
    assert find_crashes(world) == []


def test_value_outlives_a_database_that_is_away_for_longer_than_two_heartbeats() -> None:
    """Nobody takes over meanwhile: whoever commits first goes on, and here that is the one who has the value."""
    world, first, _ = make_replicas()
    world.database.interrupts["minting"] = lambda: world.database.faults.update(
        dict.fromkeys(range(world.database.begun + 1, world.database.begun + 30), CommitFault.DROPPED)
    )
    before = world.clock.now()
    assert names_of(first.run(), OutcomeKind.ROTATED) == [NAME]
    assert world.clock.now() - before > 3 * BEAT
    assert list_mutations(world).count("mint") == 1
    world.finish()


def test_row_of_heartbeats_breaks_when_one_is_committed_too_late() -> None:
    """Others may have seen none meanwhile: what was claimed before must be renewed, although this one is new."""
    world = make_world()
    pulse, boot = Pulse("d@h#1.1", world.clock.now(), 2 * BEAT), world.clock
    assert pulse.find_row(boot) is None
    pulse.beat(boot, lambda: None)
    row = pulse.find_row(boot)
    world.clock.advance(BEAT)
    pulse.beat(boot, lambda: None)
    assert pulse.is_heard(row, boot)
    world.clock.advance(BEAT)
    pulse.beat(boot, lambda: world.clock.advance(BEAT / 2))
    assert not pulse.is_heard(row, boot)
    assert pulse.find_row(boot) is not None


def test_shorter_interval_counts_as_soon_as_others_may_see_it() -> None:
    world = make_world()
    pulse, boot = Pulse("d@h#1.1", world.clock.now(), 100 * BEAT), world.clock
    pulse.beat(boot, lambda: None)
    row, pulse.binds_for = pulse.find_row(boot), 2 * BEAT

    def lose_answer() -> None:
        raise DatabaseUnreachableError("the answer to COMMIT was lost")

    with pytest.raises(DatabaseUnreachableError):
        pulse.beat(boot, lose_answer)
    assert pulse.is_heard(row, boot)
    world.clock.advance(BEAT + BEAT / 2)
    assert not pulse.is_heard(row, boot)


def test_heartbeat_counts_for_the_shorter_span_when_a_reload_shortens_it_meanwhile() -> None:
    """What was committed has the new span: others go by that."""
    world = make_world()
    pulse, boot = Pulse("d@h#1.1", world.clock.now(), 100 * BEAT), world.clock

    def commit_after_a_reload() -> None:
        pulse.binds_for = 2 * BEAT

    pulse.beat(boot, commit_after_a_reload)
    row = pulse.find_row(boot)
    assert pulse.is_heard(row, boot)
    world.clock.advance(2 * BEAT)
    assert not pulse.is_heard(row, boot)


def test_heartbeats_bind_nothing_where_no_other_host_can_take_over() -> None:
    world, first, second = make_replicas()
    first.pulse.binds_for = None
    first.beat()
    with claimed(first.make_run(), NAME) as held:
        for _ in range(3):
            world.clock.advance(2 * BEAT)
            held.check_claim()
            with pytest.raises(ClaimHeldError), claimed(second.make_run(), NAME):
                pass
            first.beat()


def test_daemon_of_another_host_that_died_is_told_once_by_one_of_the_others() -> None:
    """With its user and host. One that stopped is not told, nor one that is merely late."""
    world = make_world()
    replicas = [Replica(world, host) for host in "abcd"]
    for replica in replicas:
        world.clock.advance(timedelta(seconds=1))
        replica.pulse.began_at = world.clock.now()
        replica.beat()
    dead, stopped, *others = replicas
    end_life(stopped.make_run(), stopped.pulse.holder, stopped.pulse.began_at)
    for beats in range(8):
        world.clock.advance(BEAT)
        for replica in others:
            replica.beat()
        if beats < 3:
            assert find_crashes(world) == []
    assert find_crashes(world) == [("rotator@a", dead.pulse.began_at.isoformat())]


def test_daemon_that_stood_still_for_minutes_says_for_how_long_and_who_takes_over_from_whom() -> None:
    """Not long enough to be called dead: once each, and nothing where it was merely late."""
    world, first, second = make_replicas()
    told = ("daemon_crashed", "daemon_returned", "claim_taken_over")

    def list_told() -> list[tuple[str, str, object, object]]:
        events = [event.entry for event in load_events(world.database) if event.entry.event in told]
        return [(e.event, e.actor, e.details.get("holder"), e.details.get("silent_seconds")) for e in events]

    world.database.interrupts["planned"] = world.database.die
    with pytest.raises(ProcessDied):
        first.run()
    world.database.revive()
    for _ in range(3):
        world.clock.advance(BEAT)
        second.beat()
    second.run()
    taken = ("claim_taken_over", "rotator@b", "rotator@a", None)
    assert list_told() == [taken]
    for _ in range(3):
        first.beat()
        world.clock.advance(BEAT)
    assert list_told() == [taken, ("daemon_returned", "rotator@a", None, 90)]
    world.finish()


@pytest.mark.parametrize(("beat", "told"), [(BEAT / 6, []), (2 * BEAT, [60])])
def test_daemon_with_another_heartbeat_stood_still_by_what_others_went_by(beat: timedelta, told: list[int]) -> None:
    """A reload made it shorter, or longer, since the last heartbeat, which said for how long the claims bind."""
    world, first, _ = make_replicas()
    world.clock.advance(BEAT if beat < BEAT else 2 * BEAT)
    first.pulse.binds_for = 2 * beat
    first.beat()
    events = load_events(world.database, AuditFilter(event="daemon_returned"))
    assert [event.entry.details["silent_seconds"] for event in events] == told


def test_daemon_that_was_told_as_crashed_and_goes_on_says_so_once() -> None:
    """From then on it lives again: its next crash is told as the first one was."""
    world = make_world()
    first, second = Replica(world, "a"), Replica(world, "b")
    second.pulse.began_at += timedelta(seconds=1)

    def pass_on(*living: Replica) -> list[str]:
        for _ in range(8):
            world.clock.advance(BEAT)
            for replica in living:
                replica.beat()
        wanted = ("daemon_crashed", "daemon_returned")
        return [event.entry.event for event in load_events(world.database) if event.entry.event in wanted]

    assert pass_on(first, second) == []
    assert pass_on(second) == ["daemon_crashed"]
    assert pass_on(first, second) == ["daemon_crashed", "daemon_returned"]
    assert pass_on(second) == ["daemon_crashed", "daemon_returned", "daemon_crashed"]
    assert pass_on(first, second) == ["daemon_crashed", "daemon_returned", "daemon_crashed", "daemon_returned"]
    [_, last] = load_events(world.database, AuditFilter(event="daemon_returned"))
    assert (last.entry.subject, last.entry.actor) == ("rotator@a", "rotator@a")
    end_life(first.make_run(), first.pulse.holder, first.pulse.began_at)
    assert len(pass_on(second)) == 4


def test_daemon_whose_life_a_failover_lost_is_told_when_it_dies() -> None:
    world, first, second = make_replicas()
    first.pulse.began_at += timedelta(seconds=1)  # its row is not in the database any more
    for replicas in ([first, second],) * 3 + ([second],) * 8:
        world.clock.advance(BEAT)
        for replica in replicas:
            replica.beat()
    assert [found for _, found in find_crashes(world)] == [first.pulse.began_at.isoformat()]


def find_crashes(world: EngineWorld) -> list[tuple[str, object]]:
    """Whose daemons the audit log calls dead, and since when they had run."""
    wanted = AuditFilter(event=DaemonCrashed.type.name)
    return [(event.entry.subject, event.entry.details["began_at"]) for event in load_events(world.database, wanted)]


def live(world: EngineWorld, beats: int, *replicas: Replica) -> list[object]:
    """So many heartbeats of each; what was told of their differences, and None where they were told to be over."""
    for _ in range(beats):
        world.clock.advance(BEAT)
        for replica in replicas:
            replica.beat()
    names = (DaemonsMixed.type.name, DaemonsAgreed.type.name)
    events = [event.entry for event in load_events(world.database) if event.entry.event in names]
    return [entry.details.get("message") for entry in events]


def does_last(world: EngineWorld) -> bool:
    """Whether daemons differ, as far as `status` knows."""
    with world.database.read() as reading:
        return bool(find_lasting(reading, ConditionKind.DAEMONS_MIXED))


def test_daemons_that_differ_are_told_once_and_not_in_turns() -> None:
    """By the one that began first. One that takes the place of another is no second one; an upgrade that lasts is."""
    world = make_world()
    old, new, other = Replica(world, "a"), Replica(world, "b"), Replica(world, "c")
    new.pulse.version = "1.1"
    assert live(world, 9, old) == []
    new.pulse.began_at = world.clock.now()  # the old one has stopped
    assert live(world, 9, new) == []
    mixed = "versions 1.0 (rotator@c), 1.1 (rotator@b)"
    assert live(world, 9, new, other) == [mixed]
    assert live(world, 20, other, new) == [mixed]


def test_daemons_that_differ_are_told_again_when_that_was_over_and_comes_back() -> None:
    """It is over ten minutes after the last difference, and lasts until then, as `status` says."""
    world = make_world()
    first, second = Replica(world, "a"), Replica(world, "b")
    second.pulse.version = "1.1"
    assert live(world, 9, first, second) == [MIXED]
    assert live(world, 19, first) == [MIXED]
    assert does_last(world)
    assert live(world, 3, first) == [MIXED, None]
    assert not does_last(world)
    assert live(world, 40, first) == [MIXED, None]
    assert live(world, 9, first, second) == [MIXED, None, MIXED]
    first.pulse.version = second.pulse.version  # each says what it is now
    assert live(world, 2, first, second) == [MIXED, None, MIXED, None]


def test_daemon_that_comes_and_goes_is_one_difference() -> None:
    """Its heartbeat is late again and again, or it crashes and is restarted with another version each time."""
    world = make_world()
    first, second = Replica(world, "a"), Replica(world, "b")
    second.pulse.version = "1.1"
    for _ in range(6):
        live(world, 9, first, second)
        live(world, 9, first)
    assert live(world, 0) == [MIXED]


@pytest.mark.parametrize("steps", [(15, 30, 0), (-15, -30, 0)])
def test_step_of_the_databases_clock_ends_no_difference_and_begins_none(steps: tuple[int, ...]) -> None:
    """After one ahead all other heartbeats look old, until they come again."""
    world = make_world()
    first, second = Replica(world, "a"), Replica(world, "b")
    second.pulse.version = "1.1"
    live(world, 9, first, second)
    for step in steps:
        world.database.skew = timedelta(minutes=step)
        assert live(world, 9, first, second) == [MIXED]
        assert does_last(world)


def test_daemons_that_are_given_a_new_policy_one_after_the_other_are_not_told() -> None:
    world = make_world()
    replicas = [Replica(world, host) for host in "abc"]
    live(world, 9, *replicas)
    for replica in replicas:
        replica.policy = replace(POLICIES["later"], digest="2" * 64)
        assert live(world, 1, *replicas) == []
    assert live(world, 9, *replicas) == []


def test_difference_of_daemons_is_over_when_none_lives_and_once_took_their_place() -> None:
    world = make_world()
    first, second = Replica(world, "a"), Replica(world, "b")
    second.pulse.version = "1.1"
    live(world, 9, first, second)
    note_once(world.make_run())
    assert live(world, 0) == [MIXED]
    world.advance(minutes=5)
    note_once(world.make_run())
    assert live(world, 0) == [MIXED, None]


def test_daemon_tells_of_its_own_change_although_another_host_told_of_that_policy() -> None:
    """It had told of none before: it worked with what the other one told."""
    world = make_world()
    first, second = Replica(world, "a"), Replica(world, "b")
    old, new = (replace(POLICIES["later"], digest=number * 64) for number in "12")
    told = ["rotator@a"]
    for first.policy, second.policy, teller in (
        (old, old, None),
        (new, old, "rotator@a"),
        (new, new, "rotator@b"),
        (new, new, None),
    ):
        for replica in (first, second):
            record_policy(replica.make_run())
        told += [teller] if teller else []
        events = [event.entry for event in load_events(world.database, AuditFilter(subject="policy"))]
        assert [entry.actor for entry in events] == told


def test_daemons_of_one_host_with_different_files_tell_of_them_once_each() -> None:
    world = make_world()
    pulses = [Pulse(f"d@h#{number}.1", world.clock.now()) for number in (1, 2)]
    for _ in range(5):
        for pulse, digest in zip(pulses, ("1" * 64, "2" * 64), strict=True):
            run = world.make_run()
            run_once(replace(run, pulse=pulse, policy=replace(run.policy, digest=digest)))
            world.advance(minutes=1)
    assert len(world.events("policy")) == 2


POLICIES = {
    "later": make_policy(replace(RULE, rotate_before=Threshold(share=0.1))),
    "by-hand": make_policy(replace(RULE, action=RuleAction.ALERT)),
    "none": make_policy(),
}


@pytest.mark.parametrize("eager", [0, 1])
@pytest.mark.parametrize("other", POLICIES)
def test_daemons_with_different_policies_compute_nothing_in_turns_and_nothing_waits(other: str, eager: int) -> None:
    """What one of them wants to be done is done at its first look, whether it is the older one or not."""
    world = make_world(NAME, "ci-build")
    replicas = Replica(world, "a"), Replica(world, "b")
    replicas[1 - eager].policy = POLICIES[other]

    def look() -> int:
        world.clock.advance(BEAT)
        for replica in replicas:
            replica.beat()
        counts = [work_due(replica.make_run(), replica.pulse).counts for replica in replicas]
        return sum(count.get("rotated", 0) for count in counts)

    assert sum(look() for _ in range(6)) == 2
    for moment in (timedelta(hours=25), world.record().lifetime / 2):
        world.clock.advance(moment)
        for _ in range(6):
            assert look() == 0
        begun = world.database.begun
        assert sum(look() for _ in range(5)) == 0
        assert world.database.begun - begun == 5 * len(replicas)  # the heartbeats
    pat = world.record()
    world.clock.advance(pat.valid_to - pat.lifetime / 4 - world.clock.now() - BEAT)
    assert look() == 2


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("other", POLICIES)
def test_cron_users_with_different_policies_compute_nothing_in_turns_and_nothing_waits(other: str, first: int) -> None:
    """Each tells of its policy once. What one of them wants to be done is done at its next run."""
    world = make_world(NAME, "ci-build")
    policies = (world.policy, replace(POLICIES[other], digest="2" * 64))

    def run(user: int) -> int:
        world.advance(minutes=1)
        one = replace(world.make_run(), actor=f"user-{user}@host", policy=policies[user])
        return len(run_once(one).of_kind(OutcomeKind.ROTATED))

    def run_both() -> int:
        return run(first) + run(1 - first)

    def list_stale() -> list[tuple[str, ...]]:
        with world.database.read() as reading:
            limits, now = reading.limits.load(), world.clock.now()
            bases = [make_basis(policy, world.timing.settle, limits, now) for policy in policies]
            return [reading.queue.find_stale(basis, 9) for basis in bases]

    assert sum(run_both() for _ in range(3)) == 2
    world.advance(hours=25)
    for _ in range(2):  # the overlaps are over, and what follows is entered
        run_both()
    for _ in range(3):
        before = list_stale()
        for user in (first, 1 - first) * 5:
            assert (run(user), list_stale()) == (0, before)
        world.advance(hours=30)
        run_both()  # once a day the other one may keep the queue
    assert len(world.events("policy")) == 2
    pat = world.record()
    world.clock.advance(pat.valid_to - pat.lifetime / 4 - world.clock.now())
    assert run_both() == 2


def test_cron_user_computes_anew_at_once_when_its_policy_was_changed() -> None:
    """Although another user's runs kept the queue."""
    world = make_world(NAME, "ci-build")
    for number, policy in enumerate((POLICIES["later"], world.policy, POLICIES["by-hand"]), start=1):
        world.advance(minutes=1)
        actor = f"user-{number % 2}@host"
        run = replace(world.make_run(), actor=actor, policy=replace(policy, digest=str(number) * 64))
        run_once(run)
        with world.database.read() as reading:
            basis = make_basis(run.policy, world.timing.settle, reading.limits.load(), world.clock.now())
            assert reading.queue.find_stale(basis, 9) == ()
