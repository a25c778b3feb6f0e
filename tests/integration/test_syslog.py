"""Syslog over TLS to a real receiver: frames, certificates, and a collector that goes away."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.adapters.syslog import SyslogCollector
from rotator.cli.output.syslog import make_syslog_message
from rotator.domain.audit_event import AuditEntry, AuditEvent, Outcome
from rotator.errors import RejectedError, StoppedError, TransientError
from tests.support.clock import FakeClock
from tests.support.stop import make_stop
from tests.support.syslog_receiver import SyslogReceiver
from tests.support.tls_server import write_certificate

MESSAGE = re.compile(r"<(\d{1,3})>1 (\S+) (\S+) (\S+) (\S+) (\S+) - (.*)", re.DOTALL)
"""RFC 5424, without structured data."""


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[Path, Path]:
    return write_certificate(tmp_path, "unknown")


class Client:
    """A collector's client whose waits end at once. `told` is what it says of a collector that is away."""

    def __init__(self, receiver: SyslogReceiver, trusted: Path | None, *, most_tries: int | None = 3) -> None:
        self.clock, self.told = FakeClock(), list[str]()
        timeout = timedelta(seconds=10)
        self.stop = make_stop(self.clock)
        self.collector = SyslogCollector(
            "127.0.0.1", receiver.port, trusted, timeout, self.stop, self.told.append, most_tries
        )


def test_each_message_has_its_length_in_octets(certificates: tuple[Path, Path]) -> None:
    messages = ["one", "two\nlines", "K\u00f6ln \u2713", "x" * 70_000]
    with SyslogReceiver(certificates[0]) as receiver:
        client = Client(receiver, certificates[1])
        with client.collector as collector:
            for message in messages:
                collector.send(message)
        assert [receiver.take() for _ in messages] == messages
    assert (receiver.problems, receiver.connections, client.told) == ([], 1, [])


def test_message_goes_to_a_new_connection_when_the_collector_closed_the_first(
    certificates: tuple[Path, Path],
) -> None:
    with SyslogReceiver(certificates[0], closes_after=1) as receiver:
        client = Client(receiver, certificates[1])
        with client.collector as collector:
            for message in ("one", "two", "three"):
                collector.send(message)
                receiver.await_close()
        assert [receiver.take() for _ in range(3)] == ["one", "two", "three"]
    assert receiver.connections == 3


@pytest.mark.parametrize("kind", ["unknown", "misnamed", "expired"])
def test_collector_whose_certificate_is_wrong_is_refused(tmp_path: Path, kind: str) -> None:
    both, alone = write_certificate(tmp_path, kind)
    with SyslogReceiver(both) as receiver:
        client = Client(receiver, None if kind == "unknown" else alone)
        with pytest.raises(RejectedError) as caught, client.collector:
            pass
    assert caught.value.code == "syslog_untrusted"
    assert receiver.messages.empty()


def test_collector_that_is_away_is_tried_again_and_told_once(certificates: tuple[Path, Path]) -> None:
    with SyslogReceiver(certificates[0], closes_after=1) as receiver:
        client = Client(receiver, certificates[1])
        collector = client.collector.__enter__()
        collector.send("one")
        receiver.await_close()
    before = client.clock.now()
    with pytest.raises(TransientError) as caught:
        collector.send("two")
    collector.__exit__(None, None, None)
    assert caught.value.code == "syslog_unreachable"
    assert client.told == [caught.value.message]
    assert client.clock.now() > before


def test_stop_ends_the_wait_for_a_collector(certificates: tuple[Path, Path]) -> None:
    with SyslogReceiver(certificates[0]) as receiver:
        client = Client(receiver, certificates[1], most_tries=None)
        with client.collector as collector:
            client.stop.set()
            with pytest.raises(StoppedError):
                collector.send("one")
    assert receiver.messages.empty()


@pytest.mark.parametrize(("name", "priority"), [("pat_revoked", 110), ("audit_broken", 106), ("unheard_of", 109)])
def test_message_is_that_of_rfc_5424(name: str, priority: int) -> None:
    moment = datetime(2026, 12, 3, 9, 0, 0, 1, tzinfo=UTC)
    event = AuditEvent(7, moment, AuditEntry(name, "npm-feed", Outcome.SUCCEEDED, "me@host", "run", {}), "", "")
    found = MESSAGE.fullmatch(make_syslog_message(event, "the line", "a host\n"))
    assert found is not None
    assert found.groups() == (
        str(priority), "2026-12-03T09:00:00.000001Z", "ahost", "rotator", "-", name, "the line"
    )  # fmt: skip
