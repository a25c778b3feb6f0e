"""Try again now what failed before: when a person says so, nothing waits for its own time."""

from __future__ import annotations

from dataclasses import replace

from rotator.domain.plan import is_waiting
from rotator.engine.claiming import claimed
from rotator.engine.context import RunContext
from rotator.errors import ClaimHeldError, NotManagedError


def retry_now(run: RunContext) -> None:
    """Make every ManagedPat due for its next try that waits for one. One that a run works on is left to that run."""
    now = run.services.clock.now()
    with run.services.database.read() as reading:
        waiting = [pat.name for pat in reading.inventory.load_all() if pat.retry_at is not None]
    for name in waiting:
        try:
            with claimed(run, name) as held:
                if held.pat.retry_at is not None and is_waiting(held.pat, now):
                    held.save(replace(held.pat, retry_at=now))
        except (ClaimHeldError, NotManagedError):
            continue
