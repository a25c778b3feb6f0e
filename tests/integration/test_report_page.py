"""The reviewer's page in a real browser: axe finds nothing in it, narrow or wide."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.domain.audit_event import AuditEntry, AuditEvent, Detail, Outcome
from rotator.report.page import render_page
from tests.support.browser import ask_browser, check_with_axe, make_printed
from tests.unit.test_report_page import DAY, NOW, make_document, make_status

PLACE = "build-bot/contoso"
SCAN = ("users", "denied", "skipped", "pats", "full_access", "long_lived", "all_organizations", "ownerless", "managed")


def list_events() -> Iterator[AuditEvent]:
    """Events that fill the sections about PATs, about people, and about what others did."""
    at = NOW.isoformat()
    found: dict[str, Detail] = {"kind": "minted", "display_name": "x", "at": at, "by": "me", "entry_id": "e"}
    compared: dict[str, Detail] = {
        "since": (NOW - 9 * DAY).isoformat(),
        "until": at,
        **dict.fromkeys(("explained", "foreign", "lacking", "unreadable"), 1),
    }
    story: tuple[tuple[str, str, dict[str, Detail]], ...] = (
        ("policy_changed", "policy", {"sha256": hashlib.sha256(POLICY.encode()).hexdigest(), "text": POLICY}),
        ("pat_adopted", "npm-feed", {"reason": "first day"}),
        ("rotation_planned", "npm-feed", {}),
        ("overlap_started", "npm-feed", {}),
        ("rotation_failed", "npm-feed", {"code": "denied"}),
        ("sign_in_completed", "build-bot", {}),
        ("outside_change_found", PLACE, found),
        ("own_changes_unlisted", PLACE, {"changes": 1, "numbers": "2"}),
        ("service_log_compared", PLACE, compared),
        ("service_log_lost", PLACE, {"code": "service_log_denied", "message": "it may not"}),
        ("organization_scanned", PLACE, dict.fromkeys(SCAN, 1)),
    )
    for number, (name, subject, details) in enumerate(story, 1):
        entry = AuditEntry(name, subject, Outcome.SUCCEEDED, "me@host", f"run-{number}", details)
        yield AuditEvent(number, NOW - 5 * DAY + timedelta(hours=number), entry, "", "")


POLICY = "version: 1\n# " + "x" * 300 + "\n"
A4 = 680
"""How many pixels of 1/96 inch an A4 page is wide between its margins."""
LAYOUT = """
const style = (element) => getComputedStyle(element);
const all = (what) => Array.from(document.querySelectorAll(what)).filter((found) => found.id !== "told");
const values = (what, name) => Array.from(new Set(all(what).map((found) => style(found)[name])));
tell({
  hidden: all("body *:not(script)").filter((found) => style(found).display === "none").map((found) => found.localName),
  clipped: all("body, body *").filter((found) => found.scrollWidth > found.clientWidth + 1 && found.clientWidth
    && style(found).display !== "inline").map((found) => found.outerHTML.slice(0, 200)),
  widest: Math.max(...all("td, th, p, li, svg").map((found) => found.getBoundingClientRect().right)),
  whole: values("tr, figure, p, li, .warnings", "breakInside"),
  broken: values("td, tbody th", "overflowWrap"),
  repeated: values("thead", "display"),
  kept: values("h2, h3, caption", "breakAfter"),
  links: Array.from(new Set(all("main a").map((found) => style(found).color === style(found.parentNode).color))),
  scrolls: values(".scroll", "overflowX"),
});"""


def make_page() -> str:
    """A page with something in each section, a hash and an address that are too long for a line among it."""
    return render_page(make_document(list_events(), [make_status(), make_status("old", age=40 * DAY, left=DAY)]))


def test_print_hides_nothing_and_cuts_nothing_off(tmp_path: Path) -> None:
    """Rows and charts stay whole, each page begins with the names of the columns, and no heading stands alone."""
    page = make_page()
    assert "counter(page)" in page
    found = ask_browser(make_printed(page), LAYOUT, A4, tmp_path)
    assert found["hidden"] == ["a", "nav"]
    assert found["clipped"] == []
    assert found["widest"] <= A4
    assert found["broken"] == ["break-word"]  # a word that fits into a line is whole
    assert (found["whole"], found["repeated"], found["kept"]) == (["avoid"], ["table-header-group"], ["avoid"])
    assert (found["links"], found["scrolls"]) == ([True], ["visible"])


@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing(width: int, tmp_path: Path) -> None:
    page = make_page()
    assert all(f'<table id="{name}">' in page for name in ("pats", "service-logs", "foreign", "lacking", "user-pats"))
    assert "<pre" in page
    assert "<td>event 10: it may not</td>" in page
    check_with_axe(page, width, tmp_path)
