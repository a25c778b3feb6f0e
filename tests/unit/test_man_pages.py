"""The man pages say what the commands say of themselves."""

from __future__ import annotations

import re

import click
import pytest

from rotator.cli.main import COMMANDS, rotator
from tests.unit.man_pages import FOLDER, escape, render_pages


def test_man_pages_are_what_the_commands_say_now() -> None:
    """If not: `python -m tests.unit.man_pages --write`."""
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert written == render_pages()


@pytest.mark.parametrize("name", COMMANDS)
def test_man_page_has_every_option_and_command(name: str) -> None:
    text = render_pages()[f"rotator-{name}.1"].replace("\\-", "-")
    context = click.Context(rotator, info_name="rotator", **rotator.context_settings)
    command = rotator.get_command(context, name)
    assert command is not None
    seen = [command]
    if isinstance(command, click.Group):
        seen += command.commands.values()
        assert re.findall(rf"^\.SS rotator {name} ([\w-]+)", text, re.MULTILINE) == command.list_commands(context)
    options = {option for each in seen for found in each.params for option in found.opts if option.startswith("--")}
    assert {option for option in options if option not in text} == set()
    assert f"rotator-{name}(1)" in render_pages()["rotator.1"].replace("\\-", "-")


def test_text_is_printed_as_it_is_whatever_it_begins_with() -> None:
    assert escape(".TH x") == "\\&.TH x"
    assert escape("'\\n' --yes") == "\\(aq\\en\\(aq \\-\\-yes"
