"""The daemon, put together: one process, whose workshop is built from the settings at the start and at each reload."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rotator import __version__
from rotator.adapters.clock import SystemBootClock, SystemClock
from rotator.adapters.daemon_lock import only_daemon
from rotator.adapters.database.engine import parse_url
from rotator.adapters.database.watch import ClaimsWatch
from rotator.adapters.logs import make_progress
from rotator.adapters.processes import make_claimant
from rotator.adapters.request_counter import ProcessRequestCounter
from rotator.adapters.scheduler import JobScheduler
from rotator.adapters.stop import ProcessStop
from rotator.adapters.stop_notes import StopNotes
from rotator.adapters.systemd import SystemdHost
from rotator.daemon.beats import Beats
from rotator.daemon.health import Health
from rotator.daemon.job import Workshop, Workshops
from rotator.daemon.jobs import Intervals, make_jobs
from rotator.daemon.supervisor import Requests, Supervisor
from rotator.domain.events.daemon import (
    DaemonReloaded,
    DaemonStarted,
    DaemonWoken,
    ListenerDelayed,
    ListenerStarted,
    ReloadRefused,
    StopRequested,
    ThreadDied,
)
from rotator.domain.events.event import Event
from rotator.domain.job_run import JobName
from rotator.engine.context import RunContext
from rotator.engine.hooking import HookMemory
from rotator.engine.jobs import JobResult, beat
from rotator.engine.lives import end_life
from rotator.engine.measuring import RotationTally
from rotator.engine.outage import DeliveryMemory
from rotator.engine.pulse import Pulse
from rotator.errors import (
    ConfigError,
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnreachableError,
    RotatorError,
    SchemaError,
)
from rotator.settings.addresses import parse_listening
from rotator.wiring.checking import find_unusable_database
from rotator.wiring.hooks import make_hooks
from rotator.wiring.installation import Installation, make_run_id
from rotator.wiring.monitoring import make_monitor
from rotator.wiring.notifying import make_notifiers
from rotator.wiring.service_logs import make_service_log

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from rotator.wiring.origin import Origin


class Daemon:
    """The process: its one stop, and what it is told by the service manager's environment."""

    def __init__(self, origin: Origin, environment: MutableMapping[str, str]) -> None:
        self._origin = origin
        self._host = SystemdHost(environment)
        self._clock, self._boot = SystemClock(), SystemBootClock()
        self._progress = make_progress()
        self._pulse = Pulse(make_claimant(make_run_id()), self._clock.now(), version=__version__)
        self._beats = Beats(self._boot, self._host.watchdog)
        self._memory, self._hook_memory = DeliveryMemory(), HookMemory()
        self._tally, self._requests, self._watch = RotationTally(), ProcessRequestCounter(), ClaimsWatch()
        self._health: Health | None = None
        self._listen: str | None = None
        self.stop = ProcessStop()

    def run(self, requests: Requests) -> None:
        """Run until a stop is asked for. What keeps it from starting is told to the service manager, and raised."""
        try:
            self._run(requests)
        except RotatorError as error:
            self._host.tell_status(error.message)
            raise

    def tell_stop(self, finishing: int) -> None:
        """Log that a stop was asked for."""
        self._progress(StopRequested(finishing=finishing), Installation(self._origin).actor)

    def tell_dead_thread(self, met: threading.ExceptHookArgs) -> None:
        """Log that a thread died of an exception, which is a bug; the log takes the secrets out of what it says.

        The next heartbeat lets people be told.
        """
        name = "" if met.thread is None else met.thread.name
        self._pulse.note_death(name)
        stack = "".join(traceback.format_exception(met.exc_type, met.exc_value, met.exc_traceback))
        self._progress(ThreadDied(thread=name, stack=stack), Installation(self._origin).actor)

    def _run(self, requests: Requests) -> None:
        with self._host.extending("Starting"):
            first = self._open()
        url = first.database_url.reveal()
        with self._alone(url), self._serving(first) as is_serving:
            shops, notes = Workshops(self._make_workshop(first)), _make_notes(first)
            supervisor = Supervisor(
                shops,
                lambda: self._rebuild(url),
                self._make_scheduler,
                self._beats,
                self._host,
                self._tell,
                self._pulse.holder,
                first.actor,
                is_serving,
                self._ask,
                partial(self._end, notes),
            )
            supervisor.run(requests, __version__)

    def _tell(self, event: Event, subject: str, /) -> None:
        """Log what happens to the daemon, and have its start and its reloads written into the audit log."""
        self._progress(event, subject)
        if isinstance(event, DaemonStarted | DaemonReloaded | ReloadRefused):
            self._pulse.note(event)

    def _ask(self) -> None:
        """Note that a person asked for the next work, and log it: the work itself may find nothing to do."""
        self._pulse.ask()
        self._progress(DaemonWoken(), Installation(self._origin).actor)

    def _beat(self, run: RunContext, notes: StopNotes) -> JobResult:
        """Do the heartbeat; before the first one, pass on the stops of others, so that nobody calls them crashes."""
        if not self._pulse.has_begun:
            notes.pass_on(partial(end_life, run))
        return beat(run, self._pulse)

    def _end(self, notes: StopNotes, run: RunContext) -> None:
        """Note that the daemon has stopped: in a file if the database is away, for the next daemon to pass it on."""
        try:
            end_life(run, self._pulse.holder, self._pulse.began_at)
        except DatabaseError:
            if self._pulse.has_begun:
                notes.keep(self._pulse.holder, self._pulse.began_at)

    def _open(self) -> Installation:
        """Open an installation with everything read that it needs. ConfigError for what is missing.

        A database of another schema or in a wrong folder is one too: no restart mends that. One that is away is waited
        for: each job tells of it.
        """
        installation = Installation(self._origin, self.stop, self._requests, self._watch)
        try:
            installation.check_secrets()
            if obstacle := find_unusable_database(installation):
                raise ConfigError([f"database: {obstacle}"], code="database_unusable")
            installation.make_run()
            with suppress(DatabaseUnreachableError, DatabaseLockedError), installation.database.read():
                pass
        except SchemaError as error:
            installation.close()
            raise ConfigError([error.message], code=error.code, fix=error.fix) from None
        except BaseException:
            installation.close()
            raise
        return installation

    def _rebuild(self, url: str) -> Workshop:
        installation = self._open()
        changed = {
            "database": installation.database_url.reveal() != url,
            "listen": installation.settings.listen != self._listen,
        }
        for setting in [setting for setting, is_changed in changed.items() if is_changed]:
            installation.close()
            raise ConfigError([f"{setting}: it was changed, which needs a restart"], fix="Restart the daemon.")
        return self._make_workshop(installation)

    def _make_workshop(self, installation: Installation) -> Workshop:
        daemon = installation.settings.daemon
        every = Intervals(
            daemon.work,
            daemon.refresh,
            daemon.reconcile,
            daemon.probe,
            daemon.verify_audit,
            daemon.heartbeat,
            daemon.audit_reconcile,
        )
        notifiers, hooks = make_notifiers(installation), make_hooks(installation)
        self._memory.forget_settings()
        self._hook_memory.forget_settings()

        patience = 2 * installation.settings.http.total_timeout * _count_places(installation)
        service_log = make_service_log(installation)
        jobs = make_jobs(every, self._pulse, notifiers, hooks, self._memory, self._hook_memory, patience, service_log)
        intervals = {name: job.interval for name, job in jobs.items()}
        monitor = make_monitor(installation, self._tally, JobName.HEARTBEAT, intervals, self._health)

        def close() -> None:
            monitor.close()
            service_log.close()
            installation.close()

        first = partial(self._beat, notes=_make_notes(installation))
        is_shared = parse_url(installation.database_url.reveal()).drivername != "sqlite"
        self._pulse.binds_for = 2 * daemon.heartbeat if is_shared else None  # last: nothing refuses a reload any more
        return Workshop(
            jobs={**jobs, JobName.HEARTBEAT: replace(jobs[JobName.HEARTBEAT], act=first)},
            make_run=lambda: replace(installation.make_run(), pulse=self._pulse),
            close=close,
            stop_within=daemon.stop_within,
            needs_restart=installation.list_fixed_secrets(),
            monitor=monitor,
        )

    def _make_scheduler(self, act: Callable[[JobName], timedelta]) -> JobScheduler:
        return JobScheduler(self._clock, self._boot, act)

    @contextmanager
    def _serving(self, installation: Installation) -> Iterator[Callable[[], bool]]:
        """Serve the daemon's pages where the settings say so. Inside is what says whether that gets on."""
        self._listen = installation.settings.listen
        if self._listen is None:
            yield lambda: True
            return
        from rotator.adapters.listener import BIND_WITHIN, Listener, bind
        from rotator.adapters.metrics import CONTENT_TYPE

        self._health = Health(self._beats, CONTENT_TYPE)
        address, seconds = self._listen, int(BIND_WITHIN.total_seconds())

        def tell_why(why: str) -> None:
            self._host.tell_status(f"Waiting for {address}")
            message = f"cannot listen on {address} yet ({why}); trying for {seconds} s"
            self._progress(ListenerDelayed(message=message), installation.actor)

        listening = bind(parse_listening(address), self._boot, self.stop, tell_why)
        with Listener(listening, self._health.find_page) as listener:
            self._progress(ListenerStarted(address=f"http://{address}/"), installation.actor)
            yield listener.is_alive

    @contextmanager
    def _alone(self, url: str) -> Iterator[None]:
        """Keep other daemons from an SQLite database; on PostgreSQL several share the work by claims."""
        place = parse_url(url)
        if place.drivername != "sqlite":
            yield
            return
        with only_daemon(Path(place.database or ""), self._clock.now()):
            yield


def _make_notes(installation: Installation) -> StopNotes:
    return StopNotes(installation.settings.token_cache.path)


def _count_places(installation: Installation) -> int:
    return sum(1 + len(account.organizations) for account in installation.accounts)
