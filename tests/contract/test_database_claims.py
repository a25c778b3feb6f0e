"""The port Claims and the database's clock, on every database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.job_run import Heartbeat
from rotator.errors import ClaimHeldError, ClaimLostError, UsageError
from rotator.ports.claims import Claim
from rotator.ports.database import Database
from tests.support.clock import FakeClock
from tests.support.fake_database import MemoryDatabase
from tests.support.postgres import PostgresServer
from tests.support.records import NOW, make_managed_pat, make_rotation

SPAN = timedelta(minutes=5)


@pytest.fixture(autouse=True)
def _record(request: pytest.FixtureRequest) -> None:
    """`npm-feed`, in the databases that nobody else fills."""
    if "database" in request.fixturenames:
        database: Database = request.getfixturevalue("database")
        with database.begin() as work:
            work.inventory.add(make_managed_pat())


def test_claims_claim_raises_the_epoch_when_free(database: Database) -> None:
    """Claimed, given back, claimed by another: each claim has the next epoch."""
    with database.begin() as work:
        first = work.claims.claim("npm-feed", "run-1", now=NOW, span=SPAN)
        work.claims.release(first)
        second = work.claims.claim("npm-feed", "run-2", now=NOW, span=SPAN)
    assert first == Claim("npm-feed", "run-1", 1, NOW + SPAN)
    assert second == Claim("npm-feed", "run-2", 2, NOW + SPAN)
    with database.begin() as work:
        pat = work.inventory.load("npm-feed")
        assert pat is not None
        assert pat.epoch == 2


def test_claims_claim_is_refused_when_another_run_holds_it(database: Database) -> None:
    """Until the very moment of its end; the refusal names the run."""
    with database.begin() as work:
        work.claims.claim("npm-feed", "run-1", now=NOW, span=SPAN)
    with database.begin() as work:
        just_before = NOW + SPAN - timedelta(microseconds=1)
        with pytest.raises(ClaimHeldError, match="run-1"):
            work.claims.claim("npm-feed", "run-2", now=just_before, span=SPAN)
        assert work.claims.claim("npm-feed", "run-2", now=NOW + SPAN, span=SPAN).epoch == 2


def test_claims_claim_is_refused_when_the_same_claimant_holds_it(database: Database) -> None:
    """A claim belongs to one unit of work: a second one of the same run must not end the first."""
    with database.begin() as work:
        first = work.claims.claim("npm-feed", "run-1", now=NOW, span=SPAN)
    with database.begin() as work:
        with pytest.raises(ClaimHeldError, match="run-1"):
            work.claims.claim("npm-feed", "run-1", now=NOW, span=SPAN)
        assert work.claims.renew(first, now=NOW, span=SPAN).epoch == first.epoch


def test_claims_claim_is_refused_when_there_is_no_such_record(database: Database) -> None:
    """By name."""
    with database.begin() as work, pytest.raises(UsageError, match="nobody"):
        work.claims.claim("nobody", "run-1", now=NOW, span=SPAN)


def test_claims_find_held_names_those_whose_claim_is_valid(database: Database) -> None:
    """To anybody who reads or writes; until its end, or until it is given back."""
    with database.begin() as work:
        work.inventory.add(make_managed_pat("ci-build"))
        claim = work.claims.claim("npm-feed", "run-1", now=NOW, span=SPAN)
        names = ("npm-feed", "ci-build", "nobody")
        assert work.claims.find_held(names, now=NOW, span=SPAN) == {"npm-feed"}
        assert work.claims.find_held(("ci-build",), now=NOW, span=SPAN) == set()
    with database.read() as reading:
        assert reading.claims.find_held(names, now=NOW, span=SPAN) == {"npm-feed"}
        assert reading.claims.find_held(names, now=NOW + SPAN, span=SPAN) == set()
    with database.begin() as work:
        work.claims.release(claim)
    with database.read() as reading:
        assert reading.claims.find_held(names, now=NOW, span=SPAN) == set()


def test_claims_renew_moves_the_end_when_still_held(database: Database) -> None:
    """Even after the claim ran out, as long as nobody else has claimed."""
    with database.begin() as work:
        claim = work.claims.claim("npm-feed", "run-1", now=NOW, span=SPAN)
        later = work.claims.renew(claim, now=NOW + 2 * SPAN, span=SPAN)
    assert later == Claim("npm-feed", "run-1", claim.epoch, NOW + 3 * SPAN)
    with database.begin() as work, pytest.raises(ClaimHeldError):
        work.claims.claim("npm-feed", "run-2", now=NOW + 2 * SPAN, span=SPAN)


def test_claims_leave_the_new_claim_alone_when_the_old_holder_comes_back(database: Database) -> None:
    """Renew fails, release does nothing."""
    with database.begin() as work:
        old = work.claims.claim("npm-feed", "run-1", now=NOW, span=SPAN)
        new = work.claims.claim("npm-feed", "run-2", now=NOW + SPAN, span=SPAN)
        with pytest.raises(ClaimLostError):
            work.claims.renew(old, now=NOW + SPAN, span=SPAN)
        work.claims.release(old)
        assert work.claims.renew(new, now=NOW + SPAN, span=SPAN).epoch == new.epoch


def test_claims_bind_no_more_when_given_back_in_the_transaction_that_renewed_them(database: Database) -> None:
    """What was renewed is not looked at again in the same transaction, as long as it is ours."""
    with database.begin() as work:
        claim = work.claims.claim("npm-feed", "run-1", now=NOW, span=SPAN)
    pat = make_managed_pat()
    with database.begin() as work:
        renewed = work.claims.renew(claim, now=NOW, span=SPAN)
        work.inventory.save(pat, renewed)
        work.claims.release(renewed)
        with pytest.raises(ClaimLostError):
            work.inventory.save(pat, renewed)
    with database.begin() as work, pytest.raises(ClaimLostError):
        work.inventory.save(pat, renewed)


def test_claims_release_undone_when_rolled_back(database: Database) -> None:
    """A release counts when it is committed."""
    with database.begin() as work:
        claim = work.claims.claim("npm-feed", "run-1", now=NOW, span=SPAN)

    def stop_midway() -> None:
        with database.begin() as work:
            work.claims.release(claim)
            raise UsageError("stop")

    with pytest.raises(UsageError):
        stop_midway()
    with database.begin() as work:
        assert work.claims.renew(claim, now=NOW, span=SPAN).epoch == claim.epoch


def test_claims_claim_has_one_winner_when_eight_threads_try(database: Database) -> None:
    """Exactly one; the others are told."""
    together = threading.Barrier(8)

    def claim(number: int) -> bool:
        together.wait(timeout=30)
        try:
            with database.begin() as work:
                work.claims.claim("npm-feed", f"run-{number}", now=NOW, span=SPAN)
        except ClaimHeldError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, range(8)))
    assert won.count(True) == 1
    with database.begin() as work:
        pat = work.inventory.load("npm-feed")
        assert pat is not None
        assert pat.epoch == 1


def test_unit_of_work_now_is_aware_utc_when_asked(database: Database) -> None:
    """The injected host clock, or the server's, which never goes back within a transaction."""
    with database.begin() as work:
        first, second = work.now(), work.now()
    assert first.tzinfo is UTC
    assert second >= first


class Undertaker:
    """Tells whose processes are gone, and remembers who was asked about."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.asked: list[str] = []

    def __call__(self, claimant: str) -> bool:
        """Whether that claimant's process has ended."""
        self.asked.append(claimant)
        return claimant in self.gone


@pytest.fixture
def undertaker() -> Undertaker:
    """Nobody is gone yet."""
    return Undertaker()


@pytest.fixture(params=["sqlite", "postgresql"])
def judging(request: pytest.FixtureRequest, tmp_path: Path, undertaker: Undertaker) -> Iterator[Database]:
    """A database that asks whether the process behind a claim still exists, with one record."""
    server: PostgresServer | None = None
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/judging.db"
        upgrade(url)
    else:
        server = request.getfixturevalue("postgres_server")
        name = server.create_database(request.getfixturevalue("postgres_template"))
        url = server.url(name)
    opened = SqlDatabase(url, is_gone=undertaker)
    with opened.begin() as work:
        work.inventory.add(make_managed_pat())
    yield opened
    opened.close()
    if server is not None:
        server.drop_database(name)


def test_claims_claim_takes_over_when_the_holders_process_is_gone(judging: Database, undertaker: Undertaker) -> None:
    """Long before its end, with the next epoch: whatever the dead run had under way can write nothing any more."""
    with judging.begin() as work:
        dead = work.claims.claim("npm-feed", "run-1@host", now=NOW, span=SPAN)
        work.journal.insert(make_rotation(), dead)
    undertaker.gone.add("run-1@host")
    with judging.begin() as work:
        taken = work.claims.claim("npm-feed", "run-2@host", now=NOW, span=SPAN)
        assert taken == Claim("npm-feed", "run-2@host", dead.epoch + 1, NOW + SPAN)
        with pytest.raises(ClaimLostError):
            work.claims.renew(dead, now=NOW, span=SPAN)
        with pytest.raises(ClaimLostError):
            work.journal.save(make_rotation(), dead)
        work.claims.release(dead)
    with judging.begin() as work:
        assert work.claims.renew(taken, now=NOW, span=SPAN).epoch == taken.epoch
    assert undertaker.asked == ["run-1@host"]


def test_claims_say_that_one_is_over_when_its_process_is_gone(judging: Database, undertaker: Undertaker) -> None:
    with judging.begin() as work:
        claim = work.claims.claim("npm-feed", "run-1@host", now=NOW, span=SPAN)
        assert work.claims.find_next_over(now=NOW, span=SPAN) is None
    undertaker.gone.add("run-1@host")
    with judging.begin() as work:
        assert work.claims.find_next_over(now=NOW, span=SPAN) == timedelta(0)
        work.claims.release(claim)
        assert work.claims.find_next_over(now=NOW, span=SPAN) is None


def test_claims_say_that_one_is_over_when_nobody_renewed_it(timed: tuple[Database, FakeClock]) -> None:
    database, clock = timed
    with database.begin() as work:
        work.claims.claim("npm-feed", "run-1", now=NOW, span=SPAN)
    clock.advance(SPAN - timedelta(seconds=1))
    with database.read() as reading:
        assert reading.claims.find_next_over(now=NOW, span=SPAN) is None
    clock.advance(timedelta(seconds=1))
    with database.read() as reading:
        assert reading.claims.find_next_over(now=NOW, span=SPAN) == timedelta(0)


def test_claims_claim_is_refused_when_the_holders_process_lives(judging: Database, undertaker: Undertaker) -> None:
    """It is asked about by its whole name, and told by that."""
    undertaker.gone.add("run-1@elsewhere")
    with judging.begin() as work:
        work.claims.claim("npm-feed", "run-1@host", now=NOW, span=SPAN)
        with pytest.raises(ClaimHeldError, match="run run-1 is working"):
            work.claims.claim("npm-feed", "run-2@host", now=NOW, span=SPAN)
    assert undertaker.asked == ["run-1@host"]


def test_claims_claim_asks_about_nobody_when_it_is_free_or_ran_out(judging: Database, undertaker: Undertaker) -> None:
    with judging.begin() as work:
        work.claims.release(work.claims.claim("npm-feed", "run-1@host", now=NOW, span=SPAN))
        work.claims.claim("npm-feed", "run-2@host", now=NOW, span=SPAN)
        work.claims.claim("npm-feed", "run-3@host", now=NOW + SPAN, span=SPAN)
    assert undertaker.asked == []


def test_claims_takeover_has_one_winner_when_eight_threads_try(judging: Database, undertaker: Undertaker) -> None:
    """All find the same dead holder; the first to take over is alive, and keeps it."""
    with judging.begin() as work:
        work.claims.claim("npm-feed", "dead@host", now=NOW, span=SPAN)
    undertaker.gone.add("dead@host")
    together = threading.Barrier(8)

    def claim(number: int) -> bool:
        together.wait(timeout=30)
        try:
            with judging.begin() as work:
                work.claims.claim("npm-feed", f"run-{number}@host", now=NOW, span=SPAN)
        except ClaimHeldError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, range(8)))
    assert won.count(True) == 1


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def timed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Database, FakeClock]]:
    """A database of each kind with `npm-feed`, on a host with this boot clock."""
    clock = FakeClock(NOW)
    if request.param == "memory":
        memory = MemoryDatabase(host_now=clock.now)
        memory.clocks.boot = clock
        with memory.begin() as work:
            work.inventory.add(make_managed_pat())
        yield memory, clock
        return
    url = f"sqlite:///{tmp_path}/rotator.db"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.url(server.create_database())
    upgrade(url)
    database = SqlDatabase(url, host_now=clock.now, boot=clock)
    with database.begin() as work:
        work.inventory.add(make_managed_pat())
    yield database, clock
    database.close()


def test_claim_of_this_boot_is_measured_by_the_boot_clock_alone(timed: tuple[Database, FakeClock]) -> None:
    database, clock = timed
    with database.begin() as work:
        claim = work.claims.claim("npm-feed", "run-1", now=NOW, span=SPAN)
    clock.advance(SPAN - timedelta(seconds=1))
    with database.begin() as work:
        with pytest.raises(ClaimHeldError):
            work.claims.claim("npm-feed", "run-2", now=NOW + 1000 * SPAN, span=SPAN)
        work.claims.renew(claim, now=NOW, span=SPAN)
    clock.advance(SPAN - timedelta(seconds=1))
    with database.begin() as work, pytest.raises(ClaimHeldError):
        work.claims.claim("npm-feed", "run-2", now=NOW, span=SPAN)
    clock.advance(timedelta(seconds=1))
    with database.begin() as work:
        assert work.claims.claim("npm-feed", "run-2", now=NOW - 1000 * SPAN, span=SPAN).epoch == 2


@pytest.mark.parametrize(("ahead", "is_over"), [(timedelta(minutes=59), False), (timedelta(days=3650), True)])
def test_claim_of_another_boot_binds_no_longer_than_a_lease_can_last(
    timed: tuple[Database, FakeClock], ahead: timedelta, is_over: bool
) -> None:
    database, clock = timed
    with database.begin() as work:
        work.claims.claim("npm-feed", "run-1", now=NOW + ahead - SPAN, span=SPAN)
    clock.reboot()
    with database.begin() as work:
        if is_over:
            assert work.claims.claim("npm-feed", "run-2", now=NOW, span=SPAN).epoch == 2
        else:
            with pytest.raises(ClaimHeldError):
                work.claims.claim("npm-feed", "run-2", now=NOW, span=SPAN)


BEAT = timedelta(seconds=30)
DAEMON, OTHER = "run-1@host#1.1", "run-2@host#2.2"


def beat(database: Database, holder: str = "start@host#1.1", binds_for: timedelta | None = 2 * BEAT) -> None:
    """A daemon says at NOW that it lives."""
    with database.begin() as work:
        work.job_runs.beat(Heartbeat(holder, NOW, NOW, binds_for=binds_for))


def find_held(database: Database, after: timedelta) -> frozenset[str]:
    """Whose claims bind then."""
    with database.read() as reading:
        return reading.claims.find_held(("npm-feed",), now=NOW + after, span=SPAN)


def find_next_over(database: Database, after: timedelta) -> timedelta | None:
    """What the heartbeat of another daemon finds then."""
    with database.read() as reading:
        return reading.claims.find_next_over(now=NOW + after, span=SPAN)


def test_claims_of_a_daemon_are_over_when_its_heartbeat_stays_away(database: Database) -> None:
    """Two heartbeats after the last one, to anybody who reads or claims; the daemon that comes back has lost them."""
    beat(database)
    with database.begin() as work:
        lost = work.claims.claim("npm-feed", DAEMON, now=NOW, span=SPAN)
    just_before = 2 * BEAT - timedelta(microseconds=1)
    assert find_held(database, just_before) == {"npm-feed"}
    with database.begin() as work, pytest.raises(ClaimHeldError, match="run-1"):
        work.claims.claim("npm-feed", OTHER, now=NOW + just_before, span=SPAN)
    assert find_held(database, 2 * BEAT) == set()
    with database.begin() as work:
        taken = work.claims.claim("npm-feed", OTHER, now=NOW + 2 * BEAT, span=SPAN)
    assert taken.epoch == lost.epoch + 1
    beat(database)
    with database.begin() as work, pytest.raises(ClaimLostError):
        work.claims.renew(lost, now=NOW + 2 * BEAT, span=SPAN)


def test_claims_of_a_daemon_say_when_they_are_over_once_it_missed_a_heartbeat(database: Database) -> None:
    """So that another one goes on at that very moment."""
    beat(database)
    with database.begin() as work:
        work.claims.claim("npm-feed", DAEMON, now=NOW, span=SPAN)
    assert find_next_over(database, BEAT) is None
    assert find_next_over(database, BEAT + timedelta(seconds=1)) == BEAT - timedelta(seconds=1)
    assert find_next_over(database, 2 * BEAT) == timedelta(0)


def test_claims_keep_the_lease_when_their_process_has_no_heartbeat(database: Database) -> None:
    """`rotator once`, a daemon of an older version, and processes whose start nobody knows."""
    beat(database)
    beat(database, "start@host#3.3", binds_for=None)
    beat(database, "start@unknown#4.0")
    for claimant in ("run-1", "run-1@host#2.2", "run-1@host#1.2", "run-1@host#3.3", "run-1@unknown#4.0"):
        with database.begin() as work:
            claim = work.claims.claim("npm-feed", claimant, now=NOW, span=SPAN)
        assert find_held(database, SPAN - BEAT) == {"npm-feed"}
        assert find_next_over(database, SPAN - BEAT) is None
        with database.begin() as work:
            work.claims.release(claim)


def test_claims_of_a_daemon_end_with_the_lease_when_that_is_shorter(database: Database) -> None:
    beat(database, binds_for=3 * SPAN)
    with database.begin() as work:
        work.claims.claim("npm-feed", DAEMON, now=NOW, span=SPAN)
    assert find_held(database, SPAN) == set()


class OtherHost:
    """A daemon on another host, seen by processes of this one: what time it is by the database may step."""

    def __init__(self, timed: tuple[Database, FakeClock]) -> None:
        self.database, self.clock = timed
        self.step = timedelta(0)
        self.beat()
        with self.database.begin() as work:
            work.claims.claim("npm-feed", DAEMON, now=self.now(), span=SPAN)
        self.clock.reboot()  # so to this process it was made elsewhere

    def now(self) -> datetime:
        """The database's clock."""
        return self.clock.now() + self.step

    def beat(self) -> None:
        """It lives."""
        with self.database.begin() as work:
            work.job_runs.beat(Heartbeat("start@host#1.1", NOW, self.now(), binds_for=2 * BEAT))

    def look(self) -> timedelta | None:
        """What another daemon finds with its heartbeat."""
        with self.database.begin() as work:
            return work.claims.find_next_over(now=self.now(), span=SPAN)

    def pass_on(self, seconds: float, *, beats: bool) -> None:
        """Time passes; others look every ten seconds."""
        for number in range(round(seconds / 10)):
            self.clock.advance(timedelta(seconds=10))
            if beats and number % 3 == 2:
                self.beat()
            self.look()

    def can_claim(self) -> bool:
        """Whether this process can take it over."""
        with self.database.read() as reading:
            is_held = reading.claims.find_held(("npm-feed",), now=self.now(), span=SPAN) == {"npm-feed"}
        try:
            with self.database.begin() as work:
                work.claims.claim("npm-feed", OTHER, now=self.now(), span=SPAN)
        except ClaimHeldError:
            return not is_held
        assert not is_held
        return True


@pytest.mark.parametrize("step", [timedelta(minutes=-61), timedelta(seconds=61), timedelta(hours=2)])
def test_claims_of_a_daemon_outlive_a_step_of_the_databases_clock(
    timed: tuple[Database, FakeClock], step: timedelta
) -> None:
    """And are over two heartbeats after its last one nevertheless."""
    there = OtherHost(timed)
    there.pass_on(60, beats=True)
    there.step = step
    assert not there.can_claim()
    there.pass_on(90, beats=True)
    assert not there.can_claim()
    there.pass_on(50, beats=False)
    assert not there.can_claim()
    assert there.look() == timedelta(seconds=10)
    there.clock.advance(timedelta(seconds=10))
    assert there.look() == timedelta(0)
    assert there.can_claim()


def test_claim_of_a_daemon_outlives_a_freeze_of_the_one_who_looks_at_its_heartbeat(
    timed: tuple[Database, FakeClock],
) -> None:
    """What it read before it stood still says nothing of the time since: the daemon may have gone on."""
    there = OtherHost(timed)
    there.pass_on(60, beats=True)
    freezes = [2 * BEAT]

    def freeze(*happened: object) -> None:
        if "FROM heartbeat" in str(happened[2]) and freezes:
            there.clock.advance(freezes.pop())

    event.listen(Engine, "after_cursor_execute", freeze)
    try:
        with there.database.begin() as work, pytest.raises(ClaimHeldError):
            work.claims.claim("npm-feed", OTHER, now=there.now(), span=SPAN)
    finally:
        event.remove(Engine, "after_cursor_execute", freeze)
    assert freezes == [2 * BEAT] * isinstance(there.database, MemoryDatabase)
    there.clock.advance(2 * BEAT)
    assert there.can_claim()


def test_claims_of_a_daemon_are_over_for_a_new_process_after_two_heartbeats_of_its_own(
    timed: tuple[Database, FakeClock],
) -> None:
    there = OtherHost(timed)
    there.clock.advance(SPAN)
    assert there.look() == 2 * BEAT
    there.pass_on(50, beats=False)
    assert not there.can_claim()
    there.pass_on(10, beats=False)
    assert there.can_claim()
