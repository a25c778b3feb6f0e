"""Histories whose replicas are processes of their own, on a real database; SIGKILL ends some of them at a COMMIT."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Any, cast

from sqlalchemy import bindparam, select, update

from rotator.adapters.database import claims
from rotator.adapters.database.schema import managed_pat
from rotator.engine.report import RunReport
from rotator.errors import RotatorError
from tests.simulation.crashing import Life
from tests.simulation.databases import MakeDatabase
from tests.simulation.history import History
from tests.simulation.people import People
from tests.simulation.replica import Halt, Moment, Orders, Said, Side, allow_on_pipes, live
from tests.simulation.simulation import check_report, make_world, note_error, pick_point, settle, stir
from tests.simulation.world import (
    ACCOUNTS,
    InvariantError,
    MortalClock,
    MortalPats,
    MortalSecrets,
    MortalSignIn,
    MortalWitnesses,
    SeededEntropy,
    World,
)
from tests.support.engine_fakes import CommitFault
from tests.support.nursery import NURSERY

_CHANGES = ("mint", "mint", "mint", "store", "revoke")
_SKIPS = (0, 0, 0, 1, 1, 2, 3)
"""How many COMMITs after a change come before the one at which a replica halts."""
_PAUSES = (0, 1, 6, 20)
_LONG_PAUSES = (6, 20, 130, 130)
"""In minutes, between the runs while one is frozen: its claim is over after five."""
_LOOKS = (20, 30, 45)
"""In seconds, between two looks of a daemon: its claims are over a minute after its last heartbeat."""
PATIENCE = 60
"""Seconds that a replica may take for anything on a busy machine."""


class Faults:
    """The world's side of a replica's database: what goes wrong there."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.is_cut = False

    def is_away(self) -> bool:
        """Whether this replica cannot reach it, and others can."""
        return self.is_cut

    def pick_fault(self) -> CommitFault | None:
        """What is wrong with the transaction that begins now; None too when the connection itself will break."""
        if self.is_cut:
            return CommitFault.DROPPED
        fault = self._world.pick_database_fault()
        is_unanswered = fault is not None and fault is not CommitFault.LOCKED
        is_cut = is_unanswered and self._world.database.cut_commit(keep=fault is CommitFault.KEPT)
        return None if is_cut else fault


class Replica:
    """One process, as its world has it in hand: it goes on until it ends or halts."""

    def __init__(
        self,
        world: World,
        history: History,
        halt: Halt | None,
        prepare: Callable[[], None] | None = None,
        *,
        pauses: tuple[float, ...] | None = None,
    ) -> None:
        allow_on_pipes()
        self._faults, self._meanwhile = Faults(world), list[Callable[[], None]]()
        self._world, self._history, self._life = world, history, Life()
        self._life.began_at, self._life.overlap = world.clock.now(), world.policy.rules[0].overlap
        self._ports: dict[str, object] = {
            "pats": MortalPats(world, self._life),
            "secrets": MortalSecrets(world, self._life),
            "sign_in": MortalSignIn(world, self._life),
            "witnesses": MortalWitnesses(world.clock),
            "clock": MortalClock(world.clock, self._life),
            "entropy": SeededEntropy(world.random),
            "database": self._faults,
        }
        world.runs += 1
        orders = Orders(
            world.database.address,
            world.database.lock_wait,
            world.pick_skew(),
            world.policy,
            ACCOUNTS,
            world.marker_key,
            frozenset(world.stuck),
            f"run-{world.runs}",
            halt,
            self._tell_time(),
            pauses,
            prepare,
        )
        self._pipe, theirs = NURSERY.Pipe()
        self._process = NURSERY.Process(target=live, args=(orders, theirs), daemon=True)
        self._process.start()
        theirs.close()
        assert self._process.pid is not None
        self._pid = self._process.pid

    def go_on(self) -> bool:
        """Answer what it asks until it halts (True) or has ended."""
        while True:
            said, *rest = self._receive()
            match said:
                case Said.ASKS:
                    found, error = self._answer(*rest)
                    self._pipe.send((self._tell_time(), found, error))
                case Said.HALTS:
                    return True
                case Said.ENDS:
                    self._note_end(*rest)
                    return False

    def freeze(self) -> None:
        """Stop it where it halted; nothing that it knows is newer than this moment."""
        self._life.fall_asleep(self._world.clock.now())
        os.kill(self._pid, SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, and wait for its end."""
        os.kill(self._pid, SIGCONT)
        self.release()

    def release(self) -> None:
        """Let it go on from where it halted, to its end."""
        self._pipe.send(self._tell_time())
        assert not self.go_on(), "it halts once"

    def go_on_without_database(self, meanwhile: Callable[[], None]) -> None:
        """Let it go on to its end, cut off from the database until it waits for that, or for good.

        `meanwhile` happens while it waits, or afterwards.
        """
        self._history.cuts += 1
        self._faults.is_cut, self._meanwhile = True, [meanwhile]
        self.release()
        for left in self._meanwhile:
            left()

    def is_holding(self) -> bool:
        """Whether it holds a claim, as far as the database knows."""
        return any(f"#{self._pid}." in claimant for claimant in _list_claimants(self._world))

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        self._history.crashes += 1
        self._process.kill()
        self._join(-SIGKILL)

    def _receive(self) -> Any:
        if not self._pipe.poll(PATIENCE):
            self._process.kill()
            raise InvariantError("a replica neither went on nor ended")
        try:
            return self._pipe.recv()
        except EOFError as error:
            raise InvariantError("a replica died unasked") from error

    def _tell_time(self) -> Moment:
        """What time it is, for the replica and for a server with a clock of its own."""
        self._world.database.clocks.host_now = self._world.clock.now
        self._world.database.tell_time()
        return Moment(self._world.clock.now(), self._world.clock.read_boot())

    def _answer(
        self, port: str, method: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[object, Exception | None]:
        try:
            found = getattr(self._ports[port], method)(*arguments, **options)
            if (port, method) == ("clock", "sleep") and self._meanwhile:
                self._meanwhile.pop()()
                self._faults.is_cut = self._world.random.random() < 0.3
            return found, None
        except (RotatorError, InvariantError) as error:
            return None, error

    def _note_end(self, outcomes: Sequence[RunReport | RotatorError | str]) -> None:
        self._join(0)
        for outcome in outcomes:
            match outcome:
                case RunReport():
                    check_report(self._world, outcome)
                case RotatorError():
                    note_error(self._world, self._history, outcome)
                case _:
                    self._world.oracle.breaks.append(f"a replica: {outcome}")
        self._history.takeovers += self._world.note_taken_over()

    def _join(self, code: int) -> None:
        self._process.join(PATIENCE)
        assert self._process.exitcode == code, self._process.exitcode
        self._process.close()
        self._pipe.close()


def take_fence_out() -> None:
    """Without the fence, a claim writes although somebody else has taken it over."""
    held = managed_pat.c.name == bindparam("held_name")
    claims._FENCE = select(managed_pat.c.record_id).where(held).with_for_update()
    claims._CHANGE = update(managed_pat).where(held)


def simulate_replicas(seed: int, make_database: MakeDatabase, prepare: Callable[[], None] | None = None) -> History:
    """Live through a history whose runs are processes of their own; InvariantError when the promise is broken.

    Some die at the COMMIT after a change was answered, some are frozen there while others take over. `prepare` is
    called first in each of these processes.
    """
    randomness = random.Random(f"replicas {seed}")
    world, history = make_world(randomness, make_database), History(seed)
    beats = world.database.clocks.has_clock and random.Random(f"beats {seed}").random() < 0.5
    if random.Random(f"between {seed}").random() < 0.4:
        _kill_before_commit(world, history, prepare)
    for _ in range(randomness.randint(1, 2)):
        is_calm = randomness.random() < 0.5
        if not is_calm:
            stir(world, history)
        if randomness.random() < 0.6:
            (_take_over_daemon if beats else _take_over)(world, history, prepare)
        else:
            _run_replica(world, history, _pick_halt(randomness, tuple(Side)), prepare)
        world.clock.advance(timedelta(minutes=randomness.choice(_PAUSES)))
    settle(world, history)
    return history


def _kill_before_commit(world: World, history: History, prepare: Callable[[], None] | None) -> None:
    """One is killed between the answer to its POST and the COMMIT that would note it."""
    replica = Replica(world, history, Halt(change="mint"), prepare)
    if replica.go_on():
        history.killed_before_commit += 1
        replica.kill()


def _take_over(world: World, history: History, prepare: Callable[[], None] | None) -> None:
    """One is frozen, mostly outside of a transaction, where it keeps nobody off; others run until it thaws or dies."""
    randomness = world.random
    halt = _pick_halt(randomness, (Side.AFTER, Side.AFTER, Side.AFTER, Side.BEFORE))
    frozen = Replica(world, history, halt, prepare)
    if not frozen.go_on():
        return
    frozen.freeze()
    try:
        for _ in range(randomness.randint(2, 4)):
            world.clock.advance(timedelta(minutes=randomness.choice(_LONG_PAUSES)))
            point = _pick_halt(randomness, tuple(Side)) if randomness.random() < 0.2 else None
            _run_replica(world, history, point, prepare)
    except BaseException:
        frozen.kill()
        raise
    if randomness.random() < 0.2:
        frozen.kill()
        return
    history.thaws += 1
    frozen.thaw()


def _take_over_daemon(world: World, history: History, prepare: Callable[[], None] | None) -> None:
    """A daemon is frozen, or cut off from the database and goes on; another one takes over long before its lease ends.

    That one is there for minutes: nobody is taken for dead before that.
    """
    randomness = world.random
    first = Replica(world, history, _pick_halt(randomness, (Side.AFTER,)), prepare, pauses=())
    if not first.go_on():
        return

    def run_other() -> None:
        was_holding = first.is_holding()
        point = _pick_halt(randomness, tuple(Side)) if randomness.random() < 0.2 else None
        pauses = tuple(randomness.choice(_LOOKS) for _ in range(randomness.randint(3, 5)))
        _run_replica(world, history, point, prepare, pauses=pauses)
        history.lost_by_heartbeat += was_holding and not first.is_holding()

    if randomness.random() < 0.5:
        first.go_on_without_database(run_other)
        return
    first.freeze()
    try:
        run_other()
    except BaseException:
        first.kill()
        raise
    history.thaws += 1
    first.thaw()


def _run_replica(
    world: World,
    history: History,
    halt: Halt | None,
    prepare: Callable[[], None] | None,
    *,
    pauses: tuple[float, ...] | None = None,
) -> None:
    """One that is killed where it halts, or in a fifth of the cases goes on after a person did something beside it."""
    replica = Replica(world, history, halt, prepare, pauses=pauses)
    if not replica.go_on():
        return
    if world.random.random() < 0.2:
        People(world, history).pick_command()()
        replica.release()
        return
    history.killed_before_commit += halt == Halt(change="mint")
    replica.kill()


def _list_claimants(world: World) -> list[str]:
    """Who claims what, of the claims that were not given back."""
    snapshot = cast(dict[str, list[dict[str, object]]], world.database.snapshot())
    return [str(row["claimed_by"]) for row in snapshot[managed_pat.name] if row["claimed_by"] is not None]


def _pick_halt(randomness: random.Random, sides: tuple[Side, ...]) -> Halt | None:
    """Mostly at a COMMIT soon after a change, else before any bytecode, or nowhere."""
    if randomness.random() < 0.7:
        change, skip = randomness.choice(_CHANGES), randomness.choice(_SKIPS)
        return Halt(change=change, skip=skip, side=randomness.choice(sides))
    point = pick_point(randomness)
    return None if point is None else Halt(bytecode=point)
