"""Durations, moments and did-you-mean in words that people read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_SPANS = ((86400, 3600, " days", "d"), (3600, 60, " h", "h"), (60, 1, " min", "m"), (1, 0, " s", "s"))


def say_duration(span: timedelta) -> str:
    """Return at most two units: `30d`, `1d 6h`, `45m`, `12s`; a minus sign in front of negative spans."""
    seconds = round(span.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    parts = []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
        if len(parts) == 2 or (parts and not count):
            break
    return sign + (" ".join(parts) or "0s")


def say_span(span: timedelta, *, short: bool = False) -> str:
    """How long it is, rounded to one unit: `3 days`, `47 h`, `5 min`, `9 s`; `3d`, `47h`, `5m`, `9s` for a table.

    Each unit begins at two of it: 48 h are the first that are said in days. A minus sign does not matter.
    """
    seconds = abs(round(span.total_seconds()))
    fitting = (row for row in _SPANS if seconds >= 2 * row[0] - row[1] // 2)
    size, _, unit, letter = next(fitting, _SPANS[-1])
    return f"{(2 * seconds + size) // (2 * size)}{letter if short else unit}"


def say_in(moment: datetime, now: datetime) -> str:
    """How far away it is: `in 5 days`, `3 h ago`, `now`."""
    seconds = round((moment - now).total_seconds())
    if not seconds:
        return "now"
    return f"in {say_span(moment - now)}" if seconds > 0 else f"{say_span(now - moment)} ago"


def say_ago(moment: datetime, now: datetime) -> str:
    """How long ago it was: `3 h ago`, `just now`; also for what is a little ahead."""
    return "just now" if (said := say_in(min(moment, now), now)) == "now" else said


def say_count(number: int, one: str) -> str:
    """Return `1 event`, `2 events`."""
    return f"{number} {one}{'' if number == 1 else 's'}"


def say_names(names: Sequence[str], most: int = 10) -> str:
    """Return the names, in a row; of many the first ones, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def say_all(words: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def say_unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return that there is no account, PAT or the like of that name, and which known one is near."""
    return f'there is no {what} named "{name}"{say_did_you_mean(name, known)}'


def say_did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `, did you mean "x"?` for the nearest known word, or nothing when none is near."""
    import difflib

    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=0.6)
    return f', did you mean "{by_folded[near[0]]}"?' if near else ""


def say_moment(moment: datetime) -> str:
    """Return the moment in UTC, to the minute: `2026-12-03 09:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")


def begin_sentence(text: str) -> str:
    """Begin a sentence with a capital; a template that begins with a name stays."""
    return text[:1].upper() + text[1:]


def say_for_several(fix: str, name: str) -> str:
    """A fix as it is for all who share it: with NAME and SECRET in its commands, where it has those of one PAT."""

    def make_general(found: re.Match[str]) -> str:
        command = re.sub(r"(?<=--secret )[^ `]+", "SECRET", found.group())
        return re.sub(rf"(?<= ){re.escape(name)}(?=[ `])", "NAME", command)

    return re.sub(r"`[^`]+`", make_general, fix)
