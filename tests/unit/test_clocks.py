"""The vote of the clocks, and spans by the boot clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rotator.adapters.clock import SystemBootClock
from rotator.adapters.http_dates import read_http_date
from rotator.adapters.witnesses import HEARD_WITHIN, ServiceClocks
from rotator.domain.clocks import BootMoment, judge
from tests.support.clock import FakeClock
from tests.support.records import DAY, NOW

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
ZERO = timedelta(0)


@pytest.mark.parametrize(
    ("ahead", "last_event", "offset"),
    [
        ([], None, ZERO),
        ([MINUTE], None, ZERO),
        ([MINUTE + SECOND], None, MINUTE + SECOND),
        ([2 * DAY, 2 * DAY], None, 2 * DAY),
        ([2 * DAY, 2 * DAY + 2 * SECOND], None, 2 * DAY + SECOND),
        ([2 * DAY, 2 * DAY + MINUTE], None, 2 * DAY + MINUTE / 2),
        ([2 * DAY, ZERO], None, ZERO),
        ([-2 * DAY, ZERO, SECOND], None, ZERO),
        ([2 * DAY, 2 * DAY, ZERO], None, 2 * DAY),
        ([2 * DAY, 3 * DAY], None, None),
        ([2 * DAY, 2 * DAY, ZERO, ZERO], None, None),
        ([], -DAY, ZERO),
        ([], DAY, DAY),
        ([ZERO], DAY, ZERO),
        ([DAY], DAY, DAY),
        ([ZERO, ZERO], 3650 * DAY, ZERO),
    ],
)
def test_host_is_held_against_the_median_and_a_single_dissenter_is_set_aside(
    ahead: list[timedelta], last_event: timedelta | None, offset: timedelta | None
) -> None:
    witnesses = {str(number): NOW + span for number, span in enumerate(ahead)}
    verdict = judge(NOW, witnesses, None if last_event is None else NOW + last_event)
    assert verdict.offset == offset
    assert verdict.is_wrong == (offset is None or abs(offset) > MINUTE)


def test_dissenter_is_named_and_its_time_is_not_among_the_agreeing() -> None:
    verdict = judge(NOW, {"entra": NOW + DAY, "key_vault": NOW + SECOND}, None)
    assert (verdict.agreeing, verdict.dissenting) == ((NOW + SECOND,), {"entra": DAY})


def test_every_witness_counts_when_the_host_is_wrong_and_a_single_dissenter_does_not() -> None:
    assert judge(NOW, {"entra": NOW + DAY, "key_vault": NOW}, None).trusted == (NOW,)
    assert judge(NOW, {"entra": NOW + DAY, "key_vault": NOW + DAY}, None).trusted == (NOW + DAY,) * 2
    assert judge(NOW, {"entra": NOW + DAY, "key_vault": NOW - DAY}, None).trusted == (NOW + DAY, NOW - DAY)


def test_last_event_does_not_vote_when_it_is_ahead_by_no_more_than_clocks_may_differ() -> None:
    assert judge(NOW, {}, NOW + MINUTE).agreeing == ()


def test_span_is_known_within_one_boot_only() -> None:
    earlier, later = BootMoment("a", 5 * MINUTE), BootMoment("a", 7 * MINUTE)
    assert later.since(earlier) == 2 * MINUTE
    assert later.since(BootMoment("b", 5 * MINUTE)) is None
    assert later.since(None) is None


def test_boot_clock_runs_on_and_names_its_boot() -> None:
    first, second = SystemBootClock().read_boot(), SystemBootClock().read_boot()
    assert first.boot_id == second.boot_id
    assert ZERO <= second.elapsed - first.elapsed < MINUTE


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Sun, 01 Mar 2026 12:00:00 GMT", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("Sun, 01 Mar 2026 13:00:00 +0100", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("Sun, 01 Mar 2026 12:00:00 -0000", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("soon", None),
        ("", None),
        ("Sun, 99 Mar 2026 12:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", None),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", None),
        ("Fri, 31 Dec 2026 23:59:59 +99999999999", None),
    ],
)
def test_date_of_an_answer_is_read_or_passed_over(text: str, moment: datetime | None) -> None:
    assert read_http_date(text) == moment


def test_service_is_a_witness_for_a_quarter_of_an_hour_by_the_boot_clock() -> None:
    clock = FakeClock()
    clocks = ServiceClocks(clock)
    clocks.make_listener("entra")("Sun, 01 Mar 2026 12:00:00 GMT")
    clocks.make_listener("key_vault")("soon")
    clock.set(DAY)
    clock.advance(MINUTE)
    said = datetime(2026, 3, 1, 12, 1, 0, 500000, tzinfo=UTC)
    assert clocks.read_witnesses() == {"entra": said}
    clock.advance(HEARD_WITHIN - MINUTE)
    assert list(clocks.read_witnesses()) == ["entra"]
    clock.advance(SECOND)
    assert clocks.read_witnesses() == {}


def test_service_that_is_forgotten_is_a_witness_again_when_it_has_answered() -> None:
    clocks = ServiceClocks(FakeClock())
    for service in ("entra", "key_vault"):
        clocks.make_listener(service)("Sun, 01 Mar 2026 12:00:00 GMT")
    clocks.forget(["entra", "database"])
    assert list(clocks.read_witnesses()) == ["key_vault"]
    clocks.make_listener("entra")("Sun, 01 Mar 2026 12:00:00 GMT")
    assert set(clocks.read_witnesses()) == {"entra", "key_vault"}
