"""A pause of everything: a person pauses all, and no run mints or revokes until a person resumes all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotator.domain.events.inventory import AllPaused, AllResumed
from rotator.domain.managed_pat import ManagedPat
from rotator.engine.auditing import record
from rotator.engine.context import RunContext
from rotator.engine.in_force import find_pause_to_change

SUBJECT = "inventory"
"""What is paused, in events and conditions."""


@dataclass(frozen=True)
class Pause:
    """Whether everything is paused now, and since when; `expiring` are the ManagedPats, those that expire first first.

    `is_news`: it was otherwise before.
    """

    since: datetime | None
    expiring: tuple[ManagedPat, ...]
    is_news: bool


def pause_all(run: RunContext) -> Pause:
    """Keep every run from minting and revoking, for every ManagedPat that there is or will be."""
    now = run.services.clock.now()
    with run.services.database.begin() as work:
        lasting = find_pause_to_change(work)
        pats = sorted((pat.as_ending() for pat in work.inventory.load_all() if pat.has_pat), key=_get_expiry)
        if lasting is None:
            record(work, run, SUBJECT, AllPaused(), now)
    return Pause(now if lasting is None else lasting.since, tuple(pats), lasting is None)


def resume_all(run: RunContext) -> Pause:
    """End that. What a person paused by its name stays paused."""
    with run.services.database.begin() as work:
        lasting = find_pause_to_change(work)
        if lasting is not None:
            record(work, run, SUBJECT, AllResumed(), run.services.clock.now())
    return Pause(None, (), lasting is not None)


def _get_expiry(pat: ManagedPat) -> tuple[datetime, str]:
    return pat.valid_to, pat.name
