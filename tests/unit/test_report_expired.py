"""PATs that had expired before consumers got a new value: the page says the same as SQL of the test's own."""

from __future__ import annotations

import random
from datetime import timedelta

from rotator.domain.audit_event import Detail
from rotator.domain.period import Period
from rotator.domain.words import say_duration
from rotator.report.page import render_page
from tests.support.html_page import read_page, read_table
from tests.unit.test_report_outlived import Log, ask
from tests.unit.test_report_page import DAY, NOW, make_document

WHAT = "expired before consumers got a new value"


def _mint(log: Log, name: str, number: int, valid: timedelta, old: str | None) -> str:
    """Replace a PAT, or make the first one, with one that is valid for so long. Return its id."""
    ids: dict[str, Detail] = {"rotation_id": f"{name}-{number}", "account": "bot", "organization": "contoso"}
    new = f"{name}-pat-{number}"
    log.add("rotation_planned", name, **ids, vault="https://v", **({} if old is None else {"predecessor_id": old}))
    log.add("pat_minted", name, **ids, authorization_id=new, valid_to=(log.now + valid).isoformat())
    if old is None:
        log.add("pat_created", name, **ids, authorization_id=new)
    else:
        log.add("overlap_started", name, **ids, overlap_until=log.now.isoformat())
    log.add("rotation_completed", name, **ids)
    return new


def _live(log: Log) -> None:
    """Rotate four PATs again and again: some in time, some late, some with an expiry that is told otherwise."""
    chance = random.Random(20261128)
    log.add("pat_adopted", "adopted", authorization_id="adopted-pat", account="bot", organization="contoso")
    using: dict[str, str | None] = {"adopted": "adopted-pat", "made": None, "drifted": None, "foreseen": None}
    for number in range(60):
        name = chance.choice(list(using))
        if using[name] is not None and name in ("drifted", "foreseen"):
            until = (log.now + chance.choice([0.5, 3]) * DAY).isoformat()
            if name == "drifted":
                log.add("pat_drifted", name, display_name=name, scope="vso.code", valid_to=until)
            else:
                log.add("expiry_foreseen", name, code="paused", expires_at=until)
        log.now += chance.choice([1, 2, 4]) * DAY / 3
        using[name] = _mint(log, name, number, chance.choice([1, 6]) * DAY, using[name])


def test_pats_that_expired_before_consumers_got_a_new_value_are_those_that_sql_finds() -> None:
    log = Log(80 * DAY)
    _live(log)
    page = read_page(render_page(make_document(log.events)))
    expected = [
        (*row, say_duration(timedelta(seconds=round(float(seconds))))) for *row, seconds in ask(log.events, WHAT)
    ]
    rows = [row for row in read_table(page, "breaches") if row[0] == WHAT]
    assert [(row[1], row[2], row[3], row[6], row[4]) for row in rows] == expected
    assert {row[1].partition(":")[0] for row in rows} == {"adopted", "made", "drifted", "foreseen"}
    assert f"PATs that had expired before consumers got a new value: {len(rows)}." in page.find_id("answer-5").text()
    caption = page.find_id("breaches").find_all("caption")[0].text()
    assert caption.startswith(f"What broke the policy: {len(read_table(page, 'breaches'))} in all")


def test_pat_that_was_replaced_in_time_or_outside_of_the_period_is_none() -> None:
    log = Log(30 * DAY)
    old = _mint(log, "in-time", 1, 9 * DAY, None)
    log.now += 8 * DAY
    old = _mint(log, "in-time", 2, DAY, old)
    log.add("pat_renamed", "in-time", old_name="in-time", new_name="late")
    log.now += 5 * DAY
    _mint(log, "late", 3, 9 * DAY, old)
    [row] = [row for row in read_table(read_page(render_page(make_document(log.events))), "breaches") if row[0] == WHAT]
    cause = "section 9 has what failed then"
    assert (row[1], row[4], row[5], row[6]) == ("late: in-time-pat-2", "4d", cause, "6, 12")
    for period in (Period("before", NOW - 30 * DAY, NOW - 22 * DAY), Period("after", log.now + DAY, NOW)):
        assert WHAT not in str(read_table(read_page(render_page(make_document(log.events, period=period))), "breaches"))
