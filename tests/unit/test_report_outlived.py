"""Old PATs that were there too long after their overlap: the page says the same as SQL of the test's own."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterable
from datetime import timedelta

import pytest

from rotator.domain.audit_event import AuditEntry, AuditEvent, Detail, Outcome
from rotator.domain.period import Period
from rotator.domain.words import say_duration
from rotator.report.breaches import count_breaches
from rotator.report.page import render_page
from rotator.report.summary import summarize
from rotator.report.tables import make_tables
from tests.support.html_page import read_page, read_table
from tests.support.review_queries import QUERIES
from tests.unit.test_report_page import DAY, NOW, make_document, page_answer

MINUTE = timedelta(minutes=1)
PLACE: dict[str, Detail] = {"account": "bot", "organization": "contoso"}
ENDINGS = (
    *("on time", "requested late", "proven late", "never proven", "never requested", "gone and completed"),
    *("kept", "expired", "lost", "closed", "used again", "nothing to revoke", "released late", "asked before"),
)
"""How the time of an old PAT ends."""


class Log:
    """Events, each a minute after the one before it unless time passes."""

    def __init__(self, began: timedelta) -> None:
        self.events: list[AuditEvent] = []
        self.run = "run"
        self.now = NOW - began

    def add(self, name: str, subject: str = "npm-feed", /, **details: Detail) -> int:
        """Add an event, and return its number."""
        self.now += MINUTE
        number, entry = len(self.events) + 1, AuditEntry(name, subject, Outcome.SUCCEEDED, "me@host", self.run, details)
        self.events.append(AuditEvent(number, self.now, entry, "", ""))
        return number

    def rotate(self, number: int, ending: str, late: timedelta) -> None:
        """Add a rotation whose old PAT ends in that way, if late so late."""
        rotation, old = f"r{number}", f"old-{number}"
        ids: dict[str, Detail] = {**PLACE, "rotation_id": rotation}
        gone: dict[str, Detail] = {**PLACE, "authorization_id": old, "why": "rotated"}
        if ending == "asked before":
            self.add("revocation_requested", **gone)
        self.add("rotation_planned", **ids, predecessor_id=old, vault="https://v")
        until = self.now + 60 * MINUTE
        self.add("overlap_started", **ids, overlap_until=until.isoformat())
        if ending == "released late":
            until += late
            self.add("overlap_released", **ids, overlap_until=until.isoformat())
        self.now = until
        over = {"kept": "predecessor_kept", "expired": "predecessor_expired"}
        over |= {"lost": "clone_lost", "closed": "rotation_closed"}
        if ending in over or ending in ("never requested", "nothing to revoke"):
            self.now += late
            if ending in over:
                self.add(over[ending], **ids)
            if ending in ("kept", "expired", "nothing to revoke"):
                self.add("rotation_completed", **ids)
            return
        self.now += late if ending == "requested late" else timedelta(0)
        if ending == "gone and completed":
            self.now += late
            self.add("pat_revoked", **ids, authorization_id=old, why="rotated")
        else:
            self.add("revoke_started", **gone, rotation_id=rotation)
            if number % 3 or ending in ("on time", "never proven", "used again"):
                self.add("revocation_requested", **gone, rotation_id=rotation)
        self.add("rotation_completed", **ids)
        self.now += timedelta(0) if ending in ("on time", "requested late") else late
        if ending == "used again":
            self.add("revocation_dropped", **gone, by="npm-feed")
        elif ending not in ("gone and completed", "never proven"):
            self.add("pat_revoked", **gone)


def ask(events: Iterable[AuditEvent], name: str) -> list[tuple[str, ...]]:
    """The rows that a query finds in a database that has these events and nothing else."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE audit_event (sequence, occurred_at, event, subject, actor, run_id, details)")
    for table in ("managed_pat", "untracked_pat", "rotation", "pending_revocation"):
        database.execute(f"CREATE TABLE {table} (name, valid_to, valid_from, display_name, all_organizations)")
    rows = []
    for event in events:
        entry = event.entry
        named = (entry.event, entry.subject, entry.actor, entry.run_id)
        rows.append((event.sequence, event.occurred_at.isoformat(), *named, json.dumps(dict(entry.details))))
    database.executemany("INSERT INTO audit_event VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    database.executescript(QUERIES["views"])
    found = database.execute(QUERIES[name], {"now": NOW.isoformat()}).fetchall()
    database.close()
    return [tuple(str(value) for value in row) for row in found]


def test_old_pats_beyond_their_overlap_are_those_that_sql_finds() -> None:
    """A rotation is completed with its request: what is proven hours later was there until then."""
    chance = random.Random(20261128)
    log = Log(60 * DAY)
    for number in range(140):
        late = chance.choice([MINUTE, 12 * MINUTE, 17 * MINUTE, 300 * MINUTE])
        log.rotate(number, ENDINGS[number % len(ENDINGS)], late)
    page = read_page(render_page(make_document(log.events)))
    expected = [
        (*row, say_duration(timedelta(seconds=int(float(seconds))))) for _, *row, seconds in ask(log.events, "outlived")
    ]
    rows = read_table(page, "outlived")
    assert [row[1:9] for row in rows] == expected
    assert {ENDINGS[int(row[1].removeprefix("old-")) % len(ENDINGS)] for row in rows} == {
        *("requested late", "proven late", "never proven", "never requested", "gone and completed"),
        *("released late", "asked before"),
    }
    assert f"15 minutes after their overlap: {len(expected)}, for at most " in page.find_id("answer-5").text()
    breaches = [row[1] for row in read_table(page, "breaches") if row[0] == "old PAT still there after its overlap"]
    assert sorted(breaches) == sorted(f"npm-feed: {row[1]}" for row in rows)
    summary = page.find_id("summary-text").text()
    assert f"{len(rows)} of these are old PATs that were there more than 15 minutes after the overlap" in summary
    [(unanswered,)] = ask(log.events, "unanswered")
    assert f"without an answer that the request was accepted: {unanswered}." in page.find_id("answer-8").text()
    said = {row[4] if row[4].startswith("not") else row[4][19:] for row in rows}
    assert said == {"", ", no answer that it was accepted", "not in the log", "not yet"}


@pytest.mark.parametrize("lasts", [True, False])
def test_summary_and_section_5_count_the_same_and_say_until_when(lasts: bool) -> None:
    log = Log(30 * DAY)
    log.add("pat_left_behind", "old", name="npm-feed", kind="unproven_mint")
    log.now += DAY
    if not lasts:
        log.add("left_behind_resolved", "old")
    period = Period("one day", NOW - 31 * DAY, NOW - 29 * DAY)
    document = make_document(log.events, period=period)
    count, seconds = count_breaches(document)
    said = f"The policy was broken {count} time, which lasted {say_duration(timedelta(seconds=seconds))} together"
    if lasts:
        said += (
            ", with what lasts counted until this page was made, at 2026-12-03 09:00:00, after the end of the period"
        )
    assert page_answer(document, 5).startswith(f"{said}. ")
    assert f" {said} (section 5)." in " ".join(summarize(document))


def test_revocation_without_an_answer_was_requested_and_its_proof_counts_from_the_first_request() -> None:
    log = Log(9 * DAY)
    ids: dict[str, Detail] = {**PLACE, "rotation_id": "r"}
    gone: dict[str, Detail] = {**ids, "authorization_id": "old"}
    log.add("rotation_planned", **ids, predecessor_id="old", vault="https://v")
    log.add("overlap_started", **ids, overlap_until=(log.now + 60 * MINUTE).isoformat())
    log.now += 60 * MINUTE
    started = log.add("revoke_started", **gone, why="rotated")
    log.add("revocation_failed", **gone, code="connection_lost")
    log.now += 120 * MINUTE
    log.add("revoke_started", **gone, why="rotated")
    log.add("pat_revoked", **gone, why="rotated")
    document = make_document(log.events)
    [row] = make_tables(document)["outlived"].rows
    assert row[4:6] == ("2026-11-24 10:03:00, no answer that it was accepted", str(started))
    assert "2h 3m after the first request" in page_answer(document, 8)
    assert "without an answer that the request was accepted: 1." in page_answer(document, 8)
    assert ask(log.events, "unanswered") == [("1",)]
    [(_, slowest, _)] = ask(log.events, "slowest proofs")
    assert round(float(slowest)) == 123 * 60


def test_cause_is_what_was_wrong_for_longest_with_what_its_end_needs() -> None:
    """Of another account, or over before the overlap was, is no cause; nor is that the proof is late."""
    log = Log(30 * DAY)
    log.add("rotation_planned", **PLACE, rotation_id="r", predecessor_id="old", vault="https://v")
    until = log.now + 60 * MINUTE
    log.add("overlap_started", **PLACE, rotation_id="r", overlap_until=until.isoformat())
    log.add("vault_down", "https://v", code="timeout")
    log.now = until + 9 * MINUTE
    log.add("vault_restored", "https://v")
    log.add("sign_in_lapsed", "other-bot", code="sign_in_required")
    lapsed = log.add("sign_in_lapsed", "bot", code="sign_in_required")
    log.add("organization_down", "bot/contoso", code="transient")
    log.now += DAY
    log.add("organization_restored", "bot/contoso")
    log.now += DAY
    log.add("sign_in_restored", "bot")
    asked = log.add("revocation_requested", **PLACE, rotation_id="r", authorization_id="old", why="rotated")
    log.add("rotation_completed", **PLACE, rotation_id="r")
    log.add("revocation_unconfirmed", "old", name="npm-feed", requested_at=NOW.isoformat(), requests=1)
    gone = log.add("pat_revoked", **PLACE, rotation_id="r", authorization_id="old", why="rotated")
    document = make_document(log.events)
    [row] = read_table(read_page(render_page(document)), "outlived")
    assert (row[5], row[7], row[9]) == (str(asked), str(gone), f"sign in needed, sign_in_required (event {lapsed})")
    assert f"(event {gone}); sign in needed, sign_in_required (event {lapsed}))" in page_answer(document, 5)
    assert "The slowest proof came 3m after the first request, at " in page_answer(document, 8)
    assert f"(event {gone})" in page_answer(document, 8)


def test_overlap_that_began_again_and_proof_that_came_late_are_said() -> None:
    log, restored = Log(9 * DAY), 0
    for number in range(2):
        ids: dict[str, Detail] = {**PLACE, "rotation_id": f"r{number}"}
        log.add("rotation_planned", **ids, predecessor_id=f"old-{number}", vault="https://v")
        until = log.now + 60 * MINUTE
        log.add("overlap_started", **ids, overlap_until=until.isoformat())
        restored = log.add("secret_restored", **ids, secret_version="2") if number == 0 else restored
        log.now = until
        log.add("revocation_requested", **ids, authorization_id=f"old-{number}", why="rotated")
        log.add("rotation_completed", **ids)
        log.now += DAY
        log.add("pat_revoked", **ids, authorization_id=f"old-{number}", why="rotated")
    rows = read_table(read_page(render_page(make_document(log.events))), "outlived")
    assert [row[9] for row in rows] == [
        f"another value was in the secret, so the overlap began again (event {restored})",
        "requested on time, but not seen gone sooner",
    ]
