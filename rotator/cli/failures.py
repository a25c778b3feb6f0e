"""What a person or a program sees when a command fails."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

import click

from rotator.cli.console import clean, echo, print_json
from rotator.cli.context import CliContext
from rotator.cli.streams import OutputError, report_unwritten
from rotator.errors import ConfigError, InternalError, RotatorError, SignInRequiredError, UsageError

if TYPE_CHECKING:
    from rotator.documents.document import Document

_UNSAID = {RotatorError.code, ConfigError.code, UsageError.code}
"""Codes that say nothing beside the message."""


def report_error(cli: CliContext, error: RotatorError) -> None:
    """Say what failed, why, who must do what, and where the runbook tells more."""
    cli.told.add(error.code)
    message = _say(error)
    if cli.as_json and _is_printed(_make_document(error, message)):
        return
    if isinstance(error, ConfigError):
        # A problem with a place comes with its own lines: the place, the source line and a caret.
        for problem in error.problems:
            first, *others = f"error: {problem}".splitlines()
            echo(clean(first + name_code(error)), err=True)
            for line in others:  # a caret stands below its place: these lines are as they are
                click.echo(clean(line), err=True)
    else:
        echo(f"error: {clean(message)}{name_code(error)}", err=True)
    if error.fix:
        echo(f"fix: {clean(error.fix)}", err=True)
    _point_to_runbook([error])


def _say(error: RotatorError) -> str:
    return f"account {error.account}: {error.message}" if isinstance(error, SignInRequiredError) else error.message


def _make_document(error: RotatorError, message: str) -> Document:
    """Loads the engine, which `--help` does without."""
    from rotator.documents.document import make_error_document
    from rotator.documents.report import make_skewed_document
    from rotator.engine.report import RunSkewedError

    if isinstance(error, RunSkewedError):
        return make_skewed_document(error)
    return make_error_document(error.code, message, error.fix)


def report_others(cli: CliContext, errors: Iterable[tuple[str, RotatorError]]) -> None:
    """Say, by name, what could not be done while the rest of a command was; without a name where the message has it."""
    met = list(errors)
    cli.told.update(error.code for _, error in met)
    for name, error in met:
        named = "" if name in error.message else f"{name}: "
        echo(f"error: {clean(named + _say(error))}{name_code(error)}", err=True)
        if error.fix:
            echo(f"fix: {clean(error.fix)}", err=True)
    _point_to_runbook(error for _, error in met)


def name_code(error: RotatorError) -> str:
    """Return the code as it follows the message, where it says anything."""
    return "" if error.code in _UNSAID else f" [{error.code}]"


def _point_to_runbook(errors: Iterable[RotatorError]) -> None:
    from rotator.domain.error_codes import find_entry
    from rotator.domain.runbook import make_command

    entries = dict.fromkeys(entry for error in errors if (entry := find_entry(error.code)))
    if entries:
        echo(f"more: `{make_command(*entries)}`", err=True)


def _is_printed(document: Document) -> bool:
    """Print the error as JSON. Return False when stdout cannot be written to: then stderr has it, in words."""
    try:
        print_json(document, in_one_line=True)
    except OutputError as error:
        report_unwritten(error)
        return False
    return True


def report_to_nagios(error: RotatorError) -> int:
    """Print the one line of a plugin that cannot tell, and return its exit code."""
    from rotator.cli.output.alarm import render_unknown

    line, code = render_unknown(error)
    click.echo(line)
    return code


def report_click_error(cli: CliContext, error: click.ClickException) -> None:
    """Say what is wrong with the command line."""
    usage = make_usage_error(error)
    if cli.as_json and _is_printed(_make_document(usage, usage.message)):
        return
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)  # the help, whole
        return
    echo(f"error: {usage.message}", err=True)
    echo(f"fix: {usage.fix}", err=True)


def make_usage_error(error: click.ClickException) -> UsageError:
    """Return what is wrong with the command line as an error of ours."""
    context = (error.ctx if isinstance(error, click.UsageError) else None) or _find_context(error)
    message = " ".join(error.format_message().split())
    if isinstance(error, click.NoSuchOption):
        message = click.NoSuchOption(error.option_name, possibilities=_find_near(error)).format_message()
    if isinstance(error, click.MissingParameter) and context is not None:
        message = _name_missing(context) or message
    return UsageError(message, fix=f"See `{context.command_path if context else 'rotator'} --help`.")


def _name_missing(context: click.Context) -> str:
    """Name all that is missing, where that is more than one: click names the first, once it has read what was given."""
    missing = [one for one in context.command.params if one.required and not context.params.get(one.name or "")]
    if len(missing) < 2:
        return ""
    names = [one.opts[0] if isinstance(one, click.Option) else one.make_metavar(context) for one in missing]
    what = "Missing options" if all(isinstance(one, click.Option) for one in missing) else "Missing"
    return f"{what}: {', '.join(names)}."


def _find_context(error: click.ClickException) -> click.Context | None:
    """Return the context of the command that was being read: click's parser raises some errors without it."""
    from traceback import walk_tb

    contexts = [frame.f_locals.get("ctx") for frame, _ in walk_tb(error.__traceback__)]
    return next((found for found in reversed(contexts) if isinstance(found, click.Context)), None)


def _find_near(error: click.NoSuchOption) -> list[str]:
    """Return the suggested options that are near by their names: the dashes alone make all options alike."""
    import difflib

    names = {option.lstrip("-"): option for option in error.possibilities or ()}
    return [names[near] for near in difflib.get_close_matches(error.option_name.lstrip("-"), names, cutoff=0.7)]


def watch_for_bugs(cli: CliContext) -> None:
    """Make any unexpected exception end the program with one line and exit code 1.

    With -v the traceback follows, without secrets.
    """

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            echo("interrupted", err=True)
            return
        where = _find_place(trace)
        bug = InternalError(
            f"a bug in rotator: {kind.__name__} at {where}",
            fix="Run it again with -v and report the traceback; `rotator audit list` shows how far it came.",
        )
        if cli.as_json:
            _is_printed(_make_document(bug, bug.message))
        echo(f"error: {bug.message}{name_code(bug)}\nfix: {bug.fix}", err=True)
        if cli.verbosity:
            import traceback

            from rotator.wiring.logs import redact

            text = "".join(traceback.format_exception(kind, error, trace))
            for line in text.splitlines():
                click.echo(redact(line), err=True)

    sys.excepthook = report


def _find_place(trace: TracebackType | None) -> str:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "unknown" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
