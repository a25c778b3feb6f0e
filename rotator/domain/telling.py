"""When a receiver is told about the conditions that last: at once, at growing gaps while they last, and when over.

Conditions with one cause are told together. Those that may pass by themselves are told only after a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum, auto

from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.events.catalogue import EVENTS
from rotator.domain.events.event import Severity

REMEMBERED = timedelta(days=1)
"""What is over is remembered for so long: what comes back within that time is not told like something new."""
JOIN_GAPS = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=4), timedelta(hours=12))
"""How long after the first, the second, the third message the next may tell that more joined or that it came back."""
LONGEST_REPEAT = timedelta(days=7)

_ORDER = list(Severity)
_BEGUN = {kind: [event.type for event in EVENTS if event.type.begins is kind] for kind in ConditionKind}
SEVERITIES: Mapping[ConditionKind, Severity] = {
    kind: max((event.severity for event in begun), key=_ORDER.index) for kind, begun in _BEGUN.items()
}
"""How much each condition matters: as the worst event that begins it."""
PASSING = frozenset(kind for kind, begun in _BEGUN.items() if not any(event.needs_person for event in begun))
"""The conditions that may pass by themselves."""


class Phase(StrEnum):
    """What a receiver is told about a cause: it begins, more joined, it lasts, it is over."""

    BEGAN = auto()
    JOINED = auto()
    LASTS = auto()
    OVER = auto()


@dataclass(frozen=True, order=True)
class Cause:
    """What conditions have in common that are told together: their kind, and why, where only a person can mend it."""

    kind: ConditionKind
    code: str = ""


@dataclass(frozen=True)
class Habits:
    """How a receiver wants to be told.

    `repeat`: after which time a cause that lasts is told again, for the first time. `down_after`: how long what may
    pass by itself must have lasted.
    """

    repeat: timedelta = timedelta(hours=24)
    down_after: timedelta = timedelta(minutes=30)
    min_severity: Severity = Severity.WARNING


@dataclass(frozen=True)
class Told:
    """What a receiver was told about a cause last. `messages` and `repeats` count since it was quiet for a day.

    `subjects` are all that it was told of and that lasted then. `is_waiting`: it is still to be delivered.
    """

    cause: Cause
    phase: Phase
    subjects: frozenset[str]
    told_at: datetime
    messages: int = 1
    repeats: int = 0
    is_waiting: bool = False


@dataclass(frozen=True)
class Notice:
    """What is to be told now. `conditions` are all that last, or when it is over those that the receiver knew of.

    `joined` are the subjects that are new to the receiver; `since` is when the first of all began.
    """

    cause: Cause
    phase: Phase
    subjects: tuple[str, ...]
    joined: tuple[str, ...]
    since: datetime | None
    messages: int
    repeats: int


def find_cause(condition: Condition) -> Cause:
    """Return what a condition is told together with."""
    return Cause(condition.kind, "" if condition.kind in PASSING else condition.code or "")


def find_notices(
    told: Iterable[Told], lasting: Iterable[Condition], habits: Habits, now: datetime
) -> tuple[Notice, ...]:
    """Return what a receiver is to be told now, the worst first; nothing about what still waits to be delivered."""
    before = {found.cause: found for found in told}
    groups = _group(lasting, habits, now)
    found = [_look_at(before.get(cause), cause, group, habits, now) for cause, group in groups.items()]
    found += [_end(memory) for cause, memory in before.items() if cause not in groups and not _moved(memory, groups)]
    notices = [notice for notice in found if notice is not None]
    return tuple(sorted(notices, key=lambda notice: (-_ORDER.index(SEVERITIES[notice.cause.kind]), notice.cause)))


def find_forgotten(
    told: Iterable[Told], lasting: Iterable[Condition], habits: Habits, now: datetime
) -> tuple[Cause, ...]:
    """Return what need not be remembered any more: it is over for long, or all of it has another cause now."""
    groups = _group(lasting, habits, now)
    return tuple(
        found.cause
        for found in told
        if not found.is_waiting
        and found.cause not in groups
        and (now - found.told_at >= REMEMBERED if found.phase is Phase.OVER else _moved(found, groups))
    )


Groups = Mapping[Cause, Mapping[str, Condition]]


def _group(lasting: Iterable[Condition], habits: Habits, now: datetime) -> Groups:
    groups: dict[Cause, dict[str, Condition]] = {}
    for condition in lasting:
        is_minor = _ORDER.index(SEVERITIES[condition.kind]) < _ORDER.index(habits.min_severity)
        is_early = condition.kind in PASSING and now - condition.since < habits.down_after
        if not is_minor and not is_early:
            groups.setdefault(find_cause(condition), {})[condition.subject] = condition
    return groups


def _look_at(
    before: Told | None, cause: Cause, group: Mapping[str, Condition], habits: Habits, now: datetime
) -> Notice | None:
    """Return what is to be told about a cause that lasts."""
    subjects, since = tuple(sorted(group)), min(condition.since for condition in group.values())
    if before is None:
        return Notice(cause, Phase.BEGAN, subjects, subjects, since, 1, 0)
    if before.is_waiting:
        return None
    passed, was_over = now - before.told_at, before.phase is Phase.OVER
    joined = subjects if was_over else tuple(name for name in subjects if name not in before.subjects)
    messages = before.messages + 1
    if joined and passed >= JOIN_GAPS[min(before.messages, len(JOIN_GAPS)) - 1]:
        phase, repeats = (Phase.BEGAN, 0) if was_over else (Phase.JOINED, before.repeats)
        return Notice(cause, phase, subjects, joined, since, messages, repeats)
    if not was_over and passed >= _find_repeat(before.repeats, habits):
        return Notice(cause, Phase.LASTS, subjects, joined, since, messages, before.repeats + 1)
    return None


def _find_repeat(repeats: int, habits: Habits) -> timedelta:
    """Return the gap before the next repeat: each is twice as long, up to a week."""
    return min(habits.repeat * (1 << min(repeats, 10)), max(habits.repeat, LONGEST_REPEAT))


def _end(before: Told) -> Notice | None:
    """Return what is to be told about a cause that no longer lasts."""
    if before.is_waiting or before.phase is Phase.OVER:
        return None
    subjects = tuple(sorted(before.subjects))
    return Notice(before.cause, Phase.OVER, subjects, (), None, before.messages + 1, before.repeats)


def _moved(before: Told, groups: Groups) -> bool:
    """Whether all that a receiver was told of lasts for another cause."""
    others = {name for cause, group in groups.items() if cause.kind is before.cause.kind for name in group}
    return before.cause not in groups and before.subjects <= others
