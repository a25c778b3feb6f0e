"""The JSON documents of the commands, and the lines of a run's report."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from rotator.cli.output.exports import write_events
from rotator.cli.output.report import render_done, render_failures, render_standing, render_totals
from rotator.documents.audit import make_event_document
from rotator.documents.inventory import make_record_document
from rotator.documents.plan import make_plan_document
from rotator.documents.report import make_dry_run_document, make_report_document
from rotator.documents.scan import make_scan_document
from rotator.documents.status import make_status_document
from rotator.domain.audit_event import AuditEntry, Outcome, make_event
from rotator.domain.events.rotations import PatMinted
from rotator.domain.job_run import RunTimes
from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.next_step import NextAction
from rotator.domain.plan import Action, ActionKind, ActionReason, Plan
from rotator.domain.rotation import RotationState
from rotator.engine.comparing import ScanEntry, ScanKind
from rotator.engine.needs import Need
from rotator.engine.overlapping import make_overlap_error
from rotator.engine.report import OutcomeFields, OutcomeKind, OutcomeReason, PatOutcome, RunReport
from rotator.engine.scanning import ScanReport
from rotator.engine.status import PatState, PatStatus
from rotator.errors import RejectedError, SignInRequiredError

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
PAT = ManagedPat(
    "feed", "build-bot", "contoso", "id-1", "Feed", "vso.code vso.build",
    NOW - timedelta(days=25), NOW + timedelta(days=5), "https://v", "contoso-feed",
)  # fmt: skip
OTHER = replace(PAT, name="other", authorization_id="id-2")


DENIED = Failure("blocked", "denied by guardrails", "Replace it.")


def _make_report() -> RunReport:
    report = RunReport("run")
    report.add(PatOutcome.of(OutcomeKind.ROTATED, PAT, overlap_until=NOW + timedelta(days=1)))
    report.add(PatOutcome.of(OutcomeKind.RETIRED, PAT, revoked_id="id-0"))
    refused = RejectedError("the policy says no", service="azure_devops", operation="mint", fix="Ask for it.")
    report.add(PatOutcome.of_error(OutcomeKind.BLOCKED, OTHER, refused))
    report.add(PatOutcome.of(OutcomeKind.POSTPONED, replace(PAT, name="later")))
    return report


def test_report_document_lists_all_that_is_blocked_when_some_was_so_before() -> None:
    standing = [
        Action(ActionKind.BLOCKED, OTHER, ActionReason.FAILED_BEFORE, failure=DENIED),
        Action(ActionKind.BLOCKED, replace(PAT, name="old"), ActionReason.FORBIDDEN, failure=DENIED),
    ]
    document = make_report_document(_make_report(), standing)
    assert document["rotated"] == [
        {
            "name": "feed",
            "account": "build-bot",
            "organization": "contoso",
            "authorization_id": "id-1",
            "revoke_after": "2026-12-02T09:00:00Z",
        }
    ]
    assert [(entry["name"], entry["error"]) for entry in document["blocked"]] == [
        ("other", {"code": "rejected", "message": "the policy says no", "fix": "Ask for it.", "runbook": ""}),
        (
            "old",
            {
                "code": "blocked",
                "message": "denied by guardrails",
                "fix": "Replace it.",
                "runbook": "docs/runbook.md#rotation_blocked",
            },
        ),
    ]
    postponed = document["postponed"]
    assert isinstance(postponed, list)
    assert [entry["name"] for entry in postponed] == ["later"]


def test_dry_run_document_lists_what_would_be_done_when_some_is_postponed() -> None:
    rotate = [
        Action(ActionKind.ROTATE, pat, ActionReason.EXPIRED, expires_at=NOW + timedelta(days=30))
        for pat in (PAT, OTHER)
    ]
    retire = Action(ActionKind.RETIRE, replace(PAT, name="done"), ActionReason.OVERLAP_OVER)
    document = make_dry_run_document(Plan(NOW, (*rotate, retire), ("other",)), "run")
    lists = {key: value for key, value in document.items() if isinstance(value, list)}
    assert {key: [entry["name"] for entry in value] for key, value in lists.items() if value} == {
        "rotated": ["feed"],
        "retired": ["done"],
        "postponed": ["other"],
    }
    assert document["dry_run"] is True


def test_plan_document_tells_every_reason_when_nothing_is_due() -> None:
    document = make_plan_document(Plan(NOW, (Action(ActionKind.NONE, PAT, ActionReason.PAUSED),)))
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
            "reason": "paused",
            "error": None,
            "rule": None,
            "rotate_after": None,
            "new_expires_at": None,
            "revoke_after": None,
            "held_until": None,
            "despite": None,
            "lacks_window": False,
            "postponed": False,
        }
    ]


def test_status_document_is_in_utc_when_times_come_from_elsewhere() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    row = PatStatus(
        "feed", "build-bot", "contoso", "id-1", "Feed", ("vso.code",), PatState.FAILED, NOW, NOW.astimezone(east),
        None, False, None, None, NextAction.NONE, None, None, Failure("denied", "no", "Ask."),
    )  # fmt: skip
    [pat] = make_status_document([row], [], NOW, RunTimes())["pats"]
    assert pat["expires_at"] == "2026-12-01T09:00:00Z"
    assert pat["last_error"] == {
        "code": "denied",
        "message": "no",
        "fix": "Ask.",
        "runbook": "docs/runbook.md#organization_down",
    }


def test_scan_document_counts_every_kind_when_there_is_one_of_each() -> None:
    entries = (ScanEntry(kind, "build-bot", "contoso", None, kind.value, None, PAT) for kind in ScanKind)
    document = make_scan_document(ScanReport(tuple(entries), ()), NOW)
    counts = {key: count for key, count in document["summary"].items() if key in set(ScanKind)}
    assert counts == {kind.value: 1 for kind in ScanKind}


def test_record_document_is_json_when_names_are_odd() -> None:
    odd = replace(PAT, display_name="\x1b[2J\ud800\u202e", failures=1, retry_at=NOW)
    document = json.loads(json.dumps(make_record_document(odd)))
    assert document["display_name"] == odd.display_name
    assert document["retry_at"] == "2026-12-01T09:00:00Z"


def test_report_lines_are_one_per_fact_when_a_run_did_several_things() -> None:
    report = _make_report()
    assert list(render_done(report, NOW)) == [
        "rotated  feed  (contoso): the old PAT stays valid until Wed 09:00Z (in 24 h)",
        "revoked  feed  (contoso): the old PAT (id-0)",
        "postponed  later  (contoso): max_rotations_per_hour is reached; a later run rotates it",
    ]
    assert list(render_failures(report)) == ["blocked  other  (contoso): the policy says no", "    fix: Ask for it."]


def test_what_the_limit_postpones_is_one_line_however_many_there_are() -> None:
    report = RunReport("run")
    for number in range(12):
        report.add(PatOutcome.of(OutcomeKind.POSTPONED, replace(PAT, name=f"p{number}")))
    assert list(render_done(report, NOW)) == [
        "postponed  12 PATs: max_rotations_per_hour is reached; later runs rotate them: "
        "p0, p1, p2, p3, p4, p5, p6, p7, p8, p9 and 2 more"
    ]


def test_one_cause_of_very_many_pats_is_one_line_with_one_fix() -> None:
    report, denied = RunReport("run"), Failure("forbidden", "its scope is denied", "Replace it.")
    for number in range(12):
        pat, other = replace(PAT, name=f"p{number:02}"), replace(denied, message="something else")
        report.add(replace(PatOutcome.of(OutcomeKind.BLOCKED, pat), failure=other if number == 1 else denied))
    assert list(render_failures(report)) == [
        "blocked  p00, p02, p03, p04, p05, p06, p07, p08, p09, p10 and 1 more  (contoso): each: its scope is denied",
        "    fix: Replace it.",
        "blocked  p01  (contoso): something else",
        "    fix: Replace it.",
    ]


def test_one_cause_that_names_each_of_very_many_pats_is_one_line_too() -> None:
    report = RunReport("run")
    for number in range(11):
        pat = replace(PAT, name=f"p{number:02}")
        report.add(PatOutcome.of_error(OutcomeKind.FAILED, pat, make_overlap_error(pat.name)))
    assert list(render_failures(report)) == [
        "failed  p00, p01, p02, p03, p04, p05, p06, p07, p08, p09 and 1 more  (contoso): "
        "each: it was already rotated, and its old PAT is still in its overlap",
        "    fix: Wait for the overlap to end, or end it now with `rotator revoke NAME --previous`.",
    ]


def test_terminal_has_one_line_for_what_was_done_with_very_many_pats() -> None:
    """What differs from the usual has a line of its own; where nobody looks, as in a cron mail, each has one."""
    report = RunReport("run")
    for number in range(12):
        pat = replace(PAT, name=f"p{number:02}")
        odd = OutcomeReason.PREDECESSOR_GONE if number == 3 else None
        report.add(replace(PatOutcome.of(OutcomeKind.ROTATED, pat), overlap_until=NOW + timedelta(days=1), reason=odd))
    together, odd_one = render_done(report, NOW, together=True)
    assert together == "rotated  11 PATs: p00, p01, p02, p04, p05, p06, p07, p08, p09, p10 and 1 more. `-v` shows each."
    assert odd_one.startswith("rotated  p03  (contoso): the old PAT was no longer valid")
    assert len(list(render_done(report, NOW))) == 12


INTERRUPTED = OutcomeReason.INTERRUPTED


@pytest.mark.parametrize(
    ("kind", "fields", "line"),
    [
        (
            OutcomeKind.RECOVERED,
            {"reason": INTERRUPTED, "state_before": RotationState.STORED},
            "recovered  feed  (contoso): interrupted while stored, finished",
        ),
        (
            OutcomeKind.RECOVERED,
            {"reason": OutcomeReason.LATE_MINT_REVOKED, "revoked_id": "id-7"},
            "recovered  feed  (contoso): its mint took effect late; that PAT (id-7) is revoked",
        ),
        (
            OutcomeKind.RECOVERED,
            {"reason": OutcomeReason.VALUE_RESTORED},
            "recovered  feed  (contoso): its secret handed out a PAT that was given up; the committed value is back",
        ),
        (
            OutcomeKind.ABANDONED,
            {"reason": INTERRUPTED, "state_before": RotationState.VERIFIED, "revoked_id": "id-7"},
            "given up  feed  (contoso): interrupted while verified; its clone id-7 is revoked",
        ),
        (
            OutcomeKind.ABANDONED,
            {"reason": INTERRUPTED, "state_before": RotationState.MINTING, "revoked_id": None},
            "given up  feed  (contoso): interrupted while minting; no clone of it was found",
        ),
        (
            OutcomeKind.ABANDONED,
            {"reason": OutcomeReason.CLONE_REVOKED_ELSEWHERE, "revoked_id": "id-7"},
            "given up  feed  (contoso): its clone id-7 was revoked outside rotator",
        ),
        (
            OutcomeKind.SETTLING,
            {
                "reason": INTERRUPTED,
                "rotation_id": "rotation-1",
                "state_before": RotationState.MINTING,
                "settles_until": NOW + timedelta(minutes=9),
            },
            "settling  feed  (contoso): interrupted while minting; its last request may still take effect "
            "until Tue 09:09Z (in 9 min)",
        ),
        (
            OutcomeKind.HELD,
            {},
            "left alone  feed  (contoso): another run is working on it; if that one died, try again in a minute",
        ),
        (OutcomeKind.ROTATED, {}, "rotated  feed  (contoso)"),
        (
            OutcomeKind.CREATED,
            {"secret_name": "contoso-feed"},
            "created  feed  (contoso): PAT id-1; its value is in secret contoso-feed, and nobody has seen it",
        ),
        (
            OutcomeKind.ROTATED,
            {"reason": OutcomeReason.PREDECESSOR_GONE},
            "rotated  feed  (contoso): the old PAT was no longer valid, so there is no overlap",
        ),
    ],
)
def test_report_line_says_what_happened(kind: OutcomeKind, fields: OutcomeFields, line: str) -> None:
    report = RunReport("run")
    report.add(PatOutcome.of(kind, PAT, **fields))
    assert list(render_done(report, NOW)) == [line]
    assert list(render_failures(report)) == []


def test_report_document_says_which_attempt_settles_until_when() -> None:
    report = RunReport("run")
    until, before = NOW + timedelta(minutes=9), RotationState.MINTING
    report.add(
        PatOutcome.of(
            OutcomeKind.SETTLING, PAT, reason=INTERRUPTED, rotation_id="rotation-1", state_before=before,
            settles_until=until,
        )
    )  # fmt: skip
    assert make_report_document(report)["settling"] == [
        {
            "name": "feed",
            "account": "build-bot",
            "organization": "contoso",
            "authorization_id": "id-1",
            "reason": "interrupted",
            "state_before": "minting",
            "attempt": "rotation-1",
            "until": "2026-12-01T09:09:00Z",
        }
    ]


def test_report_line_names_account_and_fix_when_nobody_is_signed_in() -> None:
    report, error = RunReport("run"), SignInRequiredError("nobody is signed in", account="build-bot", fix="Sign in.")
    report.add(PatOutcome.of_down("build-bot", "", error))
    assert list(render_failures(report)) == ["failed  build-bot: nobody is signed in", "    fix: Sign in."]
    assert list(render_done(report, NOW)) == []


@pytest.mark.parametrize(("organization", "place"), [("", ""), ("contoso", "  (contoso)")])
def test_report_line_names_an_account_once_when_its_error_does_too(organization: str, place: str) -> None:
    report = RunReport("run")
    error = SignInRequiredError("nobody is signed in", account="build-bot")
    report.add(PatOutcome.of_down("build-bot", organization, error))
    assert list(render_failures(report)) == [f"failed  build-bot{place}: nobody is signed in"]


def test_times_in_the_details_of_an_event_end_in_z_and_its_hash_stays() -> None:
    minted = PatMinted(authorization_id="id-1", valid_to=NOW + timedelta(days=30))
    details = {**minted.make_details(), "note": "2026-12-01T09:00:00+00:00"}
    event = make_event(AuditEntry("pat_minted", "feed", Outcome.SUCCEEDED, "me", "run", details), previous=None,
                       occurred_at=NOW)  # fmt: skip
    document = make_event_document(event)
    assert document["details"] == {**details, "valid_to": "2026-12-31T09:00:00Z"}
    assert document["hash"] == event.hash


def test_run_says_what_waits_for_a_person_when_it_had_nothing_to_do() -> None:
    def render(needs: dict[Need, int], retried: int = 0) -> list[str]:
        actions = [Action(ActionKind.WAIT, PAT, ActionReason.FAILED_BEFORE)] * retried
        actions += [Action(ActionKind.WAIT, PAT, ActionReason.OVERLAPPING)]
        return list(render_standing(Plan(NOW, tuple(actions), ()), needs))

    assert render({Need.REPLACEMENT: 1, Need.BLOCKED: 2}) == [
        "3 PATs wait for a person (1 to replace by hand, 2 blocked): see `rotator status`."
    ]
    assert render({}) == []
    assert render({}, 2) == ["2 PATs wait to be tried again: see `rotator status`."]
    assert render({Need.EXPIRED: 1}, 1) == [
        "1 PAT waits for a person (1 expired), 1 waits to be tried again: see `rotator status`."
    ]


def test_run_that_did_something_ends_with_one_line_of_totals() -> None:
    """With what it left alone; where it was about one PAT, the line before has said it all."""
    names = ("a", "b", "c", "d", "e")
    pats = {name: replace(PAT, name=name) for name in names}
    rotated = [PatOutcome.of(OutcomeKind.ROTATED, pats[name]) for name in ("a", "b")]
    failed = replace(PatOutcome.of(OutcomeKind.FAILED, pats["c"]), failure=Failure("x", "it failed"))
    actions = [Action(ActionKind.WAIT, pats[name], ActionReason.OVERLAPPING) for name in ("a", "b")]
    actions += [Action(ActionKind.WAIT, pats[name], ActionReason.FAILED_BEFORE) for name in ("c", "d")]
    report = RunReport("run")
    for outcome in (*rotated, failed):
        report.add(outcome)
    assert list(render_totals(report, Plan(NOW, tuple(actions)), {Need.REPLACEMENT: 1, Need.BLOCKED: 1})) == [
        "Total: 2 rotated, 1 waiting, 1 failed; 2 PATs wait for a person (1 to replace by hand, 1 blocked): "
        "see `rotator status`."
    ]
    report.add(replace(PatOutcome.of(OutcomeKind.BLOCKED, pats["e"]), failure=Failure("x", "it is blocked")))
    assert list(render_totals(report, None, {})) == ["Total: 2 rotated, 1 blocked, 1 failed: see `rotator status`."]
    one = RunReport("run")
    one.add(rotated[0])
    assert list(render_totals(one, None, {})) == []
    one.add(rotated[1])
    assert list(render_totals(one, None, {})) == ["Total: 2 rotated."]


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
