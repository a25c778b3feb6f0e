"""`rotator plan`: what a run would do now."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, TypedDict

from rotator.documents.document import (
    SCHEMA_VERSION,
    Document,
    FailureDocument,
    Moment,
    make_failure_or_none,
    write_moment,
    write_moment_or_none,
)
from rotator.documents.pat import PatReference, make_reference
from rotator.domain.plan import Action, ActionKind, ActionReason, Plan
from rotator.domain.timetable import HeldBackBy


class ActionDocument(PatReference):
    """What a run would do with one PAT."""

    action: Annotated[ActionKind, "What a run would do."]
    display_name: Annotated[str, "Name of the PAT at Azure DevOps."]
    scopes: Annotated[list[str], "Scopes of the PAT, sorted."]
    expires_at: Annotated[Moment, "When the current PAT expires."]
    reason: Annotated[ActionReason, "Why a run would do it."]
    error: Annotated[FailureDocument | None, "What failed before, or what blocks it. Null: nothing does."]
    rule: Annotated[str | None, "Rule of the policy that decides. Null: none does."]
    rotate_after: Annotated[Moment | None, "When the PAT is due. Null: never, or not known."]
    new_expires_at: Annotated[Moment | None, "When the new PAT would expire. Null: none would be made."]
    revoke_after: Annotated[Moment | None, "When the old PAT would be, or will be, revoked. Null: it would not."]
    held_until: Annotated[Moment | None, "When what is held back continues. Null: nothing is, or a person ends it."]
    despite: Annotated[HeldBackBy | None, "What it does not wait for, because its expiry is near. Null: nothing."]
    lacks_window: Annotated[
        bool,
        "Whether no window opens in time before its expiry, or a change freeze lasts too long: it is rotated all the "
        "same, at `held_until`.",
    ]
    postponed: Annotated[
        bool, "Whether it is due and waits for a later run, because the policy allows only so many rotations per hour."
    ]


class PlanSummary(TypedDict):
    """How many PATs have each action."""

    rotate: Annotated[int, "Due, the postponed ones included."]
    retire: Annotated[int, "Old PATs to revoke."]
    recover: Annotated[int, "Interrupted rotations to finish."]
    adopt: Annotated[int, "To be taken over."]
    wait: Annotated[int, "Waiting for a time."]
    alert: Annotated[int, "To be replaced by hand."]
    blocked: Annotated[int, "Blocked until somebody acts."]
    none: Annotated[int, "Nothing to do."]
    postponed: Annotated[int, "Due, and left for a later run."]


class PlanDocument(Document):
    """What a run would do now."""

    generated_at: Annotated[Moment, "When the plan was made."]
    has_changes: Annotated[bool, "Whether a run would change anything."]
    signed_out: Annotated[list[str], "Accounts that a person must sign in first; what waits for that is blocked."]
    summary: Annotated[PlanSummary, "How many PATs have each action."]
    actions: Annotated[list[ActionDocument], "One for each managed PAT, and for each that a rule asks to take over."]


def make_plan_document(plan: Plan) -> PlanDocument:
    """Give every ManagedPat with its action and the reason, and how many there are of each."""
    postponed, counts = frozenset(plan.postponed), Counter(action.kind for action in plan.actions)
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": write_moment(plan.made_at),
        "has_changes": plan.has_changes,
        "signed_out": list(plan.signed_out),
        "summary": {
            "rotate": counts[ActionKind.ROTATE],
            "retire": counts[ActionKind.RETIRE],
            "recover": counts[ActionKind.RECOVER],
            "adopt": counts[ActionKind.ADOPT],
            "wait": counts[ActionKind.WAIT],
            "alert": counts[ActionKind.ALERT],
            "blocked": counts[ActionKind.BLOCKED],
            "none": counts[ActionKind.NONE],
            "postponed": len(postponed),
        },
        "actions": [_make_action(action, action.pat.name in postponed) for action in plan.actions],
    }


def _make_action(action: Action, postponed: bool) -> ActionDocument:
    pat, rule = action.pat, action.decision.rule if action.decision else None
    return {
        "action": action.kind,
        **make_reference(pat),
        "display_name": pat.display_name,
        "scopes": list(pat.scopes),
        "expires_at": write_moment(pat.valid_to),
        "reason": action.reason,
        "error": make_failure_or_none(action.failure),
        "rule": rule.name if rule else None,
        "rotate_after": write_moment_or_none(action.decision.rotate_after) if action.decision else None,
        "new_expires_at": write_moment_or_none(action.expires_at),
        "revoke_after": write_moment_or_none(action.retires_at),
        "held_until": write_moment_or_none(action.held_until),
        "despite": None if action.despite is None else action.despite.by,
        "lacks_window": action.lacks_window,
        "postponed": postponed,
    }
