"""The JSON documents of the commands, as plain values: stable keys, UTC times, never a token value."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from rotator.cli.render import SCHEMA_VERSION, iso, iso_or_none
from rotator.domain.audit_event import AuditEvent
from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.plan import Action, ActionKind, Plan
from rotator.domain.rotation import Rotation
from rotator.engine.adopting import AdoptionPlan
from rotator.engine.report import OutcomeKind, PatOutcome, RunReport
from rotator.engine.scanning import ScanReport
from rotator.engine.status import TokenStatus
from rotator.errors import RotatorError

Document = dict[str, object]
FULL_ACCESS = "app_token"


def make_failure_document(failure: Failure | RotatorError | None) -> Document | None:
    """Code, message and fix."""
    if failure is None:
        return None
    return {"code": failure.code, "message": failure.message, "fix": failure.fix}


def make_status_document(rows: Iterable[TokenStatus], now: datetime) -> Document:
    """What `status --json` prints."""
    tokens = [
        {
            "name": row.name,
            "account": row.account,
            "organization": row.organization,
            "authorization_id": row.authorization_id,
            "display_name": row.display_name,
            "scopes": list(row.scopes),
            "state": row.state.value,
            "valid_from": iso_or_none(row.valid_from),
            "expires_at": iso_or_none(row.expires_at),
            "rotate_after": iso_or_none(row.rotate_after),
            "revoke_after": iso_or_none(row.revoke_after),
            "vault": row.vault,
            "secret_name": row.secret_name,
            "last_error": make_failure_document(row.last_error),
        }
        for row in rows
    ]
    return {"schema_version": SCHEMA_VERSION, "generated_at": iso(now), "tokens": tokens}


def make_plan_document(plan: Plan) -> Document:
    """What `plan --json` prints: every ManagedPat with its action and the reason, and how many of each."""
    postponed = frozenset(plan.postponed)
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": iso(plan.made_at),
        "has_changes": plan.has_changes,
        "summary": {kind.value: len(plan.of_kind(kind)) for kind in ActionKind} | {"postponed": len(postponed)},
        "actions": [_make_action(action, action.pat.name in postponed) for action in plan.actions],
    }


def _make_action(action: Action, postponed: bool) -> Document:
    pat, rule = action.pat, action.decision.rule if action.decision else None
    return {
        "action": action.kind.value,
        "name": pat.name,
        "account": pat.account,
        "organization": pat.organization,
        "authorization_id": pat.authorization_id,
        "display_name": pat.display_name,
        "scopes": list(pat.scopes),
        "expires_at": iso_or_none(pat.valid_to),
        "reason": action.reason,
        "fix": action.fix,
        "rule": rule.name if rule else None,
        "rotate_after": iso_or_none(action.decision.rotate_after) if action.decision else None,
        "new_expires_at": iso_or_none(action.expires_at),
        "revoke_after": iso_or_none(action.retires_at),
        "postponed": postponed,
    }


def make_report_document(report: RunReport, standing: Iterable[Action] = ()) -> Document:
    """What `once --json` and `rotate --json` print. `standing` are blocked ManagedPats that the run left alone."""
    lists = {kind.value: [_make_outcome(outcome) for outcome in report.of_kind(kind)] for kind in OutcomeKind}
    told = {outcome.name for outcome in report.of_kind(OutcomeKind.BLOCKED)}
    lists["blocked"] += [_make_planned(action) for action in standing if action.pat.name not in told]
    return {"schema_version": SCHEMA_VERSION, "run_id": report.run_id, "dry_run": False, **lists}


def make_dry_run_document(plan: Plan, run_id: str) -> Document:
    """What `once --dry-run --json` prints: the same lists, with what a run would do."""
    postponed = frozenset(plan.postponed)
    rotate = [action for action in plan.of_kind(ActionKind.ROTATE) if action.pat.name not in postponed]
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "dry_run": True,
        "rotated": [_make_planned(action) for action in rotate],
        "retired": [_make_planned(action) for action in plan.of_kind(ActionKind.RETIRE)],
        "recovered": [_make_planned(action) for action in plan.of_kind(ActionKind.RECOVER)],
        "abandoned": [],
        "failed": [],
        "blocked": [_make_planned(action) for action in plan.of_kind(ActionKind.BLOCKED)],
        "held": [],
        "postponed": [{"name": name} for name in plan.postponed],
        "settling": [],
    }


def _make_outcome(outcome: PatOutcome) -> Document:
    """What every outcome has, and those of the other fields that it has."""
    rule = outcome.decision.rule if outcome.decision else None
    fields: Document = {
        "reason": outcome.reason,
        "rule": rule.name if rule else None,
        "state_before": outcome.state_before,
        "revoked_authorization_id": outcome.revoked_id,
        "revoke_after": iso_or_none(outcome.overlap_until),
        "error": make_failure_document(outcome.failure),
    }
    if outcome.kind is OutcomeKind.SETTLING:
        fields |= {"attempt": outcome.rotation_id, "until": iso_or_none(outcome.settles_until)}
    return {
        "name": outcome.name,
        "account": outcome.account,
        "organization": outcome.organization,
        "authorization_id": outcome.authorization_id,
        **{key: value for key, value in fields.items() if value is not None},
    }


def _make_planned(action: Action) -> Document:
    pat = action.pat
    document: Document = {
        "name": pat.name,
        "account": pat.account,
        "organization": pat.organization,
        "authorization_id": pat.authorization_id,
        "detail": action.reason,
    }
    if action.kind is ActionKind.BLOCKED:
        known = pat.last_failure if pat.blocked else None
        document["error"] = make_failure_document(known or Failure("blocked", action.reason, action.fix))
    return document


def make_scan_document(report: ScanReport, now: datetime) -> Document:
    """What `scan --json` prints. What is `missing` has the times that the inventory remembers."""
    pats: list[Document] = []
    for entry in report.entries:
        pat, known = entry.pat, entry.pat or entry.record
        pats.append(
            {
                "state": entry.kind.value,
                "name": entry.name,
                "account": entry.account,
                "organization": entry.organization,
                "authorization_id": entry.authorization_id,
                "display_name": known.display_name if known else None,
                "scopes": list(known.scopes) if known else [],
                "valid_from": iso_or_none(known.valid_from) if known else None,
                "expires_at": iso_or_none(known.valid_to) if known else None,
                "all_organizations": pat is not None and pat.all_organizations,
                "full_access": known is not None and FULL_ACCESS in known.scopes,
            }
        )
    errors = [
        {"account": account, "organization": organization, **(make_failure_document(error) or {})}
        for account, organization, error in report.errors
    ]
    counts = count_scan(report, now)
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": iso(now),
        "summary": counts,
        "pats": pats,
        "errors": errors,
    }


def count_scan(report: ScanReport, now: datetime) -> dict[str, int]:
    """How many PATs the server lists, and how many of them need attention, by what."""
    listed = [entry.pat for entry in report.entries if entry.pat is not None]
    counts = {
        "pats": len(listed),
        "full_access": sum(FULL_ACCESS in pat.scopes for pat in listed),
        "all_organizations": sum(pat.all_organizations for pat in listed),
        "expire_within_7_days": sum(now < pat.valid_to < now + timedelta(days=7) for pat in listed),
    }
    for entry in report.entries:
        counts[entry.kind.value] = counts.get(entry.kind.value, 0) + 1
    return counts


def make_record_document(pat: ManagedPat) -> Document:
    """One inventory record."""
    return {
        "name": pat.name,
        "account": pat.account,
        "organization": pat.organization,
        "authorization_id": pat.authorization_id,
        "display_name": pat.display_name,
        "scopes": list(pat.scopes),
        "valid_from": iso_or_none(pat.valid_from),
        "expires_at": iso_or_none(pat.valid_to),
        "vault": pat.vault,
        "secret_name": pat.secret_name,
        "secret_version": pat.secret_version,
        "state": pat.state.value,
        "blocked": pat.blocked,
        "failures": pat.failures,
        "retry_at": iso_or_none(pat.retry_at),
        "last_error": make_failure_document(pat.last_failure),
    }


def make_rotation_document(rotation: Rotation) -> Document:
    """One rotation of a ManagedPat, as `inventory show` tells its history."""
    return {
        "rotation_id": rotation.id,
        "state": rotation.state.value,
        "rule": rotation.rule,
        "predecessor_id": rotation.predecessor_id,
        "authorization_id": rotation.new_authorization_id,
        "created_at": iso_or_none(rotation.created_at),
        "updated_at": iso_or_none(rotation.updated_at),
        "revoke_after": iso_or_none(rotation.overlap_until),
        "error": make_failure_document(rotation.failure),
    }


def make_adoption_document(plan: AdoptionPlan, run_id: str, *, dry_run: bool) -> Document:
    """What `inventory adopt --json` prints; after a dry run nothing of it was written."""
    adopted = [make_record_document(item.record) | {"rule": item.rule.name} for item in plan.proposals]
    refused = [{"reference": item.reference, "reason": item.reason, "fix": item.fix} for item in plan.refusals]
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "dry_run": dry_run,
        "adopted": adopted,
        "refused": refused,
        "errors": [make_failure_document(error) for error in plan.errors],
    }


def make_event_document(event: AuditEvent) -> Document:
    """One audit event; its time keeps the microseconds that its hash was made with."""
    entry = event.entry
    return {
        "sequence": event.sequence,
        "occurred_at": event.occurred_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "event": entry.event,
        "subject": entry.subject,
        "outcome": str(entry.outcome),
        "actor": entry.actor,
        "run_id": entry.run_id,
        "details": dict(entry.details),
        "previous_hash": event.previous_hash,
        "hash": event.hash,
    }
