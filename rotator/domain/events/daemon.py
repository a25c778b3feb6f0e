"""What happens to the jobs, and to the daemon that does them."""

from __future__ import annotations

from datetime import datetime

from rotator.domain.audit_event import Outcome
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event, Severity, SubjectKind


class DaemonStarted(Event, name="daemon_started", subject=SubjectKind.DAEMON):
    """The daemon begins to do its jobs."""

    version: str


class ListenerDelayed(
    Event, name="listener_delayed", subject=SubjectKind.DAEMON, outcome=Outcome.FAILED, severity=Severity.WARNING
):
    """The address of `listen` cannot be had yet. The daemon tries for half a minute, then exits with 2."""

    message: str


class ListenerStarted(Event, name="listener_started", subject=SubjectKind.DAEMON):
    """The daemon serves its pages: `/`, `/metrics`, `/healthz` and `/readyz`."""

    address: str


class DaemonCrashed(
    Event,
    name="daemon_crashed",
    subject=SubjectKind.DAEMON,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    needs_person=True,
):
    """A daemon that began at `began_at` was killed or died of a bug; one of another host gives no sign of life."""

    began_at: datetime


class DaemonReturned(Event, name="daemon_returned", subject=SubjectKind.DAEMON):
    """A daemon that began at `began_at` goes on; it stood still, or was cut off, until its claims were over."""

    began_at: datetime
    silent_seconds: int | None = None


class ClaimTakenOver(Event, name="claim_taken_over", subject=SubjectKind.MANAGED_PAT):
    """What a daemon was at (`holder`: its user and host) is gone on with: it died, stands still or is cut off."""

    holder: str


class DaemonsMixed(
    Event,
    name="daemons_mixed",
    subject=SubjectKind.DAEMON,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
    begins=ConditionKind.DAEMONS_MIXED,
):
    """Daemons that share a database work with different versions or policies, as in the middle of an upgrade."""

    message: str


class DaemonsAgreed(Event, name="daemons_agreed", subject=SubjectKind.DAEMON, ends=[ConditionKind.DAEMONS_MIXED]):
    """The daemons that share a database work with one version and one policy again."""


class DaemonReloaded(Event, name="daemon_reloaded", subject=SubjectKind.DAEMON):
    """Settings, policy and secrets were reloaded, except those that need a restart, if any."""

    needs_restart: str = ""


class ReloadRefused(
    Event, name="reload_refused", subject=SubjectKind.DAEMON, outcome=Outcome.FAILED, severity=Severity.ERROR
):
    """The daemon could not reload its settings and keeps the old ones."""

    code: str
    message: str


class DaemonWoken(Event, name="daemon_woken", subject=SubjectKind.DAEMON):
    """SIGUSR1 asked the daemon to work now, and to look at every account and organization."""


class SettingDoubted(
    Event, name="setting_doubted", subject=SubjectKind.SETTING, outcome=Outcome.FAILED, severity=Severity.WARNING
):
    """A setting works, but is not safe, or does not do what its author may expect. One cause is logged once."""

    problem: str
    fix: str


class StopRequested(Event, name="stop_requested", subject=SubjectKind.DAEMON):
    """The daemon begins nothing new. It finishes `finishing` rotations whose value exists only in memory."""

    finishing: int


class DaemonStopped(Event, name="daemon_stopped", subject=SubjectKind.DAEMON):
    """The daemon has stopped; its claims are given back."""


class SchedulerRestarted(
    Event, name="scheduler_restarted", subject=SubjectKind.DAEMON, outcome=Outcome.FAILED, severity=Severity.ERROR
):
    """The thread that begins the jobs had died; another one does it now."""


class JobFailed(Event, name="job_failed", subject=SubjectKind.JOB, outcome=Outcome.FAILED, severity=Severity.ERROR):
    """A job failed, `failures` times in a row (told at 1, 2, 4, 8...); it is tried again after `retry_seconds`."""

    code: str
    message: str
    failures: int
    retry_seconds: int


class BugFound(Event, name="bug_found", subject=SubjectKind.JOB, outcome=Outcome.FAILED, severity=Severity.ERROR):
    """A job failed because of a bug in rotator; put `stack` into the bug report."""

    stack: str


class ThreadDied(
    Event,
    name="thread_died",
    subject=SubjectKind.DAEMON,
    outcome=Outcome.FAILED,
    severity=Severity.CRITICAL,
    needs_person=True,
):
    """A thread of the daemon ended because of a bug in rotator. `stack`: only in logs."""

    thread: str
    stack: str = ""


class JobRestored(Event, name="job_restored", subject=SubjectKind.JOB):
    """A job that had failed was done again."""


class JobStalled(
    Event,
    name="job_stalled",
    subject=SubjectKind.JOB,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    needs_person=True,
    begins=ConditionKind.JOB_STALLED,
):
    """A job has not succeeded since `succeeded_at`, for several of its intervals: it fails, or makes no progress."""

    code: str
    message: str
    succeeded_at: datetime | None = None


class JobResumed(Event, name="job_resumed", subject=SubjectKind.JOB, ends=[ConditionKind.JOB_STALLED]):
    """A job that had not succeeded for several of its intervals succeeds again."""


class JobDropped(Event, name="job_dropped", subject=SubjectKind.JOB, ends=[ConditionKind.JOB_STALLED]):
    """A job that did not succeed is no longer done: `rotator once` took the place of the daemon."""


class ConditionContinued(
    Event, name="condition_continued", subject=SubjectKind.CONDITION, outcome=Outcome.FAILED, severity=Severity.WARNING
):
    """A condition lasts that the daemon has not logged before; the level of its line is the condition's `severity`."""

    kind: str
    message: str
    since: datetime
    code: str | None
    severity: str

    @property
    def log_severity(self) -> Severity:
        """How much its condition matters."""
        return Severity(self.severity)


class ConditionEnded(Event, name="condition_ended", subject=SubjectKind.CONDITION):
    """Another process ended a condition that the daemon had logged."""

    kind: str


class MetricsFailed(
    Event, name="metrics_failed", subject=SubjectKind.DAEMON, outcome=Outcome.FAILED, severity=Severity.WARNING
):
    """The metrics could not be made or written; they stay as they were. The work itself is not affected."""

    code: str
    message: str


class MetricsRestored(Event, name="metrics_restored", subject=SubjectKind.DAEMON):
    """The metrics, which could not be made or written, are up to date again."""


class PingFailed(
    Event, name="ping_failed", subject=SubjectKind.CHECK, outcome=Outcome.FAILED, severity=Severity.WARNING
):
    """A check, named by its host, could not be pinged and may raise an alarm. The work itself is not affected."""

    code: str
    message: str


class PingRestored(Event, name="ping_restored", subject=SubjectKind.CHECK):
    """A check that could not be pinged can be pinged again."""


class RunUnrecorded(
    Event, name="run_unrecorded", subject=SubjectKind.JOB, outcome=Outcome.FAILED, severity=Severity.WARNING
):
    """A job was done, but its end could not be written to the database: `status` does not count it."""

    code: str
