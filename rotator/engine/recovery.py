"""`rotator recover` as a whole: what it would work on, and what it leaves to a person."""

from __future__ import annotations

from dataclasses import dataclass

from rotator.domain.rotation import Rotation, RotationState
from rotator.engine.context import RunContext
from rotator.engine.left_behind import LeftBehind, load_left_behind
from rotator.engine.listing import ServerView
from rotator.engine.reconciling import Reconciliation, find_late_writes, look
from rotator.engine.report import RunReport
from rotator.engine.run import recover_interrupted


@dataclass(frozen=True)
class RecoveryPlan:
    """What a recovery would find. `late_writes` are the names whose consumers read a write that took effect late."""

    interrupted: tuple[Rotation, ...]
    found: Reconciliation
    late_writes: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to recover, nothing left behind, and nothing that could not be looked at."""
        found = self.found
        return not (self.interrupted or found.left_behind or found.late or self.late_writes or found.down)


@dataclass(frozen=True)
class Recovery:
    """What a recovery did, and the PATs that are left for a person to judge."""

    report: RunReport
    left_behind: tuple[LeftBehind, ...]


def plan_recovery(run: RunContext) -> RecoveryPlan:
    """Look at the journal, the server and the vaults. Changes nothing."""
    found = look(run, ServerView(run))
    late_writes = find_late_writes(run, found)
    with run.services.database.read() as reading:
        unfinished = reading.journal.load_open()
    interrupted = tuple(rotation for rotation in unfinished if rotation.state is not RotationState.OVERLAPPING)
    return RecoveryPlan(interrupted, found, late_writes)


def recover_all(run: RunContext) -> Recovery:
    """Finish what was interrupted, undo what took effect late, and list what was left behind (not after a stop)."""
    report = recover_interrupted(run)
    if report.is_stopped:
        return Recovery(report, ())
    with run.services.database.read() as reading:
        return Recovery(report, load_left_behind(reading, run.services.clock.now()))
