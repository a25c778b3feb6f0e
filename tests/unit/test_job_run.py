"""Who lives by its heartbeats, and what daemons that share a database differ in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rotator.domain.job_run import (
    BEATS_WITHIN,
    Heartbeat,
    find_colleagues,
    find_latest,
    find_process,
    lives,
    make_period,
    say_differences,
)

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
SPAN, TICK = timedelta(minutes=3), timedelta(microseconds=1)


def beat(
    holder: str = "run@host#1.1",
    *,
    age: timedelta = timedelta(0),
    life: timedelta = timedelta(hours=1),
    binds_for: timedelta | None = SPAN,
    actor: str | None = None,
    version: str | None = "1",
    policy: str | None = "p",
) -> Heartbeat:
    """The last heartbeat, so long ago, of a daemon that has run for so long."""
    at = NOW - age
    return Heartbeat(holder, NOW - life, at, binds_for=binds_for, actor=actor, version=version, policy=policy)


@pytest.mark.parametrize(
    ("claimant", "process"),
    [
        ("run@host#1.2", "host#1.2"),
        ("anna@home@host#1.2", "host#1.2"),
        ("run", ""),
        ("run@unknown#1.2", ""),
        ("run@host#1.0", ""),
        ("run@host#1.10", "host#1.10"),
    ],
)
def test_process_of_a_claimant_is_its_host_and_process_where_both_are_known(claimant: str, process: str) -> None:
    assert find_process(claimant) == process


def test_claims_bind_as_long_as_a_heartbeat_says() -> None:
    assert beat().ends_at == NOW + SPAN
    assert [beat(binds_for=None).ends_at, beat("run").ends_at] == [None, None]
    assert [beat().was_over(NOW + SPAN), beat().was_over(NOW + SPAN + TICK)] == [False, True]
    assert not beat(binds_for=None).was_over(NOW + timedelta(days=1))


@pytest.mark.parametrize(
    ("binds_for", "span"), [(None, BEATS_WITHIN), (SPAN / 3, BEATS_WITHIN), (SPAN, SPAN)], ids=["none", "short", "long"]
)
def test_daemon_lives_for_minutes_and_no_less_than_its_claims_bind(
    binds_for: timedelta | None, span: timedelta
) -> None:
    """On either side: the clock may have made a step."""
    for sign in (1, -1):
        assert lives([beat(age=sign * span, binds_for=binds_for)], NOW)
        assert not lives([beat(age=sign * (span + TICK), binds_for=binds_for)], NOW)


def test_one_daemon_lives_by_its_own_heartbeats_alone() -> None:
    beats = [beat("run@a#1.1", age=timedelta(days=1)), beat("run@b#1.1")]
    assert [lives(beats, NOW), lives(beats, NOW, "run@b#1.1")] == [True, True]
    assert [lives([], NOW), lives(beats, NOW, "run@a#1.1"), lives(beats, NOW, "run@c#1.1")] == [False] * 3


def test_colleagues_are_those_that_began_minutes_ago_and_whose_claims_bind_the_oldest_first() -> None:
    old, same = beat("b", life=timedelta(hours=2)), beat("a", life=timedelta(hours=2))
    at_once, late = beat("c", life=BEATS_WITHIN), beat("d", age=SPAN, life=timedelta(hours=3))
    others = [
        beat("e", life=BEATS_WITHIN - TICK),
        beat("f", age=SPAN + TICK),
        beat("g", binds_for=None),
    ]
    assert find_colleagues([at_once, old, same, late, *others], NOW) == (late, same, old, at_once)


def test_latest_are_those_with_a_heartbeat_within_the_span_however_short_they_ran() -> None:
    found = [beat("a", age=SPAN), beat("b", life=timedelta(0)), beat("c", age=-SPAN)]
    others = [beat("d", age=SPAN + TICK), beat("e", binds_for=None)]
    assert find_latest([*found, *others], NOW, SPAN) == tuple(found)


def test_differences_name_each_version_and_policy_and_who_has_it_where_that_is_known() -> None:
    first = beat(actor="rotator@b", version="1.0", policy="0123456789abcdef")
    second = beat(actor="rotator@a", version="1.0", policy="0123456789abcdef")
    third = beat(version="1.1", policy=None)
    assert say_differences([first, second]) == ""
    assert say_differences([third, first, second]) == (
        "versions 1.0 (rotator@a, rotator@b), 1.1; policies 0123456789ab (rotator@a, rotator@b), unknown"
    )
    assert say_differences([first, beat(version="1.0", policy="9")]) == "policies 0123456789ab (rotator@b), 9"


def test_periods_begin_with_1970() -> None:
    day = timedelta(days=1)
    assert make_period(NOW, day) == datetime(2026, 7, 1, tzinfo=UTC)
    assert make_period(datetime(2026, 7, 1, tzinfo=UTC) - TICK, day) == datetime(2026, 6, 30, tzinfo=UTC)
    assert make_period(NOW, timedelta(days=7)).weekday() == datetime(1970, 1, 1, tzinfo=UTC).weekday()
