"""The page of events: the catalogue as a table.

`test_events.py` says when it is out of date; `python -m tests.unit.events_page --write` writes docs/events.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import MISSING
from datetime import datetime
from typing import get_args, get_type_hints

from rotator.domain.condition import ConditionKind
from rotator.domain.events import catalogue
from rotator.domain.events.event import Event
from tests.support.source_tree import ROOT

PAGE = ROOT / "docs" / "events.md"
TYPES: dict[object, str] = {str: "text", int: "number", bool: "yes or no", datetime: "time"}
HEAD = """# Events

Everything that rotator does or notices is one of these events. The audit log (`rotator audit list`) and the log on
stderr use the same names and fields. The level of a log line is the event's severity. Commands show `warning` and
above, with `-v` also `info`, with `--quiet` only `critical`. `rotator daemon` shows `info` and above, with `--quiet`
`warning` and above.

- **Subject**: what the event is about. An organization is named together with its account, as `build-bot/contoso`.
- **Fields**: `?` marks one that may be missing or null. In the audit log, an event about a managed PAT also says
  `account`, `organization` and, while a rotation is open, `rotation_id`. If it tells of a service's answer to a change,
  it has the service's own ids of that answer: `e2e_id` (`X-VSS-E2EID`) and `activity_id` (`ActivityId`) of Azure
  DevOps, `request_id` (`x-ms-request-id`) of Key Vault. What a person's command did has the `command` as it was typed,
  its `reason`, and `via`: who came by `sudo`, and the address that SSH was used from.
- **Person**: whether a person must act.
- **Condition**: a condition is a problem that lasts. Some events begin one, and a named event ends it.

Generated from `rotator/domain/events` by `python -m tests.unit.events_page --write`.

"""


def render_page() -> str:
    """The whole page."""
    lines = [
        "| event | severity | subject | fields | person | condition | meaning |",
        "|---|---|---|---|---|---|---|",
        *(f"| {' | '.join(_list_cells(event))} |" for event in catalogue.EVENTS),
    ]
    return HEAD + "\n".join(lines) + "\n\n" + "\n".join(_list_conditions()) + "\n"


def list_types(event: type[Event]) -> dict[str, tuple[str, bool]]:
    """Each field of an event: its type in words, and whether it may be missing or null."""
    hints, found = get_type_hints(event), {}
    for field, default in event.fields.items():
        kinds = set(get_args(hints[field]) or (hints[field],))
        (kind,) = kinds - {type(None)}
        found[field] = (TYPES[kind], type(None) in kinds or default is not MISSING)
    return found


def _list_cells(event: type[Event]) -> Iterator[str]:
    kind = event.type
    shown = (f"`{name}` {word}{'?' if optional else ''}" for name, (word, optional) in list_types(event).items())
    changes = ([f"begins `{kind.begins}`"] if kind.begins else []) + [f"ends `{ended}`" for ended in kind.ends]
    yield f"`{kind.name}`"
    yield kind.severity.value
    yield kind.subject.value
    yield ", ".join(shown)
    yield "yes" if kind.needs_person else ""
    yield ", ".join(changes)
    yield " ".join((event.__doc__ or "").split())


def _list_conditions() -> Iterator[str]:
    """A table of the conditions, from the same catalogue."""
    yield "## Conditions\n"
    yield "| condition | begun by | ended by |\n|---|---|---|"
    for kind in ConditionKind:
        begun = ", ".join(f"`{event.type.name}`" for event in catalogue.EVENTS if event.type.begins is kind)
        ended = ", ".join(f"`{event.type.name}`" for event in catalogue.find_ends(kind))
        yield f"| `{kind}` | {begun} | {ended} |"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(render_page(), encoding="utf-8")
    else:
        print(render_page(), end="")
