"""The options by which a command chooses among many PATs, and the forms that programs read."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

import click

from rotator.cli.choosing_events import COUNT
from rotator.cli.completing import Completer, complete
from rotator.cli.context import CliContext
from rotator.cli.selection import Form, Order
from rotator.cli.spreadsheets import guard

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_Command = Callable[_Parameters, _Result]


def selection_options(
    states: Iterable[str], names: Completer | None = None
) -> Callable[[_Command[_Parameters, _Result]], _Command[_Parameters, _Result]]:
    """Give a command `[NAME...]`, the filters, `--sort`, `--limit` and `--output`; the values go to `cli.selection`.

    `states`: the words that `--state` takes; `names`: what completes a NAME, those of the inventory unless given.
    """
    words = list(states)
    options = (
        click.argument(
            "names",
            metavar="[NAME...]",
            nargs=-1,
            expose_value=False,
            callback=_keep("names"),
            shell_complete=names or complete("pat"),
        ),
        _make_pattern_option("account"),
        _make_pattern_option("organization"),
        click.option(
            "--state",
            "states",
            metavar="STATE",
            multiple=True,
            type=click.Choice(words),
            expose_value=False,
            callback=_keep("states"),
            help=f"Only PATs in this state; may be given several times: {', '.join(words)}.",
        ),
        click.option(
            "--expires-within",
            metavar="DURATION",
            expose_value=False,
            callback=_keep_duration,
            help="Only PATs that expire within this time, such as 7d, or have expired.",
        ),
        click.option(
            "--sort",
            type=click.Choice([order.value for order in Order]),
            expose_value=False,
            callback=_keep_order,
            help="Sort by this.",
        ),
        click.option(
            "--limit",
            metavar="N",
            type=COUNT,
            expose_value=False,
            callback=_keep("limit"),
            help="Show at most N.",
        ),
        click.option(
            "-o",
            "--output",
            "form",
            type=click.Choice([form.value for form in Form]),
            expose_value=False,
            callback=_keep_form,
            help="A table, one with more columns, the names alone, CSV, or JSON. Default: table.",
        ),
    )

    def decorate(command: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _make_pattern_option(what: str) -> Callable[[_Command[_Parameters, _Result]], _Command[_Parameters, _Result]]:
    return click.option(
        f"--{what}",
        f"{what}s",
        metavar="NAME",
        multiple=True,
        expose_value=False,
        callback=_keep(f"{what}s"),
        shell_complete=complete(what),
        help=f"Only PATs of this {what}, which may be a glob; may be given several times.",
    )


def parse_duration_option(_context: click.Context, _parameter: click.Parameter, value: str | None) -> timedelta | None:
    """Read a duration such as `7d` for an option; click's BadParameter if it is none."""
    from rotator.settings.durations import parse_duration

    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def print_names(names: Iterable[str]) -> None:
    """Print each name in a line of its own."""
    from rotator.cli.console import clean

    for name in names:
        click.echo(clean(name))


def print_csv(rows: Sequence[Mapping[str, object]], row_type: type) -> None:
    """Print the rows of a JSON document as CSV: lists with spaces between, what is nested as `key.inner`.

    The columns are those of `row_type`, the rows' TypedDict, whatever the rows lack. A text that a spreadsheet would
    take for a formula gets an apostrophe before it.
    """
    columns = list(_list_columns(row_type))
    writer = csv.DictWriter(sys.stdout, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_flatten, rows))
    sys.stdout.flush()


def _list_columns(row_type: type, prefix: str = "") -> Iterator[str]:
    for key, hint in get_type_hints(row_type).items():
        nested = [part for part in (hint, *get_args(hint)) if is_typeddict(part)]
        if nested and get_origin(hint) is not list:
            yield from _list_columns(nested[0], f"{prefix}{key}.")
        else:
            yield prefix + key


def _flatten(row: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
            continue
        if isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, list | tuple):
            text = " ".join(map(str, value))
        else:
            text = "" if value is None else str(value)
        flat[prefix + key] = guard(text)
    return flat


def _keep(field: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def keep(context: click.Context, _: click.Parameter, value: object) -> None:
        _set(context, **{field: value})

    return keep


def _keep_duration(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    _set(context, expires_within=parse_duration_option(context, parameter, value))


def _keep_order(context: click.Context, _: click.Parameter, value: str | None) -> None:
    _set(context, order=None if value is None else Order(value))


def _keep_form(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        _set(context, form=Form(value))
        if value == Form.JSON:
            context.ensure_object(CliContext).as_json = True


def _set(context: click.Context, **fields: Any) -> None:
    cli = context.ensure_object(CliContext)
    cli.selection = replace(cli.selection, **fields)
