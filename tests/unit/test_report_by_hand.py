"""Rotations that people ordered: the order, the new value in the vault and the proof of the old one's end, by SQL."""

from __future__ import annotations

import re
from datetime import timedelta

from rotator.domain.audit_event import Detail
from rotator.domain.period import Period
from rotator.report.page import render_page
from rotator.report.tables import make_tables
from tests.support.html_page import read_page, read_table
from tests.support.review_queries import say_ordered
from tests.unit.test_report_outlived import Log, ask
from tests.unit.test_report_page import DAY, NOW, make_document, page_answer

ENDINGS = (
    "completed",
    "gone later",
    "abandoned",
    "undone",
    "open",
    "in the vault",
    "created",
    "by itself",
    "replaced later",
    "made later",
)
"""How a rotation ends."""


def _rotate(log: Log, number: int, ending: str) -> None:
    name, order = f"pat-{number}", dict[str, Detail]()
    rotation: dict[str, Detail] = {"rotation_id": f"r{number}"}
    if ending != "by itself":
        order = {"command": "rotator rotate", **({"reason": f"leak {number}"} if number % 2 else {})}
    log.run = f"run-{number}"
    if ending in ("created", "made later"):
        log.add("creation_started", name, **order)
    old: dict[str, Detail] = {} if ending in ("created", "made later") else {"predecessor_id": f"old-{number}"}
    log.add("rotation_planned", name, **rotation, **old, **order)
    if ending == "created":
        log.add("pat_created", name, **rotation)
        log.add("rotation_completed", name, **rotation)
    elif ending in ("completed", "gone later", "in the vault", "by itself"):
        log.add("overlap_started", name, **rotation, overlap_until=log.now.isoformat())
    log.run = "later"
    gone: dict[str, Detail] = {"authorization_id": f"old-{number}", "why": "rotated"}
    if ending == "completed":
        log.add("pat_revoked", name, **rotation, **gone)
        log.add("rotation_completed", name, **rotation)
    elif ending == "abandoned":
        log.add("rotation_abandoned", name, **rotation)
    elif ending == "replaced later":
        log.add("rotation_abandoned", name, **rotation, code="transient")
        log.now += DAY
        later: dict[str, Detail] = {"rotation_id": f"later-{number}"}
        log.add("rotation_planned", name, **later, **old)
        log.add("overlap_started", name, **later, overlap_until=log.now.isoformat())
        log.now += DAY
        log.add("pat_revoked", name, **later, **gone)
        log.add("rotation_completed", name, **later)
    elif ending == "made later":
        log.add("rotation_abandoned", name, **rotation, code="interrupted")
        log.add("rotation_planned", name, rotation_id=f"later-{number}")
        log.add("pat_created", name, rotation_id=f"later-{number}")
    elif ending == "undone":
        log.add("pat_revoked", name, **rotation, authorization_id="new", why="lost")
    elif ending == "gone later":
        log.add("rotation_completed", name, **rotation)
        log.now += DAY
        log.add("pat_revoked", name, **gone)


def test_order_that_failed_does_not_read_as_a_success() -> None:
    """The old PAT was proven gone two days later, by the rotation that its policy wanted."""
    log = Log(20 * DAY)
    _rotate(log, 1, "replaced later")
    document = make_document(log.events)
    [row] = make_tables(document)["by-hand"].rows
    said = "1 abandoned, not tried again; old PATs proven gone by this order: 0 of 1, and 1 by a later rotation"
    assert row[9] == f"{said}, the last at 2026-11-15 09:05:00 (event 5)"
    [order] = make_tables(document)["ordered"].rows
    assert order[8:] == (
        "2026-11-15 09:05:00, 2d after the order",
        "5",
        "abandoned, not tried again: transient; another rotation replaced the old PAT at 2026-11-14 09:04:00 (event 4)",
    )
    assert "Rotations that they began: 1; completed: 0; failed, and not tried again: 1" in page_answer(document, 7)
    assert "proven gone by these rotations: 0; by later ones, after these failed: 1." in page_answer(document, 7)


def test_creation_that_a_later_run_finished_does_not_read_as_a_failure() -> None:
    log = Log(20 * DAY)
    _rotate(log, 1, "made later")
    document = make_document(log.events)
    [row], [order] = (make_tables(document)[name].rows for name in ("by-hand", "ordered"))
    assert row[9] == "1 abandoned; the PAT was made at 2026-11-13 09:05:00 (event 5)"
    assert order[10] == "abandoned: interrupted; another rotation made the PAT at 2026-11-13 09:05:00 (event 5)"
    assert page_answer(document, 7).endswith(
        "Rotations that they began: 1; completed: 0; failed, and not tried again: 0."
    )


def test_rotations_that_people_ordered_are_those_that_sql_finds() -> None:
    log = Log(60 * DAY)
    for number in range(3 * len(ENDINGS)):
        _rotate(log, number, ENDINGS[number % len(ENDINGS)])
    rows = read_table(read_page(render_page(make_document(log.events))), "ordered")
    times = {str(event.sequence): f"{event.occurred_at:%Y-%m-%d %H:%M:%S}" for event in log.events}
    assert rows == say_ordered(ask(log.events, "ordered"), times)
    assert {(re.split("[,:]", row[10])[0], row[5][:2], row[8][:2]) for row in rows} == {
        ("completed", "20", "20"),
        ("completed", "20", "no"),
        ("abandoned", "ne", "no"),
        ("abandoned", "ne", "20"),
        ("undone", "ne", "no"),
        ("not ended", "no", "no"),
        ("not ended", "20", "no"),
    }
    assert not [row for row in rows if ENDINGS[int(row[0].removeprefix("pat-")) % len(ENDINGS)] == "by itself"]


def test_proofs_count_whenever_they_came() -> None:
    """The order is of the period, and what it led to came after it."""
    log = Log(20 * DAY)
    _rotate(log, 1, "gone later")
    until = log.events[0].occurred_at + timedelta(seconds=1)
    document = make_document(log.events, period=Period("that minute", NOW - 30 * DAY, until))
    [row] = read_table(read_page(render_page(document)), "ordered")
    assert row == ("pat-1", row[1], "1", "me@host", "leak 1", row[5], "2", "old-1", row[8], "4", "completed")
    assert row[8].endswith(", 1d after the order")
    assert make_document(log.events, period=Period("later", until, NOW))["ordered"] == []
