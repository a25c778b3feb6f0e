"""The daemon's job `audit_reconcile`: compare Azure DevOps' own log with ours, and work on what that shows to be gone.

What is found is told. Work on a ManagedPat whose value is refused begins at once, as after a look that misses its PAT:
whether it is replaced, that work decides by its rule and its own looks. Nothing is minted because of an entry alone.
"""

from __future__ import annotations

from rotator.domain.events.service_log import LogEntriesRead
from rotator.domain.probe import ProbeResult
from rotator.engine.comparing_logs import reconcile_logs
from rotator.engine.context import RunContext
from rotator.engine.jobs import JobResult
from rotator.engine.run import work_on_named
from rotator.ports.service_log import ServiceLog

_TOLD_EVERY = 20_000
"""How many entries are read between two signs of life: some minutes of a slow service."""


def reconcile_audit(run: RunContext, log: ServiceLog) -> JobResult:
    """Compare since the last time. What could not be asked now is raised, so that it is tried again soon.

    A log that the account may not read, or that was never read, was told once and is no failure; nor is a sign-in that
    other jobs tell of.
    """
    told: dict[str, int] = {}

    def tell(organization: str, entries: int) -> None:
        if entries - told.get(organization, 0) >= _TOLD_EVERY:
            told[organization] = entries
            run.progress(LogEntriesRead(entries=entries), organization)

    found = reconcile_logs(run, log, None, run.services.clock.now(), tell)
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
        if item.error is not None and item.fails:
            raise item.error
    return JobResult(
        {
            "compared": sum(item.error is None for item in found),
            "foreign": sum(len(item.findings) for item in found),
            "lacking": sum(len(item.lacking) for item in found),
        }
    )
