"""Forget the longest lifetimes that servers were seen to grant, so that the next mint asks for the full one."""

from __future__ import annotations

from rotator.domain.events.places import LimitForgotten
from rotator.domain.limit import LifetimeLimit
from rotator.engine.auditing import record
from rotator.engine.context import RunContext

Limits = dict[tuple[str, str], LifetimeLimit]
"""Limits by account and organization."""


def forget_limits(run: RunContext, account: str | None = None, organization: str | None = None) -> Limits:
    """Forget what was learned for an account, an organization, or all of them. Return what that was."""
    with run.services.database.begin() as work:
        known = work.limits.load()
        chosen = {
            pair: known[pair]
            for pair in sorted(known)
            if (account is None or pair[0] == account) and (organization is None or pair[1] == organization)
        }
        for pair in chosen:
            work.limits.forget(*pair)
        now = run.services.clock.now()
        for (owner, place), limit in chosen.items():
            seconds = int(limit.longest.total_seconds())
            forgotten = LimitForgotten(longest_seconds=seconds, learned_at=limit.learned_at)
            record(work, run, f"{owner}/{place}", forgotten, now)
    return chosen
