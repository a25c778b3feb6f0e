"""The JSON documents of the commands, and the lines of a run's report."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from rotator.cli.documents import (
    make_dry_run_document,
    make_event_document,
    make_plan_document,
    make_record_document,
    make_report_document,
    make_status_document,
)
from rotator.cli.render_audit import write_events
from rotator.cli.render_report import render_done, render_failures
from rotator.domain.audit_event import AuditEntry, Outcome, make_event
from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.plan import Action, ActionKind, Plan
from rotator.engine.report import RunReport
from rotator.engine.status import TokenState, TokenStatus
from rotator.errors import RejectedError, SignInRequiredError

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
PAT = ManagedPat(
    "feed", "build-bot", "contoso", "id-1", "Feed", "vso.code vso.build",
    NOW - timedelta(days=25), NOW + timedelta(days=5), "https://v", "contoso-feed",
)  # fmt: skip
OTHER = replace(PAT, name="other", authorization_id="id-2")


def _make_report() -> RunReport:
    report = RunReport("run")
    report.add(report.rotated, PAT, "rule ci: due")
    report.add(report.retired, PAT, "revoked id-0")
    refused = RejectedError("other: the policy says no", service="azure_devops", operation="mint", fix="Ask for it.")
    report.add(report.blocked, OTHER, error=refused)
    report.postponed.append("later")
    return report


def test_report_document_lists_all_that_is_blocked_when_some_was_so_before() -> None:
    standing = [
        Action(ActionKind.BLOCKED, OTHER, "again"),
        Action(ActionKind.BLOCKED, replace(PAT, name="old"), "denied by guardrails", fix="Replace it."),
    ]
    document = make_report_document(_make_report(), standing)
    assert document["rotated"] == [
        {
            "name": "feed",
            "account": "build-bot",
            "organization": "contoso",
            "authorization_id": "id-1",
            "detail": "rule ci: due",
        }
    ]
    blocked = document["blocked"]
    assert isinstance(blocked, list)
    assert [(entry["name"], entry["error"]) for entry in blocked] == [
        ("other", {"code": "rejected", "message": "other: the policy says no", "fix": "Ask for it."}),
        ("old", {"code": "blocked", "message": "denied by guardrails", "fix": "Replace it."}),
    ]
    assert document["postponed"] == [{"name": "later"}]


def test_dry_run_document_lists_what_would_be_done_when_some_is_postponed() -> None:
    rotate = [Action(ActionKind.ROTATE, pat, "due", expires_at=NOW + timedelta(days=30)) for pat in (PAT, OTHER)]
    retire = Action(ActionKind.RETIRE, replace(PAT, name="done"), "over")
    document = make_dry_run_document(Plan(NOW, (*rotate, retire), ("other",)), "run")
    lists = {key: value for key, value in document.items() if isinstance(value, list)}
    assert {key: [entry["name"] for entry in value] for key, value in lists.items() if value} == {
        "rotated": ["feed"],
        "retired": ["done"],
        "postponed": ["other"],
    }
    assert document["dry_run"] is True


def test_plan_document_tells_every_reason_when_nothing_is_due() -> None:
    document = make_plan_document(Plan(NOW, (Action(ActionKind.NONE, PAT, "paused by hand"),)))
    assert document["has_changes"] is False
    assert document["actions"] == [
        {
            "action": "none",
            "name": "feed",
            "account": "build-bot",
            "organization": "contoso",
            "authorization_id": "id-1",
            "display_name": "Feed",
            "scopes": ["vso.build", "vso.code"],
            "expires_at": "2026-12-06T09:00:00Z",
            "reason": "paused by hand",
            "fix": "",
            "rule": None,
            "rotate_after": None,
            "new_expires_at": None,
            "revoke_after": None,
            "postponed": False,
        }
    ]


def test_status_document_is_in_utc_when_times_come_from_elsewhere() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    row = TokenStatus(
        "feed", "build-bot", "contoso", "id-1", "Feed", ("vso.code",), TokenState.FAILED, NOW, NOW.astimezone(east),
        None, False, None, None, None, Failure("denied", "no", "Ask."),
    )  # fmt: skip
    document = make_status_document([row], NOW)
    tokens = document["tokens"]
    assert isinstance(tokens, list)
    assert tokens[0]["expires_at"] == "2026-12-01T09:00:00Z"
    assert tokens[0]["last_error"] == {"code": "denied", "message": "no", "fix": "Ask."}


def test_record_document_is_json_when_names_are_odd() -> None:
    odd = replace(PAT, display_name="\x1b[2J\ud800\u202e", failures=1, retry_at=NOW)
    document = json.loads(json.dumps(make_record_document(odd)))
    assert document["display_name"] == odd.display_name
    assert document["retry_at"] == "2026-12-01T09:00:00Z"


def test_report_lines_are_one_per_fact_when_a_run_did_several_things() -> None:
    report = _make_report()
    assert list(render_done(report, {"feed": NOW + timedelta(days=1)}, NOW)) == [
        "rotated  feed  (contoso): the old one stays valid until Wed 09:00Z (in 24 h)",
        "revoked  feed  (contoso): the old PAT (id-0)",
        "postponed  later: max_rotations_per_hour is reached, a later run rotates it",
    ]
    assert list(render_failures(report)) == ["blocked  other  (contoso): the policy says no", "    fix: Ask for it."]


def test_report_line_names_account_and_fix_when_nobody_is_signed_in() -> None:
    report, error = RunReport("run"), SignInRequiredError("nobody is signed in", account="build-bot", fix="Sign in.")
    report.add(report.failed, replace(PAT, name="build-bot", organization=""), error=error)
    assert list(render_failures(report)) == ["failed  build-bot: nobody is signed in", "    fix: Sign in."]
    assert list(render_done(report, {}, NOW)) == []


def test_exported_events_can_be_hashed_again_when_read_back() -> None:
    entry = AuditEntry("pat_minted", "feed", Outcome.SUCCEEDED, "me@host", "run", {"note": 'a,"b"\n\u00e9', "n": 1})
    event = make_event(entry, previous=None, occurred_at=NOW + timedelta(microseconds=7))
    lines, table = io.StringIO(), io.StringIO()
    assert write_events([event], lines, "jsonl") == 1
    assert write_events([event], table, "csv") == 1
    document = json.loads(lines.getvalue())
    assert document == make_event_document(event)
    read = AuditEntry(
        document["event"], document["subject"], Outcome(document["outcome"]), document["actor"], document["run_id"],
        document["details"],
    )  # fmt: skip
    again = make_event(read, previous=None, occurred_at=datetime.fromisoformat(document["occurred_at"]))
    assert again.hash == document["hash"]
    assert table.getvalue().startswith("sequence,occurred_at,event,subject,")
