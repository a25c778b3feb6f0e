"""The facts that each story of the engine leaves behind: states, events, fields, requests, and no sentences.

`trails.txt` holds them and a test compares, so that a change of wording changes no trail. `python -m tests.unit.trails
--write` writes the page again. Read the difference: each changed line is a change of behaviour.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from datetime import datetime, timedelta
from pathlib import Path

from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.rotation import Rotation
from rotator.engine.auditing import load_events
from rotator.engine.exit_codes import find_code_of_report
from rotator.engine.looking import Rebuild
from rotator.engine.report import PatOutcome, RunReport
from rotator.errors import RotatorError
from tests.support.clock import FakeClock
from tests.support.engine import EngineWorld
from tests.unit.trail_rebuilds import STORIES

PAGE = Path(__file__).with_name("trails.txt")
START = FakeClock().now()
IN_FULL = {
    "rotated and the older versions disabled",
    "late mint",
    "rebuilt after a backup from before the rotation",
}
"""The stories whose lines keep what is the same in all: where, whose, by which rule; calls and progress too."""
ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")
PROSE = frozenset({"message"})
"""The fields of events that hold sentences."""
USUAL = re.compile(
    r"\b(display_name|secret_name|name|account|organization|scope|rule|vault|overlap|disable_previous"
    r"|rotator-(name|account|organization|rule))="
    r"(npm-feed|contoso-npm-feed|build-bot|contoso|vso.packaging vso.code|ci|https://contoso-kv.vault.azure.net"
    r"|1 day, 0:00:00|False)(, |$)|\b(created_at=\+0:00:00|predecessor_valid_to=\+5d0:00:00), ",
    re.MULTILINE,
)


def show_value(value: object) -> str:
    """Show times as spans since the start, and failures by their code."""
    if isinstance(value, str) and ISO_TIME.fullmatch(value):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        span = value - START
        sign = "-" if span < timedelta(0) else "+"
        return f"{sign}{abs(span)}".replace(" days, ", "d").replace(" day, ", "d")
    if isinstance(value, Failure):
        return value.code
    if isinstance(value, list | tuple):
        return f"({', '.join(show_value(item) for item in value)})"
    return str(value)


def show_values(values: Mapping[str, object]) -> str:
    """Show the fields of an event that hold no sentences."""
    return ", ".join(f"{key}={show_value(value)}" for key, value in values.items() if key not in PROSE)


def tell_fields(record: Rotation | ManagedPat) -> str:
    """Show the fields that are not at their default."""
    shown = ((field, getattr(record, field.name)) for field in fields(record) if field.compare)
    return ", ".join(
        f"{f.name}={show_value(value)}" for f, value in shown if f.default is MISSING or value != f.default
    )


def tell_outcome(outcome: PatOutcome) -> str:
    """Show an outcome of a report: its name, its PAT, and the other fields that it has."""
    told = {
        "reason": outcome.reason,
        "before": outcome.state_before,
        "rotation": outcome.rotation_id,
        "revoked": outcome.revoked_id,
        "overlap_until": outcome.overlap_until,
        "settles_until": outcome.settles_until,
    }
    code = [outcome.failure.code] if outcome.failure else []
    shown = [f"{key}={show_value(value)}" for key, value in told.items() if value is not None]
    return " ".join([outcome.name, outcome.authorization_id, *code, *shown])


def tell_report(report: RunReport) -> Iterator[str]:
    """Give one line for each outcome in a report."""
    yield f"run {report.run_id}, exit {find_code_of_report(report)}"
    for outcome in report.outcomes:
        yield f"  {outcome.kind.value}: {tell_outcome(outcome)}"


def tell_world(world: EngineWorld) -> Iterator[str]:
    """Tell what was audited, told, recorded, journaled and stored, and what was called in what order."""
    with world.database.begin() as work:
        for event in load_events(world.database):
            entry = event.entry
            details = show_values(dict(sorted(entry.details.items())))
            when = show_value(event.occurred_at)
            yield f"audit {when} {entry.run_id} {entry.subject} {entry.event} {entry.outcome.value}: {details}"
        for pat in sorted(work.inventory.load_all(), key=lambda found: found.name):
            yield f"record {tell_fields(pat)}"
            mine = (found for found in world.database.list_rotations() if found.name == pat.name)
            yield from (f"journal {tell_fields(found)}" for found in mine)
        for condition in work.conditions.load():
            yield f"condition {condition.kind} {condition.subject} since {show_value(condition.since)}"
        names = [pat.name for pat in work.inventory.load_all()]
    for event_name, values in world.told:
        yield f"told {event_name}: {show_values(values)}"
    for name in sorted(names):
        for stored in world.secrets.versions_of(world.location(name)):
            version = stored.version
            tags = ", ".join(f"{key}={value}" for key, value in sorted(version.tags.items()))
            state = "" if version.enabled else " disabled"
            ends = f" until {show_value(version.expires_at)}" if version.expires_at else ""
            yield f"vault {version.version}{state}{ends}: {tags}"
    for fake in world.pats.pats.values():
        ends = f"{show_value(fake.pat.valid_from)} to {show_value(fake.pat.valid_to)}"
        yield f"pat {fake.pat.authorization_id} {fake.pat.display_name} {ends}{' revoked' if fake.revoked else ''}"
    yield f"order {' '.join(world.timeline)}"
    yield f"slept {world.clock.slept}"


def tell_rebuild(plan: Rebuild) -> Iterator[str]:
    """Give one line for each secret that was read: what it makes of the record, or that it makes nothing."""
    yield "rebuild"
    for item in plan.found:
        version = item.version.version if item.version is not None else None
        gone = ", ".join(found.version for found in item.gone)
        old = item.predecessor.authorization_id if item.predecessor is not None else None
        was = item.before.authorization_id if item.before is not None else None
        yield f"  found news={item.is_news} version={version} gone=({gone}) old={old} for={item.overlap} was={was}"
        yield f"    record {tell_fields(item.record)}"
    yield from (f"  refused {refusal.reference}" for refusal in plan.refusals)
    yield from (f"  error {error.code}" for error in plan.errors)


def tell(name: str) -> str:
    """Tell one story as text, ids and hashes made short."""
    lines = [f"# {name}"]
    for part in STORIES[name]():
        if isinstance(part, RotatorError):
            lines.append(f"refused, exit {part.exit_code}: {part.code}")
        elif isinstance(part, Rebuild):
            lines += tell_rebuild(part)
        else:
            lines += tell_report(part) if isinstance(part, RunReport) else tell_world(part)
    if name not in IN_FULL:
        lines = [
            USUAL.sub("", line).rstrip(", :") for line in lines if not line.startswith(("told ", "order ", "slept "))
        ]
    text = "\n".join(lines)
    text = re.sub(r"0*(\w+)-7a11-4c0e-9d00-0123456789ab", r"pat-\1", text)
    text = re.sub(r"\b0{28,}(\w+)\b", r"id-\1", text)
    return re.sub(r":[0-9a-f]{64}\b", ":HASH", text) + "\n"


def load_page() -> dict[str, str]:
    """Load the stories as the page tells them, by name."""
    parts = re.split(r"^(?=# )", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {part.partition("\n")[0].removeprefix("# "): part.rstrip("\n") + "\n" for part in parts if part.strip()}


if __name__ == "__main__":
    page = "\n".join(tell(name) for name in STORIES)
    if "--write" in sys.argv:
        PAGE.write_text(page, encoding="utf-8")
    else:
        print(page)
