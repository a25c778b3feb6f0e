"""The summary of a report as a terminal shows it: a list, without what there is none of."""

from __future__ import annotations

from datetime import timedelta

from rotator.documents.document import write_moment
from rotator.domain.audit_event import AuditEntry, AuditEvent, Outcome
from rotator.report.summary import list_figures, list_unseen
from tests.unit.test_report_page import DAY, NOW, make_document, make_status


def test_terminal_has_a_line_for_each_figure_and_none_for_what_there_is_none_of() -> None:
    begin, *lines = list_figures(make_document(rows=[make_status(), make_status("old", age=29 * DAY, left=DAY)]))
    assert begin.startswith("From ")
    assert "The period is not over" not in begin
    assert lines[0].startswith("PATs of 1 account: 2, ")
    assert lines[1:4] == ["Rotations: 0 completed", "Revocations: 0 proven", "By hand: 0 commands"]
    assert lines[0].endswith(", 1 older than the policy allows")


def test_period_that_is_not_over_is_said_with_the_period() -> None:
    document = make_document()
    document["period"]["until"] = write_moment(NOW + timedelta(days=30))
    assert next(list_figures(document)).endswith(". The period is not over.")


def test_entries_that_a_comparison_could_not_read_are_said() -> None:
    """Although the span counts as compared."""
    entry = AuditEntry("service_log_compared", "bot/contoso", Outcome.SUCCEEDED, "me@host", "run", {"explained": 1})
    document = make_document([AuditEvent(1, NOW - DAY, entry, "", "")])
    [log] = document["outside"]["logs"]
    assert not any("could not read some entries" in said for said in list_unseen(document))
    log["unreadable"] = 2
    assert any(
        f"some entries of Azure DevOps' own log (2 of {log['organization']})" in said for said in list_unseen(document)
    )
