"""The man pages, made from the commands: one for `rotator`, and one for each command of it.

`test_man_pages.py` says when they are out of date; `python -m tests.unit.man_pages --write` writes them anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from inspect import cleandoc

import click

from rotator import __version__
from rotator.cli.main import COMMANDS, rotator
from tests.support.source_tree import ROOT

FOLDER = ROOT / "docs" / "man"
_EXIT_CODES = ROOT / "docs" / "by-hand.md"
_ESCAPES = {"\\": "\\e", "-": "\\-", '"': "\\(dq", "'": "\\(aq", "^": "\\(ha", "~": "\\(ti"}
"""What troff would take for its own, or print as a letter that a shell does not know."""
_ENVIRONMENT = {
    "ROTATOR_CONFIG": "The settings file, unless `--config` names one.",
    "NO_COLOR": "If it is set, nothing is printed in colour.",
}
_FILES = {
    "./rotator.yaml": "The settings, if ROTATOR_CONFIG and `--config` name no others.",
    "/etc/rotator/rotator.yaml": "The settings, if there are none in the current folder.",
    "policy.yaml": "The policy, beside the settings unless they name another place.",
}


def render_pages() -> dict[str, str]:
    """Every page by the name of its file."""
    root = _open(rotator, None, "rotator")
    pages = {"rotator.1": _render_root(root)}
    for name, (*_, summary) in COMMANDS.items():
        context = _open_named(root, name)
        pages[f"rotator-{name}.1"] = _join(
            *_render_head(f"rotator-{name}", summary),
            *_render_synopsis(context),
            *_render_description(context.command),
            *_render_options(context),
            *_render_commands(context),
            *_render_examples(context.command, ".SH EXAMPLES"),
            *_render_section("SEE ALSO", ["\\fBrotator\\fP(1)"]),
        )
    return pages


def _render_root(root: click.Context) -> str:
    commands = [line for name, (*_, text) in COMMANDS.items() for line in _entry(f"rotator-{name}(1)", text)]
    codes = re.findall(r"^\| ([\d, ]+) \| (.*) \|$", _EXIT_CODES.read_text(encoding="utf-8"), re.MULTILINE)
    assert codes, "the exit codes are in another page now"
    return _join(
        *_render_head("rotator", "keeps Azure DevOps personal access tokens alive"),
        *_render_synopsis(root),
        *_render_description(rotator, until="Exit codes:"),
        *_render_section("COMMANDS", commands),
        *_render_options(root),
        *_render_section("EXIT STATUS", [line for code, text in codes for line in _entry(code, text)]),
        *_render_section("ENVIRONMENT", [line for name, text in _ENVIRONMENT.items() for line in _entry(name, text)]),
        *_render_section("FILES", [line for name, text in _FILES.items() for line in _entry(name, text)]),
        *_render_examples(rotator, ".SH EXAMPLES"),
    )


def _open(command: click.Command, parent: click.Context | None, name: str) -> click.Context:
    """A context in which a command says of itself what it would say to a person."""
    return click.Context(command, parent, name, **command.context_settings)


def _open_named(parent: click.Context, name: str) -> click.Context:
    assert isinstance(parent.command, click.Group)
    command = parent.command.get_command(parent, name)
    assert command is not None
    return _open(command, parent, name)


def _render_head(name: str, summary: str) -> Iterator[str]:
    summary = summary.rstrip(".")
    yield '.\\" Made from the commands by `python -m tests.unit.man_pages --write`.'
    yield f'.TH "{escape(name.upper())}" "1" "" "rotator {escape(__version__)}" "rotator"'
    yield from (".nh", ".ad l")  # neither options nor commands are broken, nor their spaces stretched
    yield from _render_section("NAME", [f"{escape(name)} \\- {escape(summary[:1].lower() + summary[1:])}"])


def _render_synopsis(context: click.Context) -> Iterator[str]:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    yield from _render_section("SYNOPSIS", [f"\\fB{escape(context.command_path)}\\fP {escape(pieces)}"])


def _render_description(command: click.Command, until: str | None = None) -> Iterator[str]:
    text = cleandoc(command.help or "").partition(until)[0] if until else cleandoc(command.help or "")
    yield from _render_section("DESCRIPTION", list(_render_text(text)))


def _render_options(context: click.Context) -> Iterator[str]:
    yield ".SH OPTIONS"
    yield from _render_parameters(context, context.command.get_params(context))


def _render_parameters(context: click.Context, parameters: Sequence[click.Parameter]) -> Iterator[str]:
    """Each option with what it does; arguments are in the synopsis, and the description says what they are."""
    for parameter in parameters:
        record = parameter.get_help_record(context)
        if record is not None and record[1]:
            yield from _entry(*record)


def _render_commands(context: click.Context) -> Iterator[str]:
    """What each command of a group does, with its own options: those that all have stand above."""
    if not isinstance(context.command, click.Group):
        return
    yield ".SH COMMANDS"
    common = {parameter.name for parameter in context.command.params}
    for name in context.command.list_commands(context):
        inner = _open_named(context, name)
        pieces = " ".join(inner.command.collect_usage_pieces(inner))
        yield f".SS {escape(inner.command_path)} {escape(pieces)}"
        yield from _render_text(cleandoc(inner.command.help or ""))
        own = [parameter for parameter in inner.command.params if parameter.name not in common]
        yield from _render_parameters(inner, own)
        yield from _render_examples(inner.command, ".PP")
        assert not isinstance(inner.command, click.Group), "a group within a group needs a page of its own"


def _render_examples(command: click.Command, heading: str) -> Iterator[str]:
    lines = (command.epilog or "").replace("\b", "").strip().splitlines()
    if lines:
        assert lines[0] == "Examples:"
        yield from (heading, ".nf", *(escape(line) for line in lines[1:]), ".fi")


def _render_section(title: str, lines: list[str]) -> Iterator[str]:
    yield f".SH {title}"
    yield from lines


def _render_text(text: str) -> Iterator[str]:
    """Paragraphs; one that click is told to leave alone keeps its lines."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        lines = paragraph.splitlines()
        if lines and lines[0].strip() == "\b":
            yield from (".nf", *map(escape, lines[1:]), ".fi")
        else:
            yield _mark(" ".join(paragraph.split()))


def _entry(term: str, text: str) -> Iterator[str]:
    yield from (".TP", f"\\fB{escape(term)}\\fP", _mark(" ".join(text.split())))


def _mark(text: str) -> str:
    """Escaped text in which what stands between backticks is bold."""
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fP", escape(text))


def escape(text: str) -> str:
    """Text that troff prints as it is, also at the beginning of a line."""
    text = "".join(_ESCAPES.get(letter, letter) for letter in text)
    return f"\\&{text}" if text.startswith(".") else text


def _join(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    pages = render_pages()
    if "--write" in sys.argv:
        FOLDER.mkdir(exist_ok=True)
        for path in FOLDER.glob("*.1"):
            path.unlink()
        for file, page in pages.items():
            (FOLDER / file).write_text(page, encoding="utf-8")
    else:
        print("\n".join(pages))
