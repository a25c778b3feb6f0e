"""What was interrupted and what is left over, as people and scripts read it."""

from __future__ import annotations

from rotator.cli.documents import Document, make_failure_document, make_rotation_document
from rotator.cli.render import SCHEMA_VERSION, clean
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.words import say_moment
from rotator.engine.context import Engine
from rotator.engine.leftovers import Leftover, LeftoverKind
from rotator.engine.rebuilding import Rebuild
from rotator.engine.reconciling import Reconciliation

_WHY = {
    LeftoverKind.PARKED: "left by a rotation that failed",
    LeftoverKind.QUARANTINED: "may be a lost mint of ours, may be a person's",
}


def list_interrupted(engine: Engine) -> tuple[Rotation, ...]:
    """The open rotations that are not simply waiting for the end of their overlap."""
    with engine.database.begin() as work:
        return tuple(item for item in work.journal.load_open() if item.state is not RotationState.OVERLAPPING)


def render_leftover(leftover: Leftover) -> str:
    """One line, with the command that ends it."""
    pat = leftover.pat
    return (
        f"{leftover.kind.value}  {pat.authorization_id}  {clean(pat.display_name)}  until {say_moment(pat.valid_to)}\n"
        f"  {_WHY[leftover.kind]}; if nobody uses it: rotator recover --revoke {pat.authorization_id}"
    )


def make_recovery_document(interrupted: tuple[Rotation, ...], found: Reconciliation) -> Document:
    """What `recover --dry-run --json` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "interrupted": [{"name": item.name, **make_rotation_document(item)} for item in interrupted],
        "leftovers": [
            {
                "kind": item.kind.value,
                "name": item.rotation.name,
                "authorization_id": item.pat.authorization_id,
                "display_name": item.pat.display_name,
                "rotation_id": item.rotation.id,
            }
            for item in found.leftovers
        ],
        "landed_late": sorted(found.late),
        "errors": [
            {"account": account, "organization": organization, **(make_failure_document(error) or {})}
            for (account, organization), error in found.down.items()
        ],
    }


def make_rebuild_document(plan: Rebuild, *, dry_run: bool) -> Document:
    """What `inventory rebuild --json` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "dry_run": dry_run,
        "rebuilt": [
            {
                "name": item.record.name,
                "account": item.record.account,
                "organization": item.record.organization,
                "authorization_id": item.record.authorization_id,
                "before": item.before.authorization_id if item.before else None,
                "overlapping": item.predecessor is not None,
            }
            for item in plan.news
        ],
        "unchanged": len(plan.found) - len(plan.news),
        "refused": [{"name": item.reference, "reason": item.reason, "fix": item.fix} for item in plan.refusals],
        "errors": [make_failure_document(error) for error in plan.errors],
    }
