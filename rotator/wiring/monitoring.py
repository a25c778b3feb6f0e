"""What monitoring outside hears of an installation: metrics, measured after each job or run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rotator import __version__
from rotator.daemon.job import Monitor, NoMonitor
from rotator.domain.events.daemon import MetricsFailed, MetricsRestored
from rotator.domain.job_run import JobName
from rotator.engine.isolating import naming_bugs
from rotator.engine.measuring import RotationTally, find_unready, measure
from rotator.errors import DatabaseError, RotatorError

if TYPE_CHECKING:
    from rotator.daemon.health import Health
    from rotator.engine.context import RunContext
    from rotator.engine.report import RunReport
    from rotator.ports.sign_in import SignInStatus
    from rotator.wiring.installation import Installation


def make_monitor(installation: Installation, tally: RotationTally, health: Health | None = None) -> Monitor:
    """Return what tells the monitoring that the settings ask for; `health` has the pages of a daemon that serves."""
    if health is None and installation.settings.metrics_textfile is None:
        return NoMonitor()
    return MetricsMonitor(installation, tally, health)


def run_monitored(installation: Installation, run: RunContext, act: Callable[[RunContext], RunReport]) -> RunReport:
    """Do a run of `rotator once`, and tell the monitoring of it, however it ends."""
    monitor, error = make_monitor(installation, RotationTally()), None
    try:
        return act(run)
    except RotatorError as found:
        error = found
        raise
    finally:
        monitor.note_end(JobName.WORK, run, error)


class MetricsMonitor:
    """The protocol Monitor: measures, then shows the metrics and writes them to the file that the settings name."""

    def __init__(self, installation: Installation, tally: RotationTally, health: Health | None) -> None:
        self._installation, self._tally, self._health = installation, tally, health
        self._lock = threading.Lock()
        self._is_failing = False
        self._unwritable: DatabaseError | None = None

    def note_end(self, job: JobName, run: RunContext, error: RotatorError | None) -> None:
        """See the protocol."""
        with self._lock:
            if isinstance(error, DatabaseError):
                self._unwritable = error
            elif job is JobName.HEARTBEAT:
                self._unwritable = None
            try:
                with naming_bugs("the jobs go on"):
                    self._publish(run)
            except RotatorError as found:
                self._tell_failure(run, found)
            else:
                self._tell_success(run)

    def _publish(self, run: RunContext) -> None:
        from rotator.adapters.metrics import render_metrics
        from rotator.adapters.textfile import write_textfile

        try:
            measured = measure(run, self._installation.database, self._list_sign_ins(), self._tally)
        except DatabaseError as error:
            if self._health is not None:
                self._health.show_problem(_say_away(error))
            raise
        text = render_metrics(measured, __version__)
        if self._health is not None:
            away = () if self._unwritable is None else (_say_away(self._unwritable),)
            self._health.show(text, (*away, *find_unready(measured)))
        path = self._installation.settings.metrics_textfile
        if path is not None:
            write_textfile(path, text)

    def _tell_failure(self, run: RunContext, error: RotatorError) -> None:
        if not self._is_failing:
            self._is_failing = True
            run.progress(MetricsFailed(code=error.code, message=error.message), self._installation.actor)

    def _tell_success(self, run: RunContext) -> None:
        if self._is_failing:
            self._is_failing = False
            run.progress(MetricsRestored(), self._installation.actor)

    def _list_sign_ins(self) -> Sequence[SignInStatus]:
        """Return what the token cache says of each account; nothing where it cannot be read, which each job tells."""
        try:
            sign_in = self._installation.entra_sign_in
            return [sign_in.status(account.name) for account in self._installation.accounts]
        except RotatorError:
            return ()


def _say_away(error: DatabaseError) -> str:
    return f"the database cannot be used ({error.code})"
