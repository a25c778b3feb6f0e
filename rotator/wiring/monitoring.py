"""What monitoring outside hears of an installation: metrics, measured after each job or run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from rotator import __version__
from rotator.daemon.job import JobEnd, Monitor
from rotator.domain.events.daemon import MetricsFailed, MetricsRestored, PingFailed, PingRestored
from rotator.domain.exit_code import DONE, FAILED
from rotator.domain.job_run import JobName
from rotator.domain.monitoring_errors import MonitoringError
from rotator.engine.isolating import naming_bugs
from rotator.engine.log_job import reconcile_audit
from rotator.engine.measuring import RotationTally, find_unready, measure, save_requests
from rotator.engine.status_memory import StatusMemory
from rotator.engine.upkeep import keep_up
from rotator.errors import DatabaseError, RotatorError, StoppedError
from rotator.wiring.hooks import call_at_end, make_hooks
from rotator.wiring.notifying import deliver_at_end, make_notifiers
from rotator.wiring.service_logs import make_service_log

if TYPE_CHECKING:
    from rotator.adapters.pings import Pinger
    from rotator.adapters.stop import ProcessStop
    from rotator.daemon.health import Health
    from rotator.domain.measurements import Measurements, PatFigures
    from rotator.engine.context import RunContext
    from rotator.engine.report import RunReport
    from rotator.ports.hook import Hook
    from rotator.ports.notifier import Notifier
    from rotator.ports.sign_in import SignInStatus
    from rotator.settings.secrets import SecretReference
    from rotator.wiring.installation import Installation
    from rotator.wiring.status_page import StatusPages


@contextmanager
def monitored_run(installation: Installation) -> Iterator[MonitoredRun]:
    """Tell the monitoring of the run that is done inside, however it ends; then deliver the notifications."""
    notifiers, hooks, daemon = make_notifiers(installation), make_hooks(installation), installation.settings.daemon
    every = {JobName.PROBE: daemon.probe, JobName.VERIFY_AUDIT: daemon.verify_audit}
    monitor = make_monitor(installation, RotationTally(), JobName.WORK, every)
    service_log = make_service_log(installation)
    comparing = None
    if daemon.audit_reconcile is not None:
        every[JobName.AUDIT_RECONCILE] = daemon.audit_reconcile
        comparing = (daemon.audit_reconcile, partial(reconcile_audit, log=service_log))
    then = partial(keep_up, probe_every=daemon.probe, verify_every=daemon.verify_audit, comparing=comparing)
    run = MonitoredRun(monitor, hooks, then, installation.stop)
    try:
        yield run
    except BaseException as error:
        run.end(getattr(error, "exit_code", FAILED), error if isinstance(error, RotatorError) else None)
        raise
    finally:
        monitor.close()
        service_log.close()
        run.deliver(notifiers)
        monitor.await_sent()


class MonitoredRun:
    """A run of `rotator once`, which is the job `work`, with the jobs that follow it."""

    def __init__(
        self,
        monitor: Monitoring,
        hooks: Sequence[Hook],
        then: Callable[[RunContext], Sequence[RotatorError]],
        stop: ProcessStop,
    ) -> None:
        self._monitor, self._hooks, self._then, self._stop = monitor, hooks, then, stop
        self._run: RunContext | None = None
        self._error: RotatorError | None = None
        self._code_after = DONE

    def act(self, run: RunContext, act: Callable[[RunContext], RunReport]) -> RunReport:
        """Do it, and call the hooks about what happened."""
        self._run = run
        self._monitor.note_start(JobName.WORK, run)
        report = act(run)
        self._code_after = next((error.exit_code for error in self._then(run)), DONE)
        call_at_end(run, self._hooks, report)
        return report

    def end(self, exit_code: int, error: RotatorError | None = None) -> int:
        """Note the exit code that the command ends with, and return it: that of the run, or of what followed it.

        After a stop nobody is told, as by the daemon.
        """
        exit_code = exit_code or self._code_after
        self._error = error
        if self._run is not None:
            told = None if self._stop.is_set else exit_code
            self._monitor.note_end(JobName.WORK, self._run, JobEnd(told, error))
        return exit_code

    def deliver(self, notifiers: Sequence[Notifier]) -> None:
        """Deliver the notifications, if there was a run, and a database for it."""
        if self._run is not None and not isinstance(self._error, DatabaseError):
            deliver_at_end(self._run, notifiers)


def make_monitor(
    installation: Installation,
    tally: RotationTally,
    saves_after: JobName,
    every: Mapping[JobName, timedelta],
    health: Health | None = None,
) -> Monitoring:
    """Return what tells the monitoring that the settings ask for; `health` has the pages of a daemon that serves.

    `every` is how often each job is done, as far as that is known.

    What was counted is saved after one job alone: an idle tick of the daemon writes its heartbeat, and nothing else.
    """
    parts: list[Monitor] = []
    if health is not None or installation.settings.metrics_textfile is not None:
        parts.append(MetricsMonitor(installation, tally, health, saves_after, every))
    pings = [(_make_pinger(installation, ping.url), ping.jobs) for ping in installation.settings.pings]
    parts += [PingMonitor(pinger, jobs) for pinger, jobs in pings]
    return Monitoring(parts, [pinger for pinger, _ in pings], installation.settings.http.total_timeout)


class Monitoring:
    """The protocol Monitor, by several others. After a stop nobody is told anything."""

    def __init__(self, parts: Sequence[Monitor], pingers: Sequence[Pinger], patience: timedelta) -> None:
        self._parts, self._pingers, self._patience = parts, pingers, patience

    def note_start(self, job: JobName, run: RunContext) -> None:
        """See the protocol."""
        for part in self._parts:
            part.note_start(job, run)

    def note_end(self, job: JobName, run: RunContext, end: JobEnd) -> None:
        """See the protocol."""
        if end.exit_code is not None:
            for part in self._parts:
                part.note_end(job, run, end)

    def close(self) -> None:
        """Take nothing more; what is on its way is sent."""
        for pinger in self._pingers:
            pinger.close()

    def await_sent(self) -> None:
        """Wait, once it is closed, until all is sent, for as long in all as one request may take."""
        ends_at = time.monotonic() + self._patience.total_seconds()
        for pinger in self._pingers:
            pinger.await_sent(timedelta(seconds=max(0.0, ends_at - time.monotonic())))


class PingMonitor:
    """The protocol Monitor: pings one check about its jobs."""

    def __init__(self, pinger: Pinger, jobs: Collection[str]) -> None:
        self._pinger, self._jobs = pinger, jobs

    def note_start(self, job: JobName, run: RunContext) -> None:
        """See the protocol."""
        if job in self._jobs:
            self._pinger.start(job, run.run_id)

    def note_end(self, job: JobName, run: RunContext, end: JobEnd) -> None:
        """See the protocol."""
        if job in self._jobs and end.exit_code is not None:
            self._pinger.end(job, run.run_id, end.exit_code)


def _make_pinger(installation: Installation, url: SecretReference) -> Pinger:
    from rotator.adapters.logs import make_progress
    from rotator.adapters.pings import Pinger

    progress = make_progress()

    def tell(host: str, error: MonitoringError | None) -> None:
        progress(PingRestored() if error is None else PingFailed(code=error.code, message=error.message), host)

    return Pinger(installation.resolve(url), installation.make_http(), installation.boot_clock, installation.stop, tell)


class MetricsMonitor:
    """The protocol Monitor: measures, then shows the metrics and writes them to the file that the settings name.

    Of the PATs only what may have changed is read and rendered: an idle tick costs the same however many there are.
    """

    def __init__(
        self,
        installation: Installation,
        tally: RotationTally,
        health: Health | None,
        saves_after: JobName,
        every: Mapping[JobName, timedelta],
    ) -> None:
        self._installation, self._tally, self._health = installation, tally, health
        self._lock = threading.Lock()
        self._is_failing = False
        self._unwritable: DatabaseError | None = None
        self._saves_after, self._every = saves_after, every
        self._pages: StatusPages | None = None
        self._memory = StatusMemory()
        self._rendered: tuple[tuple[PatFigures, ...] | None, bytes] = (None, b"")

    def note_start(self, job: JobName, run: RunContext) -> None:
        """See the protocol."""

    def note_end(self, job: JobName, run: RunContext, end: JobEnd) -> None:
        """See the protocol."""
        if job in (JobName.DELIVER, JobName.HOOKS):
            return  # it changes nothing that is measured, and the next heartbeat is near
        with self._lock:
            if isinstance(end.error, DatabaseError):
                self._unwritable = end.error
            elif job is JobName.HEARTBEAT:
                self._unwritable = None
            try:
                with naming_bugs("the jobs go on"):
                    if job is self._saves_after:
                        save_requests(run.services.database, self._installation.requests)
                    self._publish(job, run)
            except StoppedError:
                return
            except RotatorError as found:
                self._tell_failure(run, found)
            else:
                self._tell_success(run)

    def _publish(self, job: JobName, run: RunContext) -> None:
        from rotator.adapters.metrics import render_metrics, render_pats
        from rotator.adapters.textfile import write_textfile

        sign_ins = self._list_sign_ins()
        measured = measure(run, run.services.database, sign_ins, self._tally, self._memory, self._every)
        if measured.pats is not self._rendered[0]:
            shown = measured if self._installation.settings.metrics_names else measured.hide_names()
            self._rendered = (measured.pats, render_pats(shown.pats))
        text = render_metrics(measured, __version__, self._rendered[1])
        self._show(job, run, measured, text)
        path = self._installation.settings.metrics_textfile
        if path is not None:
            write_textfile(path, text)

    def _show(self, job: JobName, run: RunContext, measured: Measurements, text: bytes) -> None:
        """Show what was measured, and after each heartbeat the status page: it costs a look of its own."""
        if self._health is None:
            return
        away = () if self._unwritable is None else (_say_away(self._unwritable),)
        problems = (*away, *find_unready(measured))
        self._health.show(text, problems)
        if job is JobName.HEARTBEAT:
            self._health.show_status(self._make_pages().make(run, measured, problems))

    def _show_problem(self, problem: str) -> None:
        if self._health is None:
            return
        self._health.show_problem(problem)
        if (page := self._make_pages().make_again(problem)) is not None:
            self._health.show_status(page)

    def _make_pages(self) -> StatusPages:
        from rotator.wiring.status_page import StatusPages

        if self._pages is None:
            self._pages = StatusPages(self._installation, self._memory)
        return self._pages

    def _tell_failure(self, run: RunContext, error: RotatorError) -> None:
        if not isinstance(error, MonitoringError):  # not only the file could not be written: nothing was measured
            said = _say_away(error) if isinstance(error, DatabaseError) else f"nothing can be measured: {error.message}"
            self._show_problem(said)
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
