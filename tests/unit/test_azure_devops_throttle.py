"""How long the service wants us to wait, and that all wait together."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest

from rotator.adapters.azure_devops.throttle import SharedHolds, ThrottleGate, read_pause
from rotator.adapters.clock import SystemBootClock
from rotator.adapters.retry_after import parse_retry_after
from rotator.adapters.stop import ProcessStop
from rotator.errors import DatabaseUnreachableError, StoppedError
from rotator.ports.database import Reading, UnitOfWork
from tests.support.clock import FakeClock
from tests.support.fake_database import MemoryDatabase
from tests.support.stop import make_stop

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        (" 1.5 ", 1.5),
        ("0", 0),
        ("-5", 0),
        ("Fri, 27 Nov 2026 09:01:00 GMT", 60),
        ("Fri, 27 Nov 2026 08:00:00 GMT", 0),
        ("Fri, 27 Nov 2026 09:01:00 -0000", 60),
        ("Friday, soon", None),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_forms(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds


def test_pause_is_cut_when_the_service_asks_for_a_year() -> None:
    assert read_pause({"Retry-After": "31536000"}, NOW) == 3600


@pytest.mark.parametrize(
    ("remaining", "reset_in", "seconds"),
    [("0", 10, 10), ("0", 290, 30), ("5", 10, None), ("0", -10, None), ("x", 10, None)],
)
def test_pause_follows_the_rate_limit_when_there_is_no_retry_after(
    remaining: str, reset_in: float, seconds: float | None
) -> None:
    headers = {"X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": str(NOW.timestamp() + reset_in)}
    assert read_pause(headers, NOW) == seconds
    assert read_pause({**headers, "Retry-After": "3"}, NOW) == 3


def test_pause_is_none_when_no_header_asks_for_one() -> None:
    assert read_pause({}, NOW) is None


def test_gate_keeps_the_longer_hold_and_other_keys_pass() -> None:
    clock = FakeClock(NOW)
    gate = ThrottleGate(clock, make_stop(clock))
    gate.hold("a", 30)
    gate.hold("a", 5)

    began = clock.read_boot().elapsed
    assert gate.wait("b", began) == 0
    assert gate.wait("a", began + timedelta(seconds=29)) == 30
    assert clock.slept == []
    assert gate.wait("a", began + timedelta(seconds=30)) == 0
    assert clock.slept == [30]
    assert gate.wait("a", began) == 0


@pytest.mark.parametrize("ahead", [timedelta(days=365), timedelta(hours=-1)])
def test_gate_opens_after_the_span_however_the_wall_clock_is_set_meanwhile(ahead: timedelta) -> None:
    clock = FakeClock(NOW)
    gate = ThrottleGate(clock, make_stop(clock))
    clock.set(ahead)
    gate.hold("a", 5)
    clock.set(-ahead)

    assert gate.wait("a", clock.read_boot().elapsed + timedelta(seconds=60)) == 0
    assert clock.slept == [5]


def test_moments_are_read_by_the_clock_of_the_service_that_named_them() -> None:
    """Ours may be a day slow or fast."""
    headers = {"Date": "Fri, 27 Nov 2026 09:00:00 GMT", "Retry-After": "Fri, 27 Nov 2026 09:00:20 GMT"}
    reset = {"Date": headers["Date"], "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(NOW.timestamp() + 10)}
    for now in (NOW - timedelta(days=1), NOW + timedelta(days=1)):
        assert (read_pause(headers, now), read_pause(reset, now)) == (20, 10)


def test_gate_opens_for_nobody_when_the_process_is_to_stop() -> None:
    boot, stop = SystemBootClock(), ProcessStop()
    gate = ThrottleGate(boot, stop)
    gate.hold("a", 60)
    stop.set()

    with pytest.raises(StoppedError):
        gate.wait("a", boot.read_boot().elapsed + timedelta(seconds=90))


def make_gates() -> tuple[FakeClock, MemoryDatabase, ThrottleGate, ThrottleGate]:
    """Those of two replicas with one database."""
    clock = FakeClock(NOW)
    database = MemoryDatabase(host_now=clock.now)
    first, second = (ThrottleGate(clock, make_stop(clock), SharedHolds(database, clock)) for _ in range(2))
    return clock, database, first, second


def test_gate_holds_what_another_replica_was_asked_to_wait() -> None:
    clock, _, first, second = make_gates()
    now = clock.read_boot().elapsed
    assert second.wait("a", now) == 0
    first.hold("a", 30)
    clock.advance(timedelta(seconds=1))
    assert second.wait("a", now) == 29
    assert second.wait("b", now) == 0
    assert second.wait("a", now + timedelta(seconds=60)) == 0
    assert clock.slept == [29]


def test_gate_reads_and_writes_the_holds_of_others_once_for_many_requests() -> None:
    clock, database, _, _ = make_gates()
    seen: list[str] = []
    begin, read = database.begin, database.read

    class Counting:
        def begin(self) -> AbstractContextManager[UnitOfWork]:
            seen.append("begin")
            return begin()

        def read(self) -> AbstractContextManager[Reading]:
            seen.append("read")
            return read()

    gate = ThrottleGate(clock, make_stop(clock), SharedHolds(Counting(), clock))
    for _ in range(100):
        gate.wait("a", clock.read_boot().elapsed)
        gate.hold("b", 30)
    assert sorted(seen) == ["begin", "read"]


def test_gate_keeps_its_own_holds_while_the_database_is_away() -> None:
    clock = FakeClock(NOW)

    class Away:
        def begin(self) -> NoReturn:
            raise DatabaseUnreachableError("away")

        read = begin

    gate = ThrottleGate(clock, make_stop(clock), SharedHolds(Away(), clock))
    now = clock.read_boot().elapsed
    gate.hold("a", 30)
    assert gate.wait("a", now) == 30
    assert gate.wait("b", now) == 0
