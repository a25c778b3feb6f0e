"""How everything stands at one moment, as figures for monitoring. Handles are in it, secrets are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto

from rotator.domain.job_run import JobName
from rotator.domain.request_count import RequestCounts


class SourceKind(StrEnum):
    """What a run depends on: an account at Entra, an account's organization, a vault."""

    ENTRA = auto()
    AZURE_DEVOPS = auto()
    KEY_VAULT = auto()


@dataclass(frozen=True)
class PatFigures:
    """One ManagedPat. `state` is the word of `status`. None: it has no PAT yet, or no rule rotates it.

    `works`: whether its value signed in at the last probe; None where that is not known.
    """

    name: str
    account: str
    organization: str
    state: str
    expires_at: datetime | None
    due_at: datetime | None
    works: bool | None = None
    record_id: str | None = field(default=None, compare=False)
    """Which record it is; it says nothing about the PAT."""


@dataclass(frozen=True)
class AccountFigures:
    """One account. `refreshed_at` is None if not known.

    `is_down`: it cannot be used now, whatever its sign-in. `is_shut_out`: none of its organizations can be worked with.
    """

    name: str
    needs_person: bool
    is_down: bool
    is_shut_out: bool
    refreshed_at: datetime | None


@dataclass(frozen=True)
class SourceFigures:
    """One place that a run depends on, as the last look at it found it."""

    kind: SourceKind
    source: str
    is_up: bool


@dataclass(frozen=True)
class JobFigures:
    """One job. `lasted` is how long its last run took that ended. None: it never did, as far as we know.

    `every` is how often it is done by whoever measures; None where that is not known.
    """

    job: JobName
    succeeded_at: datetime | None
    lasted: timedelta | None
    every: timedelta | None = None


@dataclass(frozen=True)
class ReceiverFigures:
    """One receiver of notifications, or a hook. `waiting` are to be sent to it, and `set_aside` were given up."""

    name: str
    is_up: bool
    waiting: int
    set_aside: int


@dataclass(frozen=True)
class Measurements:
    """All figures. `rotations`, by outcome, and `requests` count since the installation began.

    After a restart, `rotations` lacks those whose events are in archives.

    `skew` is how many seconds the host's clock is ahead of the others': None where no other clock was heard, infinite
    where they do not agree. `is_chain_ok` is None until the audit log was verified once. `unconfirmed_revocations` are
    those of the pending ones that have lasted for too long.
    """

    pats: tuple[PatFigures, ...]
    accounts: tuple[AccountFigures, ...]
    sources: tuple[SourceFigures, ...]
    jobs: tuple[JobFigures, ...]
    rotations: Mapping[str, int]
    requests: RequestCounts
    pending_revocations: int
    unconfirmed_revocations: int
    left_behind: int
    skew: float | None
    is_clock_wrong: bool
    is_chain_ok: bool | None
    verified_at: datetime | None
    receivers: tuple[ReceiverFigures, ...] = ()

    def hide_names(self) -> Measurements:
        """Return the same figures with the id of each record in place of its name."""
        return replace(self, pats=tuple(replace(pat, name=pat.record_id or "") for pat in self.pats))
