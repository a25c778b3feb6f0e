"""`rotator hooks`: what is called when something happens."""

from __future__ import annotations

import click

from rotator.cli.completing import complete
from rotator.cli.console import clean, echo, print_json, say
from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.session import open_installation


@click.group(epilog=examples("rotator hooks test", "rotator hooks test restart-builder"))
@common_options
def hooks() -> None:
    """Call the hooks, as a test."""


@hooks.command(
    short_help="Call each hook with a test, and show what it says.",
    epilog=examples(
        "rotator hooks test                    call every hook", "rotator hooks test restart-builder    call one"
    ),
)
@click.argument("name", required=False, shell_complete=complete("hook"))
@common_options
@click.pass_obj
def test(cli: CliContext, name: str | None) -> int:
    """Call every hook in `hooks`, or the one called NAME, with the event `test`, and show what it printed.

    The hook does what it is made for: one that restarts a service restarts it.

    Exit codes: 0 every hook succeeded, 1 none did, 3 some did.
    """
    from rotator.cli.stopping import stop_on_signals
    from rotator.documents.hook import make_hooks_test_document
    from rotator.domain.exit_code import DONE, FAILED, PARTLY_FAILED
    from rotator.wiring.hooks import try_hooks

    with open_installation(cli) as installation, stop_on_signals(installation.stop):
        tests = list(try_hooks(installation, name))
    failed = [found for found in tests if found.error is not None]
    if cli.as_json:
        print_json(make_hooks_test_document(tests))
    for found in () if cli.as_json else tests:
        if found.error is None:
            output = clean(found.output or "")
            say(cli, f"{found.name}: succeeded{': ' if output else ''}{output}")
        else:
            echo(clean(f"{found.name}: {found.error.message}"), err=True)
            echo(clean(f"    fix: {found.error.fix}"), err=True)
    if not failed:
        return DONE
    return FAILED if len(failed) == len(tests) else PARTLY_FAILED
