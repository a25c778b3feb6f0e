"""The words of cells: times, spans, counts and the fields of events."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import timedelta

from markupsafe import Markup

from rotator.documents.review_parts import ProofDocument, ReachDocument
from rotator.domain.outside import show_hidden
from rotator.domain.words import say_duration
from rotator.report.times import say_time

NONE = "none"
_PLACE = frozenset(
    {"account", "organization", "reason", "command", "rotation_id", "e2e_id", "activity_id", "request_id"}
)
"""Fields of events that a table says elsewhere, or not at all."""
_LONG = re.compile(r"\S{15,}")
_DIVIDED = re.compile(r"(?<=[/_@.:=;,|])(?=\w)")
_MOST_SHOWN = 2_000
_LETTERS = re.compile(r"\w{16}(?=\w{4})|.+?(?=\w{20})|.+", re.DOTALL)
"""A long word may be broken after what divides it, and where nothing does, as in a hash, every 16 letters."""


def say_proof(proof: ProofDocument | None, without: str) -> tuple[str, str]:
    """Say when something happened and which event proves it; `without` if nothing does."""
    return (without, NONE) if proof is None else (say_when(proof), str(proof["event"]))


def say_when(proof: ProofDocument) -> str:
    """Say when something happened; where the clock was wrong, when by the order of the log, and what the clock said."""
    said = say_time(proof["at"])
    if proof["placed"] is None:
        return said
    about = "about " if proof["guessed"] else ""
    return f"{about}{say_time(proof['placed'])} (the clock was wrong and said {said})"


def say_or(number: int | None, without: str) -> str:
    """Say a number; `without` where there is none."""
    return without if number is None else str(number)


def say_seconds(seconds: int | None) -> str:
    """Say a span."""
    return NONE if seconds is None else say_duration(timedelta(seconds=seconds))


def say_exactly(span: timedelta) -> str:
    """Say a span in all its units, to the second."""
    parts, seconds = list[str](), round(span.total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"


def say_lasted(seconds: int | None) -> str:
    """Say how long something lasted."""
    return "not known" if seconds is None else say_seconds(seconds)


def say_words(name: str) -> str:
    """Say a name in words."""
    return name.replace("_", " ")


def say_details(details: Mapping[str, object]) -> str:
    """Say the fields of an event."""
    said = [f"{say_words(name)}: {_say_value(value)}" for name, value in details.items() if name not in _PLACE]
    return "; ".join(said) or NONE


def _say_value(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else NONE if value is None else str(value)


def say_scopes(scopes: Collection[str]) -> str:
    """Say what a PAT may do."""
    return "full access" if "app_token" in scopes else " ".join(scopes) or "nothing"


def say_told(told: ReachDocument) -> str:
    """Say what an event says that a PAT reaches, and whether the inventory says something else."""
    if told["scopes"] is None:
        return "not recorded then"
    place = "all organizations" if told["all_organizations"] else told["organization"]
    said = say_scopes(told["scopes"]) + ("" if place is None else f", {place}")
    return said if told["fits"] else f"{said}: NOT what the inventory has"


def say_reason(details: Mapping[str, object]) -> str:
    """Say why a person did it."""
    return str(details.get("reason") or "none given")


def soften(text: str) -> Markup:
    """Return the text with the places where its long words may be broken, so that they break nowhere else.

    What is longer than a cell can show is cut off: the event has it all.
    """
    text = show_hidden(text)
    if len(text) > _MOST_SHOWN:
        text = f"{text[:_MOST_SHOWN]}... ({len(text)} characters; the event has them all)"
    parts, last = list[Markup](), 0
    for found in _LONG.finditer(text):
        parts += [Markup.escape(text[last : found.start()]), Markup("<wbr>").join(_cut(found[0]))]
        last = found.end()
    return Markup("").join([*parts, Markup.escape(text[last:])])


def _cut(word: str) -> list[str]:
    return [part for piece in _DIVIDED.split(word) for part in _LETTERS.findall(piece)]
