"""The stand-in keeps times as the service does: 1/300 s, up to seven digits, no trailing zeros."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.sandbox.azure_devops_replies import render_date, to_ticks
from rotator.sandbox.clock import VirtualClock


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2020-12-01T23:46:23.319Z", "2020-12-01T23:46:23.32Z"),
        ("2020-11-02T22:56:52.103Z", "2020-11-02T22:56:52.1033333Z"),
        ("2020-10-24T03:04:19.146Z", "2020-10-24T03:04:19.1466667Z"),
        ("2020-12-01T23:46:23Z", "2020-12-01T23:46:23Z"),
        ("2020-12-31T23:59:59.999Z", "2021-01-01T00:00:00Z"),
    ],
)
def test_date_is_kept_at_a_300th_of_a_second_when_it_has_a_fraction(sent: str, kept: str) -> None:
    assert render_date(datetime.fromisoformat(sent)) == kept


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000))
def test_kept_date_stays_the_same_when_it_is_sent_back(microseconds: int) -> None:
    moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
    kept = to_ticks(moment)
    assert abs(kept - moment) <= timedelta(microseconds=1667)
    assert to_ticks(kept) == kept
    assert render_date(datetime.fromisoformat(render_date(moment))) == render_date(moment)


def test_clock_moves_on_but_never_back_when_advanced() -> None:
    clock = VirtualClock()
    before = clock.now()
    clock.advance(timedelta(days=3))
    assert timedelta(days=3) <= clock.now() - before < timedelta(days=3, minutes=1)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(timedelta(seconds=-1))
