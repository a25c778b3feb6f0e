"""Spans, moments and counts in the words of the commands' lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from rotator.cli.console import clean
from rotator.domain.managed_pat import Failure
from rotator.domain.timetable import HeldBack, HeldBackBy
from rotator.domain.words import say_for_several, say_in, say_moment, say_names, say_span
from rotator.engine.needs import Need

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


NOT_CONFIRMED = (
    "Azure DevOps accepted the request but does not show the PAT as revoked yet; `rotator once` checks again."
)
"""What is said of a revocation that is not proven."""

RESUME_ALL = "after `rotator inventory resume --all`"

NO_PAT = "not created yet"
"""In place of the expiry of a PAT whose first one is still to be made."""


def render_causes(failures: Iterable[tuple[str, Failure]]) -> Iterator[str]:
    """What is wrong with whom, and who must do what; what is the same for several PATs is said once."""
    causes: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, failure in failures:
        causes.setdefault((failure.message, say_for_several(failure.fix, name)), []).append((name, failure.fix))
    for (message, fix), found in causes.items():
        told = [name for name, _ in found]
        fix = found[0][1] if len(found) == 1 else fix
        yield clean(f"{say_names(told)}{', each' if len(told) > 1 else ''}: {message}")
        if fix:
            yield clean(f"    fix: {fix}")


def say_for_person(needs: Mapping[Need, int]) -> str:
    """`3 PATs wait for a person (1 to replace by hand, 2 blocked)`; nothing when none does."""
    count = sum(needs.values())
    said = say_counts({need.value: number for need, number in needs.items()})
    return f"{say_pats(count)} {'waits' if count == 1 else 'wait'} for a person ({said})" if count else ""


def say_left(moment: datetime, now: datetime) -> str:
    """`5d left`, or `expired 2d ago`."""
    span = say_span(moment - now, short=True)
    return f"{span} left" if moment > now else f"expired {span} ago"


def say_expiry(moment: datetime, now: datetime) -> str:
    """`2026-12-03 (5d)`, `2026-11-20 (8d ago)`: for a column."""
    span = say_span(moment - now, short=True)
    return f"{moment.astimezone(UTC):%Y-%m-%d} ({span}{'' if moment > now else ' ago'})"


def say_until(moment: datetime, now: datetime) -> str:
    """`Tue 09:00Z (in 24 h)` within six days, else `2026-12-10 09:00Z (in 9 days)`."""
    utc = moment.astimezone(UTC)
    near = timedelta(0) <= moment - now < timedelta(days=6)
    text = f"{_WEEKDAYS[utc.weekday()]} {utc:%H:%M}Z" if near else say_moment(moment)
    return f"{text} ({say_in(moment, now)})"


def say_both(moment: datetime | None, now: datetime) -> str:
    """`2026-12-03 09:00Z (in 5 days)`, `-` for none."""
    return "-" if moment is None else f"{say_moment(moment)} ({say_in(moment, now)})"


def say_held_back(back: HeldBack) -> str:
    """`outside its windows`, `in a change freeze (end of the year)`, `everything is paused`."""
    if back.by is HeldBackBy.ALL_PAUSED:
        return "everything is paused"
    return f"in a change freeze ({back.reason})" if back.by is HeldBackBy.CHANGE_FREEZE else "outside its windows"


def say_all_paused(since: datetime, reason: str | None) -> str:
    """`everything is paused since 2026-12-19 08:00Z (audit week), until ...`: who reads it learns how it ends."""
    why = "" if reason is None else f" ({clean(reason)})"
    return f"everything is paused since {say_moment(since)}{why}, until `rotator inventory resume --all`"


def say_counts(counts: Mapping[str, int]) -> str:
    """`2 to rotate, 1 blocked`: what there is none of is left out."""
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def say_pats(count: int) -> str:
    """`1 PAT`, `2 PATs`."""
    return f"{count} PAT{'' if count == 1 else 's'}"
