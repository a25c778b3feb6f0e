"""An entry of the runbook, as people read it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rotator.domain.advice import Advice
from rotator.domain.runbook_events import describe, fill, group_reasons, list_entries


def render_names() -> Iterator[str]:
    """Give a line for each entry: its name, and what it is about."""
    entries = list(list_entries())
    width = max(len(name) for name, _ in entries)
    for name, advice in entries:
        yield f"{name:{width}}  {fill(name, advice.one)}"


def render_entry(name: str, advice: Advice) -> Iterator[str]:
    """Give all that the runbook says of a condition or an event."""
    yield f"{name}: {fill(name, advice.one)}"
    yield f"    severity: {describe(name)}"
    yield f"    meaning: {fill(name, advice.meaning)}"
    for codes, reason in group_reasons(advice):
        yield f"    cause {', '.join(codes)}: {fill(name, reason)}"
    yield f"    if nobody does anything: {fill(name, advice.otherwise)}"
    yield f"    command: {fill(name, advice.command)}"
    yield f"    fix: {fill(name, advice.fix)}"
