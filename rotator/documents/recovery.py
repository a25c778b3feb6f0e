"""`rotator recover`: what was interrupted, and what was left behind."""

from __future__ import annotations

from typing import Annotated, TypedDict

from rotator.documents.document import (
    SCHEMA_VERSION,
    Document,
    PlaceFailureDocument,
    make_place_failure,
)
from rotator.documents.inventory import RotationDocument, make_rotation_document
from rotator.engine.explaining import explain_left_behind
from rotator.engine.left_behind import LeftBehind, LeftBehindKind
from rotator.engine.recovery import RecoveryPlan


class LeftBehindDocument(TypedDict):
    """A PAT that a closed rotation left alive, for a person to judge."""

    name: Annotated[str, "Name of the PAT whose rotation left it."]
    authorization_id: Annotated[str, "Id of the PAT at Azure DevOps."]
    kind: Annotated[LeftBehindKind, "Its rotation failed or kept it, a mint was lost, or a revocation had no effect."]
    display_name: Annotated[str, "Name of the PAT at Azure DevOps."]
    rotation_id: Annotated[str | None, "Id of the rotation that left it. Null: a person revoked it by hand."]
    fix: Annotated[str, "What a person can do."]


class InterruptedDocument(RotationDocument):
    """A rotation that was interrupted."""

    name: Annotated[str, "Name of the PAT in rotator."]


class RecoveryPlanDocument(Document):
    """What `rotator recover` would find."""

    interrupted: Annotated[list[InterruptedDocument], "Rotations that were interrupted."]
    left_behind: Annotated[list[LeftBehindDocument], "PATs that a closed rotation left alive."]
    late_mints: Annotated[
        list[str], "Names of PATs whose mint took effect late, after it was given up; what it created is revoked."
    ]
    late_writes: Annotated[
        list[str], "Names of PATs whose secret holds a late write; the current value is written again."
    ]
    errors: Annotated[list[PlaceFailureDocument], "Accounts and organizations that could not be checked."]


def make_left_behind_document(left: LeftBehind) -> LeftBehindDocument:
    """Say what was left behind, and what a person can do."""
    return {
        "name": left.name,
        "authorization_id": left.pat.authorization_id,
        "kind": left.kind,
        "display_name": left.pat.display_name,
        "rotation_id": left.rotation_id,
        "fix": explain_left_behind(left).fix,
    }


def make_recovery_plan_document(plan: RecoveryPlan) -> RecoveryPlanDocument:
    """Give everything that `rotator recover` would work on, or leave to a person."""
    return {
        "schema_version": SCHEMA_VERSION,
        "interrupted": [{"name": item.name, **make_rotation_document(item)} for item in plan.interrupted],
        "left_behind": [make_left_behind_document(left) for left in plan.found.left_behind],
        "late_mints": sorted(plan.found.late),
        "late_writes": list(plan.late_writes),
        "errors": [make_place_failure(*pair, error) for pair, error in plan.found.down.items()],
    }
