"""Probes as values: when a value is tried next, and when a refusal counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.probe import Probe, ProbeResult, find_slot, make_pause, make_share, note_result
from tests.support.records import DAY, NOW, make_managed_pat

PAT = replace(make_managed_pat(), record_id="record-1")
MINUTES = timedelta(minutes=15)


def test_slots_of_many_records_are_spread_over_the_period() -> None:
    """Each has one in every period, always at the same place."""
    slots = [find_slot(f"record-{number}", DAY, NOW) for number in range(2000)]
    by_hour = [sum(int((slot - NOW) / timedelta(hours=1)) == hour for slot in slots) for hour in range(24)]
    assert all(50 <= count <= 120 for count in by_hour), by_hour
    for number, slot in enumerate(slots):
        assert NOW < slot <= NOW + DAY
        assert find_slot(f"record-{number}", DAY, slot) == slot + DAY


@pytest.mark.parametrize(
    ("period", "pause"),
    [
        (DAY, MINUTES),
        (timedelta(hours=1), timedelta(minutes=1)),
        (timedelta(seconds=20), timedelta(seconds=20)),
        (7 * DAY, 7 * MINUTES),
    ],
)
def test_passes_of_one_period_reach_every_record_twice(period: timedelta, pause: timedelta) -> None:
    assert make_pause(period) == pause
    for records in (1, 8, 100, 10_000):
        assert make_share(records, period) * (period / pause) >= 2 * min(records, 8)
        assert make_share(records, period) * (period / pause) >= records


def test_share_of_one_pass_stays_small() -> None:
    assert (make_share(0, DAY), make_share(100, DAY), make_share(10_000, DAY)) == (8, 8, 209)


def test_refusal_counts_when_a_second_try_was_refused_too() -> None:
    """Then it is tried again and again, at growing pauses, and one try that works ends it."""
    works = note_result(None, PAT, ProbeResult.WORKS, DAY, NOW)
    assert works == Probe(PAT.authorization_id, find_slot("record-1", DAY, NOW), works=True)
    once = note_result(works, PAT, ProbeResult.REFUSED, DAY, NOW)
    assert once == Probe(PAT.authorization_id, NOW + MINUTES, works=True, failures=1)
    twice = note_result(once, PAT, ProbeResult.REFUSED, DAY, NOW)
    assert twice == Probe(PAT.authorization_id, NOW + 2 * MINUTES, works=False, failures=2)
    for _ in range(9):
        twice = note_result(twice, PAT, ProbeResult.REFUSED, DAY, NOW)
    assert (twice.works, twice.next_at) == (False, NOW + 4 * MINUTES)
    assert note_result(twice, PAT, ProbeResult.WORKS, DAY, NOW) == works


def test_try_that_could_not_be_made_changes_nothing_but_the_moment() -> None:
    once = Probe(PAT.authorization_id, NOW, works=True, failures=1)
    assert note_result(once, PAT, ProbeResult.UNKNOWN, DAY, NOW) == replace(once, next_at=NOW + MINUTES)
    assert note_result(None, PAT, ProbeResult.UNKNOWN, DAY, NOW) == Probe(PAT.authorization_id, NOW + MINUTES)


def test_what_is_known_of_an_earlier_pat_does_not_count() -> None:
    other = Probe("id-before", NOW, works=False, failures=7)
    once = note_result(other, PAT, ProbeResult.REFUSED, DAY, NOW)
    assert (once.works, once.failures) == (None, 1)
    assert note_result(other, PAT, ProbeResult.UNTRIED, DAY, NOW).works is None
