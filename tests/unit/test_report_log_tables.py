"""What the page says of anchors and of wrong clocks: one row for each place, and the step in words."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.documents.review_anchors import make_held
from rotator.documents.review_sums import prove
from rotator.domain.audit_event import AuditEntry, AuditEvent, Outcome
from rotator.domain.words import say_duration
from rotator.engine.anchoring import Anchor
from rotator.engine.review.dating import Placed, find_misdated
from rotator.engine.review.marks import Mark
from rotator.report.cells import say_proof, say_when
from rotator.report.tables import make_tables
from tests.unit.test_report_outlived import Log, ask
from tests.unit.test_report_page import DAY, NOW, make_document


def test_place_is_one_row_of_what_it_was_given_and_what_it_holds() -> None:
    events = [
        AuditEvent(
            number, NOW - DAY, AuditEntry("log_anchored", place, Outcome.SUCCEEDED, "me@host", "run", {}), "", ""
        )
        for number, place in enumerate(["vault", "vault", "anchors.txt"], 1)
    ]
    document = make_document(events)
    assert [row[:2] + row[6:] for row in make_tables(document)["anchors"].rows] == [
        ("anchors.txt", "1", "not asked", "not asked"),
        ("vault", "2", "not asked", "not asked"),
    ]
    log = document["log"]
    log["vaults_asked"] = True
    log["anchor_places"] = make_held(
        [
            *(Anchor(f"vault rotator-audit {size}", size, "", is_own=True, place="vault") for size in (1, 9)),
            *(Anchor(name, 4, "") for name in ("npm-feed", "deploy")),
        ]
    )
    log["unread"] = [{"name": "anchors.txt", "code": "x", "message": "gone", "fix": "", "runbook": ""}]
    at = "2026-12-02 09:00:00"
    assert make_tables(document)["anchors"].rows == (
        ("anchors.txt", "1", at, "3", at, "3", "could not be read", "could not be read"),
        ("the tags of managed PATs' secrets", "one with each value", "none", "none", "none", "none", "2", "4"),
        ("vault", "2", at, "1", at, "2", "2", "9"),
    )


def test_silence_among_events_that_came_out_of_order_is_the_one_that_sql_finds() -> None:
    """PATs are rotated side by side: an event can be a moment older than the one before it."""
    for order in ((1, 2, 9, 8, 12), (1, 9, 8, 7, 16), (5, 1, 2, 30, 29)):
        log = Log(timedelta(minutes=35))
        for minute in order:
            log.now = NOW - timedelta(minutes=35 - minute)
            log.add("values_read", "vault", values=minute)
        [(begins, ends, after, before)] = ask(log.events, "silence")
        silence = make_document(log.events)["policy"]["silence"]
        assert silence is not None
        assert (str(silence["after"]), str(silence["before"])) == (after, before)
        said = (datetime.fromisoformat(silence[name]) for name in ("begins", "ends"))
        assert tuple(said) == (datetime.fromisoformat(begins), datetime.fromisoformat(ends))


def test_time_for_which_a_clock_was_wrong_is_the_one_that_sql_finds() -> None:
    """It begins when the doubt happened, which the doubt says, and not when the event before it did."""
    log, steps = Log(30 * DAY), dict[int, timedelta]()
    for seconds in (-172_801, 108_000, -20 * 86400):
        log.now += timedelta(seconds=-seconds)
        doubt = log.add("clock_doubted", "host", seconds=seconds)
        steps |= dict.fromkeys((doubt, log.add("vault_down", "kv", code="x")), timedelta(seconds=seconds))
        log.now += timedelta(hours=5, seconds=seconds)
        log.add("clock_confirmed", "host")
        log.add("vault_restored", "kv")
    found = find_misdated([(event.sequence, event.occurred_at) for event in log.events], NOW, steps)
    tables = make_tables(make_document(log.events, misdated=found))
    expected = ask(log.events, "wrong clocks")
    shown = [row for row in tables["failures"].rows if row[1] == "clock wrong"]
    spans = [say_duration(timedelta(seconds=float(lasted))) for *_, lasted in expected]
    assert [(row[0], row[7]) for row in shown] == [(row[0], span) for row, span in zip(expected, spans, strict=True)]
    assert [row[3] for row in tables["misdated"].rows] == ["2d ahead", "1d 6h behind", "20d ahead"]
    assert len(expected) == 3


def test_span_that_a_wrong_clock_began_is_told_by_the_order_of_the_log() -> None:
    """It does not begin in 2037 and end in 2027 without a word."""
    ahead = NOW + 3650 * DAY
    story = ["vault_down", "vault_restored"]
    events = [
        AuditEvent(number, at, AuditEntry(name, "kv", Outcome.FAILED, "me@host", "run", {"code": "x"}), "", "")
        for number, (name, at) in enumerate(zip(story, [ahead, NOW - DAY], strict=True), 1)
    ]
    document = make_document(events, misdated={1: Placed(NOW - 2 * DAY, is_known=True)})
    [row] = make_tables(document)["failures"].rows
    said = "2026-12-01 09:00:00 (the clock was wrong and said 2036-11-30 09:00:00)"
    assert row[4:] == (said, "2026-12-02 09:00:00", "2", "1d")
    [stretch] = make_tables(document)["misdated"].rows
    assert stretch[:4] == ("1", "1", "1", "3652d ahead")
    document = make_document(events, misdated={1: Placed(NOW - 2 * DAY)})
    assert make_tables(document)["failures"].rows[0][4:] == (f"about {said}", "2026-12-02 09:00:00", "2", "not known")
    assert [row[3] for row in make_tables(document)["failure-sums"].rows] == ["not known"]
    assert make_tables(document)["misdated"].rows[0][3] == "wrong, the log does not say how"
    assert say_when(prove(Mark(1, NOW))) == "2026-12-03 09:00:00"
    assert say_proof(None, "never") == ("never", "none")
