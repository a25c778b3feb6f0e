"""`rotator notify`: the receivers of notifications."""

from __future__ import annotations

import click

from rotator.cli.completing import complete
from rotator.cli.console import clean, echo, print_json, say
from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.session import open_installation


@click.group(epilog=examples("rotator notify test", "rotator notify test ops"))
@common_options
def notify() -> None:
    """Send a test notification."""


@notify.command(
    short_help="Send a test, and show what came back.",
    epilog=examples("rotator notify test        to every receiver", "rotator notify test ops    to one"),
)
@click.argument("name", required=False, shell_complete=complete("receiver"))
@common_options
@click.pass_obj
def test(cli: CliContext, name: str | None) -> int:
    """Send a test to every receiver in `notify`, or to the one called NAME, and show what came back.

    Exit codes: 0 every receiver took it, 1 none did, 3 some did.
    """
    from rotator.documents.notification import make_notify_test_document
    from rotator.domain.exit_code import DONE, FAILED, PARTLY_FAILED
    from rotator.wiring.notifying import try_receivers

    with open_installation(cli) as installation:
        tests = list(try_receivers(installation, name))
    failed = [found for found in tests if found.error is not None]
    if cli.as_json:
        print_json(make_notify_test_document(tests))
    for found in () if cli.as_json else tests:
        if found.error is None:
            say(cli, f"{found.name}: delivered ({clean(found.answer or '')})")
        else:
            echo(clean(f"{found.name}: {found.error.message}"), err=True)
            echo(clean(f"    fix: {found.error.fix}"), err=True)
    if not failed:
        return DONE
    return FAILED if len(failed) == len(tests) else PARTLY_FAILED
