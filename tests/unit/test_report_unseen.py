"""PATs whose value nobody ever got: which, and how long they were valid at most."""

from __future__ import annotations

from datetime import timedelta

from rotator.domain.audit_event import Detail
from rotator.report.summary import list_unseen
from rotator.report.tables import make_tables
from tests.unit.test_report_outlived import Log, ask
from tests.unit.test_report_page import DAY, NOW, make_document, page_answer


def _request(log: Log, rotation: str, *, valid: timedelta = 10 * DAY) -> int:
    until = (log.now + valid).isoformat()
    log.add("rotation_planned", rotation_id=rotation, predecessor_id="old", vault="https://v")
    number = log.add("mint_started", rotation_id=rotation, planned_valid_to=until)
    log.add("mint_unanswered", rotation_id=rotation, code="connection_lost")
    return number


def _end(log: Log, identifier: str, rotation: str, why: str) -> tuple[int, int]:
    ids: dict[str, Detail] = {"rotation_id": rotation, "authorization_id": identifier}
    started = log.add("revoke_started", **ids, why=why)
    log.add("revoke_started", **ids, why=why, code="revocation_unconfirmed")
    return started, log.add("pat_revoked", **ids, why="abandoned")


def test_pats_whose_value_nobody_got_are_those_that_sql_finds() -> None:
    log = Log(60 * DAY)
    _request(log, "expired")
    log.now += 20 * DAY
    first = _request(log, "r1")
    log.now += DAY
    late, late_gone = _end(log, "late-1", "other", "late")
    second = _request(log, "r2")
    log.now += 2 * DAY
    lost, lost_gone = _end(log, "lost-2", "r2", "abandoned")
    third, _ = _request(log, "r3"), _request(log, "r4")
    log.now += 3 * DAY
    again, again_gone = _end(log, "late-3", "other", "late")
    used = log.add("mint_started", rotation_id="r5", planned_valid_to=NOW.isoformat())
    log.add("pat_minted", rotation_id="r5", authorization_id="seen", valid_to=NOW.isoformat())
    _end(log, "seen", "r5", "abandoned")
    document = make_document(log.events)
    rows = make_tables(document)["unseen"].rows
    assert [(row[1], row[2], row[3], *row[5::2]) for row in rows] == [
        ("1d", "made late", "late-1", str(first), str(late), str(late_gone)),
        ("2d", "its answer was lost", "lost-2", str(second), str(lost), str(lost_gone)),
        ("3d", "made late", "late-3", str(third), str(again), str(again_gone)),
    ]
    found = ask(log.events, "unseen")
    assert [(row[3], row[7], row[9]) for row in rows] == [(row[1], row[5], row[6]) for row in found]
    assert [row[5] for row in rows if row[2] != "made late"] == [row[4] for row in found if row[2] == "0"]
    assert [row[3] for row in found] == ["1", "1", "4"], "of the last, r1 and r2 have their PATs"
    assert used
    assert "PATs whose value nobody ever got: 3, valid for 3d at most, 2 of those listed made late." in page_answer(
        document, 8
    )


def test_entries_that_could_not_be_read_are_those_that_sql_finds() -> None:
    """Those of the newest comparison of each organization."""
    log = Log(9 * DAY)
    for organization, unreadable in (("contoso", 7), ("contoso", 2), ("fabrikam", 3), ("tailspin", 1), ("tailspin", 0)):
        since = (log.now - DAY).isoformat()
        counts: dict[str, Detail] = {"explained": 1, "foreign": 0, "lacking": 0, "unreadable": unreadable}
        log.add("service_log_compared", f"bot/{organization}", since=since, until=log.now.isoformat(), **counts)
    named = ", ".join(f"{count} of {organization}" for organization, count in ask(log.events, "unread entries"))
    assert named == "2 of contoso, 3 of fabrikam"
    [said] = [said for said in list_unseen(make_document(log.events)) if "could not read some entries" in said]
    assert f"Azure DevOps' own log ({named}): what they tell" in said


def test_what_is_not_gone_lasts_and_a_request_that_nobody_knows_gives_no_number() -> None:
    log = Log(5 * DAY)
    log.add("revoke_started", rotation_id="x", authorization_id="late", why="late")
    [row] = make_tables(make_document(log.events))["unseen"].rows
    assert row[1:6] == ("not known", "made late", "late", "not known", "none")
    assert row[8] == "not yet"
