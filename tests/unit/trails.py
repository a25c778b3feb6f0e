"""All that each story of the engine leaves behind, as text: `trails.txt` holds it, a test compares.

`python -m tests.unit.trails --write` writes the text anew. Read the difference: it is what auditors will see.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from datetime import datetime, timedelta
from pathlib import Path

from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.rotation import Rotation
from rotator.engine.rebuilding import Rebuild
from rotator.engine.report import ReportEntry, RunReport
from rotator.errors import RotatorError
from tests.support.clock import FakeClock
from tests.support.engine import EngineWorld
from tests.unit.trail_rebuilds import STORIES

PAGE = Path(__file__).with_name("trails.txt")
START = FakeClock().now()
IN_FULL = {
    "rotated and the older versions disabled",
    "mint landed late",
    "rebuilt after a backup from before the rotation",
}
"""The stories whose lines keep what is the same in all: where, whose, by which rule; calls and progress too."""
USUAL = re.compile(
    r"\b(display_name|secret_name|name|account|organization|scope|rule|vault|overlap|disable_previous"
    r"|rotator-(name|account|organization|rule))="
    r"(npm-feed|contoso-npm-feed|build-bot|contoso|vso.packaging vso.code|ci|https://contoso-kv.vault.azure.net"
    r"|1 day, 0:00:00|False)(, |$)",
    re.MULTILINE,
)


def show_value(value: object) -> str:
    """A value for the page: times as spans since the start, secrets never."""
    if isinstance(value, datetime):
        span = value - START
        sign = "-" if span < timedelta(0) else "+"
        return f"{sign}{abs(span)}".replace(" days, ", "d").replace(" day, ", "d")
    if isinstance(value, Failure):
        return f"{value.code}: {value.message} / {value.fix}"
    if isinstance(value, list | tuple):
        return f"({', '.join(show_value(item) for item in value)})"
    return str(value)


def tell_fields(record: Rotation | ManagedPat) -> str:
    """The fields that are not at their default."""
    shown = ((field, getattr(record, field.name)) for field in fields(record))
    return ", ".join(
        f"{f.name}={show_value(value)}" for f, value in shown if f.default is MISSING or value != f.default
    )


def tell_report(report: RunReport) -> Iterator[str]:
    """One line per entry of a report."""
    yield f"run {report.run_id}, exit {report.exit_code}"
    for field in fields(report):
        for entry in getattr(report, field.name) if field.name not in ("run_id", "_lock") else ():
            shown = show_value(entry.failure) if isinstance(entry, ReportEntry) and entry.failure else ""
            what = f"{entry.name} {entry.authorization_id} {entry.detail}" if isinstance(entry, ReportEntry) else entry
            yield f"  {field.name}: {what} {shown}".rstrip()


def tell_world(world: EngineWorld) -> Iterator[str]:
    """What was audited, told, recorded, journaled, stored, and called in what order."""
    with world.database.begin() as work:
        for event in work.audit.load():
            entry = event.entry
            details = ", ".join(f"{key}={show_value(value)}" for key, value in sorted(entry.details.items()))
            when = show_value(event.occurred_at)
            yield f"audit {when} {entry.run_id} {entry.subject} {entry.event} {entry.outcome.value}: {details}"
        for pat in sorted(work.inventory.load_all(), key=lambda found: found.name):
            yield f"record {tell_fields(pat)}"
            yield from (f"journal {tell_fields(found)}" for found in reversed(work.journal.load_for(pat.name)))
        names = [pat.name for pat in work.inventory.load_all()]
    for event_name, values in world.told:
        yield f"told {event_name}: {', '.join(f'{key}={show_value(value)}' for key, value in values.items())}"
    for name in sorted(names):
        for stored in world.secrets.versions_of(world.location(name)):
            version = stored.version
            tags = ", ".join(f"{key}={value}" for key, value in sorted(version.tags.items()))
            yield f"vault {version.version} enabled={version.enabled} until={show_value(version.expires_at)} {tags}"
    for fake in world.pats.pats.values():
        ends = f"{show_value(fake.pat.valid_from)} to {show_value(fake.pat.valid_to)}"
        yield f"pat {fake.pat.authorization_id} {fake.pat.display_name} {ends} revoked={fake.revoked}"
    yield f"order {' '.join(world.timeline)}"
    yield f"slept {world.clock.slept}"


def tell_rebuild(plan: Rebuild) -> Iterator[str]:
    """One line per secret that was read: what it makes of the record, or why it makes nothing."""
    yield "rebuild"
    for item in plan.found:
        version = item.version.version if item.version is not None else None
        gone = ", ".join(found.version for found in item.gone)
        old = item.predecessor.authorization_id if item.predecessor is not None else None
        was = item.before.authorization_id if item.before is not None else None
        yield f"  found news={item.is_news} version={version} gone=({gone}) old={old} for={item.overlap} was={was}"
        yield f"    record {tell_fields(item.record)}"
    yield from (f"  refused {refusal.reference}: {refusal.reason} / {refusal.fix}" for refusal in plan.refusals)
    yield from (f"  error {error.code}: {error.message} / {error.fix}" for error in plan.errors)


def tell(name: str) -> str:
    """One story as text, ids and hashes made short."""
    lines = [f"# {name}"]
    for part in STORIES[name]():
        if isinstance(part, RotatorError):
            lines.append(f"refused, exit {part.exit_code}: {part.code}: {part.message} / {part.fix}")
        elif isinstance(part, Rebuild):
            lines += tell_rebuild(part)
        else:
            lines += tell_report(part) if isinstance(part, RunReport) else tell_world(part)
    if name not in IN_FULL:
        lines = [USUAL.sub("", line) for line in lines if not line.startswith(("told ", "order ", "slept "))]
    text = "\n".join(lines)
    text = re.sub(r"0*(\w+)-7a11-4c0e-9d00-0123456789ab", r"pat-\1", text)
    text = re.sub(r"\b0{28,}(\w+)\b", r"id-\1", text)
    return re.sub(r":[0-9a-f]{64}\b", ":HASH", text) + "\n"


def load_page() -> dict[str, str]:
    """The stories as the page tells them, by name."""
    parts = re.split(r"^(?=# )", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {part.partition("\n")[0].removeprefix("# "): part.rstrip("\n") + "\n" for part in parts if part.strip()}


if __name__ == "__main__":
    page = "\n".join(tell(name) for name in STORIES)
    if "--write" in sys.argv:
        PAGE.write_text(page, encoding="utf-8")
    else:
        print(page)
