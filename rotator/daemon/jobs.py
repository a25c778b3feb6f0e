"""The table of jobs. A new job is a line here and a use case in the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from rotator.daemon.job import Job
from rotator.domain.job_run import JobName
from rotator.domain.probe import make_pause
from rotator.engine.digesting import deliver_all
from rotator.engine.hooking import HookMemory, call_hooks
from rotator.engine.jobs import beat, probe_values, reconcile_all, refresh_sign_ins, verify_audit, work_due
from rotator.engine.log_job import reconcile_audit
from rotator.engine.outage import DeliveryMemory
from rotator.engine.pulse import Pulse
from rotator.ports.hook import Hook
from rotator.ports.notifier import Notifier
from rotator.ports.service_log import ServiceLog


@dataclass(frozen=True)
class Intervals:
    """How often each job is done; `probe` is how often each value is tried, of which each run takes its share."""

    work: timedelta
    refresh: timedelta
    reconcile: timedelta
    probe: timedelta
    verify_audit: timedelta
    heartbeat: timedelta
    audit_reconcile: timedelta | None = None


DELIVER_EVERY = timedelta(seconds=30)
CALL_EVERY = timedelta(seconds=10)


def make_jobs(
    every: Intervals,
    pulse: Pulse,
    notifiers: Sequence[Notifier] = (),
    hooks: Sequence[Hook] = (),
    memory: DeliveryMemory | None = None,
    hook_memory: HookMemory | None = None,
    patience: timedelta = timedelta(0),
    service_log: ServiceLog | None = None,
) -> dict[JobName, Job]:
    """Return the jobs, in the order in which a start begins them; both memories outlive a reload.

    `patience` is how long all accounts and organizations, asked one after the other, may take to give no answer. A job
    that asks them tells nothing meanwhile, if that was told before, and is not stuck.
    """
    minutes = timedelta(minutes=1)
    asking = max(15 * minutes, patience)
    tell = partial(deliver_all, notifiers=notifiers, memory=memory or DeliveryMemory())
    call = partial(call_hooks, hooks=hooks, memory=hook_memory or HookMemory())
    table = (
        Job(JobName.HEARTBEAT, every.heartbeat, 2 * minutes, False, partial(beat, pulse=pulse)),
        Job(JobName.WORK, every.work, asking, False, partial(work_due, pulse=pulse)),
        Job(JobName.RECONCILE, every.reconcile, asking, True, reconcile_all),
        Job(JobName.REFRESH, every.refresh, max(10 * minutes, patience), True, refresh_sign_ins),
        Job(JobName.PROBE, make_pause(every.probe), asking, True, partial(probe_values, period=every.probe)),
        Job(JobName.VERIFY_AUDIT, every.verify_audit, 60 * minutes, True, verify_audit),
        Job(JobName.DELIVER, DELIVER_EVERY, 10 * minutes, False, tell),
        Job(JobName.HOOKS, CALL_EVERY, 15 * minutes, False, call),
    )
    jobs = {job.name: job for job in table}
    if every.audit_reconcile is not None and service_log is not None:
        act = partial(reconcile_audit, log=service_log)
        name = JobName.AUDIT_RECONCILE
        jobs[name] = Job(name, every.audit_reconcile, max(60 * minutes, patience), True, act)
    return jobs
