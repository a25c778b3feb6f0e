"""Pings to a check, over real connections."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.adapters.http import make_session
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.pings import LEAST_GAP, MOST_TRIES, MOST_WAITING, Pinger
from rotator.adapters.stop import ProcessStop
from rotator.domain.monitoring_errors import MonitoringError
from rotator.domain.secret_value import SecretValue
from rotator.sandbox.certificates import write_certificates
from rotator.sandbox.proxy import run_proxy
from tests.support.check_server import KEY, CheckServer
from tests.support.clock import FakeClock
from tests.support.raw_server import GARBLED, run_raw_server

RUN = "0123456789abcdef0123456789abcdef"
PATIENCE = timedelta(seconds=30)


class Bench:
    """A check, and what pings it."""

    def __init__(self, folder: Path) -> None:
        self.ca, certificate = write_certificates(folder)
        self.clock = FakeClock()
        self.check = CheckServer(certificate)
        self.told: list[MonitoringError | None] = []
        self.hosts: set[str] = set()
        self.paused: list[float] = []
        self.stop = ProcessStop(pause=self._pause)

    def make_pinger(self, url: str | None = None, http: HttpOptions | None = None) -> Pinger:
        """What pings it, or another address."""
        options = replace(http or HttpOptions(), ca_bundle=self.ca)
        return Pinger(SecretValue(url or self.check.url), options, self.clock, self.stop, self.tell)

    def send(self, pinger: Pinger, *exit_codes: int) -> None:
        """Tell of runs that end so, with a minute between them, and wait until all is sent."""
        for exit_code in exit_codes:
            pinger.start("work", RUN)
            pinger.end("work", RUN, exit_code)
            self.clock.advance(2 * LEAST_GAP)
        pinger.close()
        pinger.await_sent(PATIENCE)

    def list_codes(self) -> list[str | None]:
        """The codes of what was told."""
        assert KEY not in repr([(error.message, error.fix) for error in self.told if error is not None])
        return [None if error is None else error.code for error in self.told]

    def _pause(self, event: threading.Event, seconds: float) -> bool:
        self.paused.append(seconds)
        return event.is_set()

    def tell(self, host: str, error: MonitoringError | None) -> None:
        self.hosts.add(host)
        self.told.append(error)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A check that listens."""
    made = Bench(tmp_path)
    with made.check.running():
        yield made


def test_check_hears_that_a_run_begins_and_how_it_ends(bench: Bench) -> None:
    """In order, each with the run's id as the protocol has it; a success after a failure is told at once."""
    bench.send(bench.make_pinger(), 0, 10, 0)
    assert bench.check.pings == ["/start", "", "/start", "/10", "/start", ""]
    assert set(bench.check.run_ids) == {str(uuid.UUID(RUN))}
    assert (bench.check.methods, bench.told) == ({"GET"}, [])


def test_address_with_a_query_keeps_it(bench: Bench) -> None:
    """As the one that makes a check when it is first pinged."""
    bench.send(bench.make_pinger(f"{bench.check.url}/?create=1"), 1)
    assert bench.check.pings == ["/start", "/1"]


def test_check_is_not_told_again_at_once_that_all_is_well(bench: Bench) -> None:
    """A failure is told at any time, and so is the success after it. Other jobs are counted apart."""
    pinger = bench.make_pinger()
    for job, exit_code in (("work", 0), ("work", 0), ("refresh", 0), ("work", 1), ("work", 0), ("work", 0)):
        pinger.start(job, RUN)
        pinger.end(job, RUN, exit_code)
        bench.clock.advance(timedelta(seconds=5))
    bench.clock.advance(LEAST_GAP)
    bench.send(pinger, 0)
    assert bench.check.pings == ["/start", "", "/start", "", "/1", "/start", "", "/start", ""]


def test_check_that_answers_badly_is_asked_again_a_few_times(bench: Bench) -> None:
    bench.check.answers = [500, 200, 429, 0, 200]
    bench.send(bench.make_pinger(), 0)
    assert bench.check.pings == ["/start", "/start", "", "", ""]
    assert (bench.told, len(bench.paused)) == ([], 3)


def test_check_that_cannot_be_told_is_told_of_once_and_once_more_when_it_can(bench: Bench) -> None:
    """Nothing of its address but the host is in what is said. One that does not know the key is not asked again."""
    bench.check.answers = [500] * MOST_TRIES + [404, 404, 200]
    bench.send(bench.make_pinger(), 0, 0)
    assert bench.list_codes() == ["ping_refused", None]
    assert bench.hosts == {bench.check.host}
    assert bench.check.pings == ["/start"] * MOST_TRIES + ["", "/start", ""]


def test_check_that_is_away_is_told_of(bench: Bench) -> None:
    pinger = bench.make_pinger(f"https://127.0.0.1:1{KEY}")
    bench.send(pinger, 0)
    assert bench.list_codes() == ["connection_refused"]


def test_check_that_drips_is_cut_off_by_the_deadline_of_all_requests(bench: Bench) -> None:
    bench.check.answers = [-1] * MOST_TRIES
    bench.send(bench.make_pinger(http=HttpOptions(total_timeout=timedelta(seconds=0.3))), 0)
    assert bench.list_codes() == ["total_timeout", None]


@pytest.mark.parametrize("what", GARBLED)
def test_pings_go_on_when_a_check_answers_with_what_is_not_http(bench: Bench, what: str) -> None:
    with run_raw_server(GARBLED[what]) as url:
        bench.send(bench.make_pinger(f"{url}{KEY}"), 0, 1)
    assert len(bench.told) == 1, "the thread has sent them all, and told once"
    assert bench.list_codes()[0] in ("answer_garbled", "connection_lost", "ping_refused")


def test_nobody_waits_for_a_check_that_takes_no_pings(bench: Bench) -> None:
    """What waits is bounded, and so is the time that the end waits for it."""
    gate = threading.Event()
    bench.check.answers = [500]

    def pause(event: threading.Event, _: float) -> bool:
        gate.wait()
        return event.is_set()

    stop = ProcessStop(pause=pause)
    pinger = Pinger(SecretValue(bench.check.url), HttpOptions(bench.ca), bench.clock, stop, bench.tell)
    pinger.start("work", RUN)
    bench.check.wait_for(1)
    for _ in range(MOST_WAITING + 2):
        pinger.end("work", RUN, 1)
    assert bench.list_codes() == ["ping_unsent"]
    pinger.close()
    pinger.await_sent(timedelta(0))
    gate.set()
    pinger.await_sent(PATIENCE)
    assert bench.check.pings == ["/start", "/start"] + ["/1"] * MOST_WAITING
    assert bench.list_codes() == ["ping_unsent", None]


def test_nothing_is_sent_after_a_stop(bench: Bench) -> None:
    """Neither again what was not accepted, nor what waits."""
    bench.check.answers = [500]

    def pause(event: threading.Event, _: float) -> bool:
        stop.set()
        return event.is_set()

    stop = ProcessStop(pause=pause)
    pinger = Pinger(SecretValue(bench.check.url), HttpOptions(bench.ca), bench.clock, stop, bench.tell)
    pinger.start("work", RUN)
    pinger.end("work", RUN, 0)
    pinger.close()
    pinger.await_sent(PATIENCE)
    assert (bench.check.pings, bench.told) == (["/start"], [])


def test_pings_go_through_the_proxy_and_past_it_where_it_says_so(bench: Bench) -> None:
    with run_proxy() as proxy:
        bench.send(bench.make_pinger(http=HttpOptions(proxy=SecretValue(proxy.url))), 0)
        assert set(proxy.targets) == {bench.check.host}
        passed = len(proxy.targets)
        bench.send(bench.make_pinger(http=HttpOptions(proxy=SecretValue(proxy.url), no_proxy=("127.0.0.1",))), 0)
        assert len(proxy.targets) == passed
    assert bench.check.pings == ["/start", ""] * 2


def test_pinger_without_a_ping_ends_at_once(bench: Bench) -> None:
    pinger = bench.make_pinger()
    pinger.close()
    pinger.await_sent(timedelta(0))
    assert bench.told == []


def test_key_of_a_check_is_in_no_log(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Not even where everything is logged; what other sessions ask for still is."""
    bench.check.answers = [404]
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="urllib3"):
        bench.send(bench.make_pinger(), 0)
        assert KEY not in caplog.text
        with make_session(HttpOptions(bench.ca)) as session:
            session.get(bench.check.url, params={"rid": "x"})
    assert KEY in caplog.text
