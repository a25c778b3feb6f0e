"""When a receiver is told: a pure function, lived through for days."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.events.event import Severity
from rotator.domain.telling import (
    PASSING,
    SEVERITIES,
    Cause,
    Habits,
    Notice,
    Phase,
    Told,
    find_forgotten,
    find_notices,
)

START = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BLOCKED, SIGN_IN, VAULT = ConditionKind.ROTATION_BLOCKED, ConditionKind.SIGN_IN_NEEDED, ConditionKind.VAULT_DOWN
Lasting = Callable[[datetime], Iterable[Condition]]


class Listener:
    """A receiver that takes whatever it is told, and remembers it as the outbox does."""

    def __init__(self, habits: Habits | None = None) -> None:
        self.habits = habits or Habits()
        self.told: dict[Cause, Told] = {}
        self.heard: list[tuple[timedelta, Notice]] = []

    def live(self, span: timedelta, lasting: Lasting, step: timedelta = MINUTE) -> None:
        """Look at every step."""
        for number in range(span // step + 1):
            self.look(START + number * step, tuple(lasting(START + number * step)))

    def look(self, now: datetime, lasting: tuple[Condition, ...]) -> None:
        """Look once."""
        for notice in find_notices(self.told.values(), lasting, self.habits, now):
            self.heard.append((now - START, notice))
            self.told[notice.cause] = Told(
                notice.cause, notice.phase, frozenset(notice.subjects), now, notice.messages, notice.repeats
            )
        for cause in find_forgotten(self.told.values(), lasting, self.habits, now):
            del self.told[cause]

    def list_heard(self) -> list[tuple[timedelta, Phase, int]]:
        """When it was told what about how many."""
        return [(after, notice.phase, len(notice.subjects)) for after, notice in self.heard]


def make(kind: ConditionKind, subject: str, after: timedelta = timedelta(0), code: str | None = None) -> Condition:
    return Condition(kind, subject, START + after, code=code)


def lasts(*conditions: Condition, until: timedelta = timedelta(days=1000)) -> Lasting:
    """These conditions, each from its beginning on, all until one moment."""
    return lambda now: [found for found in conditions if found.since <= now < START + until]


def test_cause_is_told_at_once_and_when_it_is_over() -> None:
    listener = Listener()
    listener.live(3 * HOUR, lasts(make(SIGN_IN, "build-bot"), until=HOUR))
    assert listener.list_heard() == [(timedelta(0), Phase.BEGAN, 1), (HOUR, Phase.OVER, 1)]
    assert listener.heard[1][1].subjects == ("build-bot",)


def test_cause_that_lasts_is_told_at_growing_gaps() -> None:
    """After a day, two, four, and then every week."""
    listener = Listener()
    listener.live(30 * DAY, lasts(make(SIGN_IN, "build-bot")), HOUR)
    days = [after / DAY for after, phase, _ in listener.list_heard() if phase is Phase.LASTS]
    assert days == [1, 3, 7, 14, 21, 28]


def test_more_of_one_cause_are_told_together_at_growing_gaps() -> None:
    """Nine PATs are blocked, one each minute: the first at once, the others in one message."""
    listener = Listener()
    listener.live(DAY, lasts(*(make(BLOCKED, f"pat-{n}", n * MINUTE, "denied") for n in range(9))))
    assert listener.list_heard() == [
        (timedelta(0), Phase.BEGAN, 1),
        (10 * MINUTE, Phase.JOINED, 9),
    ]
    assert len(listener.heard[1][1].joined) == 8


def test_causes_are_told_apart_and_the_worst_first() -> None:
    conditions = (
        make(ConditionKind.PAT_LEFT_BEHIND, "id-1"),
        make(BLOCKED, "pat-1", code="denied"),
        make(BLOCKED, "pat-2", code="foreign_write"),
        make(ConditionKind.AUDIT_BROKEN, "audit_log"),
    )
    heard = find_notices((), conditions, Habits(), START)
    assert [notice.cause.kind for notice in heard] == [
        ConditionKind.AUDIT_BROKEN,
        BLOCKED,
        BLOCKED,
        ConditionKind.PAT_LEFT_BEHIND,
    ]
    assert [notice.cause.code for notice in heard[1:3]] == ["denied", "foreign_write"]


@pytest.mark.parametrize("kind", sorted(PASSING))
def test_what_may_pass_by_itself_is_told_when_it_lasts_for_a_while(kind: ConditionKind) -> None:
    """And not at all if it passes before; whatever its code says meanwhile, it is one cause."""
    listener = Listener()
    listener.live(2 * HOUR, lasts(make(kind, "x", code="read_timeout"), until=29 * MINUTE))
    assert listener.heard == []
    listener.live(2 * HOUR, lasts(make(kind, "x", code="read_timeout"), until=HOUR))
    assert [(after, phase) for after, phase, _ in listener.list_heard()] == [
        (30 * MINUTE, Phase.BEGAN),
        (HOUR, Phase.OVER),
    ]
    listener = Listener()
    codes = ("read_timeout", "connection_refused")
    listener.live(2 * HOUR, lambda now: [make(kind, "x", code=codes[now.minute % 2])])
    assert [phase for _, phase, _ in listener.list_heard()] == [Phase.BEGAN]


def test_receiver_is_not_told_what_is_too_slight_for_it() -> None:
    listener = Listener(Habits(min_severity=Severity.CRITICAL))
    slight, grave = make(SIGN_IN, "build-bot"), make(ConditionKind.AUDIT_BROKEN, "audit_log")
    listener.live(HOUR, lasts(slight, grave))
    assert [notice.cause.kind for _, notice in listener.heard] == [grave.kind]
    assert SEVERITIES[slight.kind] is Severity.ERROR


def test_what_comes_and_goes_is_told_less_and_less_often() -> None:
    """A PAT that is blocked and free again every ten minutes for a week; then, after a quiet day, it is news again."""
    listener = Listener()

    def flap(now: datetime) -> list[Condition]:
        is_bad = (now - START) // (5 * MINUTE) % 2 == 0 or now - START >= 10 * DAY
        return [make(BLOCKED, "pat", now - START, "denied")] if is_bad and not 7 * DAY < now - START < 10 * DAY else []

    listener.live(10 * DAY, flap)
    begun = [after for after, phase, _ in listener.list_heard() if phase is Phase.BEGAN]
    assert len(begun) == 16
    assert len(listener.heard) == 2 * 16 - 1
    assert begun[-1] == 10 * DAY
    assert listener.heard[-1][1].messages == 1


def test_change_of_cause_is_no_end() -> None:
    """A PAT that is blocked for another reason is told once, as that; nobody is told that anything is over."""
    listener = Listener()
    listener.live(
        2 * HOUR, lambda now: [make(BLOCKED, "pat", code="denied" if now - START < HOUR else "foreign_write")]
    )
    assert [(notice.phase, notice.cause.code) for _, notice in listener.heard] == [
        (Phase.BEGAN, "denied"),
        (Phase.BEGAN, "foreign_write"),
    ]
    assert [cause.code for cause in listener.told] == ["foreign_write"]


def test_nothing_is_told_twice_while_it_waits_to_be_delivered() -> None:
    waiting = Told(Cause(SIGN_IN), Phase.BEGAN, frozenset({"a"}), START, is_waiting=True)
    more = (make(SIGN_IN, "a"), make(SIGN_IN, "b"))
    for lasting in (more, more[:1], ()):
        assert find_notices([waiting], lasting, Habits(), START + 30 * DAY) == ()
        assert find_forgotten([waiting], lasting, Habits(), START + 30 * DAY) == ()
    assert len(find_notices([replace(waiting, is_waiting=False)], more, Habits(), START + DAY)) == 1


def test_thousand_alarms_in_seven_days_make_few_messages() -> None:
    """600 PATs blocked for three reasons, 300 that fail for an hour, 100 outages of vaults and organizations.

    Spread over the week by chance, each for some hours: the messages are counted for each cause.
    """
    chance = random.Random(7)
    alarms: list[tuple[Condition, timedelta]] = []

    def add(kind: ConditionKind, count: int, lasting: timedelta, codes: tuple[str, ...] = ("",)) -> None:
        for number in range(count):
            begins = chance.uniform(0, 7) * DAY
            condition = make(kind, f"{kind}-{number}", begins, chance.choice(codes))
            alarms.append((condition, begins + chance.uniform(0.5, 1.5) * lasting))

    add(BLOCKED, 600, 6 * HOUR, ("denied", "foreign_write", "uncovered"))
    add(ConditionKind.ROTATION_FAILING, 300, HOUR, ("read_timeout", "refused"))
    add(VAULT, 50, 2 * HOUR)
    add(ConditionKind.ORGANIZATION_DOWN, 50, 15 * MINUTE)
    listener = Listener()
    listener.live(7 * DAY, lambda now: [found for found, end in alarms if found.since <= now < START + end], 5 * MINUTE)
    assert len(alarms) == 1000
    counts = Counter((notice.cause.kind, notice.cause.code) for _, notice in listener.heard)
    assert counts == {
        (BLOCKED, "denied"): 17,
        (BLOCKED, "foreign_write"): 17,
        (BLOCKED, "uncovered"): 17,
        (ConditionKind.ROTATION_FAILING, ""): 28,
        (VAULT, ""): 24,
    }
    assert len(listener.heard) == 103
