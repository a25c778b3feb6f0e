"""The runbook: what a person does about each condition, from the catalogue.

`test_runbook.py` says when it is out of date; `python -m tests.unit.runbook_page --write` writes docs/runbook.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rotator.domain.advice import Advice
from rotator.domain.condition import ConditionKind
from rotator.domain.events.catalogue import find_ends
from rotator.domain.runbook import CONDITIONS
from rotator.domain.runbook_events import EVENTS as ADVISED
from rotator.domain.runbook_events import describe, fill, group_reasons, list_entries
from tests.support.source_tree import ROOT

PAGE = ROOT / "docs" / "runbook.md"
BEGIN, END = "<!-- runbook: begin -->\n", "<!-- runbook: end -->\n"


def render_page() -> str:
    """The whole page: what is written by hand, and the catalogue between the marks."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return before + BEGIN + _render_catalogue() + END + rest.partition(END)[2]


def _render_catalogue() -> str:
    parts = [*_list_contents(), "\n## Problems that last\n\n"]
    parts += ["A problem is over when one of the named events has happened. You need not report it as done.\n\n"]
    parts += [_render_condition(kind) for kind in ConditionKind]
    parts += ["## Events that a person must act on\n\n"]
    parts += [_render(event.type.name, advice, f"*{describe(event.type.name)}*") for event, advice in ADVISED.items()]
    return "".join(parts)


def _list_contents() -> Iterator[str]:
    for name, advice in list_entries():
        yield f"- [`{name}`](#{name}): {fill(name, advice.one)}\n"


def _render_condition(kind: ConditionKind) -> str:
    ended = ", ".join(f"`{event.type.name}`" for event in find_ends(kind))
    return _render(kind.value, CONDITIONS[kind], f"*{describe(kind.value)}* Ended by: {ended}.")


def _render(name: str, advice: Advice, about: str) -> str:
    return fill(
        name,
        f"### {name}\n\n**{_capitalize(fill(name, advice.one))}.** {about}\n\n{advice.meaning}\n\n"
        f"{_render_reasons(advice)}"
        f"- **If nobody does anything:** {advice.otherwise}\n"
        f"- **Command:** `{advice.command}`\n"
        f"- **Fix:** {advice.fix}\n\n",
    )


def _render_reasons(advice: Advice) -> str:
    """What some causes mean, by what notifications and `rotator status` call them."""
    rows = [f"| {', '.join(f'`{name}`' for name in names)} | {reason} |\n" for names, reason in group_reasons(advice)]
    return "| cause | what it means |\n|---|---|\n" + "".join(rows) + "\n" if rows else ""


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(render_page(), encoding="utf-8")
    else:
        print(render_page(), end="")
