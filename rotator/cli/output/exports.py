"""Audit events as files that other systems read: JSON lines, CSV, CEF, and OCSF."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from typing import IO

from rotator import __version__
from rotator.cli.console import clean
from rotator.cli.spreadsheets import guard
from rotator.documents.audit import AuditEventDocument, make_event_document
from rotator.documents.ocsf import count_milliseconds, make_ocsf_document
from rotator.domain.audit_event import AuditEvent
from rotator.domain.events.catalogue import CATALOGUE
from rotator.domain.events.event import Severity

_FIELDS = tuple(AuditEventDocument.__annotations__)
_CEF_SEVERITIES = {Severity.INFO: 2, Severity.WARNING: 5, Severity.ERROR: 8, Severity.CRITICAL: 10}


def write_events(events: Iterable[AuditEvent], stream: IO[str], form: str) -> int:
    """Write the events as `jsonl`, `csv`, `cef` or `ocsf`, one by one, and return how many there were."""
    count = 0
    write = _make_csv_writer(stream) if form == "csv" else lambda event: stream.write(make_line(event, form) + "\n")
    for event in events:
        count += 1
        write(event)
    return count


def _make_csv_writer(stream: IO[str]) -> Callable[[AuditEvent], object]:
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(_FIELDS)

    def write(event: AuditEvent) -> None:
        document: Mapping[str, object] = make_event_document(event)
        details = json.dumps(document["details"], sort_keys=True)
        rows.writerow([clean(guard(details if field == "details" else str(document[field]))) for field in _FIELDS])

    return write


def make_line(event: AuditEvent, form: str) -> str:
    """Return an event as a line: `jsonl`, `cef` or `ocsf`."""
    make = {"jsonl": _make_json_line, "cef": make_cef_line, "ocsf": _make_ocsf_line}[form]
    return make(event)


def _make_json_line(event: AuditEvent) -> str:
    return json.dumps(make_event_document(event), separators=(",", ":"))


def _make_ocsf_line(event: AuditEvent) -> str:
    return json.dumps(make_ocsf_document(event), separators=(",", ":"))


def make_cef_line(event: AuditEvent) -> str:
    """Return an event in the Common Event Format, version 0.

    Its own fields are JSON in `cs5`; `rt` is in milliseconds. An event that this version does not know has severity 5.
    """
    entry, known = event.entry, CATALOGUE.get(event.entry.event)
    severity = 5 if known is None else _CEF_SEVERITIES[known.type.severity]
    header = ("CEF:0", "rotator", "rotator", __version__, entry.event, entry.event.replace("_", " "), str(severity))
    fields = {
        "rt": str(count_milliseconds(event.occurred_at)),
        "externalId": str(event.sequence),
        "suser": entry.actor,
        "outcome": entry.outcome.value,
    }
    labelled = {
        "subject": entry.subject,
        "run": entry.run_id,
        "hash": event.hash,
        "previousHash": event.previous_hash,
        "details": json.dumps(dict(entry.details), sort_keys=True, separators=(",", ":")),
    }
    for number, (label, value) in enumerate(labelled.items(), start=1):
        fields |= {f"cs{number}Label": label, f"cs{number}": value}
    extension = " ".join(f"{key}={_escape_value(value)}" for key, value in fields.items())
    return "|".join((*map(_escape_header, header), extension))


def _escape_header(text: str) -> str:
    return _escape(text).replace("|", "\\|")


def _escape_value(text: str) -> str:
    return _escape(text).replace("=", "\\=")


def _escape(text: str) -> str:
    """Escape a backslash and the ends of lines by the format's rules; other control characters first become text."""
    lines = (line.split("\r") for line in text.split("\n"))
    return "\\n".join("\\r".join(clean(part).replace("\\", "\\\\") for part in line) for line in lines)
