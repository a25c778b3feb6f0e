"""One simulated history from a seed, and what must hold when it has come to rest."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum, auto

from rotator.domain.managed_pat import Hold, ManagedPat, ManagedPatState
from rotator.domain.secret_value import SecretValue
from rotator.domain.threshold import Threshold
from rotator.engine.clocks import URGENT
from rotator.engine.context import RunContext
from rotator.engine.in_force import find_pause
from rotator.engine.report import RunReport
from rotator.engine.run import run_once, work_on_due, work_on_look
from rotator.errors import (
    ClockSkewError,
    DatabaseLockedError,
    DatabaseUnreachableError,
    FailureKind,
    ForeignWriteError,
    InternalError,
    RotatorError,
    TransientError,
    VerificationError,
)
from tests.simulation import calendar
from tests.simulation.crashing import Crash, Life
from tests.simulation.databases import MakeDatabase, make_memory
from tests.simulation.history import History
from tests.simulation.people import People
from tests.simulation.world import ACCOUNTS, LONG_AGO, SLOW, SLOW_OVERLAPS, InvariantError, Spot, World
from tests.support.engine_fakes import CommitFault

MOST_CYCLES = 40
CALENDAR_CYCLES = 12 * MOST_CYCLES
"""An overlap may have to wait for a window, or for the end of a change freeze, until its old PAT expires."""
MOST_CLOSED = timedelta(hours=5)
"""Where runs keep to a calendar they come at least so often: one that is the last before an expiry needs that."""
MOST_HELP = 3
HOUR = timedelta(hours=1)
REST = 3
"""A PAT that lives for more days than these need not be rotated soon."""
SLOW_SHARE = 0.1
"""In how many histories consumers may keep what they read for days, and PATs live longer."""
OFFSET = timedelta(minutes=10)
"""Up to so much less than it may live is asked for each PAT, to tell it from others."""
LEASE = timedelta(minutes=6)
"""After this the claims of dead processes are over."""
TOOL_SHARE = 0.1
"""In how many histories people have tools that take tags off a secret, or copy them.

Not where the database is lost too: the tags alone tell what that knew, which is a limit in docs/promise.md.
"""
WHIM_SHARE = 1 / 3
"""In how many histories services err about single PATs, and people edit PATs and adopt them by their display names."""
_FAULTY = ("fetch_pats", "fetch_pat", "fetch_identity", "verify", "mint", "revoke")
_FAULTY_VAULT = ("prove_writable", "fetch_latest", "fetch_version", "fetch_versions", "store", "disable")


def simulate(seed: int, make_database: MakeDatabase = make_memory) -> History:
    """Live through one random history; InvariantError when the promise is broken."""
    randomness = random.Random(seed)
    has_outage = randomness.random() < 0.1
    is_slow = not has_outage and random.Random(f"slow {seed}").random() < SLOW_SHARE
    stretch = SLOW if is_slow else 1
    world, history = make_world(randomness, make_database, has_outage=has_outage, stretch=stretch), History(seed)
    history.slow += is_slow
    if random.Random(f"adopt {seed}").random() < 0.15:
        world.adopt_by_rule()
    world.disturb(random.Random(f"disturbed {seed}"))
    world.daemon = _pick_daemon(seed)
    history.daemons += world.daemon is not None
    world.keep_to(calendar.draw(seed, world.clock.now()))
    history.calendars += world.calendar is not None
    world.marker_key = SecretValue("a key") if randomness.random() < 0.2 else None
    restores = randomness.random() < 0.15
    tools = random.Random(f"tools {seed}")
    world.tools = tools if tools.random() < TOOL_SHARE and not restores else None
    whims = random.Random(f"whims {seed}")
    world.whims = whims if whims.random() < WHIM_SHARE else None
    history.whims += world.whims is not None
    backups = [world.database.back_up()]
    for _ in range(randomness.randint(1, 3)):
        stir(world, history)
        if randomness.random() < 0.25:
            _run_several(world, history, randomness.choice((1, 1, 2)))
        else:
            point = pick_point(randomness)
            run_process(world, history, point, _pick_action(world, history, point, backups if restores else None))
        world.clock.advance(timedelta(minutes=randomness.choice((0, 1, 6, 20, 130))))
    if has_outage:
        _live_through_outage(world, history)
    elif not restores and randomness.random() < 0.05:
        _live_shortly(history)
    if restores:
        world.restored = True
        for name in world.names:
            location = world.location(name)
            world.oracle.note_neglected((location.vault, location.name))
        history.restores += 1
        randomness.choice(backups)()
        world.note_adopted()
    settle(world, history)
    return history


def _pick_action(
    world: World, history: History, point: int | None, backups: list[Callable[[], None]] | None
) -> Callable[[], None] | None:
    """Draw what happens at that point of a run; None: it dies there. `backups`: where to put copies of the database."""
    randomness = world.random
    if point is not None and world.calendar is not None and world.calendar.chance.random() < 0.5:
        return People(world, history).pause_all
    if backups is not None:
        return lambda: backups.append(world.database.back_up())
    if point is not None and randomness.random() < 0.25:
        return world.set_stop
    if point is not None and randomness.random() < 0.3:
        return _make_beside(world, history)
    return None


def _pick_daemon(seed: int) -> random.Random | None:
    """In two of five histories a daemon works, which looks everywhere now and then only."""
    randomness = random.Random(f"daemon {seed}")
    return randomness if randomness.random() < 0.4 else None


def make_world(
    randomness: random.Random, make_database: MakeDatabase, *, has_outage: bool = False, stretch: int = 1
) -> World:
    """Two ManagedPats of one account and organization or of several; in a third of the histories another overlap.

    Always one of days where PATs live `stretch` times longer.
    """
    spots = [Spot(account.name, organization) for account in ACCOUNTS for organization in account.organizations]
    others = (spots[0], spots[0], *spots)
    days_left = 1 if has_outage else randomness.choice((1, 3))
    spots = [spots[0], randomness.choice(others)]
    world = World(
        randomness, spots=(spots[0], spots[1]), days_left=days_left, make_database=make_database, stretch=stretch
    )
    world.has_odd_entry = randomness.random() < 0.2
    if randomness.random() < 0.1:
        world.spoil()
    if randomness.random() < 0.33:
        world.change_rule(overlap=randomness.choice(world.overlaps), disable_previous=randomness.random() < 0.5)
    if stretch > 1:
        world.change_rule(overlap=randomness.choice(SLOW_OVERLAPS), disable_previous=randomness.random() < 0.5)
    return world


def run_process(world: World, history: History, at: int | None, action: Callable[[], None] | None = None) -> Life:
    """One run, killed before the bytecode `at` (or `action` done there)."""
    history.old_rotations += world.archive_old()
    life = Life(at, action)
    run = world.make_run(life)
    try:
        with life.lived():
            reports = _work(world, run, is_whole=at is None)
        for report in reports:
            history.stops += report.is_stopped
            check_report(world, report)
    except Crash:
        history.crashes += 1
    except RotatorError as error:
        note_error(world, history, error)
    history.takeovers += world.note_taken_over()
    world.check_queue()
    return life


def note_error(world: World, history: History, error: RotatorError) -> None:
    """How a run ended that has no report: by a bug, or by what stops it from working at all."""
    if isinstance(error, InternalError):
        world.oracle.breaks.append(error.message)
        return
    history.notes.append(error.code)
    if isinstance(error, ClockSkewError):
        _note_told(world, error)


def _work(world: World, run: RunContext, *, is_whole: bool) -> list[RunReport]:
    """One `rotator once`; where a daemon works, what that does in an hour, or, unless it is whole, in a minute."""
    if world.daemon is None:
        return [run_once(run)]
    looks = is_whole or world.daemon.random() < 0.3
    return [work_on_look(run), work_on_due(run)] if looks else [work_on_due(run)]


def _note_told(world: World, error: ClockSkewError) -> None:
    """With a wrong clock there is no report: the error tells what a fault of the database kept from being done."""
    faults = [fault.make_error().message for fault in CommitFault]
    told = (name for name in world.names for fault in faults if f"{name} failed ({fault})" in error.message)
    world.failed_by_database.update(told)


def check_report(world: World, report: RunReport) -> None:
    """No bug of ours hides behind the failure of one PAT, and none is frozen for a write that nobody made."""
    for outcome in report.outcomes:
        code = outcome.failure.code if outcome.failure is not None else None
        if code in (DatabaseLockedError.code, DatabaseUnreachableError.code):
            world.failed_by_database.add(outcome.name)
        if outcome.failure is not None and code == InternalError.code:
            world.oracle.breaks.append(outcome.failure.message)
        if code == ForeignWriteError.code and not world.is_written_by_hand(outcome.name):
            world.oracle.breaks.append(f"{outcome.name} is frozen for a write of somebody else that nobody made")


def settle(world: World, history: History) -> None:
    """Let everything late take effect, run undisturbed until nothing changes any more, and check what must hold then.

    Where a person has to act, by what `status` says, that person does: an interrupted history is told to an end.
    """
    people = People(world, history)
    _clear_faults(world)
    history.database_faults, history.wrong_clocks = world.database_faults, world.skews
    world.pats.apply_late()
    world.secrets.apply_late()
    world.oracle.look()
    if world.restored:
        world.lose_knowledge()
    world.note_edited()
    people.sign_in()
    world.clock.advance(LEASE)
    if world.calendar is not None:
        _live_paused(world, history, people)
    is_short = world.calendar is None and world.stretch == 1  # runs look for a late write for seven days only
    if world.random.random() < 0.3 and is_short:
        _lose_restore(world, history)
    _run_until_at_rest(world, history)
    for number in range(MOST_HELP):
        if not _help(world, people, is_second=number > 0):
            break
        _run_until_at_rest(world, history)
    if world.secrets.has_late:
        for name in sorted(set(world.names) - world.spoiled):
            people.rotate(name)
        _run_until_at_rest(world, history)
        history.late_restores += world.secrets.apply_late()
        world.oracle.look()
        _run_until_at_rest(world, history)
    history.breaks, history.ignored_revocations = len(world.oracle.passing), world.ignored
    history.ignored_stores = world.ignored_stores
    check_rest(world)


def _live_paused(world: World, history: History, people: People) -> None:
    """Some hours go on as they are, perhaps with everything paused; then a person resumes everything."""
    assert world.calendar is not None
    for _ in range(world.calendar.chance.choice((0, 2, 6))):
        run_process(world, history, None)
        _judge_served(world)
        world.clock.advance(timedelta(hours=1))
    people.resume_all()


def _lose_restore(world: World, history: History) -> None:
    """A run whose next write that puts a value back gets no answer, and takes effect after a further rotation."""
    world.secrets.postpone_restore()
    run_process(world, history, None)
    world.secrets._postponed_restores = 0
    world.clock.advance(LEASE)


def _help(world: World, people: People, *, is_second: bool) -> bool:
    """Do what each error says, and what a rebuild in vain says. Return whether there was anything to do."""
    with world.database.read() as reading:
        records = reading.inventory.load_all()
    waiting = [pat for pat in records if pat.blocked or pat.state is ManagedPatState.PAUSED]
    stuck = [pat for pat in waiting if pat.name not in world.spoiled]
    if any(pat.hold is Hold.DATABASE_BEHIND for pat in stuck):
        people.rebuild()
    for pat in stuck:
        if not pat.has_pat and pat.blocked:
            people.forget(pat.name)
        elif pat.hold is Hold.DATABASE_BEHIND and is_second:
            people.start_over(pat.name)
        elif pat.hold is None and pat.state is ManagedPatState.PAUSED:
            people.resume(pat.name)
        elif _is_unconfirmed(pat):
            people.confirm(pat.authorization_id)
        elif pat.hold is not Hold.DATABASE_BEHIND:
            people.rotate(pat.name)
            if _is_unconfirmed(world.load_record(pat.name)):
                people.confirm(pat.name)
                people.rotate(pat.name)
            people.resume(pat.name)
    return bool(stuck)


def _is_unconfirmed(pat: ManagedPat | None) -> bool:
    """Whether a person has to look at what its secret holds."""
    return pat is not None and pat.last_failure is not None and pat.last_failure.kind is FailureKind.UNCONFIRMED


def _make_pause(world: World) -> timedelta:
    """How long after a run the next one begins, once the faults have ended."""
    with world.database.read() as reading:
        overlaps = [rotation.overlap for rotation in reading.journal.load_open()]
    pause = max([world.oracle.overlap, *overlaps]) / 8
    return max(HOUR, pause if world.calendar is None else min(pause, MOST_CLOSED))


def _run_until_at_rest(world: World, history: History) -> None:
    """Runs some hours apart, until one has found everything at rest and left it so."""
    cycles, short_end = 0, LONG_AGO
    while True:
        pause = _make_pause(world)
        for pat in world.load_fleeting(pause):
            world.oracle.note_fleeting((pat.vault, pat.secret_name))
        for found in world.find_brief(pause):
            world.oracle.note_short(found)
        was_at_rest = cycles > 0 and _is_at_rest(world)
        short_end = max(short_end, _find_short_end(world))
        longest = CALENDAR_CYCLES if world.calendar is not None else MOST_CYCLES
        if cycles >= (max(longest, MOST_CYCLES * 4) if world.clock.now() < short_end else longest):
            raise InvariantError(
                f"not at rest after {cycles} cycles: {[r.state.value for r in world.load_rotations()]}"
            )
        run_process(world, history, None)
        _judge_served(world)
        if was_at_rest and _is_at_rest(world):
            break
        world.clock.advance(HOUR if _is_ending(world, pause) else pause)
        cycles += 1
    check_breaks(world)


def _is_ending(world: World, pause: timedelta) -> bool:
    """Whether a PAT expires before a run after that pause. Then the next one comes in an hour, as with cron."""
    with world.database.read() as reading:
        ends = [pat.valid_to for pat in reading.inventory.load_all()]
    return any(timedelta(0) < end - world.clock.now() <= pause for end in ends)


def _judge_served(world: World, hidden: Collection[str] = ()) -> None:
    """Ask the oracle after a run; of the `hidden` PATs the run could not know that they live.

    Not while what an older database cannot know waits for a window: nobody looks yet. Nor after a run in which a
    sign-in was refused: what is to be put back must be seen to sign in.
    """
    with world.database.read() as reading:
        is_paused = find_pause(reading) is not None
    is_closed = is_paused or (world.calendar is not None and not world.calendar.is_open(world.clock.now()))
    if not (world.was_refused or (world.restored and is_closed)):
        world.oracle.judge_served(world.show_status(), hidden)


def check_breaks(world: World) -> None:
    """Raise InvariantError when the promise was broken, whoever caught what was raised then."""
    if world.oracle.breaks:
        raise InvariantError("; ".join(world.oracle.breaks[:3]))


def check_rest(world: World) -> None:
    """I6 and I8, and what the oracle makes of the status."""
    world.check_database()
    world.check_calendar()
    world.oracle.judge_rest(world.show_status(), besides=world.spoiled)
    check_breaks(world)


def _is_at_rest(world: World) -> bool:
    with world.database.read() as reading:
        records, unfinished = reading.inventory.load_all(), reading.journal.load_open()
        pending = {item.name for item in reading.revocations.load()}
    now = world.clock.now()
    fleeting = {pat.name for pat in world.load_fleeting(_make_pause(world))}
    if any(rotation.name not in world.spoiled | fleeting for rotation in unfinished):
        return False
    if any(_is_awaited(pat) and pat.name not in world.spoiled for pat in records):
        return False
    return all(
        pat.blocked
        or (pat.name in world.adopted and pat.name not in pending and pat.retry_at is None)
        or pat.name in world.spoiled
        or pat.state is ManagedPatState.PAUSED
        or (pat.name not in pending and pat.last_failure is None and pat.valid_to - now > world.span(REST))
        for pat in records
    )


def _find_short_end(world: World) -> datetime:
    """Until when a PAT may live for which so short a life was asked, because of a maximum, that it is never at rest.

    Two runs must find it at rest once its overlap is over.
    """
    with world.database.read() as reading:
        limits = reading.limits.load().values()
    unsettled = OFFSET + world.oracle.overlap + 2 * _make_pause(world)
    short = (limit for limit in limits if limit.longest - unsettled <= world.span(REST))
    return max((limit.learned_at + 2 * limit.longest for limit in short), default=LONG_AGO)


def _is_awaited(pat: ManagedPat) -> bool:
    """Whether a run is still to make its first PAT, or one that is other than the current one."""
    is_worked_on = pat.state is ManagedPatState.ACTIVE and not pat.blocked
    return is_worked_on and (not pat.has_pat or pat.is_update_wanted)


def pick_point(randomness: random.Random) -> int | None:
    """Draw before which bytecode something happens to a process; None for nowhere."""
    if randomness.random() < 0.2:
        return None
    return randomness.randint(1, randomness.choice((4_000, 9_000, 16_000)))


def stir(world: World, history: History) -> None:
    """Faults of the services, and what people do meanwhile."""
    randomness = world.random
    for _ in range(randomness.choice((0, 0, 1, 1, 2, 3))):
        history.faults += 1
        _pick_fault(world)()
    if randomness.random() < 0.3:
        People(world, history).pick()()
    if randomness.random() < 0.15:
        home = randomness.choice(sorted(world.pats.organizations))
        world.pats.organizations[home].max_lifetime = world.span(randomness.choice((7, 9)))


def _live_shortly(history: History) -> None:
    """Another world: the rule asks for four days before the end, and no new PAT lives longer than three.

    Twelve days long consumers are served nevertheless; then the limit is lifted, and lives are as long as they were.
    """
    randomness, history.short_lives = random.Random(history.seed), history.short_lives + 1
    world = World(randomness, spots=(Spot(ACCOUNTS[0].name, ACCOUNTS[0].organizations[0]),) * 2, days_left=3)
    world.daemon = _pick_daemon(history.seed)
    world.lag = timedelta(0)  # a shorter life that no list shows yet is not believed
    world.disturb(random.Random(f"short lives disturbed {history.seed}"))
    rule, hidden = world.policy.rules[0], set[str]()
    for rotate_before, longest in (
        (Threshold(duration=timedelta(days=4)), timedelta(days=3)),
        (rule.rotate_before, None),
    ):
        world.set_policy(replace(world.policy, rules=(replace(rule, rotate_before=rotate_before),)))
        for organization in world.pats.organizations.values():
            organization.max_lifetime = longest
        for _ in range(96 if longest else 32):
            seen = _run_shortly(world, history, pick_point(randomness) if randomness.random() < 0.3 else None)
            hidden = (hidden | world.unlisted.keys()) - seen
            _judge_served(world, hidden)
            world.clock.advance(timedelta(hours=3))
    settle(world, history)


def _run_shortly(world: World, history: History, at: int | None) -> set[str]:
    """A run, after which the oracle is told which PATs it could work on; return which it saw in every list.

    A wrong clock keeps it from none that is urgent.
    """
    seen = set[str]()
    crashes, notes = history.crashes, len(history.notes)
    world.failed_by_database.clear()
    run_process(world, history, at)
    ended_by = set(history.notes[notes:])
    is_dead = history.crashes > crashes or bool(ended_by - {ClockSkewError.code})
    is_held = bool(ended_by) or world.host.is_wrong
    for name in world.names:
        record, location = world.load_record(name), world.location(name)
        is_urgent = record is not None and record.valid_to - world.clock.now() < URGENT
        is_unseen = record is not None and world.unlisted[record.authorization_id] > 1
        is_able = not (is_dead or is_unseen or name in world.failed_by_database) and (is_urgent or not is_held)
        world.oracle.note_run((location.vault, location.name), is_able=is_able)
        if record is not None and not (is_dead or name in world.failed_by_database):
            seen |= {record.authorization_id} - world.unlisted.keys()
    return seen


def _live_through_outage(world: World, history: History) -> None:
    """Something fails in every run for most of the day that the PATs have left; then there are hours to rotate them.

    Consumers must not have been left with an expired PAT until then.
    """
    randomness = world.random
    vault = _make_transient("key_vault", "prove_writable")
    refused = VerificationError("the probe was refused", code="verification_failed")
    choice = randomness.choice(("vault", "list", "probe", "die"))
    history.outages += 1
    until = world.clock.start + timedelta(hours=randomness.randint(8, 20))
    while world.clock.now() < until:
        if choice == "vault":
            world.secrets.fail("prove_writable", vault, times=30)
        elif choice == "list":
            world.pats.fail("fetch_pats", _make_transient("azure_devops", "fetch_pats"), times=30)
        elif choice == "probe":
            world.pats.fail("verify", refused, times=300)
        run_process(world, history, randomness.randint(3_000, 9_000) if choice == "die" else None)
        world.pats._planned.clear()
        world.secrets._planned.clear()
        world.clock.advance(timedelta(hours=1))


def _pick_fault(world: World) -> Callable[[], None]:
    randomness = world.random
    after, skip = randomness.random() < 0.5, randomness.choice((0, 0, 0, 1, 2))

    def fail_pats() -> None:
        operation = randomness.choice(_FAULTY)
        if operation in ("mint", "revoke") and randomness.random() < 0.7:
            world.pats.fail(operation, after_effect=after, skip=skip)
        else:
            world.pats.fail(operation, _make_transient("azure_devops", operation), skip=skip)

    def fail_vault() -> None:
        operation = randomness.choice(_FAULTY_VAULT)
        if operation == "store" and randomness.random() < 0.7:
            world.secrets.fail(operation, after_effect=after, skip=skip, times=randomness.choice((1, 1, 30)))
        else:
            world.secrets.fail(operation, _make_transient("key_vault", operation), skip=skip)

    def lose_store() -> None:
        world.secrets.postpone_store()
        world.secrets.fail("store", skip=1, times=30)

    def swap_answer() -> None:
        others = (None, randomness.choice(sorted(world.pats.pats)))
        world.pats.swap_mint_answer(randomness.choice(others), effect=after)

    def apply_late() -> None:
        world.pats.apply_late()
        world.secrets.apply_late()
        world.oracle.look()

    postponements = (world.pats.postpone_mint, world.pats.postpone_revoke, world.secrets.postpone_store)
    faults = (fail_pats, fail_vault, *postponements, lose_store, swap_answer)
    return randomness.choice((*faults, *faults, apply_late))


def _make_transient(service: str, operation: str) -> TransientError:
    return TransientError("it is too busy", service=service, operation=operation, status=429, retry_after=1.0)


def _clear_faults(world: World) -> None:
    world.pats._planned.clear()
    world.make_calm()
    world.secrets._planned.clear()
    world.pats._postponed_mints = world.pats._postponed_revokes = 0
    world.pats._swapped.clear()
    world.secrets._postponed_stores = 0


def _make_beside(world: World, history: History) -> Callable[[], None]:
    """Return what a person does with rotator beside a run; the run goes on, or dies then."""
    command, dies = People(world, history).pick_command(), world.random.random() < 0.3

    def act() -> None:
        command()
        if dies:
            history.crashes += 1
            raise Crash

    return act


class _Writer:
    """A process that freezes before some bytecode, in a thread of its own, and goes on when it thaws."""

    def __init__(self, world: World) -> None:
        self._world, self._frozen, self._thaw = world, threading.Event(), threading.Event()
        self._life = Life(pick_point(world.random), self._freeze)
        self._run = world.make_run(self._life)
        self.notes: list[str] = []
        self._thread = threading.Thread(target=self._live)
        self._thread.start()
        self._frozen.wait(60)

    def thaw(self) -> None:
        """Let it go on, and wait for its end."""
        self._thaw.set()
        self._thread.join(60)
        if self._thread.is_alive():
            raise InvariantError("a frozen writer did not end")
        self._world.note_taken_over()

    def _freeze(self) -> None:
        self._life.fall_asleep(self._world.clock.now())
        self._frozen.set()
        self._thaw.wait(60)

    def _live(self) -> None:
        try:
            with self._life.lived():
                for report in _work(self._world, self._run, is_whole=False):
                    check_report(self._world, report)
        except RotatorError as error:
            self.notes.append(error.code)
        except BaseException as error:
            self._world.oracle.breaks.append(f"a frozen writer: {error!r}")
        finally:
            self._frozen.set()


def _run_several(world: World, history: History, frozen: int) -> None:
    """One or two writers freeze before some bytecode, another runs meanwhile, they thaw in any order and go on."""
    pauses = (0, 6, 20, 130)
    writers = []
    for _ in range(frozen):
        writers.append(_Writer(world))
        world.clock.advance(timedelta(minutes=world.random.choice(pauses)))
    history.thaws += frozen
    run_process(world, history, None)
    world.random.shuffle(writers)
    for writer in writers:
        world.clock.advance(timedelta(minutes=world.random.choice(pauses)))
        writer.thaw()
        history.notes.extend(writer.notes)


class Story(StrEnum):
    """What is killed before each of its bytecodes. All of them begin with one ManagedPat."""

    ROTATION = auto()
    RETIREMENT = auto()
    CREATION = auto()
    UPDATE = auto()


def crash_everywhere(part: int, parts: int, stories: Iterable[Story] = tuple(Story), *, is_whole: bool = True) -> int:
    """Live through every single crash point of these stories, each once; return how many there were.

    `part` of `parts` equal shares, so that several processes can do it. Not `is_whole`: through the first and the last
    of those that leave the same behind.
    """
    points = 0
    for story in stories:
        life = _crash_at(story, 0)
        everywhere = range(1, life.executed + 1) if is_whole else sorted({*life.turns, life.executed} - {0})
        for at in everywhere[part::parts]:
            _crash_at(story, at)
            points += 1
    return points


def _crash_at(story: Story, at: int) -> Life:
    """Die before one bytecode of a story, come to rest, and check the rest. Return the life that ended.

    There is no bytecode 0: with that, the story is told to its end.
    """
    is_due = story is not Story.UPDATE
    world, history = World(random.Random(1), names=("ci-build",), days_left=3 if is_due else 9), History(1)
    world.is_database_sound = world.are_clocks_right = True
    if story is Story.RETIREMENT:
        run_process(world, history, None)
        world.clock.advance(timedelta(hours=3))
    people = People(world, history)
    match story:
        case Story.CREATION:
            life = people.create("deploy", at)
        case Story.UPDATE:
            life = people.update("ci-build", at)
        case _:
            life = run_process(world, history, at)
    try:
        settle(world, history)
        if at == 0:
            _check_told(world, story)
    except InvariantError as error:
        raise InvariantError(f"crash before bytecode {at} of a {story.value}: {error}") from error
    return life


def _check_told(world: World, story: Story) -> None:
    """Undisturbed, a story ends with what a person asked for."""
    name = "deploy" if story is Story.CREATION else "ci-build"
    record = world.load_record(name)
    if record is None or not record.has_pat or (story is Story.UPDATE and record.display_name != "ci-build-2"):
        raise InvariantError(f"{name} is not as it was asked for: {record}")
