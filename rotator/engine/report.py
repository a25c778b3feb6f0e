"""What a run did, gathered from all of its threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.errors import RotatorError


@dataclass(frozen=True)
class ReportEntry:
    """One ManagedPat in one list of the report. `failure` for failed and blocked, `error` where it came from."""

    name: str
    account: str
    organization: str
    authorization_id: str
    detail: str = ""
    failure: Failure | None = None
    error: RotatorError | None = None


@dataclass
class RunReport:
    """The lists of a run. `held` are those that another run was working on."""

    run_id: str
    rotated: list[ReportEntry] = field(default_factory=list)
    retired: list[ReportEntry] = field(default_factory=list)
    recovered: list[ReportEntry] = field(default_factory=list)
    abandoned: list[ReportEntry] = field(default_factory=list)
    failed: list[ReportEntry] = field(default_factory=list)
    blocked: list[ReportEntry] = field(default_factory=list)
    held: list[ReportEntry] = field(default_factory=list)
    postponed: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(
        self,
        entries: list[ReportEntry],
        pat: ManagedPat,
        detail: str = "",
        *,
        error: RotatorError | None = None,
    ) -> None:
        """Add a ManagedPat to one of the lists."""
        failure = Failure.of(error) if error else None
        entry = ReportEntry(pat.name, pat.account, pat.organization, pat.authorization_id, detail, failure, error)
        with self._lock:
            entries.append(entry)

    @property
    def exit_code(self) -> int:
        """0 all well, 3 partly failed, 1 everything failed, 10 a human must sign in, 11 only others at work."""
        errors = [entry.error for entry in (*self.failed, *self.blocked) if entry.error is not None]
        if any(error.exit_code == 10 for error in errors):
            return 10
        done = self.rotated or self.retired or self.recovered
        if errors:
            return 3 if done else 1
        return 11 if self.held and not done else 0
