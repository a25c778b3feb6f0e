"""The words of cells: times, spans, counts and the fields of events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from rotator.documents.review_parts import ProofDocument
from rotator.domain.words import say_duration
from rotator.report.summary import say_time

NONE = "none"
_PLACE = frozenset(
    {"account", "organization", "reason", "command", "rotation_id", "e2e_id", "activity_id", "request_id"}
)
"""Fields of events that a table says elsewhere, or not at all."""


def say_proof(proof: ProofDocument | None, without: str) -> tuple[str, str]:
    """Say when something happened and which event proves it; `without` if nothing does."""
    return (without, NONE) if proof is None else (say_time(proof["at"]), str(proof["event"]))


def say_or(number: int | None, without: str) -> str:
    """Say a number; `without` where there is none."""
    return without if number is None else str(number)


def say_seconds(seconds: int | None) -> str:
    """Say a span."""
    return NONE if seconds is None else say_duration(timedelta(seconds=seconds))


def say_words(name: str) -> str:
    """Say a name in words."""
    return name.replace("_", " ")


def say_details(details: Mapping[str, object]) -> str:
    """Say the fields of an event."""
    said = [f"{say_words(name)}: {_say_value(value)}" for name, value in details.items() if name not in _PLACE]
    return "; ".join(said) or NONE


def _say_value(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else NONE if value is None else str(value)


def say_reason(details: Mapping[str, object]) -> str:
    """Say why a person did it."""
    return str(details.get("reason") or "none given")
