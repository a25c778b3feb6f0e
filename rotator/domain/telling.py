"""When a receiver hears of the conditions that last: immediately, at growing intervals, and when they are over.

Conditions with one cause are reported together. Those that may pass by themselves are reported only after a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto

from rotator.domain.clocks import HOST, MOST_SKEW
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.digest import Weekday
from rotator.domain.events.catalogue import EVENTS
from rotator.domain.events.event import Severity

REMEMBERED = timedelta(days=1)
"""What is over is remembered for so long: what comes back within that time is not reported as new."""
JOIN_GAPS = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=4), timedelta(hours=12))
"""How long after the first, the second, the third message the next may tell that more joined or that it came back."""
LONGEST_REPEAT = timedelta(days=7)
HOST_CLOCK = "clock_skew"
"""Why nothing is minted or revoked while this host's clock is wrong, as errors call it."""

_ORDER = list(Severity)
_BEGUN = {kind: [event.type for event in EVENTS if event.type.begins is kind] for kind in ConditionKind}
SEVERITIES: Mapping[ConditionKind, Severity] = {
    kind: max((event.severity for event in begun), key=_ORDER.index) for kind, begun in _BEGUN.items()
}
"""How much each condition matters: every event that begins it has that severity."""
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
    """What conditions that are reported together have in common: their kind, and why, if only a person can fix it."""

    kind: ConditionKind
    code: str = ""


@dataclass(frozen=True)
class Habits:
    """How a receiver wants to be told.

    `repeat`: after which time a cause that lasts is told again, for the first time. `down_after`: how long what may
    pass by itself must have lasted. `digest_on`: the day of its weekly digest; None: it gets none.
    """

    repeat: timedelta = timedelta(hours=24)
    down_after: timedelta = timedelta(minutes=30)
    min_severity: Severity = Severity.WARNING
    digest_on: Weekday | None = None


@dataclass(frozen=True)
class Told:
    """What a receiver was told about a cause last. `messages` and `repeats` count since it was quiet for a day.

    `subjects` are all that it was told of and that last; when it is over, that lasted to the end. `is_waiting`: it is
    still to be delivered.
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

    `joined` are the subjects that are new to the receiver; `since` is when the first of all began. `code` is why, if
    all have one reason.
    """

    cause: Cause
    phase: Phase
    subjects: tuple[str, ...]
    joined: tuple[str, ...]
    since: datetime | None
    messages: int
    repeats: int
    code: str | None = None


def find_cause(condition: Condition) -> Cause:
    """Return what a condition is told together with. A wrong clock of this host stops all work, and waits for none."""
    if condition.kind is ConditionKind.CLOCK_WRONG and condition.subject == HOST:
        return Cause(condition.kind, HOST_CLOCK)
    return Cause(condition.kind, "" if condition.kind in PASSING else condition.code or "")


def _find_expiry(blocked: Cause) -> Cause:
    """Return as what a PAT that is blocked is told of when it expires for the same reason: once."""
    return Cause(ConditionKind.PAT_EXPIRING, blocked.code)


def join_causes(lasting: Iterable[Condition]) -> Iterator[Condition]:
    """Yield what lasts, each problem once: a PAT that expires because it is blocked only as one that expires."""
    found = tuple(lasting)
    known = {(find_cause(condition), condition.subject) for condition in found}
    for condition in found:
        is_blocked = condition.kind is ConditionKind.ROTATION_BLOCKED
        if not (is_blocked and (_find_expiry(find_cause(condition)), condition.subject) in known):
            yield condition


def find_notices(
    told: Iterable[Told],
    lasting: Iterable[Condition],
    habits: Habits,
    now: datetime,
    *,
    is_clock_wrong: bool = False,
) -> tuple[Notice, ...]:
    """Return what a receiver is to be told now, the worst first; nothing about what still waits to be delivered.

    While the host's clock is wrong, or is told to be, nothing else is told again because it lasts: nobody knows for how
    long it has.
    """
    before, groups = {found.cause: found for found in told}, _group(lasting)
    tellable = {cause: _select(before, cause, groups, habits, now) for cause in groups}
    clock = Cause(ConditionKind.CLOCK_WRONG, HOST_CLOCK)
    is_unknown = is_clock_wrong or clock in groups
    found = [
        _look_at(before.get(cause) or _find_former(before, cause, groups), cause, group, habits, now)
        for cause, group in tellable.items()
        if group
    ]
    found = [it for it in found if not (is_unknown and it and it.phase is Phase.LASTS and it.cause != clock)]
    found += [_end(memory, groups) for cause, memory in before.items() if not tellable.get(cause)]
    notices = [notice for notice in found if notice is not None]
    return tuple(sorted(notices, key=lambda notice: (-_ORDER.index(SEVERITIES[notice.cause.kind]), notice.cause)))


def find_ended(told: Iterable[Told], lasting: Iterable[Condition]) -> tuple[Told, ...]:
    """Return what is to be remembered of causes that last for a part of their subjects alone.

    One that ended is no longer known to the receiver: it is told when it begins again.
    """
    groups = _group(lasting)
    left = [(found, found.subjects & groups.get(found.cause, {}).keys()) for found in told]
    return tuple(
        replace(found, subjects=subjects)
        for found, subjects in left
        if subjects and subjects != found.subjects and not found.is_waiting and found.phase is not Phase.OVER
    )


def find_forgotten(
    told: Iterable[Told], lasting: Iterable[Condition], habits: Habits, now: datetime
) -> tuple[Cause, ...]:
    """Return what need not be remembered any more: it is over for long, or is told as another cause now."""
    before, groups = {found.cause: found for found in told}, _group(lasting)
    return tuple(
        cause
        for cause, found in before.items()
        if not found.is_waiting
        and not _select(before, cause, groups, habits, now)
        and (
            _find_age(found.told_at, now) >= REMEMBERED
            if found.phase is Phase.OVER
            else _is_moved(found, groups) and before.keys() >= _find_causes(found, groups)
        )
    )


Group = Mapping[str, Condition]
Groups = Mapping[Cause, Group]


def _group(lasting: Iterable[Condition]) -> Groups:
    groups: dict[Cause, dict[str, Condition]] = {}
    for condition in lasting:
        groups.setdefault(find_cause(condition), {})[condition.subject] = condition
    return groups


def _select(before: Mapping[Cause, Told], cause: Cause, groups: Groups, habits: Habits, now: datetime) -> Group:
    """Return what a receiver is to hear of: what is not too slight, and not too early unless it has heard of it."""
    group, told = groups.get(cause, {}), before.get(cause)
    if _ORDER.index(SEVERITIES[cause.kind]) < _ORDER.index(habits.min_severity):
        return {}
    known = frozenset[str]() if told is None or told.phase is Phase.OVER else told.subjects
    if cause.kind is ConditionKind.ROTATION_BLOCKED:
        expiring = groups.get(_find_expiry(cause), {})
        return {name: found for name, found in group.items() if name in known or name not in expiring}
    if cause.kind not in PASSING:
        return group
    return {
        name: condition
        for name, condition in group.items()
        if name in known
        or (
            _find_age(condition.since, now) >= habits.down_after
            and not _is_of_vault(condition, before, groups, habits, now)
        )
    }


def _is_of_vault(
    condition: Condition, before: Mapping[Cause, Told], groups: Groups, habits: Habits, now: datetime
) -> bool:
    """Whether a rotation fails by a vault that is down, which is reported already.

    When the vault works again, what failed meanwhile is tried again: that has as long before it is reported separately.
    """
    if condition.kind is not ConditionKind.ROTATION_FAILING:
        return False
    vault = Cause(ConditionKind.VAULT_DOWN)
    down, told = groups.get(vault, {}).values(), before.get(vault)
    if down or told is None:
        return condition.code is not None and condition.code in {found.code for found in down}
    ended_at = told.told_at if told.phase is Phase.OVER else now
    return condition.since <= ended_at and _find_age(ended_at, now) < habits.down_after


def _find_age(moment: datetime, now: datetime) -> timedelta:
    """Return how long ago a moment was. One in the future is not believed: it counts as long past."""
    return timedelta.max if moment > now + MOST_SKEW else now - moment


def _look_at(before: Told | None, cause: Cause, group: Group, habits: Habits, now: datetime) -> Notice | None:
    """Return what is to be told about a cause that lasts."""
    subjects, since = tuple(sorted(group)), min(condition.since for condition in group.values())
    codes = {condition.code for condition in group.values()}
    code = codes.pop() if len(codes) == 1 else None
    if before is None:
        return Notice(cause, Phase.BEGAN, subjects, subjects, since, 1, 0, code)
    if before.is_waiting:
        return None
    passed, is_new = _find_age(before.told_at, now), before.phase is Phase.OVER or before.cause != cause
    joined = subjects if is_new else tuple(name for name in subjects if name not in before.subjects)
    messages = before.messages + 1
    if joined and passed >= JOIN_GAPS[min(before.messages, len(JOIN_GAPS)) - 1]:
        phase, repeats = (Phase.BEGAN, 0) if is_new else (Phase.JOINED, before.repeats)
        return Notice(cause, phase, subjects, joined, since, messages, repeats, code)
    if not is_new and passed >= _find_repeat(before.repeats, habits):
        return Notice(cause, Phase.LASTS, subjects, joined, since, messages, before.repeats + 1, code)
    return None


def _find_former(before: Mapping[Cause, Told], cause: Cause, groups: Groups) -> Told | None:
    """Return what a receiver was told of the same subjects last, when all of them had another cause."""
    former = [
        found
        for found in before.values()
        if found.cause.kind is cause.kind and not found.is_waiting and found.phase is not Phase.OVER
        if groups[cause].keys() <= found.subjects and _is_moved(found, groups)
    ]
    return max(former, key=lambda found: found.told_at, default=None)


def _find_repeat(repeats: int, habits: Habits) -> timedelta:
    """Return the gap before the next repeat: each is twice as long, up to a week."""
    return min(habits.repeat * (1 << min(repeats, 10)), max(habits.repeat, LONGEST_REPEAT))


def _end(before: Told, groups: Groups) -> Notice | None:
    """Return what is to be told about a cause that no longer lasts, for what has no other cause now."""
    if before.is_waiting or before.phase is Phase.OVER or before.subjects & groups.get(before.cause, {}).keys():
        return None
    subjects = tuple(sorted(before.subjects.difference(*_find_names(before, groups))))
    if not subjects:
        return None
    return Notice(before.cause, Phase.OVER, subjects, (), None, before.messages + 1, before.repeats)


def _is_moved(before: Told, groups: Groups) -> bool:
    """Whether all that a receiver was told of lasts for another cause."""
    stays = before.subjects & groups.get(before.cause, {}).keys()
    return not stays and before.subjects <= frozenset[str]().union(*_find_names(before, groups))


def _find_causes(before: Told, groups: Groups) -> set[Cause]:
    """Return for which causes the subjects last that a receiver was told of."""
    return {
        cause for cause, group in groups.items() if cause.kind is before.cause.kind and before.subjects & group.keys()
    }


def _find_names(before: Told, groups: Groups) -> list[frozenset[str]]:
    return [frozenset(groups[cause]) for cause in _find_causes(before, groups)]
