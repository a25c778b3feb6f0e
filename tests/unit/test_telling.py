"""When a receiver is told: a pure function, lived through for days."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.domain.clocks import HOST
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
    find_cause,
    find_ended,
    find_forgotten,
    find_notices,
)

START = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BLOCKED, SIGN_IN, VAULT = ConditionKind.ROTATION_BLOCKED, ConditionKind.SIGN_IN_NEEDED, ConditionKind.VAULT_DOWN
FAILING = ConditionKind.ROTATION_FAILING
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
        for ended in find_ended(self.told.values(), lasting):
            self.told[ended.cause] = ended

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


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "not told yet"])
def test_only_the_wrong_clock_is_told_again_while_the_clock_is_wrong(is_told: bool) -> None:
    """By that clock, what lasts for minutes has lasted for days. What is new is told all the same, and what is over."""
    clock, lasting, over = make(ConditionKind.CLOCK_WRONG, HOST), make(SIGN_IN, "build-bot"), make(VAULT, "kv")
    told = [Told(find_cause(found), Phase.BEGAN, frozenset([found.subject]), START) for found in (clock, lasting, over)]
    new = make(BLOCKED, "npm-feed", 3 * DAY)
    wrong = [clock, lasting, new] if is_told else [lasting, new]
    found = find_notices(told[not is_told :], wrong, Habits(), START + 3 * DAY, is_clock_wrong=not is_told)
    heard = {(notice.cause.kind, notice.phase) for notice in found}
    expected = {(BLOCKED, Phase.BEGAN), (VAULT, Phase.OVER)}
    assert heard == (expected | {(ConditionKind.CLOCK_WRONG, Phase.LASTS)} if is_told else expected)
    right = find_notices(told[1:], [lasting, new], Habits(), START + 3 * DAY)
    assert (SIGN_IN, Phase.LASTS) in {(notice.cause.kind, notice.phase) for notice in right}


def test_more_of_one_cause_are_told_together_at_growing_gaps() -> None:
    """Nine PATs are blocked, one each minute: the first at once, the others in one message."""
    listener = Listener()
    listener.live(DAY, lasts(*(make(BLOCKED, f"pat-{n}", n * MINUTE, "denied") for n in range(9))))
    assert listener.list_heard() == [
        (timedelta(0), Phase.BEGAN, 1),
        (10 * MINUTE, Phase.JOINED, 9),
    ]
    assert len(listener.heard[1][1].joined) == 8


def test_clock_of_the_host_is_told_at_once_although_another_one_was_told_just_before() -> None:
    """While it is wrong nothing is rotated; a service's is merely set aside."""
    service, host = make(ConditionKind.CLOCK_WRONG, "key_vault"), make(ConditionKind.CLOCK_WRONG, "host", MINUTE)
    listener = Listener()
    listener.live(HOUR, lasts(service, host, until=30 * MINUTE))
    told = [(after, notice.phase, notice.subjects) for after, notice in listener.heard]
    assert told[:2] == [(timedelta(0), Phase.BEGAN, ("key_vault",)), (MINUTE, Phase.BEGAN, ("host",))]
    assert sorted(told[2:]) == [(30 * MINUTE, Phase.OVER, ("host",)), (30 * MINUTE, Phase.OVER, ("key_vault",))]


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


@pytest.mark.parametrize("change", ["step back", "down_after", "min_severity"])
def test_over_is_said_when_it_ended_and_never_because_a_clock_or_the_settings_changed(change: str) -> None:
    """Whoever heard that it began hears of its end."""
    listener = Listener()
    down = make(ConditionKind.ORGANIZATION_DOWN, "contoso")
    listener.live(30 * MINUTE, lasts(down))
    if change == "down_after":
        listener.habits = Habits(down_after=4 * HOUR)
    if change == "min_severity":
        listener.habits = Habits(min_severity=Severity.CRITICAL)
    now = START + 30 * MINUTE - (timedelta(seconds=40) if change == "step back" else timedelta(0))
    for _ in range(60):
        listener.look(now := now + timedelta(seconds=10), (down,))
    assert [phase for _, phase, _ in listener.list_heard()] == [Phase.BEGAN]
    listener.look(now, ())
    assert [phase for _, phase, _ in listener.list_heard()] == [Phase.BEGAN, Phase.OVER]


def test_what_was_mended_and_breaks_again_is_told_while_another_still_lasts() -> None:
    """At the gaps for more that join it."""
    listener = Listener()
    both = (make(BLOCKED, "a", code="denied"), make(BLOCKED, "b", code="denied"))
    listener.live(20 * DAY, lambda now: both if not 16 * DAY < now - START < 17 * DAY else both[:1], HOUR)
    assert [(after / DAY, notice.phase, notice.joined) for after, notice in listener.heard[-2:]] == [
        (14, Phase.LASTS, ()),
        (17, Phase.JOINED, ("b",)),
    ]


def test_times_in_the_future_are_not_believed() -> None:
    """Neither when something began, nor when it was told, nor when it was over."""
    later = 365 * DAY
    heard = find_notices((), [make(VAULT, "prod", later)], Habits(), START)
    assert [notice.phase for notice in heard] == [Phase.BEGAN]
    told = Told(Cause(SIGN_IN), Phase.BEGAN, frozenset({"a"}), START + later)
    both = (make(SIGN_IN, "a"), make(SIGN_IN, "b"))
    for lasting, phase in ((both, Phase.JOINED), (both[:1], Phase.LASTS)):
        assert [notice.phase for notice in find_notices([told], lasting, Habits(), START)] == [phase]
    over = replace(told, phase=Phase.OVER)
    assert find_forgotten([over], (), Habits(), START) == (over.cause,)
    skewed = replace(told, told_at=START + timedelta(seconds=30))
    assert find_notices([skewed], [make(SIGN_IN, "a")], Habits(), START) == ()


def test_cause_that_changes_to_and_fro_is_told_less_and_less_often() -> None:
    """As what comes and goes is; its end is told once."""
    listener, codes = Listener(), ("secret_changed", "cause_unknown")
    probe = ConditionKind.PROBE_FAILING

    def flip(now: datetime) -> list[Condition]:
        return [make(probe, "pat", code=codes[(now - START) // HOUR % 2])] if now - START < DAY else []

    listener.live(DAY, flip)
    assert [(after, phase) for after, phase, _ in listener.list_heard()] == [
        (timedelta(0), Phase.BEGAN),
        (HOUR, Phase.BEGAN),
        (2 * HOUR, Phase.BEGAN),
        (7 * HOUR, Phase.BEGAN),
        (20 * HOUR, Phase.BEGAN),
        (DAY, Phase.OVER),
    ]


SPANS = st.tuples(st.integers(0, 400), st.integers(1, 200))
"""When something begins and how long it lasts, in looks of ten minutes."""
STEPS = st.sampled_from([-10 * DAY, -HOUR, timedelta(seconds=-40), timedelta(0), 5 * MINUTE, 3 * HOUR, 4000 * DAY])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    spans=st.lists(st.tuples(st.sampled_from([BLOCKED, VAULT]), st.sampled_from("abc"), SPANS), max_size=8),
    clock=st.lists(st.tuples(st.integers(0, 400), STEPS), max_size=6),
)
def test_no_step_of_the_clock_says_over_too_early_or_silences_for_good(
    spans: list[tuple[ConditionKind, str, tuple[int, int]]], clock: list[tuple[int, timedelta]]
) -> None:
    """Once the clock is right, all that lasts is known to the receiver within the longest gap."""
    listener, lasting, ahead = Listener(), dict[tuple[ConditionKind, str], Condition](), timedelta(0)
    for number in range(700):
        ahead = timedelta(0) if number > 400 else dict(clock).get(number, ahead)
        now = START + number * 10 * MINUTE + ahead
        bad = {
            (kind, name) for kind, name, (begin, span) in spans if begin <= number < begin + span + 400 * (begin > 300)
        }
        lasting = {key: lasting.get(key) or Condition(*key, now, code="denied") for key in sorted(bad)}
        told = len(listener.heard)
        listener.look(now, tuple(lasting.values()))
        for _, notice in listener.heard[told:]:
            assert notice.phase is not Phase.OVER or not bad & {(notice.cause.kind, name) for name in notice.subjects}
        if number > 600:
            last = [item for item in listener.told.values() if item.phase is not Phase.OVER]
            known = {(item.cause.kind, name) for item in last for name in item.subjects}
            assert known == bad


def test_rotations_that_fail_by_a_vault_that_is_down_are_told_as_the_vault() -> None:
    """But not those that fail for another reason. Once it works again, what failed has as long to be tried again."""
    vault = make(VAULT, "kv", code="vault_failed")
    failing = make(FAILING, "npm-feed", code="vault_failed")
    other = make(FAILING, "ci-build", code="server_error")
    listener = Listener()
    listener.live(
        3 * HOUR,
        lambda now: [
            *lasts(vault, until=HOUR)(now),
            *lasts(failing, until=HOUR + 20 * MINUTE)(now),
            *lasts(other, until=2 * HOUR)(now),
        ],
    )
    assert [(after, notice.cause.kind, notice.phase, notice.subjects) for after, notice in listener.heard] == [
        (30 * MINUTE, VAULT, Phase.BEGAN, ("kv",)),
        (30 * MINUTE, FAILING, Phase.BEGAN, ("ci-build",)),
        (HOUR, VAULT, Phase.OVER, ("kv",)),
        (2 * HOUR, FAILING, Phase.OVER, ("ci-build",)),
    ]
    assert [notice.code for _, notice in listener.heard] == ["vault_failed", "server_error", None, None]


def test_rotation_that_goes_on_failing_after_the_vault_works_is_told() -> None:
    """A failure that was told before the vault was down is not called over."""
    vault = make(VAULT, "kv", HOUR, code="vault_failed")
    before, after = make(FAILING, "a", code="vault_failed"), make(FAILING, "b", 2 * HOUR, code="vault_failed")
    listener = Listener()
    listener.live(
        5 * HOUR, lambda now: [*lasts(vault, until=3 * HOUR)(now), *lasts(before, after, until=4 * HOUR)(now)]
    )
    assert [(after, notice.cause.kind, notice.phase, notice.subjects) for after, notice in listener.heard] == [
        (30 * MINUTE, FAILING, Phase.BEGAN, ("a",)),
        (HOUR + 30 * MINUTE, VAULT, Phase.BEGAN, ("kv",)),
        (3 * HOUR, VAULT, Phase.OVER, ("kv",)),
        (3 * HOUR + 30 * MINUTE, FAILING, Phase.JOINED, ("a", "b")),
        (4 * HOUR, FAILING, Phase.OVER, ("a", "b")),
    ]


@pytest.mark.parametrize("kind", ConditionKind)
def test_each_condition_is_told_when_it_begins_and_when_it_is_over(kind: ConditionKind) -> None:
    """What may pass by itself once it has lasted for a while."""
    listener, ends = Listener(), timedelta(hours=2)
    listener.live(3 * HOUR, lambda now: [make(kind, "x")] if now - START < ends else [])
    begins = listener.habits.down_after if kind in PASSING else timedelta(0)
    heard = [(after, phase) for after, phase, _ in listener.list_heard()]
    assert heard == [(begins, Phase.BEGAN), (ends, Phase.OVER)]


def test_pat_that_expires_for_the_reason_that_blocks_it_is_one_message() -> None:
    """What was told before stays told; when it no longer expires, what still blocks it is told."""
    blocked = make(BLOCKED, "nightly", code="all_organizations")
    expiring = make(ConditionKind.PAT_EXPIRING, "nightly", code="all_organizations")
    listener = Listener()
    listener.live(2 * HOUR, lambda now: [blocked, expiring] if now < START + HOUR else [blocked])
    assert [notice.cause.kind for _, notice in listener.heard if notice.phase is Phase.BEGAN] == [
        ConditionKind.PAT_EXPIRING,
        BLOCKED,
    ]
    assert listener.heard[1][0] == HOUR
    first = Listener()
    later = replace(expiring, since=START + HOUR)
    first.live(2 * HOUR, lasts(blocked, later))
    assert [(notice.cause.kind, notice.phase) for _, notice in first.heard] == [
        (BLOCKED, Phase.BEGAN),
        (ConditionKind.PAT_EXPIRING, Phase.BEGAN),
    ]
    other = Listener()
    other.live(HOUR, lasts(blocked, replace(expiring, code="paused")))
    assert len(other.heard) == 2
