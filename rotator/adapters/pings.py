"""Pings to a check by the protocol of healthchecks.io: a job begins, and ends with an exit code, under a run's id.

The address of a check is a secret: whoever has it can ping. So messages name its host only.
"""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

import requests

from rotator.adapters.http_options import HttpOptions
from rotator.adapters.single_request import find_host, send_once
from rotator.domain.monitoring_errors import MonitoringError
from rotator.domain.secret_value import SecretValue
from rotator.errors import StoppedError
from rotator.ports.clock import BootClock
from rotator.ports.stop import Stop

LEAST_GAP = timedelta(seconds=30)
"""A job that succeeds again so soon is not told: a check takes a few pings a minute."""
MOST_TRIES = 3
MOST_WAITING = 16
_PAUSE_SECONDS = 2.0

Tell = Callable[[str, MonitoringError | None], None]
"""Told of a check, by its host, when a ping could not be sent although the one before could; and when one can again."""


@dataclass
class _Last:
    """What a check heard of one job last: when it succeeded, and whether the present run is not told."""

    succeeded_at: timedelta | None = None
    is_quiet: bool = False


class Pinger:
    """Pings one check from a thread of its own, in order: no job waits for it. After a stop nothing more is sent."""

    def __init__(
        self,
        url: SecretValue,
        http: HttpOptions,
        boot: BootClock,
        stop: Stop,
        tell: Tell,
    ) -> None:
        self._url, self._http = url, http
        self._boot, self._stop, self._tell = boot, stop, tell
        self._host = find_host(url)
        self._last: dict[str, _Last] = {}
        self._waiting: queue.SimpleQueue[SecretValue | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._noting, self._is_failing = threading.Lock(), False

    def start(self, job: str, run_id: str) -> None:
        """Tell that a run of a job begins; not if the job succeeded a moment ago."""
        last = self._last.setdefault(job, _Last())
        now = self._boot.read_boot().elapsed
        last.is_quiet = last.succeeded_at is not None and now - last.succeeded_at < LEAST_GAP
        if not last.is_quiet:
            self._put(("start",), run_id)

    def end(self, job: str, run_id: str, exit_code: int) -> None:
        """Tell how it ended: with 0 it succeeded."""
        last = self._last.setdefault(job, _Last())
        if exit_code == 0 and last.is_quiet:
            return
        last.succeeded_at = self._boot.read_boot().elapsed if exit_code == 0 else None
        self._put((str(exit_code),) if exit_code else (), run_id)

    def close(self) -> None:
        """Take no more pings; what waits is sent."""
        self._waiting.put(None)

    def await_sent(self, within: timedelta) -> None:
        """Wait, once it is closed, until all is sent; give up after that span, and say so."""
        if self._thread is not None:
            self._thread.join(within.total_seconds())
            if self._thread.is_alive():
                self._tell_full()

    def _put(self, steps: tuple[str, ...], run_id: str) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._send_all, name="ping", daemon=True)
            self._thread.start()
        if self._waiting.qsize() < MOST_WAITING:
            self._waiting.put(_make_address(urlsplit(self._url.reveal()), steps, run_id))
        else:
            self._tell_full()

    def _tell_full(self) -> None:
        self._note(_make_error("ping_unsent", f"{self._host} does not take pings in time"))

    def _note(self, error: MonitoringError | None) -> None:
        with self._noting:
            was_failing, self._is_failing = self._is_failing, error is not None
        if was_failing != (error is not None):
            self._tell(self._host, error)

    def _send_all(self) -> None:
        with suppress(StoppedError):
            while (address := self._waiting.get()) is not None:
                self._note(self._send(address))

    def _send(self, address: SecretValue) -> MonitoringError | None:
        """Send one ping, a few times if need be, and return what went wrong."""
        for tries in range(1, MOST_TRIES + 1):
            self._stop.check()
            error, is_passing = self._try(address)
            if error is None or not is_passing or tries == MOST_TRIES:
                break
            self._stop.wait(tries * _PAUSE_SECONDS)
        return error

    def _try(self, address: SecretValue) -> tuple[MonitoringError | None, bool]:
        """Send it once. Returns what went wrong, and whether that may pass."""
        answer = send_once(self._http, address, _get)
        if answer.is_good:
            return None, False
        code = answer.code if answer.status is None else "ping_refused"
        return _make_error(code, answer.message, answer.fix), answer.is_passing


def _get(session: requests.Session, url: str) -> requests.Response:
    return session.get(url, headers={"Cache-Control": "no-cache"})


def _make_address(url: SplitResult, steps: tuple[str, ...], run_id: str) -> SecretValue:
    path = "/".join((url.path.rstrip("/"), *steps))
    query = "&".join(filter(None, (url.query, urlencode({"rid": str(uuid.UUID(run_id))}))))
    return SecretValue(urlunsplit((url.scheme, url.netloc, path, query, "")))


def _make_error(code: str, message: str, fix: str = "") -> MonitoringError:
    return MonitoringError(
        message, code=code, fix=fix or "Check the address in pings, and that this host can reach it."
    )
