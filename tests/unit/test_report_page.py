"""The reviewer's page: what it is of a large installation, of an empty one, and of odd text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.documents.document import write_moment
from rotator.documents.review import ReviewDocument, make_review_document
from rotator.domain.audit_event import AuditEntry, AuditEvent, Detail, Outcome
from rotator.domain.next_step import NextAction
from rotator.domain.period import Period, make_default_period
from rotator.domain.policy import Guardrails, Policy
from rotator.engine.log_checking import LogSummary
from rotator.engine.review.collecting import Collector
from rotator.engine.review.dating import Placed
from rotator.engine.review.facts import LogState, PatTrail, PolicyState, Review, Standing
from rotator.engine.review.judging import AgeVerdict, TimeLeft, count_time_left, judge_age
from rotator.engine.status import PatState, PatStatus
from rotator.report.breaches import count_breaches, list_breaches
from rotator.report.cells import soften
from rotator.report.controls import CONTROLS
from rotator.report.page import QUESTIONS, render_page
from rotator.report.summary import say_nothing, summarize
from rotator.report.tables import TIME_LEFT, VERDICTS, make_tables
from tests.support.html_page import read_page, read_table
from tests.support.records import make_managed_pat
from tests.support.source_tree import ROOT

NOW = datetime(2026, 12, 3, 9, tzinfo=UTC)
DAY = timedelta(days=1)


def make_status(name: str = "npm-feed", *, age: timedelta = 5 * DAY, left: timedelta = 25 * DAY) -> PatStatus:
    """Make a PAT that is due at two thirds of its life."""
    return PatStatus(
        name=name,
        account="build-bot",
        organization="contoso",
        authorization_id="0fc61d8b-76d8-4a4e-b961-b235b54cc0ae",
        display_name=f"The feed of {name}",
        scopes=("vso.code", "vso.packaging"),
        state=PatState.OK,
        valid_from=NOW - age,
        expires_at=NOW + left,
        rotate_after=NOW - age + (age + left) * 2 / 3,
        by_hand=False,
        revoke_after=None,
        next_at=None,
        next_action=NextAction.ROTATE,
        vault="https://contoso-kv.vault.azure.net",
        secret_name=f"contoso-{name}",
        last_error=None,
    )


def make_document(
    events: Iterable[AuditEvent] = (),
    rows: Iterable[PatStatus] = (),
    period: Period | None = None,
    misdated: Mapping[int, Placed] | None = None,
) -> ReviewDocument:
    """Make the document of a review of these events and PATs; `misdated` as for a collector."""
    chosen = period or make_default_period(NOW)
    collector = Collector(chosen, NOW, misdated)
    for event in events:
        collector.take(event)
    found = collector.finish()
    log = LogState(
        newest=found.total,
        fault=None,
        summary=LogSummary(found.total, "", 0, 0),
        checkpoints=0,
        size=0,
        signed=0,
        sealed_at=None,
        installation=None,
        public_keys=(),
        key_problem=None,
        accepted=0,
        sight=None,
    )
    pats = (
        Standing(row, make_managed_pat(row.name), "build-bot@contoso.com", found.trails.get(row.name, PatTrail()), "ci")
        for row in rows
    )
    review = Review(
        chosen, NOW, log, found, tuple(pats), (), Policy((), Guardrails(), "0" * 64), PolicyState.LOGGED, (), (), ()
    )
    return make_review_document(review, "page.html")


_ROTATION = (
    *("rotation_planned", "mint_started", "pat_minted", "pat_verified", "store_started", "secret_stored"),
    *("overlap_started", "revocation_requested", "pat_revoked", "rotation_completed"),
)


def _make_events(names: list[str], count: int) -> Iterable[AuditEvent]:
    for number in range(1, count + 1):
        turn, step = divmod(number - 1, len(_ROTATION))
        name, event = names[turn % len(names)], "pat_adopted" if number <= len(names) else _ROTATION[step]
        details = {
            "authorization_id": str(turn),
            "why": "rotated",
            "reason": "a reason that a person gave, in a sentence",
        }
        moment = NOW - 80 * DAY + number * timedelta(seconds=60)
        yield AuditEvent(
            number, moment, AuditEntry(event, name, Outcome.SUCCEEDED, "me@host", f"run-{turn}", details), "", ""
        )


def test_page_of_a_large_installation_stays_below_two_megabytes() -> None:
    """1,000 PATs and 100,000 events, each list as long as it gets."""
    names = [f"team-{number:04d}-build-and-release-feed" for number in range(1000)]
    document = make_document(_make_events(names, 100_000), map(make_status, names))
    page = render_page(document)
    tables = make_tables(document)
    assert len(page.encode()) < 2_000_000
    assert (len(tables["pats"].rows), len(tables["revocations"].rows)) == (1000, 1000)
    assert (len(tables["changes"].rows), tables["changes"].left_out) == (500, 500)
    assert "500 older ones are not shown here" in page


def test_page_of_nothing_says_so_in_every_section() -> None:
    page = read_page(render_page(make_document()))
    assert "The audit log has no event of this period." in page.find_id("first-list").text()
    assert "The log names no policy from before the period." in page.text()
    shown = {table.attributes["id"] for table in page.find_all("table")}
    assert shown == {"time-left", "timeline", "attackers", "controls"}
    for said in ("Managed PATs and their owners: there are none.", "What failed, and for how long: nothing did"):
        assert said in page.text()


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "\"'><img src=x onerror=1>", "{{ 7 * 7 }}{% raw %}", "&lt;b&gt;"]
)
def test_text_from_outside_stays_text(text: str) -> None:
    entry = AuditEntry("pat_paused", text, Outcome.SUCCEEDED, text, "run", {"reason": text, "code": text})
    page = render_page(make_document([AuditEvent(1, NOW, entry, "", "")], [make_status(text)]))
    read = read_page(page)
    assert [row[0] for row in read_table(read, "pats")] == [text]
    assert read_table(read, "changes")[0][3:] == (text, text, f"code: {text}", text)
    assert not read.find_all("script")
    assert not read.find_all("img")


@pytest.mark.parametrize(
    ("age", "left", "verdict", "bar"),
    [
        (5, 25, AgeVerdict.WITHIN, TimeLeft.MONTH),
        (20, 10, AgeVerdict.DUE, TimeLeft.MONTH),
        (30, 0, AgeVerdict.EXPIRED, TimeLeft.EXPIRED),
        (0, 90, AgeVerdict.WITHIN, TimeLeft.LONGER),
        (0, 89.9, AgeVerdict.WITHIN, TimeLeft.QUARTER),
        (29.5, 0.5, AgeVerdict.DUE, TimeLeft.DAY),
        (29, 1, AgeVerdict.DUE, TimeLeft.WEEK),
    ],
)
def test_age_and_time_left_are_judged(age: float, left: float, verdict: AgeVerdict, bar: TimeLeft) -> None:
    row = make_status(age=age * DAY, left=left * DAY)
    assert judge_age(row, NOW) is verdict
    assert {name for name, count in count_time_left([row], NOW).items() if count} == {bar}


def test_pat_that_is_blocked_has_a_rule_and_no_age_that_is_right() -> None:
    row = replace(make_status(age=20 * DAY, left=3 * DAY), rotate_after=None)
    assert judge_age(row, NOW) is AgeVerdict.NO_RULE
    blocked = replace(row, state=PatState.BLOCKED)
    assert judge_age(blocked, NOW) is AgeVerdict.BLOCKED
    [shown] = read_table(read_page(render_page(make_document([], [blocked]))), "ages")
    assert (shown[2], shown[6], shown[8]) == ("3 days", "none", "blocked: it cannot be rotated")


def test_pat_that_waits_for_a_sign_in_says_whose() -> None:
    """It is blocked by nothing else, and within the policy."""
    row = replace(make_status(age=5 * DAY, left=25 * DAY), state=PatState.BLOCKED)
    waits = replace(row, next_action=NextAction.SIGN_IN)
    page = read_page(render_page(make_document([], [row, waits])))
    assert [shown[5] for shown in read_table(page, "pats")] == ["blocked", f"blocked: {row.account} must sign in"]


def test_ages_are_rounded_as_status_rounds_them() -> None:
    """22 days and 18 hours are 23 days wherever rotator says so."""
    row = make_status(age=22 * DAY + timedelta(hours=18), left=7 * DAY + timedelta(hours=6))
    [shown] = read_table(read_page(render_page(make_document([], [row]))), "ages")
    assert (shown[2], shown[5], shown[6]) == ("7 days", "23 days", "20d")


def test_command_is_told_by_what_it_did_and_not_by_the_policy_that_it_used_first() -> None:
    story = (("policy_changed", "policy", {"sha256": "0" * 64}), ("pat_adopted", "npm-feed", {"authorization_id": "x"}))
    events = [
        AuditEvent(number, NOW - DAY, AuditEntry(name, subject, Outcome.SUCCEEDED, "me@host", "run", said), "", "")
        for number, (name, subject, details) in enumerate(story, 1)
        for said in [{**details, "reason": "first day", "command": "rotator inventory adopt x"}]
    ]
    page = read_page(render_page(make_document(events)))
    [row] = read_table(page, "by-hand")
    assert (row[0], row[1], *row[4:6], row[8]) == ("1", "2", "pat adopted", "npm-feed", "rotator inventory adopt x")
    [change] = read_table(page, "changes")
    assert change[5] == "authorization id: x"


def test_words_cover_every_value() -> None:
    assert set(VERDICTS) == set(AgeVerdict)
    assert set(TIME_LEFT) == set(TimeLeft)
    assert {section for *_, sections in CONTROLS for section in sections} == set(range(1, len(QUESTIONS) + 1))


def test_questions_of_the_page_are_those_of_the_documentation() -> None:
    text = " ".join((ROOT / "docs" / "audit.md").read_text(encoding="utf-8").split())
    for number, question in enumerate(QUESTIONS, 1):
        assert f"{number}. {question.removesuffix('?')}" in text


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({}, "not recorded then"),
        ({"scope": "vso.packaging vso.code", "all_organizations": False}, "vso.code vso.packaging"),
        ({"scope": "vso.packaging vso.code", "organization": "contoso"}, "vso.code vso.packaging, contoso"),
        ({"scope": "app_token", "organization": "contoso"}, "full access, contoso: NOT what the inventory has"),
        (
            {"scope": "vso.code vso.packaging", "organization": "contoso", "all_organizations": True},
            "vso.code vso.packaging, all organizations: NOT what the inventory has",
        ),
    ],
)
def test_reach_is_what_the_event_says_or_said_to_be_unknown(details: dict[str, Detail], said: str) -> None:
    """An event of an earlier version names no scope; one that the inventory contradicts is told before anything."""
    entry = AuditEntry("pat_adopted", "npm-feed", Outcome.SUCCEEDED, "anna@host", "run", details)
    document = make_document([AuditEvent(1, NOW - DAY, entry, "", "")], [make_status()])
    page = read_page(render_page(document))
    [row] = read_table(page, "reach")
    assert row[5] == said
    [pat] = read_table(page, "pats")
    assert pat[8:] == ("anna@host", "https://contoso-kv.vault.azure.net/contoso-npm-feed")
    warned = "another reach than the newest event about it" in page.find_id("first-list").text()
    assert warned == said.endswith("has")


def test_nothing_found_is_said_of_what_was_compared_only() -> None:
    document = make_document()
    assert say_nothing(document) == "not known. That log was not compared for any part of the period."
    since, until = (moment.isoformat() for moment in (NOW - 3 * DAY, NOW - DAY))
    entry = AuditEntry(
        "service_log_compared", "bot/contoso", Outcome.SUCCEEDED, "me@host", "run", {"since": since, "until": until}
    )
    compared = make_document([AuditEvent(1, NOW - DAY, entry, "", "")])
    assert say_nothing(compared) == ("nothing was found in what was compared, 2d of the period for each organization.")
    assert (
        "somebody else did to the accounts' PATs: nothing was found in what" in read_page(render_page(compared)).text()
    )


def test_columns_of_a_table_have_different_names() -> None:
    """So that who hears a cell with the name of its column knows which it is."""
    for table in make_tables(make_document()).values():
        assert len(set(table.columns)) == len(table.columns), table.name


def test_sign_ins_without_rotator_are_said_to_be_elsewhere() -> None:
    said = read_page(render_page(make_document())).find_id("elsewhere").text()
    assert "Microsoft Entra's sign-in log has it" in said
    assert said.endswith("what Azure DevOps' own log shows: that log was never compared.")


def test_policy_in_force_is_answered_in_a_sentence_and_by_rows() -> None:
    events = [
        AuditEvent(
            number,
            NOW - days * DAY,
            AuditEntry(
                "policy_changed", "policy", Outcome.SUCCEEDED, "me@host", "run", {"sha256": text, "command": text}
            ),
            "",
            "",
        )
        for number, (days, text) in enumerate([(60, "a"), (20, "b"), (10, "b")], 1)
    ]
    page = read_page(render_page(make_document(events)))
    said = page.find_id("answer-4").text()
    assert said.startswith("2 policies were in force, one after the other, from 2026-10-04 09:00:00 (event 1) on. ")
    assert "The log names none before that in the period." in said
    assert [(row[0], row[1], row[3], row[7]) for row in read_table(page, "policies")] == [
        ("1", "1", "2026-11-13 09:00:00", "a"),
        ("2, 3", "2", "the end of the log", "b; b"),
    ]
    later = read_page(render_page(make_document(events, period=Period("later", NOW - 15 * DAY, NOW))))
    said = later.find_id("answer-4").text()
    assert said.startswith("A policy was in force all the time: that of the beginning.")


def test_change_of_policy_that_nobody_ordered_is_said_in_the_answer() -> None:
    """A first use by a person's command names that command; the first one of the period counts unless it is older."""

    def use(number: int, days: int, **details: Detail) -> AuditEvent:
        entry = AuditEntry("policy_changed", "policy", Outcome.SUCCEEDED, "me@host", "run", details)
        return AuditEvent(number, NOW - days * DAY, entry, "", "")

    events = [
        use(1, 60, sha256="a"),
        use(2, 50, sha256="b"),
        use(3, 40, sha256="b", command="rotator plan"),
        use(4, 30, sha256="a", command="rotator plan", reason="back"),
        use(5, 20, sha256="c"),
    ]
    whole, later = (
        page_answer(make_document(events, period=Period("some", NOW - days * DAY, NOW)), 4) for days in (90, 55)
    )
    silent = "Who wrote the file of {}, and why, is not in the log: a run that nobody ordered used it first."
    assert silent.format("policy 1 (event 1), policy 2 (event 2), policy 3 (event 5)") in whole
    assert silent.format("policy 2 (event 2), policy 3 (event 5)") in later
    assert "Who wrote" not in page_answer(make_document(events[3:4]), 4)


def test_what_nobody_looked_at_is_read_first() -> None:
    """One row for each: Azure DevOps' log by days, all users' PATs, the end of the log, and what lives too long."""
    since, until = (moment.isoformat() for moment in (NOW - 90 * DAY, NOW - 2 * DAY))
    compared = AuditEntry(
        "service_log_compared", "bot/contoso", Outcome.SUCCEEDED, "me@host", "run", {"since": since, "until": until}
    )
    document = make_document([AuditEvent(1, NOW - 2 * DAY, compared, "", "")])
    [log] = document["outside"]["logs"]
    document["outside"]["logs"].append(
        {**log, "organization": "fabrikam", "covered_seconds": 0, "uncovered_seconds": 90 * 86400}
    )
    document["log"] |= {"events": 9, "checkpoints": 2, "sealed": 4}
    document["unmanaged"] = [
        {
            "name": "marias laptop",
            "authorization_id": "1",
            "display_name": "marias laptop",
            "account": "bot",
            "organization": "contoso",
            "scopes": ["vso.code"],
            "valid_from": write_moment(NOW),
            "expires_at": write_moment(NOW),
            "too_long": too_long,
            "last_error": None,
        }
        for too_long in (True, False)
    ]
    said = [item.text() for item in read_page(render_page(document)).find_id("first-list").find_all("li")]
    assert (
        "No checkpoint covers the last 5 events of the log (5 to 9): no signature of the log says what they were."
        in said
    )
    assert any(
        "not compared with this one for 2 of 90 days of contoso; for 90 of 90 days of fabrikam." in row for row in said
    )
    assert any(row.startswith("Nobody looked at the PATs of all users of contoso, fabrikam: ") for row in said)
    lives = '1 PAT that nobody manages lives longer than the guardrails allow: "marias laptop" of bot.'
    assert any(row.startswith(lives) for row in said)
    document["outside"]["logs"] = [{**log, "uncovered_seconds": 3600}]
    document["log"] |= {"sealed": 9}
    document["unmanaged"] = []
    said = [item.text() for item in read_page(render_page(document)).find_id("first-list").find_all("li")]
    assert not [row for row in said if "No checkpoint" in row or "not compared" in row or "nobody manages" in row]


def test_ages_of_the_page_are_those_of_the_document() -> None:
    row = make_status(age=3 * DAY + timedelta(hours=18), left=6 * DAY + timedelta(hours=6))
    document = make_document([], [row])
    [shown], [pat] = read_table(read_page(render_page(document)), "ages"), document["pats"]
    assert (shown[5], shown[6]) == (f"{pat['age_days']} days", "6d 16h")
    assert (pat["age_days"], pat["age_limit_days"]) == (4, 7)


def test_command_names_its_outcome_and_when_the_old_pat_was_gone() -> None:
    story = (
        ("rotation_planned", "mine", {"rotation_id": "r1", "predecessor_id": "lost", "reason": "a laptop was lost"}),
        ("rotation_abandoned", "later", {"rotation_id": "r1"}),
        ("pat_revoked", "cron", {"rotation_id": "r2", "authorization_id": "lost", "why": "rotated"}),
    )
    events = [
        AuditEvent(number, NOW - DAY, AuditEntry(name, "npm-feed", Outcome.SUCCEEDED, "me@host", run, details), "", "")
        for number, (name, run, details) in enumerate(story, 1)
    ]
    gone, open_ = (read_page(render_page(make_document(events[:count]))) for count in (3, 1))
    assert read_table(gone, "by-hand")[0][9] == (
        "1 abandoned, not tried again; old PATs proven gone by this order: 0 of 1, and 1 by a later rotation, "
        "the last at 2026-12-02 09:00:00 (event 3)"
    )
    assert read_table(open_, "by-hand")[0][9] == "1 not ended; old PATs proven gone by this order: 0 of 1"
    assert (
        gone.find_id("fates")
        .text()
        .startswith("Rotations that began in the period: 1. Of these, 0 were completed, 1 abandoned before a new")
    )


def test_long_words_break_where_they_are_divided_and_hashes_every_sixteen_letters() -> None:
    assert soften("a" * 64) == "<wbr>".join(["a" * 16] * 4)
    assert soften("rotator@build-1 did connection_lost") == "rotator@<wbr>build-1 did connection_<wbr>lost"
    assert soften("<b>&amp;</b>") == "&lt;b&gt;&amp;amp;&lt;/b&gt;"
    assert soften("<script>alert(1)</script>") == "&lt;script&gt;alert(1)&lt;/<wbr>script&gt;"


def test_old_pat_beyond_its_overlap_is_an_exception_with_its_events() -> None:
    until = (NOW - 2 * DAY).isoformat()
    story: tuple[tuple[str, dict[str, Detail]], ...] = (
        ("rotation_planned", {"predecessor_id": "old"}),
        ("overlap_started", {"overlap_until": until}),
        ("pat_revoked", {"authorization_id": "old", "why": "rotated"}),
    )
    events = [
        AuditEvent(
            number,
            NOW - DAY,
            AuditEntry(name, "npm-feed", Outcome.SUCCEEDED, "me@host", "run", {**details, "rotation_id": "r"}),
            "",
            "",
        )
        for number, (name, details) in enumerate(story, 1)
    ]
    page = read_page(render_page(make_document(events)))
    what = "old PAT still there after its overlap"
    assert read_table(page, "breaches") == [
        (what, "npm-feed: old", "2026-12-01 09:00:00", "2026-12-02 09:00:00", "1d", "not known", "2, 3")
    ]
    assert "more than 15 minutes after their overlap: 1, for at most 1d (npm-feed, proven gone at" in (
        page.find_id("answer-5").text()
    )


def test_pat_of_an_exception_is_named_beside_its_id() -> None:
    details: dict[str, Detail] = {"name": "npm-feed", "requested_at": NOW.isoformat(), "requests": 2}
    entry = AuditEntry("revocation_unconfirmed", "0000-id", Outcome.UNKNOWN, "me@host", "run", details)
    page = read_page(render_page(make_document([AuditEvent(1, NOW - DAY, entry, "", "")])))
    [row] = read_table(page, "breaches")
    assert (row[0], row[1], row[6]) == ("revocation pending", "npm-feed: 0000-id", "1")
    [(kind, meaning)] = read_table(page, "terms")
    assert (kind, meaning[:35]) == ("revocation pending", "Azure DevOps was asked 15 minutes a")


def test_causes_of_the_page_are_explained_and_no_others() -> None:
    told = (("rotation_blocked", "uncovered"), ("vault_down", "vault_failed"), ("sign_in_refused", "sign_in_declined"))
    events = [
        AuditEvent(number, NOW - DAY, AuditEntry(name, "it", Outcome.FAILED, "me@host", "run", {"code": code}), "", "")
        for number, (name, code) in enumerate((*told, ("organization_down", "of_an_old_version")), 1)
    ]
    assert read_table(read_page(render_page(make_document(events))), "causes") == [
        ("of_an_old_version", "this version of rotator has no such cause; an earlier one had"),
        ("sign_in_declined", "The person declined the sign-in."),
        ("uncovered", "No rule of the policy says that the PAT is rotated."),
        ("vault_failed", "The vault failed with an error of its own."),
    ]


def test_breaches_are_one_list_by_their_beginning_with_a_sum() -> None:
    """What events tell of and what is so now, without an event; what is not listed counts in the sum."""
    events = [
        AuditEvent(
            number,
            NOW - 9 * DAY + timedelta(minutes=number),
            AuditEntry(name, "npm-feed", Outcome.FAILED, "me@host", "run", {"code": "denied"}),
            "",
            "",
        )
        for number, name in enumerate(["rotation_blocked", "failure_cleared"] * 300, 1)
    ]
    rows = [make_status("old", age=40 * DAY, left=-2 * DAY), make_status("late", age=25 * DAY, left=5 * DAY)]
    document = make_document(events, rows)
    table = make_tables(document)["breaches"]
    assert (len(table.rows), table.total, table.left_out) == (302, 302, 0)
    begun = [row[2] for row in table.rows]
    assert begun == sorted(begun)
    assert {row[:2] for row in table.rows if row[6].startswith("none")} == {
        ("expired", "old"),
        ("older than the policy allows", "late"),
    }
    counted, seconds = count_breaches(document)
    assert counted == 302
    assert seconds == sum(found.seconds or 0 for found in list_breaches(document))
    assert table.caption.startswith("What broke the policy: 302 in all, which lasted ")
    assert page_answer(document, 5).startswith("The policy was broken 302 times, which lasted ")
    assert " together, each counted by itself, with what lasts " in page_answer(document, 5)


def test_pat_that_was_too_old_when_it_was_adopted_breaks_the_policy_from_then_on() -> None:
    entry = AuditEntry("pat_adopted", "late", Outcome.SUCCEEDED, "me@host", "run", {})
    adopted = AuditEvent(1, NOW - timedelta(minutes=5), entry, "", "")
    document = make_document([adopted], [make_status("late", age=25 * DAY, left=5 * DAY)])
    [found] = list_breaches(document)
    assert (found.what, found.seconds, found.begun) == ("older than the policy allows", 300, "2026-12-03 08:55:00")


def test_what_began_after_the_period_breaks_nothing_in_it() -> None:
    old = Period("long ago", NOW - 400 * DAY, NOW - 300 * DAY)
    rows = [make_status("old", age=40 * DAY, left=-2 * DAY), make_status("late", age=25 * DAY, left=5 * DAY)]
    document = make_document(rows=rows, period=old)
    assert count_breaches(document) == (0, 0)
    assert page_answer(document, 5).startswith("The policy was broken 0 times")


def test_summary_of_a_period_that_was_never_compared_says_so_although_another_was() -> None:
    details = {"since": write_moment(NOW - 90 * DAY), "until": write_moment(NOW - 2 * DAY)}
    compared = AuditEntry("service_log_compared", "bot/contoso", Outcome.SUCCEEDED, "me@host", "run", details)
    events = [AuditEvent(1, NOW - 2 * DAY, compared, "", "")]
    assert "compared with it for every organization" in list(summarize(make_document(events)))[-1]
    before = make_document(events, period=Period("long ago", NOW - 400 * DAY, NOW - 300 * DAY))
    assert list(summarize(before))[-1] == "Nothing of the period was compared with Azure DevOps' own log."


def test_links_at_the_top_lead_to_each_section_and_rows_that_fold_name_their_columns() -> None:
    entry = AuditEntry("pat_paused", "npm-feed", Outcome.SUCCEEDED, "me@host", "run", {"reason": "moved"})
    page = read_page(render_page(make_document([AuditEvent(1, NOW - DAY, entry, "", "")])))
    [nav] = [nav for nav in page.find_all("nav") if nav.attributes["aria-label"] == "Sections"]
    links = [link.attributes["href"] for link in nav.find_all("a")]
    assert links[:10] == [f"#q{number}" for number in range(1, len(QUESTIONS) + 1)]
    assert {page.find_id(link.removeprefix("#")).name for link in links} == {"h2"}
    table = page.find_id("by-hand")
    columns = [cell.text() for cell in table.find_all("th")[:10]]
    assert [cell.attributes["data-column"] for cell in table.find_all("td")] == columns[1:]


def page_answer(document: ReviewDocument, number: int) -> str:
    """The answer to a question, as the page has it."""
    return read_page(render_page(document)).find_id(f"answer-{number}").text()


def test_answer_says_each_kind_of_exception_once_whatever_its_causes() -> None:
    story = [("a", "denied"), ("b", "store_disabled"), ("c", "denied")]
    events = [
        AuditEvent(
            number,
            NOW - DAY,
            AuditEntry("rotation_blocked", name, Outcome.FAILED, "me@host", "run", {"code": code}),
            "",
            "",
        )
        for number, (name, code) in enumerate(story, 1)
    ]
    page = read_page(render_page(make_document(events)))
    assert len(read_table(page, "exception-sums")) == 2
    assert "not as its policy wants it: rotation blocked (3)." in page.find_id("answer-5").text()


def test_checkpoint_that_came_late_is_said() -> None:
    document = make_document()
    assert "late-seal" not in render_page(document)
    document["log"]["late_seal"] = {"size": 30, "first": 12, "seconds": 3 * 86400}
    assert "The checkpoint of 30 events was made 3d after event 12, the first that no" in render_page(document)
