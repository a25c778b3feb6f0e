"""PATs that a person wants rotated while the old PAT of the rotation before is not revoked yet: each is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rotator.domain.next_step import Matter, choose
from rotator.domain.plan import ActionKind
from rotator.domain.rotation import RotationState
from rotator.engine.claiming import check_managed
from rotator.engine.context import RunContext
from rotator.engine.in_force import put_in_force
from rotator.engine.overlapping import make_overlap_error
from rotator.engine.report import OutcomeKind, PatOutcome


def check_overlap(run: RunContext, names: Sequence[str]) -> list[PatOutcome]:
    """Return the refusal of each of these that is in its overlap, or waits for the end of it; the others may go on.

    NotManagedError for a name without a record; RotationError where it is the only one that is asked for.
    """
    now = run.services.clock.now()
    with run.services.database.read() as reading:
        policy, pats = put_in_force(reading, run.policy), [check_managed(reading, name) for name in names]
        overlapping = {r.name: r for r in reading.journal.load_open() if r.state is RotationState.OVERLAPPING}
    refused = []
    for pat in pats:
        if pat.name in overlapping:
            action = choose(Matter(pat, overlapping[pat.name]), policy, {}, now)
            error = make_overlap_error(pat.name, is_over=action.kind is ActionKind.RETIRE)
            if len(pats) == 1:
                raise error
            refused.append(PatOutcome.of_error(OutcomeKind.FAILED, pat, error))
    return refused


def leave_out(names: Iterable[str], refused: Iterable[PatOutcome]) -> Iterable[str]:
    """Give the names that nothing was refused of, in order."""
    known = {outcome.name for outcome in refused}
    return (name for name in names if name not in known)
