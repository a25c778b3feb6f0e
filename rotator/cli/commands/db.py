"""`rotator db`: the inventory database's schema."""

from __future__ import annotations

import click

from rotator.cli.console import print_json, say
from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.session import open_installation
from rotator.documents.database import make_revision_document, make_upgrade_document


@click.group(epilog=examples("rotator db upgrade", "rotator db current"))
@common_options
def db() -> None:
    """Create or upgrade the inventory database."""


@db.command(
    short_help="Create the database, or upgrade its schema.",
    epilog=examples("rotator db upgrade"),
)
@common_options
@click.pass_obj
def upgrade(cli: CliContext) -> None:
    """Bring the database to the schema that this version needs; create it if it does not exist.

    All or nothing: a crash leaves the database as it was. Running it again changes nothing.
    """
    with open_installation(cli) as installation:
        before, after = installation.upgrade_database()
    if cli.as_json:
        print_json(make_upgrade_document(before, after))
    elif before == after:
        say(cli, f"The database is up to date (revision {after}).")
    elif before is None:
        say(cli, f"The database was created (revision {after}).")
    else:
        say(cli, f"The database was upgraded from revision {before} to {after}.")


@db.command(
    short_help="Show the revision it has, and the one needed.",
    epilog=examples("rotator db current", "rotator db current --json"),
)
@common_options
@click.pass_obj
def current(cli: CliContext) -> None:
    """Show the database's revision and the one that this version needs. Exits with 1 if they differ."""
    with open_installation(cli) as installation:
        found = installation.load_database_revision()
    if cli.as_json:
        print_json(make_revision_document(found.current, found.head))
        click.get_current_context().exit(0 if found.problem is None else 1)
    if found.problem is not None:
        raise found.problem
    say(cli, f"The database is up to date (revision {found.head}).")
