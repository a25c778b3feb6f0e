"""A replica as a process of its own: the engine and a real database are here, the world is at the other end of a pipe.

Clock, services and chance are asked for over the pipe, so that a history has one order of events whatever the processes
are. The connections to the database are this process's own; SIGKILL ends them as it would end those of a daemon.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto
from functools import partial
from multiprocessing.connection import Connection as Pipe
from multiprocessing.reduction import ForkingPickler
from typing import Any, cast

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.adapters.processes import is_gone, make_claimant
from rotator.domain.account import Account
from rotator.domain.clocks import BootMoment
from rotator.domain.policy import Policy
from rotator.domain.secret_value import SecretValue
from rotator.engine.context import RunContext, Services, Timing
from rotator.engine.jobs import beat
from rotator.engine.pulse import Pulse
from rotator.engine.report import RunReport
from rotator.engine.run import run_once
from rotator.engine.stopping import make_stoppable
from rotator.errors import RotatorError
from rotator.ports.clock import Witnesses
from rotator.ports.database import Reading, UnitOfWork
from rotator.ports.entropy import Entropy
from rotator.ports.pat_service import PatList, PatService
from rotator.ports.permit import Permit, unclaimed
from rotator.ports.secret_store import SecretStore
from rotator.ports.sign_in import SignIn
from tests.simulation.crashing import Life
from tests.simulation.world import HostClock, StuckClaims
from tests.support.engine_fakes import CommitFault
from tests.support.stop import make_stop

HEARTBEAT = timedelta(seconds=30)
WROTE = "the open transaction has written"


class Side(StrEnum):
    """On which side of a COMMIT."""

    BEFORE = auto()
    AFTER = auto()


@dataclass(frozen=True)
class Halt:
    """Where a replica waits for its fate: before a bytecode, or at a COMMIT after a change was answered.

    `change` is `mint`, `store` or `revoke`; with it `bytecode` is None. `skip` is how many COMMITs come before that.
    """

    bytecode: int | None = None
    change: str = ""
    skip: int = 0
    side: Side = Side.BEFORE


@dataclass(frozen=True)
class Moment:
    """What the world's clocks show. Every message to a replica tells it, because time moves at the other end only."""

    now: datetime
    boot: BootMoment


@dataclass(frozen=True)
class Orders:
    """What one replica is started with. `prepare` is called first, in its process.

    `pauses`: it is a daemon, whose claims bind for two heartbeats, and looks again after each of these, in seconds.
    None: it is `rotator once`.
    """

    database_url: str
    lock_wait: timedelta
    ahead: timedelta
    policy: Policy
    accounts: tuple[Account, ...]
    marker_key: SecretValue | None
    stuck: frozenset[str]
    run_id: str
    halt: Halt | None
    moment: Moment
    pauses: tuple[float, ...] | None
    prepare: Callable[[], None] | None = None


class Said(StrEnum):
    """What a replica says in a message, with what belongs to it."""

    ASKS = auto()
    HALTS = auto()
    ENDS = auto()


class Line:
    """The replica's end of the pipe. Any thread may ask. `moment` is what the clocks show."""

    def __init__(self, pipe: Pipe, moment: Moment) -> None:
        self.moment = moment
        self._pipe, self._lock = pipe, threading.Lock()

    def ask(self, port: str, method: str, *arguments: object, **options: object) -> Any:
        """Return what the world's port answers, or raise what it raised."""
        with self._lock:
            self._pipe.send((Said.ASKS, port, method, arguments, options))
            self.moment, found, error = self._pipe.recv()
        if error is not None:
            raise error
        return found

    def halt(self) -> None:
        """Wait for one's fate. Nobody else of this process asks anything meanwhile."""
        with self._lock:
            self._pipe.send((Said.HALTS,))
            self.moment = self._pipe.recv()

    def end(self, outcomes: Sequence[RunReport | RotatorError | str]) -> None:
        """Say how each look ended; a text is a bug."""
        self._pipe.send((Said.ENDS, outcomes))


class Far:
    """One of the world's ports, whichever its methods are."""

    def __init__(self, line: Line, port: str) -> None:
        self._line, self._port = line, port

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return partial(self._ask, method)

    def _ask(self, method: str, *arguments: object, permit: Permit | None = None, **options: object) -> Any:
        """Ask for the permit here: the world at the other end cannot."""
        if permit is not None:
            permit()
            options["permit"] = unclaimed
        return self._line.ask(self._port, method, *arguments, **options)


class FarClock:
    """The world's clock. Sleeping moves it on."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def now(self) -> datetime:
        """See the port."""
        return self._line.moment.now

    def sleep(self, seconds: float) -> None:
        """Move the time on."""
        self._line.ask("clock", "sleep", seconds)

    def read_boot(self) -> BootMoment:
        """See the port BootClock."""
        return self._line.moment.boot


class ReplicaDatabase:
    """The real adapter in this process; the world says which transaction fails."""

    def __init__(self, inner: SqlDatabase, line: Line, stuck: frozenset[str]) -> None:
        self._inner, self._line, self._stuck = inner, line, set(stuck)

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """See the port."""
        if self._line.ask("database", "is_away"):
            raise CommitFault.DROPPED.make_error()
        with self._inner.read() as reading:
            yield reading

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """See the port."""
        fault: CommitFault | None = self._line.ask("database", "pick_fault")
        if fault is CommitFault.LOCKED:
            raise fault.make_error()
        with self._inner.begin() as work:
            work.claims = StuckClaims(work.claims, self._stuck)
            yield work
            if fault is CommitFault.DROPPED:
                raise fault.make_error()
        if fault is CommitFault.KEPT:
            raise fault.make_error()


class Guide:
    """Brings a replica to where it halts, once."""

    def __init__(self, halt: Halt | None, line: Line) -> None:
        self._halt, self._line = halt, line
        self._is_due = self._is_armed = False
        self._life = Life(halt.bytecode if halt is not None else None, line.halt)

    def watch_commits(self) -> None:
        """From now on the database's library tells of every transaction."""
        event.listen(Engine, "before_cursor_execute", self._note)
        event.listen(Engine, "commit", self._meet_commit)
        event.listen(Pool, "checkin", self._meet_checkin)

    def counting(self) -> AbstractContextManager[None]:
        """Inside, bytecodes are counted, which is slow, if one of them matters."""
        is_needed = self._halt is not None and self._halt.bytecode is not None
        return self._life.lived() if is_needed else nullcontext()

    def note_answer(self, change: str) -> None:
        """A change was answered."""
        if self._halt is not None and self._halt.change == change:
            self._halt, self._is_armed = replace(self._halt, change=""), True

    def _note(self, connection: Connection, cursor: object, statement: str, *_: object) -> None:
        if statement.split(None, 1)[0] in ("INSERT", "UPDATE", "DELETE"):
            connection.info[WROTE] = True

    def _meet_commit(self, connection: Connection) -> None:
        if not connection.info.pop(WROTE, False) or not self._is_armed or self._halt is None:
            return
        if self._halt.skip > 0:
            self._halt = replace(self._halt, skip=self._halt.skip - 1)
            return
        self._is_armed = False
        if self._halt.side is Side.BEFORE:
            self._line.halt()
        else:
            self._is_due = True

    def _meet_checkin(self, _dbapi_connection: object, _record: object) -> None:
        """The connection returns to its pool: right after the COMMIT, and before anything else."""
        if self._is_due:
            self._is_due = False
            self._line.halt()


class GuidedPats(Far):
    """Azure DevOps, whose answers to changes may bring the replica to where it halts."""

    def __init__(self, line: Line, guide: Guide) -> None:
        super().__init__(line, "pats")
        self._guide = guide

    def mint(self, *arguments: object, **options: Any) -> Any:
        """See the port."""
        found = self._ask("mint", *arguments, **options)
        self._guide.note_answer("mint")
        return found

    def revoke(self, *arguments: object, **options: Any) -> Any:
        """See the port."""
        found = self._ask("revoke", *arguments, **options)
        self._guide.note_answer("revoke")
        return found


class GuidedSecrets(Far):
    """The vault, whose answer to a write may bring the replica to where it halts."""

    def __init__(self, line: Line, guide: Guide) -> None:
        super().__init__(line, "secrets")
        self._guide = guide

    def store(self, *arguments: object, **options: Any) -> Any:
        """See the port."""
        found = self._ask("store", *arguments, **options)
        self._guide.note_answer("store")
        return found


def live(orders: Orders, pipe: Pipe) -> None:
    """One `rotator once`, or a daemon's looks, from its start to its end, as what runs in this process."""
    allow_on_pipes()
    if orders.prepare is not None:
        orders.prepare()
    line = Line(pipe, orders.moment)
    guide = Guide(orders.halt, line)
    run = _make_run(orders, line, guide)
    if orders.pauses is not None:
        run = replace(run, pulse=Pulse(run.claimant, run.services.clock.now(), 2 * HEARTBEAT))
    guide.watch_commits()
    outcomes: list[RunReport | RotatorError | str] = []
    with guide.counting():
        for number, pause in enumerate((0, *(orders.pauses or ()))):
            if pause:
                line.ask("clock", "sleep", pause)
            outcomes.append(_look(replace(run, run_id=f"{run.run_id}.{number}") if number else run))
    line.end(outcomes)


def _look(run: RunContext) -> RunReport | RotatorError | str:
    """One heartbeat, if it is a daemon, and one look at everything; a text is a bug."""
    try:
        if run.pulse is not None:
            with suppress(RotatorError):  # the work says that it lives, before it claims anything
                beat(run, run.pulse)
        return run_once(run)
    except RotatorError as error:
        return error
    except Exception as error:
        return repr(error)


def _make_run(orders: Orders, line: Line, guide: Guide) -> RunContext:
    clock = FarClock(line)
    host = HostClock(clock, orders.ahead)
    inner = SqlDatabase(orders.database_url, host_now=host.now, is_gone=is_gone, boot=clock, lock_wait=orders.lock_wait)
    database = ReplicaDatabase(inner, line, orders.stuck)
    services = Services(
        database=database,
        closing_database=database,
        pats=cast(PatService, GuidedPats(line, guide)),
        secrets=cast(SecretStore, GuidedSecrets(line, guide)),
        sign_in=cast(SignIn, Far(line, "sign_in")),
        clock=host,
        boot=clock,
        witnesses=cast(Witnesses, Far(line, "witnesses")),
        stop=make_stop(clock),
        entropy=cast(Entropy, Far(line, "entropy")),
        accounts=orders.accounts,
        timing=Timing(),
        max_parallel=1,
        marker_key=orders.marker_key,
    )
    return RunContext(
        services=make_stoppable(services),
        policy=orders.policy,
        run_id=orders.run_id,
        actor="simulation",
        claimant=make_claimant(orders.run_id),
        progress=lambda event, subject: None,
    )


def allow_on_pipes() -> None:
    """Let secrets, our errors and reports cross a pipe between processes, and pass no other door."""
    ForkingPickler.register(SecretValue, lambda secret: (SecretValue, (secret.reveal(),)))
    ForkingPickler.register(PatList, lambda pats: (PatList, (list(pats), pats.unreadable)))
    ForkingPickler.register(RunReport, _reduce_report)
    for kind in _list_errors(RotatorError):
        ForkingPickler.register(kind, _reduce_error)


def _list_errors(kind: type[RotatorError]) -> Iterator[type[RotatorError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _list_errors(narrower)


def _reduce_report(report: RunReport) -> tuple[type[RunReport], tuple[Any, ...]]:
    return RunReport, (report.run_id, report.is_stopped, report.is_down, list(report.outcomes))


def _reduce_error(error: RotatorError) -> tuple[Callable[..., RotatorError], tuple[Any, ...]]:
    return _rebuild_error, (type(error), error.args, dict(vars(error)))


def _rebuild_error(kind: type[RotatorError], arguments: tuple[object, ...], state: dict[str, object]) -> RotatorError:
    """Make the error again without its __init__, which wants names that `args` does not have."""
    error = kind.__new__(kind, *arguments)
    vars(error).update(state)
    return error
