"""What is remembered of a sign-in: when it ends, by earlier ends, and which warnings that makes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.domain.managed_pat import Failure
from rotator.domain.sign_in import SignInMemory
from tests.support.records import DAY, NOW

HOUR = timedelta(hours=1)
FREQUENCY = Failure("sign_in_frequency", "the policy ended it")
REVOKED = Failure("sign_in_revoked", "it was revoked")


def make_memory(lifespan: timedelta | None = None) -> SignInMemory:
    """A person signed in now, and sign-ins last that long."""
    return SignInMemory("bot", interactive_at=NOW, refreshed_at=NOW, lifespan=lifespan)


def test_end_is_ninety_days_after_the_last_refresh_where_nothing_else_is_known() -> None:
    memory = SignInMemory("bot").signed_in(NOW)
    assert memory.lapses_at == NOW + 90 * DAY
    assert memory.refreshed(NOW + 30 * DAY, NOW + 30 * DAY).lapses_at == NOW + 120 * DAY
    assert memory.signed_out().lapses_at is None
    assert SignInMemory("bot", interactive_at=NOW).lapses_at is None


def test_end_is_learned_from_the_frequency_that_ended_an_earlier_sign_in() -> None:
    """And from no other end: a password change comes at any time."""
    used = make_memory().refreshed(NOW + 30 * DAY, NOW + 30 * DAY)
    assert used.refused(REVOKED, "1", NOW + 30 * DAY + HOUR).lifespan is None
    ended = used.refused(FREQUENCY, "1", NOW + 30 * DAY + HOUR)
    assert ended.lifespan == 30 * DAY
    again = ended.refused(FREQUENCY, "1", NOW + 31 * DAY).signed_in(NOW + 40 * DAY)
    assert (again.lifespan, again.refusal, again.lapses_at) == (30 * DAY, None, NOW + 70 * DAY)


def test_learned_end_is_forgotten_when_a_sign_in_outlives_it() -> None:
    """A refresh comes about once an hour, so it may be somewhat later than the one that was the last."""
    memory = make_memory(7 * DAY)
    assert memory.refreshed(NOW + 7 * DAY + HOUR, NOW + 7 * DAY + HOUR).lifespan == 7 * DAY + HOUR
    assert memory.refreshed(NOW + 8 * DAY, NOW + 8 * DAY).lifespan is None


@pytest.mark.parametrize(
    ("lifespan", "age", "expected"),
    [
        (30 * DAY, 8 * DAY, None),
        (30 * DAY, 9 * DAY, 21),
        (30 * DAY, 23 * DAY, 7),
        (30 * DAY, 29 * DAY, 1),
        (30 * DAY, 31 * DAY, None),
        (7 * DAY, timedelta(0), None),
        (7 * DAY, 6 * DAY, 1),
        (12 * HOUR, 11 * HOUR, None),
        (None, 60 * DAY, None),
        (None, 69 * DAY, 21),
        (None, 89 * DAY, 1),
    ],
)
def test_warning_comes_21_and_7_days_and_a_day_ahead(
    lifespan: timedelta | None, age: timedelta, expected: int | None
) -> None:
    """Not one that would come with each sign-in, as it never lasts that long."""
    assert make_memory(lifespan).find_warning(NOW + age) == expected


@pytest.mark.parametrize(
    ("generation", "age", "expected"),
    [("1", timedelta(0), True), ("1", 6 * HOUR - timedelta(seconds=1), True), ("1", 6 * HOUR, False),
     ("2", timedelta(0), False), ("1", -HOUR, False)],
)  # fmt: skip
def test_refused_sign_in_is_left_alone_for_six_hours_unless_there_is_another_one(
    generation: str, age: timedelta, expected: bool
) -> None:
    """A clock that was set back does not leave it alone for longer."""
    memory = make_memory().refused(REVOKED, "1", NOW)
    assert memory.is_paused(generation, NOW + age) is expected
    assert not make_memory().is_paused("1", NOW)


def test_refusal_lasts_since_the_first_until_tokens_are_given() -> None:
    memory = make_memory().refused(REVOKED, "1", NOW + DAY).refused(REVOKED, "1", NOW + 2 * DAY)
    assert (memory.refused_at, memory.asked_at) == (NOW + DAY, NOW + 2 * DAY)
    healed = memory.refreshed(NOW + 3 * DAY, NOW + 3 * DAY)
    assert (healed.refusal, healed.refused_at, healed.refreshed_at) == (None, None, NOW + 3 * DAY)
