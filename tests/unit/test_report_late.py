"""Rotations that began later than their rules asked: the page says the same as SQL of the test's own."""

from __future__ import annotations

import random
from datetime import timedelta

from rotator.domain.audit_event import Detail
from rotator.domain.period import Period
from rotator.domain.words import say_duration
from rotator.report.page import render_page
from rotator.report.summary import list_figures
from tests.support.html_page import Element, read_page, read_table
from tests.unit.test_report_outlived import PLACE, Log, ask
from tests.unit.test_report_page import DAY, NOW, make_document

WHAT = "rotation began later than the rule asked"


def _plan(log: Log, name: str, old: str, late: timedelta | None, *, is_new: bool = True) -> None:
    """Begin a rotation so long after it was due; None: its policy did not ask for it."""
    due = None if late is None else (log.now + timedelta(minutes=1) - late).isoformat()
    said: dict[str, Detail] = {"due_at": due} if is_new else {}
    log.add("rotation_planned", name, **PLACE, vault="https://v", predecessor_id=old, **said)


def _live(log: Log) -> None:
    """Rotate some PATs, most of them late, while policies and PATs change; try some again and again."""
    chance = random.Random(20261128)
    for number in range(120):
        name = chance.choice(["a", "b", "c"])
        happens = chance.randrange(6)
        if happens == 0:
            log.add("policy_changed", "policy", sha256=chance.choice(["one", "two"]))
        elif happens == 1:
            log.add(chance.choice(["pat_drifted", "pat_updated", "inventory_rebuilt"]), name)
        log.now += chance.choice([0, 1, 5, 50]) * timedelta(hours=1)
        late = chance.choice([None, 0.1, 0.9, 1.1, 3, 9])
        wait = None if late is None else late * DAY
        _plan(log, name, f"{name}-{number // 4}", wait, is_new=number > 20)


def _read(log: Log, period: Period | None = None) -> tuple[Element, list[tuple[str, ...]]]:
    page = read_page(render_page(make_document(log.events, period=period)))
    return page, [row for row in read_table(page, "breaches") if row[0] == WHAT]


def test_rotations_that_began_late_are_those_that_sql_finds() -> None:
    log = Log(88 * DAY)
    _live(log)
    page, rows = _read(log)
    expected = [
        (*row, say_duration(timedelta(seconds=round(float(seconds))))) for *row, seconds in ask(log.events, "late")
    ]
    assert sorted((row[1], row[2], row[3], row[6], row[4]) for row in rows) == sorted(expected)
    assert len({row[1] for row in rows}) == len(rows) > 15
    assert {", " in row[6] for row in rows} == {True, False}
    [(undated,)] = ask(log.events, "undated")
    assert int(undated) == 21
    assert (
        f"Rotations that began more than a day after the rule asked for them: {len(rows)}; {undated} more cannot be "
        "judged, as an earlier version of rotator did not write down when they were due."
    ) in page.find_id("answer-5").text()
    said = f"{len(rows)} of these are rotations that began more than a day after their rules asked for them (section 5)"
    assert said in page.find_id("summary-text").text()
    assert f"{len(rows)} began more than a day late" in " ".join(list_figures(make_document(log.events)))


def test_row_names_what_was_in_the_way_the_longest_first() -> None:
    log = Log(30 * DAY)
    log.add("pat_adopted", "npm-feed")
    log.add("vault_down", "https://v", code="vault_away")
    log.now += 2 * DAY
    log.add("vault_restored", "https://v")
    log.add("organization_down", "bot/contoso", code="throttled")
    log.add("vault_down", "https://elsewhere")
    log.add("pat_renamed", "npm-feed", old_name="npm-feed", new_name="renamed")
    log.add("rotation_failed", "renamed", code="boom")
    log.now += DAY
    log.add("pat_paused", "renamed")
    log.add("pat_resumed", "renamed")
    _plan(log, "renamed", "old", 0.5 * DAY)
    _plan(log, "renamed", "old", 2.9 * DAY)
    _, [row] = _read(log)
    assert row[5] == (
        "vault down, vault_away (event 2); organization down, throttled (event 4); rotation failing, boom (event 7); "
        "a person had paused it (event 8); tried before (event 10)"
    )
    assert row[6] == "11"


def test_late_rotation_that_nothing_explains_says_so_and_others_are_none() -> None:
    log = Log(30 * DAY)
    _plan(log, "npm-feed", "first", DAY - timedelta(minutes=1))
    log.now += 9 * DAY
    _plan(log, "npm-feed", "second", 4 * DAY)
    log.now += 9 * DAY
    _plan(log, "npm-feed", "third", None)
    page, [row] = _read(log)
    cause = "the log tells of nothing in the way: perhaps rotator did not run"
    assert (row[1], row[4], row[5], row[6]) == ("npm-feed: second", "4d", cause, "2")
    assert "is a rotation that began more than a day after the rule asked for it" in page.find_id("summary-text").text()
    for period in (Period("before", NOW - 30 * DAY, NOW - 28 * DAY), Period("after", log.now, NOW)):
        assert _read(log, period)[1] == []
