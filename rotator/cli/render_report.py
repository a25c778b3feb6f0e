"""What a run did, one line per fact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from rotator.cli.render import clean
from rotator.cli.wording import say_to, say_until
from rotator.engine.report import ReportEntry, RunReport


def render_done(report: RunReport, overlaps: Mapping[str, datetime], now: datetime) -> Iterator[str]:
    """What was done, and what was left for later. `overlaps`: until when the old PAT of a handle stays valid."""
    for entry in report.recovered:
        yield _say(entry, "recovered", entry.detail)
    for entry in report.abandoned:
        yield _say(entry, "given up", entry.detail)
    for entry in report.rotated:
        until = overlaps.get(entry.name)
        yield _say(entry, "rotated", f"the old one stays valid until {say_until(until, now)}" if until else "")
    for entry in report.retired:
        yield _say(entry, "revoked", f"the old PAT ({entry.detail.removeprefix('revoked ')})")
    for entry in report.held:
        yield _say(entry, "left alone", entry.detail)
    for name in report.postponed:
        yield f"postponed  {clean(name)}: max_rotations_per_hour is reached, a later run rotates it"


def render_failures(report: RunReport) -> Iterator[str]:
    """What went wrong, each with who must do what."""
    for word, entries in (("failed", report.failed), ("blocked", report.blocked)):
        for entry in entries:
            failure = entry.failure
            yield _say(entry, word, failure.message if failure else entry.detail)
            if failure and failure.fix:
                yield f"    fix: {clean(failure.fix)}"


def _say(entry: ReportEntry, word: str, text: str) -> str:
    place = f"  ({entry.organization})" if entry.organization else ""
    said = say_to(entry.name, text)
    return clean(f"{word}  {entry.name}{place}{': ' if said else ''}{said}")
