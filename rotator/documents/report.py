"""`rotator once`, `rotate`, `create` and `recover`: what a run did."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NotRequired

from rotator.documents.document import (
    SCHEMA_VERSION,
    Document,
    FailureDocument,
    Moment,
    make_failure_document,
    write_moment,
    write_moment_or_none,
)
from rotator.documents.pat import PatReference
from rotator.documents.recovery import LeftBehindDocument, make_left_behind_document
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.plan import Action, ActionKind, ActionReason, Plan
from rotator.domain.rotation import RotationState
from rotator.domain.timetable import HeldBackBy
from rotator.engine.left_behind import LeftBehind
from rotator.engine.report import OutcomeKind, OutcomeReason, PatOutcome, RunReport, RunSkewedError
from rotator.engine.updating import Preview


class OutcomeDocument(PatReference):
    """What happened to one PAT. If a whole account is down, `name` is the account's and the id is empty."""

    reason: NotRequired[Annotated[OutcomeReason | ActionReason, "What led to it; in a dry run, what would."]]
    rule: NotRequired[Annotated[str, "Rule of the policy that decided."]]
    state_before: NotRequired[Annotated[RotationState, "How far the interrupted rotation had got."]]
    revoked_authorization_id: NotRequired[Annotated[str, "Id of the PAT that was revoked."]]
    left_behind_authorization_id: NotRequired[
        Annotated[str, "Id of the old PAT that rotator cannot revoke, as the account that it moves from cannot work."]
    ]
    revoke_after: NotRequired[Annotated[Moment, "When the overlap ends and the old PAT is revoked."]]
    new_expires_at: NotRequired[
        Annotated[Moment, "When the new PAT expires: of `update` and `inventory move`; in a dry run, when it would."]
    ]
    old_expires_at: NotRequired[Annotated[Moment, "When the PAT before it expires: of `update` and `inventory move`."]]
    vault: NotRequired[Annotated[str, "Address of the Key Vault that the new value would go to: in a dry run."]]
    secret_name: NotRequired[Annotated[str, "Name of the secret in that vault: in a dry run."]]
    attempt: NotRequired[Annotated[str | None, "Id of the rotation that settles: in `settling`. Null: not known."]]
    pending_authorization_id: NotRequired[
        Annotated[str, "Id of the PAT whose revocation is not confirmed yet: in `settling`."]
    ]
    until: NotRequired[Annotated[Moment | None, "When its request can no longer take effect. Null: not known."]]
    held_until: NotRequired[
        Annotated[Moment | None, "When it continues: in `held`. Null: when a person resumes everything."]
    ]
    despite: NotRequired[Annotated[HeldBackBy, "What it did not wait for: in `rotated` and `retired`."]]
    error: NotRequired[Annotated[FailureDocument, "What went wrong: in `failed` and `blocked`."]]


class ReportDocument(Document):
    """What a run did, or with `--dry-run` what it would do."""

    run_id: Annotated[str, "Id of the run, as the audit log has it."]
    dry_run: Annotated[bool, "Whether nothing was done."]
    adopted: Annotated[list[OutcomeDocument], "Taken over, because a rule with `adopt` matches them."]
    created: Annotated[list[OutcomeDocument], "Got their first PAT, which a person asked for with `rotator create`."]
    rotated: Annotated[list[OutcomeDocument], "Got a new PAT; the old PAT is valid until the overlap ends."]
    retired: Annotated[list[OutcomeDocument], "Old PATs that were revoked after their overlap."]
    recovered: Annotated[list[OutcomeDocument], "Interrupted rotations that were finished, and late ones undone."]
    abandoned: Annotated[list[OutcomeDocument], "Interrupted rotations that were given up, their clones revoked."]
    failed: Annotated[list[OutcomeDocument], "Failed, and tried again by a later run."]
    blocked: Annotated[list[OutcomeDocument], "Blocked until somebody acts."]
    postponed: Annotated[list[OutcomeDocument], "Due, and left for a later run."]
    held: Annotated[
        list[OutcomeDocument], "Left alone: another run works on them, or `reason` says what they wait for."
    ]
    settling: Annotated[list[OutcomeDocument], "A request may still take effect, or a revocation is not confirmed yet."]
    error: NotRequired[Annotated[FailureDocument, "What ended the run early. The lists have what was done before."]]


class RecoverDocument(ReportDocument):
    """What `rotator recover` did."""

    left_behind: Annotated[list[LeftBehindDocument], "PATs that a closed rotation left alive, for a person to judge."]


def make_report_document(report: RunReport, standing: Iterable[Action] = ()) -> ReportDocument:
    """Give what a run did. `standing` is what a plan says now: what is blocked or held back was left alone."""
    told = {outcome.name for outcome in report.of_kind(OutcomeKind.BLOCKED, OutcomeKind.HELD)}
    left = [action for action in standing if action.pat.name not in told]
    still_blocked = [_make_planned(action) for action in left if action.kind is ActionKind.BLOCKED]
    still_held = [_make_planned(action) for action in left if action.held_back is not None]

    def make_list(kind: OutcomeKind) -> list[OutcomeDocument]:
        return [_make_outcome(outcome) for outcome in report.of_kind(kind)]

    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": report.run_id,
        "dry_run": False,
        "adopted": make_list(OutcomeKind.ADOPTED),
        "created": make_list(OutcomeKind.CREATED),
        "rotated": make_list(OutcomeKind.ROTATED),
        "retired": make_list(OutcomeKind.RETIRED),
        "recovered": make_list(OutcomeKind.RECOVERED),
        "abandoned": make_list(OutcomeKind.ABANDONED),
        "failed": make_list(OutcomeKind.FAILED),
        "blocked": make_list(OutcomeKind.BLOCKED) + still_blocked,
        "postponed": make_list(OutcomeKind.POSTPONED),
        "held": make_list(OutcomeKind.HELD) + still_held,
        "settling": make_list(OutcomeKind.SETTLING),
    }


def make_skewed_document(error: RunSkewedError) -> ReportDocument:
    """Give what a run did before the host's clock ended it."""
    return {**make_report_document(error.report), "error": make_failure_document(error)}


def make_recover_document(report: RunReport, left_behind: Iterable[LeftBehind]) -> RecoverDocument:
    """Give what a recovery did, and what it left to a person."""
    return {
        **make_report_document(report),
        "left_behind": [make_left_behind_document(left) for left in left_behind],
    }


def make_dry_run_document(plan: Plan, run_id: str, refused: RunReport | None = None) -> ReportDocument:
    """Give what a run would do, in the same lists; `refused` has what it would not even begin."""
    postponed = frozenset(plan.postponed)
    due = plan.of_kind(ActionKind.ROTATE)
    allowed = [action for action in due if action.pat.name not in postponed]
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "dry_run": True,
        "adopted": [_make_planned(action) for action in plan.of_kind(ActionKind.ADOPT)],
        "created": [_make_planned(action) for action in allowed if not action.pat.has_pat],
        "rotated": [_make_planned(action) for action in allowed if action.pat.has_pat],
        "retired": [_make_planned(action) for action in plan.of_kind(ActionKind.RETIRE)],
        "recovered": [_make_planned(action) for action in plan.of_kind(ActionKind.RECOVER)],
        "abandoned": [],
        "failed": [] if refused is None else make_report_document(refused)["failed"],
        "blocked": [_make_planned(action) for action in plan.of_kind(ActionKind.BLOCKED)],
        "postponed": [_make_planned(action) for action in due if action.pat.name in postponed],
        "held": [_make_planned(action) for action in plan.actions if action.held_back is not None],
        "settling": [],
    }


def make_draft_document(pat: ManagedPat, rule: str, run_id: str) -> ReportDocument:
    """Give what a creation would do, in the same lists."""
    return {**make_report_document(RunReport(run_id)), "dry_run": True, "created": [{**_begin(pat), "rule": rule}]}


def make_preview_document(preview: Preview, run_id: str) -> ReportDocument:
    """Give what an update would do, in the same lists."""
    rotated = [] if preview.action is None else [_make_planned(preview.action)]
    if rotated and not preview.revokes:
        rotated[0]["left_behind_authorization_id"] = preview.wanted.authorization_id
    return {**make_report_document(RunReport(run_id)), "dry_run": True, "rotated": rotated}


def _add_old(document: OutcomeDocument, outcome: PatOutcome) -> None:
    """Add what became of the old PAT, and when both expire."""
    if outcome.revoked_id is not None:
        document["revoked_authorization_id"] = outcome.revoked_id
    if outcome.left_id is not None:
        document["left_behind_authorization_id"] = outcome.left_id
    if outcome.overlap_until is not None:
        document["revoke_after"] = write_moment(outcome.overlap_until)
    if outcome.ends is not None:
        document["old_expires_at"], document["new_expires_at"] = map(write_moment, outcome.ends)


def _make_outcome(outcome: PatOutcome) -> OutcomeDocument:
    """What every outcome has, and those of the other fields that it has."""
    document = _begin(outcome)
    if outcome.reason is not None:
        document["reason"] = outcome.reason
    if outcome.decision is not None and outcome.decision.rule is not None:
        document["rule"] = outcome.decision.rule.name
    if outcome.state_before is not None:
        document["state_before"] = outcome.state_before
    _add_old(document, outcome)
    if outcome.kind is OutcomeKind.SETTLING:
        document["attempt"] = outcome.rotation_id
        if outcome.pending_id is not None:
            document["pending_authorization_id"] = outcome.pending_id
        document["until"] = write_moment_or_none(outcome.settles_until)
    if outcome.held_back is not None:
        document["held_until"] = write_moment_or_none(outcome.held_until)
    if outcome.despite is not None:
        document["despite"] = outcome.despite.by
    if outcome.failure is not None:
        document["error"] = make_failure_document(outcome.failure)
    return document


def _begin(about: PatOutcome | ManagedPat) -> OutcomeDocument:
    return {
        "name": about.name,
        "account": about.account,
        "organization": about.organization,
        "authorization_id": about.authorization_id,
    }


def _make_planned(action: Action) -> OutcomeDocument:
    document = _begin(action.pat)
    document["reason"] = action.reason
    if action.decision is not None and action.decision.rule is not None:
        document["rule"] = action.decision.rule.name
    if action.retires_at is not None:
        document["revoke_after"] = write_moment(action.retires_at)
    if action.expires_at is not None:
        document["new_expires_at"] = write_moment(action.expires_at)
        document["vault"], document["secret_name"] = action.pat.vault, action.pat.secret_name
    if action.held_back is not None:
        document["held_until"] = write_moment_or_none(action.held_until)
    if action.despite is not None:
        document["despite"] = action.despite.by
    if action.failure is not None:
        document["error"] = make_failure_document(action.failure)
    return document
