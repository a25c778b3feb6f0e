"""The runbook: whole, up to date, and with commands that exist."""

from __future__ import annotations

import re
import shlex
from string import Formatter

import pytest
from click.testing import CliRunner

from rotator.cli.main import rotator
from rotator.domain.advice import Advice
from rotator.domain.condition import ConditionKind
from rotator.domain.events.catalogue import EVENTS
from rotator.domain.events.event import Event
from rotator.domain.runbook import CONDITIONS, PAGE, make_anchor
from rotator.domain.runbook_events import EVENTS as ADVISED
from tests.support.command_lines import find_problem
from tests.support.source_tree import ROOT
from tests.unit.runbook_page import PAGE as FILE
from tests.unit.runbook_page import render_page

ENTRIES = {
    **{kind.value: advice for kind, advice in CONDITIONS.items()},
    **{e.type.name: a for e, a in ADVISED.items()},
}


def test_runbook_has_every_condition_and_every_event_that_needs_a_person() -> None:
    """And nothing else: an event that begins a condition is told by that."""
    assert set(CONDITIONS) == set(ConditionKind)
    assert set(ADVISED) == {event for event in EVENTS if event.type.needs_person and event.type.begins is None}


@pytest.mark.parametrize("name", ENTRIES)
def test_advice_is_whole_sentences_about_known_places(name: str) -> None:
    advice = ENTRIES[name]
    for text in (advice.meaning, advice.otherwise, advice.fix, *advice.reasons.values()):
        assert re.fullmatch(r"[A-Z`].*[.)]", text, flags=re.DOTALL), text
    for text in (advice.one, advice.many, advice.command):
        assert {field for _, field, _, _ in Formatter().parse(text) if field} <= {"subject", "count"}
    assert "{count}" not in advice.one
    assert "{subject}" not in advice.many


@pytest.mark.parametrize("name", ENTRIES)
def test_commands_of_the_advice_can_be_typed(name: str) -> None:
    for command in list_commands(ENTRIES[name]):
        check_command(command)


def test_runbook_is_up_to_date() -> None:
    assert FILE.read_text(encoding="utf-8") == render_page(), "run python -m tests.unit.runbook_page --write"


@pytest.mark.parametrize("name", ENTRIES)
def test_command_prints_what_the_page_says(name: str) -> None:
    """`rotator runbook NAME` works where there is no page, as after an installation."""
    said = CliRunner().invoke(rotator, ["runbook", name], env={"COLUMNS": "100000"})
    assert said.exit_code == 0, said.output
    entry = FILE.read_text(encoding="utf-8").partition(f"### {name}\n")[2].partition("\n##")[0]
    for line in said.output.splitlines()[1:]:
        assert line.partition(": ")[2] in entry


def test_command_lists_every_entry_and_refuses_any_other() -> None:
    listed = CliRunner().invoke(rotator, ["runbook"]).output
    assert {line.split()[0] for line in listed.splitlines()} == set(ENTRIES)
    assert CliRunner().invoke(rotator, ["runbook", "nothing_of_the_kind"]).exception is not None
    assert "Runbook: `rotator runbook " in (ROOT / "docs" / "notifications.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type.name)
def test_command_knows_every_event_of_the_log(event: type[Event]) -> None:
    """By what it begins, or by its own entry; of any other it says what happened."""
    entry = event.type.name if event.type.begins is None else event.type.begins.value
    said = CliRunner().invoke(rotator, ["runbook", event.type.name], env={"COLUMNS": "100000"}, standalone_mode=False)
    if entry in ENTRIES:
        assert said.output.startswith(f"{entry}: ")
    else:
        assert f"{entry} is an event of the audit log, not an alarm: " in str(said.exception)


def test_links_lead_to_a_heading_of_the_runbook() -> None:
    """A heading's anchor is its text in lower case, with hyphens for spaces."""
    text = FILE.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors
    assert {make_anchor(name) for name in ENTRIES} <= {f"{PAGE}#{anchor}" for anchor in anchors}
    assert FILE == ROOT / PAGE


def test_each_loss_says_what_happens_if_nobody_does_anything() -> None:
    text = FILE.read_text(encoding="utf-8")
    losses = re.findall(r"^### Loss of .*?(?=^##|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert len(losses) == 5
    for loss in losses:
        assert re.search(r"If (nobody does anything|the user is disabled already), ", loss), loss


def list_commands(advice: Advice) -> list[str]:
    """The command, and those that the texts name."""
    texts = " ".join((advice.meaning, advice.otherwise, advice.fix, *advice.reasons.values()))
    return [advice.command, *re.findall(r"`(rotator [^`]*)`", texts)]


def check_command(text: str) -> None:
    """AssertionError unless it can be typed as it is, but for the names in it."""
    program, *words = shlex.split(text)
    assert program == "timedatectl" or find_problem(words) is None, text
