"""Rows and notes of `status`, `inventory` and `scan`, and moments in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.cli.commands.accounts import make_organization_row
from rotator.cli.console import print_table
from rotator.cli.context import CliContext
from rotator.cli.output import inventory, status
from rotator.cli.output.inventory import (
    list_record_rows,
    render_adoption,
    render_record,
    render_record_notes,
    render_record_summary,
    render_refusals,
)
from rotator.cli.output.plan import render_action
from rotator.cli.output.scan import list_scan_rows, make_scan_table, render_scan_summary
from rotator.cli.output.status import (
    list_status_rows,
    render_down,
    render_status_head,
    render_status_notes,
    render_status_summary,
)
from rotator.cli.output.words import say_expiry, say_until
from rotator.domain.account import Identity
from rotator.domain.audit_event import AuditEntry, Outcome, make_event
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.job_run import RunTimes
from rotator.domain.managed_pat import Failure, ManagedPat, Pat
from rotator.domain.next_step import NextAction
from rotator.domain.organization import OrganizationMemory
from rotator.domain.policy import Guardrails, Match, Policy, Rule, RuleAction
from rotator.domain.refusal import Refusal, RefusalKind
from rotator.domain.rotation import Rotation, RotationKind, RotationState
from rotator.domain.sight import Holding, Sight
from rotator.domain.threshold import Threshold
from rotator.domain.words import say_moment
from rotator.engine.adopting import AdoptionPlan
from rotator.engine.comparing import ScanEntry, ScanKind
from rotator.engine.confirming import Managed
from rotator.engine.explaining_refusals import Asked
from rotator.engine.listing import Listing
from rotator.engine.next_words import find_postponed
from rotator.engine.overview import RecordView
from rotator.engine.planning import plan_one
from rotator.engine.proposing import Proposal
from rotator.engine.scanning import ScanReport
from rotator.engine.status import PatState, PatStatus
from rotator.errors import AuditChainError
from tests.support.records import make_rotation

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)  # a Tuesday
DAY = timedelta(days=1)
OK = PatStatus(
    "npm-feed", "build-bot", "contoso", "id-1", "npm-feed", ("vso.packaging",), PatState.OK,
    NOW - timedelta(days=10), NOW + timedelta(days=20), NOW + timedelta(days=10), False, None,
    NOW + timedelta(days=10), NextAction.ROTATE, "https://v", "feed", None,
)  # fmt: skip
RECORD = ManagedPat(
    "npm-feed", "build-bot", "contoso", "id-1", "npm \x1b[2J feed", "vso.packaging",
    NOW - timedelta(days=10), NOW + timedelta(days=20), "https://v", "contoso-npm-feed",
)  # fmt: skip


def test_each_blocked_record_says_why() -> None:
    """Whatever blocks it; one that is tried again is not blocked."""
    blocked = replace(RECORD, blocked=True, last_failure=Failure("forbidden", "its scope is denied", "Replace it."))
    failed = replace(RECORD, name="other", last_failure=Failure("vault_failed", "the vault failed"))
    assert list(render_record_notes([blocked, failed, RECORD])) == [
        "npm-feed: its scope is denied",
        "    fix: Replace it.",
    ]


def make_next(action: NextAction, hours: int = 0) -> PatStatus:
    """A row whose next action comes after so many hours; its other times would say something else."""
    at = None if action is NextAction.NONE else NOW + timedelta(hours=hours)
    return replace(OK, next_action=action, next_at=at, revoke_after=NOW + timedelta(hours=9))


@pytest.mark.parametrize("action", NextAction)
def test_status_row_has_words_for_every_next_action(action: NextAction) -> None:
    [cells] = list_status_rows([make_next(action)], NOW)
    assert (cells[-1] == "-") == (action is NextAction.NONE)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (OK, "rotate in 10 days"),
        (replace(OK, state=PatState.DUE, rotate_after=NOW, next_at=NOW), "rotate at the next run"),
        (make_next(NextAction.RETIRE, hours=24), "revoke old in 24 h"),
        (replace(make_next(NextAction.RETIRE, hours=24), revoke_after=None), "end overlap in 24 h"),
        (make_next(NextAction.RETIRE), "revoke old at the next run"),
        (replace(make_next(NextAction.NONE), state=PatState.PAUSED), "-"),
        (replace(make_next(NextAction.NONE), state=PatState.UNTRACKED, rotate_after=None), "-"),
        (replace(make_next(NextAction.RETRY, hours=5), state=PatState.BLOCKED), "try again in 5 h"),
        (make_next(NextAction.RETRY), "try again at the next run"),
        (make_next(NextAction.SETTLE, hours=1), "waits until 10:00Z: a lost request may still take effect"),
        (make_next(NextAction.SETTLE), "look again at the next run"),
        (make_next(NextAction.CONFIRM_REVOCATION), "confirm revocation at the next run"),
        (make_next(NextAction.REPLACE_BY_HAND, hours=24), "replace by hand in 24 h"),
        (make_next(NextAction.REPLACE_BY_HAND), "replace by hand"),
        (make_next(NextAction.SIGN_IN), "sign in"),
    ],
)
def test_status_row_says_what_comes_next_when_in_state(row: PatStatus, expected: str) -> None:
    [cells] = list_status_rows([row], NOW)
    assert cells == ("npm-feed", "contoso", row.state.value, "2026-12-21 (20d)", expected)


def test_status_row_shows_no_expiry_of_a_pat_that_is_not_created_yet() -> None:
    row = replace(OK, state=PatState.DUE, authorization_id="", rotate_after=NOW, next_at=NOW)
    [cells] = list_status_rows([row], NOW)
    assert cells[-2:] == ("not created yet", "create at the next run")


def test_status_row_says_that_the_limit_postpones_what_expires_last() -> None:
    due = [
        replace(OK, name=name, state=PatState.DUE, next_action=NextAction.ROTATE, next_at=NOW, expires_at=NOW + left)
        for name, left in (("last", timedelta(days=3)), ("first", timedelta(days=1)), ("second", timedelta(days=2)))
    ]
    later = replace(OK, name="later", next_action=NextAction.ROTATE, next_at=NOW + timedelta(days=1))
    postponed = find_postponed([*due, later], 1, 2, NOW)
    assert [row[-1] for row in list_status_rows([*due, later], NOW, postponed)] == [
        "postponed: limit of 2 an hour",
        "rotate at the next run",
        "postponed: limit of 2 an hour",
        "rotate in 24 h",
    ]


def test_status_notes_name_who_must_do_what_when_something_failed() -> None:
    failed = replace(OK, last_error=Failure("denied", "the vault refused", "Grant set on the vault."))
    assert list(render_status_notes([OK, failed])) == [
        "npm-feed: the vault refused",
        "    fix: Grant set on the vault.",
    ]


def test_notes_say_once_what_is_the_same_for_many() -> None:
    """One cause is one line, in `status` and in `inventory list`, and no list of thousands."""
    names, denied = [f"team{number:02}" for number in range(30)], Failure("forbidden", "its scope is denied", "Do it.")
    said = [
        "team00, team01, team02, team03, team04, team05, team06, team07, team08, team09 and 20 more, each: "
        "its scope is denied",
        "    fix: Do it.",
    ]
    other = Failure("forbidden", "its scope is denied", "Do that.")
    rows = [replace(OK, name=name, state=PatState.BLOCKED, last_error=denied) for name in names]
    assert list(render_status_notes([*rows, replace(OK, last_error=other)])) == [
        *said, "npm-feed: its scope is denied", "    fix: Do that."
    ]  # fmt: skip
    records = [replace(RECORD, name=name, blocked=True, last_failure=denied) for name in names]
    assert list(render_record_notes(records)) == said
    by_hand = [replace(OK, name=name, next_action=NextAction.REPLACE_BY_HAND, by_hand=True) for name in names]
    assert len(list(render_status_notes(by_hand))) == 2


def test_list_of_records_ends_with_how_many_there_are() -> None:
    assert render_record_summary([RECORD, replace(RECORD, blocked=True), RECORD]) == "3 PATs: 2 active, 1 blocked"


def test_status_notes_say_how_a_person_replaces_what_runs_leave_to_one() -> None:
    left = replace(OK, state=PatState.DUE, by_hand=True, next_action=NextAction.REPLACE_BY_HAND)
    said, fix = render_status_notes([left])
    assert said == "npm-feed: its rule says `action: alert`: a person replaces it"
    assert fix == "    fix: Run `rotator rotate npm-feed`, which writes a new PAT to its secret."
    bare = replace(left, name="bare", vault="")
    *_, said, fix = render_status_notes([left, bare, replace(bare, name="bear")])
    assert said == "bare, bear, each: its rule says `action: alert`: a person replaces it"
    assert fix.startswith("    fix: It has no vault, so rotator cannot do it for you: make a new PAT in Azure DevOps, ")
    assert fix.endswith("`rotator inventory forget NAME`, and adopt the new one.")


def test_status_summary_counts_states_when_they_differ() -> None:
    assert render_status_summary((OK, replace(OK, state=PatState.DUE), OK)) == "3 PATs: 2 ok, 1 due"
    assert render_status_summary((OK,)) == "1 PAT: 1 ok"
    due = replace(OK, state=PatState.DUE, by_hand=True, next_action=NextAction.REPLACE_BY_HAND)
    assert render_status_summary((OK, due)) == "2 PATs: 1 ok, 1 due (to replace by hand); 1 waits for a person"


def test_end_of_overlap_is_said_by_weekday_when_near() -> None:
    assert say_until(NOW + timedelta(days=1), NOW) == "Wed 09:00Z (in 24 h)"
    assert say_until(NOW + timedelta(days=1), NOW + timedelta(seconds=20)) == "Wed 09:00Z (in 24 h)"
    assert say_until(NOW + timedelta(seconds=5), NOW) == "Tue 09:00Z (in 5 s)"
    assert say_until(NOW + timedelta(days=9), NOW) == "2026-12-10 09:00Z (in 9 days)"


def test_expiry_is_a_day_and_one_unit_when_past_or_to_come() -> None:
    assert say_expiry(NOW + timedelta(days=5, hours=3), NOW) == "2026-12-06 (5d)"
    assert say_expiry(NOW - timedelta(hours=3), NOW) == "2026-12-01 (3h ago)"


def _make_listed(name: str, scope: str, left: int, targets: tuple[str, ...] | None = ("org",)) -> Pat:
    return Pat(f"id-{name}", name, scope, targets, NOW - timedelta(days=9), NOW + timedelta(days=left))


def _make_entry(kind: ScanKind, pat: Pat, name: str | None = None) -> ScanEntry:
    return ScanEntry(kind, "build-bot", "contoso", name, pat.authorization_id, pat)


def test_scan_summary_counts_what_needs_attention_when_there_is_some() -> None:
    entries = (
        _make_entry(ScanKind.UNTRACKED, _make_listed("admin", "app_token", 20)),
        _make_entry(ScanKind.UNTRACKED, _make_listed("all", "vso.code", 3, None)),
        _make_entry(ScanKind.MANAGED, _make_listed("npm", "vso.packaging", 30), "npm"),
        ScanEntry(ScanKind.MISSING, "build-bot", "contoso", "npm-feed", "id-1", None, RECORD),
    )
    lines = list(render_scan_summary(ScanReport(entries, ()), NOW))
    assert (
        lines[0]
        == "3 PATs: 1 with full access, 1 for all organizations (stopped working 2026-12-01), 1 expires within 7 days"
    )
    assert lines[1] == "Against the inventory: 1 managed, 2 untracked, 1 missing."
    assert "`rotator inventory adopt --all`" in lines[2]


def test_scan_rows_mark_in_words_when_a_pat_is_special() -> None:
    entries = (
        _make_entry(ScanKind.UNTRACKED, _make_listed("all", "app_token", 3, None)),
        _make_entry(ScanKind.DRIFTED, _make_listed("npm", "vso.packaging", 30), "npm-feed"),
        ScanEntry(ScanKind.MISSING, "build-bot", "contoso", "npm-feed", "id-1", None, RECORD),
    )
    states = [row[-1] for row in list_scan_rows(ScanReport(entries, ()), NOW)]
    assert states == [
        "untracked, all organizations, stopped working 2026-12-01, full access",
        "drifted as npm-feed",
        "missing as npm-feed",
    ]


def test_scan_says_the_id_of_what_looks_the_same_otherwise() -> None:
    """The id is what `inventory adopt` then wants."""
    same = [_make_entry(ScanKind.UNTRACKED, _make_listed("a", "vso.code", 30)) for _ in range(2)]
    first, second = (replace(entry, authorization_id=f"id-{number}") for number, entry in enumerate(same))
    other = _make_entry(ScanKind.UNTRACKED, _make_listed("a", "vso.build", 30))
    columns, rows = make_scan_table(ScanReport((first, second, other), ()), NOW)
    assert columns[-1].title == "authorization id"
    assert [row[-2:] for row in rows] == [("untracked", "id id-0"), ("untracked", "id id-1"), ("untracked", "")]
    columns, rows = make_scan_table(ScanReport((first, other), ()), NOW)
    assert (len(columns), {len(row) for row in rows}) == (5, {5})


def test_scan_shows_days_left_scopes_and_ids_whole_in_80_columns_when_pats_look_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    twin = _make_entry(ScanKind.UNTRACKED, _make_listed("release-notes-test", "vso.build_execute", 30))
    ids = ("c79011e5-700f-4f80-ad17-f98f6ad23f01", "c79011e5-700f-4f80-ad17-f98f6ad23f02")
    entries = [replace(twin, authorization_id=found) for found in ids]
    others = [_make_entry(ScanKind.MANAGED, _make_listed(f"pat-{n}", "vso.packaging", 9), "x") for n in range(9)]
    print_table(CliContext(), *make_scan_table(ScanReport((*entries, *others), ()), NOW))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for found in ids:
        assert f"vso.build_execute  2026-12-31 (30d)  untracked\n    id {found}\n" in shown


def test_scan_says_whose_each_pat_is_where_several_accounts_have_some() -> None:
    one = _make_entry(ScanKind.UNTRACKED, _make_listed("a", "vso.code", 30))
    two = replace(_make_entry(ScanKind.UNTRACKED, _make_listed("b", "vso.code", 30)), account="release-bot")
    columns, rows = make_scan_table(ScanReport((one, two), ()), NOW)
    assert [column.title for column in columns[:3]] == ["display name", "account", "organization"]
    assert [row[:3] for row in rows] == [("a", "build-bot", "contoso"), ("b", "release-bot", "contoso")]
    assert "account" not in [column.title for column in make_scan_table(ScanReport((one,), ()), NOW)[0]]


def test_record_is_told_on_plain_lines_when_its_display_name_is_odd() -> None:
    lines = list(render_record(RecordView(RECORD, (), ()), NOW))
    assert all(line.isprintable() for line in lines)
    assert r"display name:     npm \x1b[2J feed" in lines
    [row] = list_record_rows([RECORD], NOW)
    assert row == ("npm-feed", "contoso", r"npm \x1b[2J feed", "contoso-npm-feed", "2026-12-21 (20d)", "active")


OLD = make_rotation(name=RECORD.name, created_at=NOW)


@pytest.mark.parametrize(
    ("rotation", "said"),
    [
        (OLD, "not finished; last step 2026-12-01 09:00Z"),
        (
            replace(OLD, state=RotationState.OVERLAPPING, overlap_until=NOW + timedelta(hours=1)),
            "the old PAT stays valid until 2026-12-01 10:00Z",
        ),
        (
            replace(OLD, state=RotationState.OVERLAPPING, overlap_until=NOW),
            "the overlap ended 2026-12-01 09:00Z; the old PAT is not revoked yet",
        ),
        (
            replace(OLD, state=RotationState.OVERLAPPING, awaited_hooks=("restart",)),
            "the old PAT stays valid until a hook succeeds (restart)",
        ),
        (replace(OLD, state=RotationState.COMPLETED), "replaced; the old PAT was revoked 2026-12-01 09:00Z"),
        (
            replace(OLD, state=RotationState.COMPLETED, keeps_predecessor=True),
            "replaced 2026-12-01 09:00Z; the old PAT was kept",
        ),
        (replace(OLD, state=RotationState.COMPLETED, predecessor_id=""), "the first PAT, stored 2026-12-01 09:00Z"),
        (
            replace(OLD, state=RotationState.COMPLETED, kind=RotationKind.REVOCATION),
            "a PAT that was left behind was revoked 2026-12-01 09:00Z",
        ),
        (
            replace(OLD, state=RotationState.ABANDONED, failure=Failure("x", "the vault refused", "Look.")),
            "the vault refused",
        ),
        (replace(OLD, state=RotationState.ABANDONED), "ended 2026-12-01 09:00Z"),
    ],
)
def test_record_says_how_each_rotation_ended_and_why(rotation: Rotation, said: str) -> None:
    lines = list(render_record(RecordView(RECORD, (rotation,), ()), NOW))
    place = next(number for number, line in enumerate(lines) if line.startswith("rotation "))
    assert lines[place + 1 :] == [f"    {said}"]


def test_record_ends_with_its_newest_events_or_why_they_cannot_be_read() -> None:
    entry = AuditEntry("pat_minted", RECORD.name, Outcome.SUCCEEDED, "me", "run", {"authorization_id": "id-2"})
    lines = list(render_record(RecordView(RECORD, (), (), (make_event(entry, previous=None, occurred_at=NOW),)), NOW))
    assert lines[-1] == "2026-12-01 09:00Z  pat_minted  PAT id-2"
    unread = AuditChainError("event 1 was altered", sequence=1, expected="a", found="b")
    lines = list(render_record(RecordView(RECORD, (), (), (), unread), NOW))
    assert lines[-1] == "Its events cannot be read: event 1 was altered. See `rotator audit verify`."


LISTED = (
    Listing("build-bot", "contoso", Identity("user-1", "Build Bot"), ()),
    Pat("id-1", "npm", "vso.packaging", ("org-1",), RECORD.valid_from, RECORD.valid_to),
)


def test_adoption_of_very_many_says_once_what_they_have_in_common() -> None:
    """What differs in more than name and expiry, and what is few, is shown as always."""
    rule = Rule("ci", Match(), RuleAction.ALERT, Threshold(share=0.3), None, DAY, "https://v", "{name}")
    names = [f"team{number:02}" for number in range(25)]
    records = [replace(RECORD, name=name, display_name=name, secret_name=f"contoso-{name}") for name in names]
    blocked = replace(RECORD, blocked=True, last_failure=Failure("forbidden", "its scope is denied", "Do it."))
    proposals = [Proposal(record, rule, LISTED) for record in (*records, blocked)]
    plan = AdoptionPlan(tuple(proposals), ())
    shown = list(render_adoption(plan, NOW))
    assert shown[:3] == [
        "build-bot/contoso, rule ci (a person replaces these, so no run writes their secrets), secrets in https://v",
        "+ 25 PATs: team00, team01, team02, team03, team04, team05, team06, team07, team08, team09 and 15 more",
        "    each has a secret of its own, like contoso-team00",
    ]
    assert shown[3].startswith("+ npm-feed ")
    assert shown[4:] == ["    blocked: its scope is denied", "    fix: Do it."]
    assert sum(line.startswith("+ ") for line in render_adoption(plan, NOW, everything=True)) == 26


def test_adoption_of_very_many_that_are_managed_already_says_so_once() -> None:
    """As when the same file is used again; one whose secret holds something else, or is confirmed, is shown alone."""
    sight, odd = Sight(Holding.OURS), Sight(Holding.SOMETHING_ELSE)
    managed = [Managed(replace(RECORD, name=f"team{number:02}"), sight) for number in range(25)]
    plan = AdoptionPlan((), (), managed=(*managed, Managed(replace(RECORD, name="confirmed"), odd, "v1")))
    said = list(render_adoption(plan, NOW))
    assert said[:3] == [
        "= 25 PATs are managed already: team00, team01, team02, team03, team04, team05, team06, team07, team08, "
        "team09 and 15 more",
        "    it holds what rotator wrote",
        "= confirmed  is managed already",
    ]
    assert said[-1] == "    the next rotation may overwrite version v1"
    assert sum(line.startswith("= ") for line in render_adoption(plan, NOW, everything=True)) == 26


def test_plan_says_what_did_not_work_last_and_status_promises_reasons_only_where_they_are() -> None:
    down = [
        Condition(ConditionKind.ORGANIZATION_DOWN, "build-bot/contoso", NOW - DAY, code="access_denied"),
        Condition(ConditionKind.VAULT_DOWN, "https://v", NOW - DAY, code="vault_failed"),
        Condition(ConditionKind.ROTATION_FAILING, "npm-feed", NOW - DAY),
    ]
    said = list(render_down(down, NOW))
    assert [line.split(" at ")[0] for line in said if not line.startswith("    ")] == [
        "build-bot/contoso could not be checked",
        "The vault https://v did not work",
    ]
    assert not any("say why, below" in line for line in said)
    waits = replace(OK, last_error=Failure("vault_failed", "the vault failed"))
    head = render_status_head(RunTimes(None, None), down, NOW, rows=[waits])
    assert any(line.endswith("The PATs that wait for it say why, below.") for line in head)


def test_adoption_shows_name_vault_and_secret_when_nothing_is_written_yet() -> None:
    rule = Rule("ci", Match(), RuleAction.ROTATE, Threshold(share=0.33), None, timedelta(days=1), "https://v", "{name}")
    blocked = replace(RECORD, blocked=True, last_failure=Failure("x", "it is valid for all organizations", "Split it."))
    plan = AdoptionPlan((Proposal(blocked, rule, LISTED),), (Refusal(RefusalKind.UNKNOWN, "ghost"),))
    assert list(render_adoption(plan, NOW, everything=True)) == [
        r'+ npm-feed  "npm \x1b[2J feed"  build-bot/contoso  (rule ci)',
        "    id id-1, expires 2026-12-21 09:00Z (in 20 days)",
        "    secret contoso-npm-feed in https://v",
        "    blocked: it is valid for all organizations",
        "    fix: Split it.",
    ]
    assert list(render_adoption(plan, NOW)) == [
        "build-bot/contoso, rule ci, secrets in https://v",
        r'+ npm-feed  "npm \x1b[2J feed"  expires 2026-12-21 (20d)  secret contoso-npm-feed',
        "    blocked: it is valid for all organizations",
        "    fix: Split it.",
    ]
    why, fix = (
        "no untracked active PAT has this authorization id or display name",
        "fix: `rotator scan -o wide` lists the PATs with their ids.",
    )
    assert list(render_refusals(plan, Asked(lines={"ghost": 3}))) == [f"x line 3: ghost: {why}", f"    {fix}"]
    assert list(render_refusals(plan, is_named=True)) == [f"error: ghost: {why} [unknown]", fix]


def test_adoption_says_what_is_usual_once_and_names_the_place_of_each() -> None:
    """Where the secrets do not exist yet, nothing is said of each; what one holds is said of that one."""
    rule = Rule("ci", Match(), RuleAction.ROTATE, Threshold(share=0.33), None, DAY, "https://v", "{name}")
    other = replace(rule, name="another")
    sights = [Sight(Holding.ABSENT), Sight(Holding.OURS), Sight(Holding.ABSENT)]
    records = [replace(RECORD, name=name, display_name=name, secret_name=name) for name in ("a", "b", "c")]
    rules = (rule, other, rule)
    proposals = [
        Proposal(record, which, LISTED, sight=sight)
        for record, which, sight in zip(records, rules, sights, strict=True)
    ]
    assert list(render_adoption(AdoptionPlan(tuple(proposals), ()), NOW)) == [
        "build-bot/contoso, rule another, secrets in https://v",
        "+ b  expires 2026-12-21 (20d)  secret b",
        "    it holds what rotator wrote",
        "build-bot/contoso, rule ci, secrets in https://v",
        "+ a  expires 2026-12-21 (20d)  secret a",
        "+ c  expires 2026-12-21 (20d)  secret c",
        "2 secrets do not exist yet; the first rotation of a PAT makes its secret. With `-v`, more is shown of each "
        "PAT.",
    ]


@pytest.mark.parametrize(
    ("left", "short", "words"),
    [
        (timedelta(days=2, hours=23, minutes=59), "3d", "in 3 days"),
        (timedelta(hours=47, minutes=40), "2d", "in 2 days"),
        (timedelta(hours=47), "47h", "in 47 h"),
        (timedelta(minutes=5, seconds=40), "6m", "in 6 min"),
        (timedelta(seconds=9), "9s", "in 9 s"),
        (timedelta(days=-2, hours=-13), "3d ago", "3 days ago"),
    ],
)
def test_every_command_says_the_same_time_left_of_one_pat(left: timedelta, short: str, words: str) -> None:
    rule = Rule("ci", Match(), RuleAction.ROTATE, Threshold(share=0.33), None, DAY, "https://v", "{name}")
    ends = NOW + left
    record, seen = replace(RECORD, valid_to=ends), replace(LISTED[1], valid_to=ends)
    entry = ScanEntry(ScanKind.UNTRACKED, "build-bot", "contoso", None, seen.authorization_id, seen)
    adoption = AdoptionPlan((Proposal(record, rule, LISTED),), ())
    plan = plan_one(record, None, Policy((rule,), Guardrails(), "0" * 64), None, NOW)
    column = f"{ends:%Y-%m-%d} ({short})"
    assert next(list_status_rows([replace(OK, expires_at=ends)], NOW))[3] == column
    assert next(list_scan_rows(ScanReport((entry,), ()), NOW))[3] == column
    assert next(list_record_rows([record], NOW))[4] == column
    assert (f"  expired {short} -> " if left < timedelta(0) else f"  {short} left -> ") in render_action(plan, NOW)
    shown = f"{say_moment(ends)} ({words})"
    assert f"expires:          {shown}" in list(render_record(RecordView(record, (), ()), NOW))
    assert f"    id id-1, expires {shown}" in list(render_adoption(adoption, NOW, everything=True))
    assert f"  expires {column}  " in list(render_adoption(adoption, NOW))[1]


def test_next_is_by_hand_when_the_policy_only_wants_a_person_told() -> None:
    row = replace(OK, state=PatState.DUE, by_hand=True, next_action=NextAction.REPLACE_BY_HAND, next_at=NOW)
    assert next(list_status_rows([row], NOW))[-1] == "replace by hand"


@pytest.mark.parametrize("width", [48, 60, 80])
def test_tables_cut_nothing_that_identifies_when_the_terminal_is_narrow(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    long = "nightly-everywhere-of-team-01"
    rows = [replace(OK, state=PatState.OVERLAPPING, next_action=NextAction.CONFIRM_REVOCATION)]
    rows += [replace(OK, name=long, organization="contoso-research")]
    records = [RECORD, replace(RECORD, name=long, organization="contoso-research", secret_name=f"contoso-{long}")]
    for columns, cells in (
        (status.COLUMNS, list(list_status_rows(rows, NOW))),
        (inventory.COLUMNS, list(list_record_rows(records, NOW))),
    ):
        print_table(CliContext(), columns, cells)
        printed = capsys.readouterr().out
        whole = "".join(printed.split())
        assert "…" not in printed
        assert [text for row in cells for text in row[1:] if "".join(text.split()) not in whole] == []
        assert width < 60 or long in printed


def test_organization_works_only_if_its_account_is_signed_in() -> None:
    memory = OrganizationMemory("build-bot", "contoso", NOW - timedelta(seconds=78))
    assert [cell[0] for cell in make_organization_row(memory, NOW)[2:3]] == ["yes"]
    assert [cell[0] for cell in make_organization_row(memory, NOW, is_usable=False)[2:3]] == ["no"]
