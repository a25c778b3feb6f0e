"""A stop at every moment of a run: nothing is begun after it, nothing is noted as failed, and the next run finishes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.plan import CHANGES
from rotator.engine.context import RunContext
from rotator.engine.exit_codes import find_code_of_report
from rotator.engine.keeping import revoke_previous
from rotator.engine.planning import make_plan
from rotator.engine.report import OutcomeKind, RunReport
from rotator.engine.run import recover_interrupted, rotate_by_hand, run_once
from rotator.errors import DeniedError, RemoteError, StoppedError, TransientError, VerificationError
from tests.support.engine import NAME, EngineWorld, make_world
from tests.support.engine_fakes import CallT, CallTape, ProcessDied
from tests.support.engine_scenarios import make_late_store, make_overlapping
from tests.support.policies import RULE, make_policy
from tests.support.stop import make_stop
from tests.support.stopping import StopWatch


def die_after(world: EngineWorld, mark: str, act: Callable[[], object]) -> None:
    """Do it, and be killed right after the commit with that mark."""
    world.database.dies_after = mark
    with pytest.raises(ProcessDied):
        act()
    world.database.revive()


def make_due() -> EngineWorld:
    """Three that are due; no overlap, so that each is rotated and its old PAT revoked in one run."""
    return make_world(NAME, "ci-build", "docs", policy=make_policy(replace(RULE, overlap=timedelta(0))))


def make_ending() -> EngineWorld:
    """One whose overlap is over, one that was killed while it revoked the old PAT, and one that is due."""
    world = make_world(NAME, "ci-build", "docs", policy=make_policy(replace(RULE, disable_previous=True)))
    world.rotate(NAME, "ci-build")
    world.advance(hours=25)
    die_after(world, "retiring", lambda: revoke_previous(world.make_run(), "ci-build"))
    world.advance(minutes=6)
    return world


def make_killed_early() -> EngineWorld:
    """Killed while planned, and right before and after the mint; the settle time is over."""
    world = make_world(NAME, "ci-build", "docs")
    die_after(world, "planned", lambda: world.rotate(NAME))
    die_after(world, "minting", lambda: world.rotate("ci-build"))
    die_after(world, "minted", lambda: world.rotate("docs"))
    world.advance(minutes=11)
    return world


def make_killed_late() -> EngineWorld:
    """Killed right before and after the write to the vault, and while a clone was given up."""
    world = make_world(NAME, "ci-build", "docs")
    die_after(world, "storing", lambda: world.rotate(NAME))
    die_after(world, "stored", lambda: world.rotate("ci-build"))
    world.secrets.fail("store", DeniedError("no", service="key_vault", operation="store"))
    die_after(world, "abandoning", lambda: world.rotate("docs"))
    world.advance(minutes=11)
    return world


def make_unanswered() -> EngineWorld:
    """A mint that was carried out and one that was not, both unanswered; the settle time is over."""
    world = make_world(NAME, "ci-build")
    world.pats.fail("mint", after_effect=True)
    world.pats.fail("mint")
    world.rotate(NAME, "ci-build")
    world.advance(minutes=11)
    return world


def make_patient() -> EngineWorld:
    """A clone that takes long to authenticate, and a vault that is ailing while a value is held in memory."""
    world = make_world(NAME, "ci-build")
    world.pats.fail("verify", VerificationError("nobody"), times=3)
    world.secrets.fail("store", TransientError("busy", service="key_vault", operation="store"), skip=1, times=2)
    return world


WORLDS: dict[str, tuple[Callable[[], EngineWorld], tuple[str, ...]]] = {
    "due": (make_due, (NAME, "ci-build", "docs")),
    "ending": (make_ending, (NAME, "ci-build", "docs")),
    "killed early": (make_killed_early, (NAME, "ci-build", "docs")),
    "killed late": (make_killed_late, (NAME, "ci-build", "docs")),
    "unanswered": (make_unanswered, (NAME, "ci-build")),
    "patient": (make_patient, (NAME, "ci-build")),
    "written over": (make_late_store, (NAME,)),
}


def stop_at(
    make: Callable[[], EngineWorld], names: tuple[str, ...], at: int, finished: set[str] | None = None, threads: int = 1
) -> bool:
    """Stop a run of a new world in its moment `at`, check what came after, and finish; whether it came so far.

    Most moments only read: a state from which the next runs were seen to finish, one of those `finished`, is not
    tried again.
    """
    world = make()
    world.max_parallel = threads
    world.database._lock_timeout = 30
    failures = {name: world.record(name).failures for name in names}
    watch = StopWatch(world, at)
    report = run_once(world.make_run())
    watch.leave()
    world.check_promises(repr(report))
    assert watch.broken == [], (at, watch.moments)
    world.stop, world.max_parallel = make_stop(world.clock), 1
    is_done = not any(action.kind in CHANGES for action in make_plan(world.make_run()).actions)
    assert report.is_stopped or is_done, (at, watch.moments)
    assert report.of_kind(OutcomeKind.FAILED, OutcomeKind.BLOCKED, OutcomeKind.HELD) == ()
    assert all(world.record(name).failures <= failures[name] for name in names), at
    state = describe(world)
    if finished is None or state not in finished:
        check_next_runs(world, names)
    if finished is not None:
        finished.add(state)
    return watch.stop.is_set


def describe(world: EngineWorld) -> str:
    """All that decides what the next runs find and do, as text: all but what was called and who watched."""
    told = {"calls", "tried"}
    parts = [
        {name: value for name, value in vars(part).items() if name not in told and is_data(value)}
        for part in (world.pats, world.secrets, world.sign_in, world.entropy)
    ]
    return repr((world.database.dump(), parts, world.clock.now(), world.stop.is_set))


def is_data(value: object) -> bool:
    """Whether it is plain data, or a container of it: no lock, clock or function, which each world has of its own."""
    return " at 0x" not in repr(value)


def check_next_runs(world: EngineWorld, names: tuple[str, ...]) -> None:
    """The next process finds every claim given back, and finishes everything."""
    world.stop = make_stop(world.clock)
    assert world.run().of_kind(OutcomeKind.HELD) == ()
    for _ in range(3):
        world.advance(hours=25)
        world.run()
    for name in names:
        world.check_rest(name)


@pytest.mark.parametrize("story", WORLDS)
def test_run_begins_nothing_after_the_stop_whenever_it_comes(story: str) -> None:
    make, names = WORLDS[story]
    at, finished = 1, set[str]()
    while stop_at(make, names, at, finished):
        at += 1
    assert at > 20
    assert len(finished) > 5


def test_state_is_another_when_anything_is_that_the_next_runs_may_find() -> None:
    world = make_due()
    acts: tuple[Callable[[], object], ...] = (
        lambda: setattr(world.pats.pats[world.record().authorization_id], "revoked", True),
        lambda: world.pats.fail("mint"),
        lambda: world.secrets.write_foreign(world.location(), "theirs"),
        lambda: world.secrets.fail("store"),
        lambda: world.forget("docs"),
        lambda: world.advance(seconds=1),
    )
    states = [describe(world), *(describe(world) for act in acts if act() is not world)]
    assert len(set(states)) == 1 + len(acts)
    assert describe(world) == states[-1]


@pytest.mark.parametrize("at", range(10, 120, 9))
def test_run_begins_nothing_after_the_stop_when_it_has_several_threads(at: int) -> None:
    stop_at(*WORLDS["due"], at, threads=3)


def test_watch_lets_the_one_call_begin_whose_look_at_the_stop_came_before_it() -> None:
    """Between the look and the call another thread may set the stop; a stop by the same thread excuses nothing."""
    watch = StopWatch(make_world())
    watch.stop.check()
    run_apart(watch.stop.set)
    watch.meet("verify")
    assert watch.broken == []
    watch.meet("verify")
    assert watch.broken == ["verify"]
    watch = StopWatch(make_world(), at=1)
    watch.stop.check()
    watch.meet("verify")
    watch.meet("revoke")
    assert watch.broken == ["revoke"]


def test_commit_ends_only_what_its_own_thread_holds() -> None:
    """Another thread commits right after a commit, before the watch has heard of that one."""
    world = make_world()
    watch = Listening(world)
    world.database.timeline = Interrupted(
        world.timeline, "overlapping", lambda: run_apart(lambda: commit_nothing(world))
    )
    world.run()
    assert [marks.count("overlapping") for marks in watch.heard if "overlapping" in marks] == [1]
    assert [] in watch.heard


class Listening(StopWatch):
    """A watch that keeps the marks of each commit, in the order in which it hears of them."""

    def __init__(self, world: EngineWorld) -> None:
        super().__init__(world)
        self.heard: list[list[str]] = []

    def meet_commit(self, marks: Iterable[str]) -> None:
        """Keep them."""
        self.heard.append(list(marks))
        super().meet_commit(self.heard[-1])


class Interrupted(list[str]):
    """Forwards to a timeline, and does something once, right after the marks of a commit with this one."""

    def __init__(self, timeline: list[str], mark: str, act: Callable[[], object]) -> None:
        super().__init__()
        self._timeline, self._acts = timeline, {mark: act}

    def extend(self, marks: Iterable[str]) -> None:
        """Note marks."""
        found = list(marks)
        self._timeline.extend(found)
        for act in [self._acts.pop(mark) for mark in found if mark in self._acts]:
            act()


def commit_nothing(world: EngineWorld) -> None:
    """Commit a transaction that writes nothing."""
    with world.database.begin():
        pass


def run_apart(act: Callable[[], object]) -> None:
    """Do it in another thread, and wait for its end."""
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


def test_value_is_given_up_when_the_time_after_the_stop_is_over() -> None:
    """The clone does not authenticate in time: no turn is made after `stop_within`, and no turn without a wait."""
    world = make_world()
    world.pats.fail("verify", VerificationError("nobody"), times=1000)
    world.pats.calls = StopAt(world, "verify")
    began = world.clock.now()
    report = world.run()
    assert report.is_stopped
    assert (world.states(), report.outcomes, world.record().failures) == (["minted"], (), 0)
    assert world.clock.now() - began <= world.timing.stop_within
    assert world.clock.slept == [1, 2, 4, 8, 16, 16, 16, 16]
    assert world.count("verify") == 9
    world.heal()
    check_next_runs(world, (NAME,))
    assert world.codes() == ["value_lost"]


def test_clone_is_revoked_by_the_next_run_when_it_was_given_up_after_the_stop() -> None:
    """The value is lost either way, so the DELETE can wait."""
    world = make_world()
    world.secrets.fail("store", DeniedError("no", service="key_vault", operation="store"))
    world.secrets.calls = StopAt(world, "store")
    report = world.run()
    assert (report.is_stopped, report.outcomes, world.states()) == (True, (), ["abandoning"])
    assert (world.count("revoke"), world.record().failures) == (0, 0)
    check_next_runs(world, (NAME,))


@pytest.mark.parametrize("error", [DeniedError, TransientError])
def test_refused_mint_is_left_to_the_next_run_after_the_stop(error: type[RemoteError]) -> None:
    """No value exists, so nothing is written; the next run finds out that there is no clone, as after a crash."""
    world = make_world()
    world.pats.fail("mint", error("no", service="azure_devops", operation="mint_pat"))
    world.pats.calls = StopAt(world, "mint")
    report = world.run()
    assert (report.is_stopped, report.outcomes, world.states()) == (True, (), ["minting"])
    assert (world.timeline[-1], world.record().failures) == ("mint", 0)
    check_next_runs(world, (NAME,))
    assert world.codes() == ["mint_not_created"]


@pytest.mark.parametrize("act", [recover_interrupted, lambda run: rotate_by_hand(run, [NAME])])
def test_report_says_that_the_run_was_stopped_when_it_was(act: Callable[[RunContext], RunReport]) -> None:
    world = make_world()
    world.stop.set()
    report = world.watch(lambda: act(world.make_run()))
    assert (report.is_stopped, report.outcomes, find_code_of_report(report), world.timeline) == (True, (), 0, [])


def test_stop_reaches_the_caller_when_no_run_is_at_work() -> None:
    world = make_overlapping()
    world.stop.set()
    revoked = world.count("revoke")
    with pytest.raises(StoppedError):
        revoke_previous(world.make_run(), NAME)
    assert world.count("revoke") == revoked


class StopAt(CallTape[CallT]):
    """A tape that sets the stop in the middle of each call of that name."""

    def __init__(self, world: EngineWorld, name: str) -> None:
        super().__init__(world.timeline)
        self._stop, self._name = world.stop, name

    def append(self, call: CallT) -> None:
        """Note one call."""
        super().append(call)
        if call[0] == self._name:
            self._stop.set()
