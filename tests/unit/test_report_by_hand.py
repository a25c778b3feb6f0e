"""Rotations that people ordered: the order, the new value in the vault and the proof of the old one's end, by SQL."""

from __future__ import annotations

from datetime import timedelta

from rotator.domain.audit_event import Detail
from rotator.domain.period import Period
from rotator.report.page import render_page
from tests.support.html_page import read_page, read_table
from tests.unit.test_report_outlived import Log, ask
from tests.unit.test_report_page import DAY, NOW, make_document

ENDINGS = ("completed", "gone later", "abandoned", "undone", "open", "in the vault", "created", "by itself")
"""How a rotation ends."""


def _rotate(log: Log, number: int, ending: str) -> None:
    name, order = f"pat-{number}", dict[str, Detail]()
    rotation: dict[str, Detail] = {"rotation_id": f"r{number}"}
    if ending != "by itself":
        order = {"command": "rotator rotate", **({"reason": f"leak {number}"} if number % 2 else {})}
    log.run = f"run-{number}"
    if ending == "created":
        log.add("creation_started", name, **order)
    old: dict[str, Detail] = {} if ending == "created" else {"predecessor_id": f"old-{number}"}
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
    elif ending == "undone":
        log.add("pat_revoked", name, **rotation, authorization_id="new", why="lost")
    elif ending == "gone later":
        log.add("rotation_completed", name, **rotation)
        log.now += DAY
        log.add("pat_revoked", name, **gone)


def test_rotations_that_people_ordered_are_those_that_sql_finds() -> None:
    log = Log(60 * DAY)
    for number in range(3 * len(ENDINGS)):
        _rotate(log, number, ENDINGS[number % len(ENDINGS)])
    rows = read_table(read_page(render_page(make_document(log.events))), "ordered")
    assert rows == ask(log.events, "ordered")
    assert {(row[10], row[5][:2], row[8][:2]) for row in rows} == {
        ("completed", "20", "20"),
        ("completed", "20", "no"),
        ("abandoned", "ne", "no"),
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
    assert make_document(log.events, period=Period("later", until, NOW))["ordered"] == []
