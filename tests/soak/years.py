"""Years of a daemon, in process: its real jobs over the faulty world of the simulation, with a clock that jumps.

The clock jumps from one moment at which a job is due to the next. One seed decides all that happens: faults of the
services, outages, sign-ins that end, a host's clock that is set, crashes between two bytecodes, reboots, days off, and
reloads. Every now and then the faults pause, and everything must come to rest.
"""

from __future__ import annotations

import gc
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from rotator.daemon.beats import Beats
from rotator.daemon.job import Workshop, Workshops
from rotator.daemon.jobs import Intervals, make_jobs
from rotator.daemon.worker import Worker
from rotator.domain.condition import ConditionKind
from rotator.domain.events.rotations import RotationPlanned
from rotator.domain.job_run import JobName
from rotator.engine.context import RunContext
from rotator.engine.pulse import Pulse
from rotator.errors import TransientError
from tests.simulation.crashing import Crash, Life
from tests.simulation.world import ACCOUNTS, NAMES, SKEWS, InvariantError, Spot, World
from tests.support.clock import START

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EVERY = Intervals(
    work=HOUR, refresh=6 * HOUR, reconcile=6 * HOUR, probe=4 * DAY, verify_audit=30 * DAY, heartbeat=6 * HOUR
)
"""Longer than by default where a run that finds nothing to do differs in nothing from the one before."""
LONGEST = 40
"""Hours that an outage, a sign-out or a time off lasts at most: a PAT is due 80 hours before it expires."""
APART = 5 * DAY
"""Two of these do not follow one another sooner."""
REST_EVERY = 50 * DAY
_SPELL = 4 * DAY
_CALLS = ("fetch_pats", "fetch_pat", "fetch_identity", "verify", "mint", "revoke")
_VAULT_CALLS = ("prove_writable", "fetch_latest", "fetch_version", "fetch_versions", "store")
EVENTS = "events of the audit log for each rotation"
BOUNDED = {
    "job_runs": 1500,
    "heartbeats": 40,
    "sign_ins": 2,
    "organizations": 4,
    "untracked": 2,
    "limits": 2,
    "conditions": 8,
    EVENTS: 40,
}
"""How many rows there may be at rest: of job runs those of 30 days, of heartbeats one for each process of 30 days."""
STEADY = ("pats", "claims", "revocations", "entries", "probes", "objects", "threads", "file handles")
_LEAKING = ("rotator.engine", "rotator.daemon", "rotator.adapters")


class SoakWorld(World):
    """The world of the simulation, with one host, whose clock is ahead by as much as whoever set it made it."""

    def __init__(
        self,
        randomness: random.Random,
        names: tuple[str, ...] = NAMES,
        spots: tuple[Spot, ...] = (Spot(), Spot(ACCOUNTS[1].name, "fabrikam")),
        start: datetime = START,
    ) -> None:
        super().__init__(randomness, names, spots, start=start)
        self.ahead = timedelta(0)
        self.lag = timedelta(minutes=1)

    def pick_skew(self) -> timedelta:
        """How far the clock of the host is ahead now."""
        return self.ahead


class Process:
    """One process of the daemon: its jobs, and when each is due by the boot clock."""

    def __init__(self, world: SoakWorld, number: int) -> None:
        self._world, self._number = world, number
        self.life = Life()
        self._pulse = Pulse(f"daemon-{number}", world.clock.now())
        self._shops = Workshops(self._make_shop())
        self._worker = Worker(self._shops, Beats(world.clock), self._pulse.holder)
        start = world.clock.read_boot().elapsed
        self.due = {job: start + place * timedelta(seconds=1.5) for place, job in enumerate(self._shops.current.jobs)}

    def reload(self) -> None:
        """Go on with everything built anew."""
        self._shops.swap(self._make_shop())

    def do_next(self, at: int | None) -> JobName:
        """Let the clock jump to the next job and do that; Crash before the bytecode `at`."""
        job = min(self.due, key=lambda name: self.due[name])
        wait = self.due[job] - self._world.clock.read_boot().elapsed
        if wait > timedelta(0):
            self._world.clock.advance(wait)
        self.life = Life(at)
        with self.life.lived() if at is not None else nullcontext():
            after = self._worker.do(job)
        self.due[job] = self._world.clock.read_boot().elapsed + after
        return job

    def _make_shop(self) -> Workshop:
        jobs = {
            name: replace(job, interval=max(HOUR, job.interval)) for name, job in make_jobs(EVERY, self._pulse).items()
        }
        return Workshop(jobs, self._make_run, lambda: None, timedelta(seconds=80))

    def _make_run(self) -> RunContext:
        return self._world.make_run(self.life)


@dataclass
class Report:
    """What the years brought, counted; and how much there was of what may not grow, each time all was at rest."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    sizes: list[dict[str, int]] = field(default_factory=list)


class Years:
    """The years of one seed; `bounded` is as `BOUNDED`."""

    bounded: Mapping[str, int] = BOUNDED

    def __init__(
        self, seed: int, make_world: Callable[[random.Random], SoakWorld] = lambda randomness: SoakWorld(randomness)
    ) -> None:
        self._random = random.Random(f"soak {seed}")
        self.world, self.report = make_world(random.Random(seed)), Report(seed)
        self._start = self.world.clock.now()
        self._processes = 0
        self._process = self._start_process()
        self._ends: list[tuple[timedelta, Callable[[], None]]] = []
        self._next_long = self._next_day = self._now

    @property
    def _now(self) -> timedelta:
        return self.world.clock.now() - self._start

    def live(self, days: int, tell: Callable[[int, int], None] = lambda day, rotations: None) -> Report:
        """Live so many days; `tell` hears of each. InvariantError when the promise is broken."""
        next_rest = REST_EVERY
        while self._now < days * DAY:
            self._do_job()
            if self._now >= self._next_day:
                self._next_day = self._now + DAY
                self._begin_day()
                tell(self._now // DAY, len(self.world.load_rotations()))
            if self._now >= next_rest:
                next_rest = self._now + REST_EVERY
                self._rest()
        self._rest()
        self.report.counts["rotations"] = len(self.world.load_rotations())
        self.report.counts["database faults"] = self.world.database_faults
        return self.report

    # What happens.

    def _do_job(self) -> None:
        for at, end in [item for item in self._ends if item[0] <= self._now]:
            self._ends.remove((at, end))
            end()
        dies = self._random.random() < 0.001
        try:
            job = self._process.do_next(self._random.randint(1, 9_000) if dies else None)
        except Crash:
            self.report.counts["crashes"] += 1
            self.world.clock.advance(self._random.choice((0, 1, 30)) * timedelta(minutes=1))
            self._process = self._start_process()
        else:
            self.report.counts[f"{job.value} runs"] += 1
        self.world.check_queue()
        self._check_breaks()

    def _begin_day(self) -> None:
        """What had no answer takes effect within some days; then come the faults of this one."""
        if self._random.random() < 0.6:
            self._apply_late()
        for _ in range(self._random.choice((0, 0, 1, 2))):
            self.report.counts["faults"] += 1
            self._pick_fault()()
        if self._random.random() < 0.1:
            self._process.reload()
            self.report.counts["reloads"] += 1
        if self._random.random() < 0.05:
            self.world.clock.reboot()
            self._process = self._start_process()
            self.report.counts["reboots"] += 1
        if self._now >= self._next_long and self._random.random() < 0.3:
            span = self._random.randint(1, LONGEST) * HOUR
            self._next_long = self._now + span + APART
            self._random.choice((self._lose_service, self._sign_out, self._set_clock, self._be_off))(span)

    def _pick_fault(self) -> Callable[[], None]:
        randomness, world = self._random, self.world
        after, skip = randomness.random() < 0.5, randomness.choice((0, 0, 1, 2))

        def fail_pats() -> None:
            call = randomness.choice(_CALLS)
            if call in ("mint", "revoke"):
                world.pats.fail(call, after_effect=after, skip=skip)
            else:
                world.pats.fail(call, _make_busy("azure_devops", call), skip=skip)

        def fail_vault() -> None:
            call = randomness.choice(_VAULT_CALLS)
            if call == "store":
                world.secrets.fail(call, after_effect=after, skip=skip, times=randomness.choice((1, 30)))
            else:
                world.secrets.fail(call, _make_busy("key_vault", call), skip=skip)

        be_late = randomness.choice(
            (world.pats.postpone_mint, world.pats.postpone_revoke, world.secrets.postpone_store)
        )
        return randomness.choice((fail_pats, fail_vault, be_late))

    def _apply_late(self) -> None:
        self.report.counts["late effects"] += self.world.pats.apply_late() + self.world.secrets.apply_late()
        self.world.oracle.look()

    def _lose_service(self, span: timedelta) -> None:
        self.report.counts["outages"] += 1
        calls = self._random.choice((_CALLS, _VAULT_CALLS))
        service, name = (self.world.pats, "azure_devops") if calls is _CALLS else (self.world.secrets, "key_vault")
        for call in calls:
            service.fail(call, _make_busy(name, call), times=10**9)
        self._ends.append((self._now + span, service._planned.clear))

    def _sign_out(self, span: timedelta) -> None:
        self.report.counts["sign-outs"] += 1
        self.world.pats.signed_out.add(self._random.choice(ACCOUNTS).name)
        self._ends.append((self._now + span, self.world.pats.signed_out.clear))

    def _set_clock(self, span: timedelta) -> None:
        self.report.counts["wrong clocks"] += 1
        self.world.ahead = self._random.choice(SKEWS)
        self._ends.append((self._now + span, lambda: setattr(self.world, "ahead", timedelta(0))))

    def _be_off(self, span: timedelta) -> None:
        self.report.counts["times off"] += 1
        self.world.clock.advance(span)
        self._process = self._start_process()

    def _start_process(self) -> Process:
        self._processes += 1
        return Process(self.world, self._processes)

    # What must hold.

    def _rest(self) -> None:
        """Let all faults pass, and let the daemon alone bring everything to rest; then see what there is."""
        world = self.world
        for _, end in self._ends:
            end()
        self._ends.clear()
        world.pats._planned.clear()
        world.secrets._planned.clear()
        world.pats._postponed_mints = world.pats._postponed_revokes = world.secrets._postponed_stores = 0
        self._apply_late()
        gap_share, world.gap_share, world.is_database_sound = world.gap_share, 0.0, True
        until = self._now + _SPELL
        while not (self._now > until - _SPELL / 2 and self._is_at_rest()):
            if self._now > until:
                raise InvariantError(f"no rest: {[found.state.value for found in world.load_rotations()[-4:]]}")
            self._process.do_next(None)
            self._check_breaks()
        world.oracle.judge_served(world.show_status())
        world.oracle.judge_rest(world.show_status())
        world.check_database()
        self._check_told()
        self._check_breaks()
        self.report.sizes.append(dict(self._list_sizes()))
        world.gap_share, world.is_database_sound = gap_share, False

    def _is_at_rest(self) -> bool:
        with self.world.database.read() as reading:
            failing = [pat.name for pat in reading.inventory.load_all() if pat.last_failure is not None]
            return not (failing or reading.journal.load_open() or reading.revocations.load())

    def _check_told(self) -> None:
        """Nothing is said to be wrong any more, but for PATs that a person must judge."""
        with self.world.database.read() as reading:
            lasting = {found.kind for found in reading.conditions.load()}
        if lasting - {ConditionKind.PAT_LEFT_BEHIND}:
            raise InvariantError(f"still said to be wrong at rest: {sorted(lasting)}")

    def _check_breaks(self) -> None:
        if self.world.oracle.breaks:
            raise InvariantError("; ".join(self.world.oracle.breaks[:3]))

    def _list_sizes(self) -> Iterator[tuple[str, int]]:
        """How much there is of what may not grow: rows, the product's own objects, threads and file handles."""
        tables = vars(self.world.database.snapshot())
        for table in (*BOUNDED, *STEADY):
            if table in tables:
                yield table, len(tables[table])
        # Old rotations leave the journal, and the log keeps all of them.
        begun = sum(event.entry.event == RotationPlanned.type.name for event in tables["events"])
        yield EVENTS, len(tables["events"]) // begun
        gc.collect()
        yield "objects", sum(str(type(found).__module__).startswith(_LEAKING) for found in gc.get_objects())
        yield "threads", threading.active_count()
        yield "file handles", len(list(Path("/proc/self/fd").iterdir()))


def check_growth(report: Report, bounded: Mapping[str, int] = BOUNDED) -> None:
    """InvariantError where something grew that may not, from one rest to another."""
    for what, most in bounded.items():
        found = max(sizes[what] for sizes in report.sizes)
        if found > most:
            raise InvariantError(f"{found} {what}, and no more than {most} should ever be kept")
    for what in STEADY:
        seen = [sizes[what] for sizes in report.sizes]
        if len(set(seen)) > 1:
            raise InvariantError(f"the number of {what} did not stay the same: {seen}")


def _make_busy(service: str, operation: str) -> TransientError:
    return TransientError("it is too busy", service=service, operation=operation, status=429, retry_after=1.0)
