"""What somebody put into events to mislead whoever reads the page: it is seen, and changes nothing around it."""

from __future__ import annotations

import pytest

from rotator.domain.audit_event import AuditEntry, AuditEvent, Outcome
from rotator.domain.outside import show_hidden
from rotator.report.page import render_page
from tests.support.html_page import read_page, read_table
from tests.unit.test_report_page import DAY, NOW, make_document

PLACES = ("pat_paused", "rotation_blocked", "sign_in_completed", "policy_changed", "log_anchored", "gap_accepted")


def make_page(text: str) -> str:
    """A page whose events have the text in every place that has one."""
    details = dict.fromkeys(("reason", "command", "code", "message", "sha256", "name", "scope"), text)
    return render_page(
        make_document(
            AuditEvent(
                number, NOW - DAY, AuditEntry(name, text, Outcome.FAILED, text, f"run-{number}", details), "", ""
            )
            for number, name in enumerate(PLACES, 1)
        )
    )


@pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\u200f", "\x00", "\x1b", "\u2028", "\u061c", "\x85"])
def test_characters_that_hide_or_turn_text_around_are_shown(mark: str) -> None:
    page = make_page(f"a{mark}b")
    assert mark not in page
    shown = mark.encode("unicode_escape").decode()
    assert f"a{shown}b" in page


def test_longest_texts_leave_the_page_readable() -> None:
    """A megabyte in each field of each event; the table says where the rest is."""
    page = make_page("x" * 1_000_000)
    assert len(page) < 2_000_000
    [row, *_] = read_table(read_page(page), "by-hand")
    assert "... (1000000 characters; the event has them all)" in row[7]


def test_lines_are_kept_where_they_belong() -> None:
    assert show_hidden("a\tb\nc\u202e", keep="\n\t") == "a\tb\nc\\u202e"
