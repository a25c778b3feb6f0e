"""What was interrupted and what was left behind, as people and scripts read it."""

from __future__ import annotations

from collections.abc import Iterator

from rotator.cli.console import clean
from rotator.domain.words import say_duration, say_moment
from rotator.engine.explaining import explain_left_behind
from rotator.engine.explaining_refusals import explain_refusal
from rotator.engine.left_behind import LeftBehind
from rotator.engine.looking import Rebuild
from rotator.engine.rebuilt import Found
from rotator.engine.reconciling import Reconciliation
from rotator.engine.recovery import RecoveryPlan
from rotator.engine.tags import AUTHORIZATION_TAG


def render_recovery_plan(plan: RecoveryPlan) -> Iterator[str]:
    """What a recovery would work on, and what it would leave to a person."""
    for rotation in plan.interrupted:
        yield f"interrupted  {rotation.name}  while {rotation.state.value}  (rotation {rotation.id})"
    for left in plan.found.left_behind:
        yield render_left_behind(left)
    for name in sorted(plan.found.late):
        yield f"late mint  {name}: its rotation had already been given up; `rotator recover` revokes it"
    for name in plan.late_writes:
        yield f"late write  {name}: its secret holds a PAT that was given up; `rotator recover` corrects it"


def render_left_behind(left: LeftBehind) -> str:
    """What it is, and the command that ends it."""
    pat, warning = left.pat, explain_left_behind(left)
    head = (
        f"{left.kind.value.replace('_', ' ')}  {pat.display_name}  until {say_moment(pat.valid_to)}: {warning.message}"
    )
    return "\n".join(_say_problem(head, warning.fix))


def _say_problem(head: str, fix: str) -> Iterator[str]:
    yield clean(head)
    if fix:
        yield clean(f"    fix: {fix}")


def render_down(found: Reconciliation) -> Iterator[str]:
    """What could not be checked, each with who must do what."""
    for (account, organization), error in found.down.items():
        place = f"{account} in {organization}" if organization else account
        yield from _say_problem(f"failed  {place}: {error.message}", error.fix)


def render_rebuilt(item: Found) -> str:
    """One line: the record, what it was, and what becomes of the old PAT and of what consumers read."""
    was = f"was {item.before.authorization_id}" if item.before else "new in the inventory"
    line = f"{item.record.name}  {item.record.authorization_id}  ({was})"
    if item.predecessor is not None:
        line += (
            f"; the old PAT, {item.predecessor.authorization_id}, stays valid for another {say_duration(item.overlap)}"
        )
    if item.gone:
        dead = item.gone[0].tags.get(AUTHORIZATION_TAG)
        line += f"; the vault still holds the value of {dead}, which no longer exists"
        line += ": `rotator once` writes this one's back"
    return clean(line)


def render_unbuilt(plan: Rebuild) -> Iterator[str]:
    """Which secrets a rebuild makes no record from, each with who must do what."""
    for refusal in plan.refusals:
        told = explain_refusal(refusal)
        yield from _say_problem(f"not rebuilt  {refusal.reference}: {told.message}", told.fix)
