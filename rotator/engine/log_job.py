"""The daemon's job `audit_reconcile`: compare Azure DevOps' own log with ours, and work on what that shows to be gone.

What is found is told. Work on a ManagedPat whose value is refused begins at once, as after a look that misses its PAT:
whether it is replaced, that work decides by its rule and its own looks. Nothing is minted because of an entry alone.
"""

from __future__ import annotations

from rotator.domain.probe import ProbeResult
from rotator.engine.comparing_logs import reconcile_logs
from rotator.engine.context import RunContext
from rotator.engine.jobs import JobResult
from rotator.engine.run import work_on_named
from rotator.errors import InternalError, TransientError
from rotator.ports.service_log import ServiceLog


def reconcile_audit(run: RunContext, log: ServiceLog) -> JobResult:
    """Compare since the last time. What could not be asked now is raised, so that it is tried again soon.

    A log that the account may not read was told once, and is no failure; nor is a sign-in that other jobs tell of.
    """
    found = reconcile_logs(run, log, None, run.services.clock.now(), lambda *_: None)
    names = {
        name
        for item in found
        for finding in item.findings
        if finding.is_news and finding.value is ProbeResult.REFUSED
        for name in finding.names
    }
    if names:
        work_on_named(run, sorted(names))
    for item in found:
        if isinstance(item.error, TransientError | InternalError):
            raise item.error
    return JobResult(
        {
            "compared": sum(item.error is None for item in found),
            "foreign": sum(len(item.findings) for item in found),
            "lacking": sum(len(item.lacking) for item in found),
        }
    )
