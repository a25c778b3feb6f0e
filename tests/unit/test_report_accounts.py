"""What lists of an account's PATs had that rotator does not manage, or did not understand."""

from __future__ import annotations

import pytest

from rotator.documents.document import Moment
from rotator.documents.review import ReviewDocument
from rotator.report.log_tables import make_log_tables
from rotator.report.tables import make_tables
from tests.unit.test_report_outlived import Log, ask
from tests.unit.test_report_page import DAY, make_document, make_status, page_answer

USED = "0fc61d8b-76d8-4a4e-b961-b235b54cc0ae"
"""The id of the PAT that `make_status` makes."""


def test_ids_of_entries_that_were_not_understood_are_those_that_sql_finds() -> None:
    log = Log(9 * DAY)
    log.add("listing_damaged", "bot/contoso", entries=2, authorization_ids="strange, gone")
    log.add("listing_damaged", "bot/fabrikam", entries=1, authorization_ids="strange")
    log.add("listing_damaged", "bot/contoso", entries=1, authorization_ids="")
    log.add("listing_damaged", "bot/contoso", entries=2, authorization_ids=f"strange, {USED}")
    log.add("pat_revoked", "deploy", authorization_id="gone", why="rotated")
    rows = make_tables(make_document(log.events, [make_status()]))["unread-ids"].rows
    assert [row[:2] + row[3:] for row in rows] == ask(log.events, "unread ids")
    assert [row[2] for row in rows] == ["npm-feed, in use", "deploy, gone since", "not known", "not known"]


@pytest.mark.parametrize("at", [None, "2026-12-03T08:00:00Z"])
def test_last_look_has_its_time(at: str | None) -> None:
    document: ReviewDocument = make_document()
    document["looked_at"] = None if at is None else Moment(at)
    said = (
        "The last look, whose time is not kept, found no other"
        if at is None
        else "The last look, at 2026-12-03 08:00:00, found no other"
    )
    assert said in page_answer(document, 1)


def test_value_that_somebody_else_wrote_asks_for_finding_out_who() -> None:
    log = Log(9 * DAY)
    first = log.add("probe_failed", "docs-site", code="secret_changed")
    log.add("probe_restored", "docs-site")
    second = log.add("probe_failed", "docs-site", code="secret_changed")
    said = f"2 times somebody else wrote another value into a secret: find out who (event {first}, {second})."
    assert said in page_answer(make_document(log.events), 9)


def test_file_with_anchors_is_called_one() -> None:
    log = Log(9 * DAY)
    log.add("log_anchored", "/var/lib/rotator/anchors.txt", size=1)
    log.add("log_anchored", "https://v", size=1)
    [anchors, *_] = make_log_tables(make_document(log.events))
    assert [row[0] for row in anchors.rows] == ["/var/lib/rotator/anchors.txt (a file on this host)", "https://v"]
