"""`rotator inventory`: what is under management."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.domain.managed_pat import ManagedPat
from rotator.engine.context import RunContext
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.documents.inventory import Change


@click.group(
    epilog=examples(
        "rotator inventory adopt --all        adopt all PATs that the policy covers",
        "rotator inventory list               what is under management",
        "rotator inventory pause npm-feed     keep it, but stop rotating it",
    )
)
@common_options
def inventory() -> None:
    """Adopt PATs into the inventory; list, show, pause, resume, forget and rebuild them."""


@inventory.command(
    "list", epilog=examples("rotator inventory list", "rotator inventory list --json    all fields, for scripts")
)
@common_options
@click.pass_obj
def list_records(cli: CliContext) -> int:
    """List the PATs under management."""
    from rotator.cli.console import print_json, print_table, say
    from rotator.cli.output.inventory import COLUMNS, list_record_rows
    from rotator.cli.output.plan import NO_PATS
    from rotator.cli.session import open_installation
    from rotator.documents.inventory import make_inventory_document
    from rotator.engine.status import load_effective

    with open_installation(cli) as installation:
        now = installation.clock.now()
        records = load_effective(installation.database, installation.policy, now)
    if cli.as_json:
        print_json(make_inventory_document(records))
    elif records:
        print_table(cli, COLUMNS, list(list_record_rows(records, now)))
    else:
        say(cli, NO_PATS)
    return 0


@inventory.command(epilog=examples("rotator inventory show npm-feed"))
@click.argument("name")
@common_options
@click.pass_obj
def show(cli: CliContext, name: str) -> int:
    """Show all that is known of one PAT, and its rotations."""
    from rotator.cli.console import print_json, say
    from rotator.cli.output.inventory import render_record
    from rotator.cli.session import open_installation
    from rotator.documents.inventory import make_inventory_entry_document
    from rotator.domain.rotation import RotationKind
    from rotator.engine.claiming import check_managed
    from rotator.engine.status import load_effective

    with open_installation(cli) as installation:
        now = installation.clock.now()
        with installation.database.read() as reading:
            record = check_managed(reading, name)
            journaled = reading.journal.load_for(name)
            pending = [item for item in reading.revocations.load() if item.belongs_to(record)]
        rotations = tuple(rotation for rotation in journaled if rotation.kind is not RotationKind.RESTORE)
        pats = load_effective(installation.database, installation.policy, now)
        pat = next(pat for pat in pats if pat.name == name)
    if cli.as_json:
        print_json(make_inventory_entry_document(pat, rotations, pending, now))
    for line in render_record(pat, rotations, pending, now):
        say(cli, line)
    return 0


@inventory.command(
    epilog=examples(
        "rotator inventory adopt npm-feed ci-build    by display name, or by authorization id",
        "rotator inventory adopt --all --dry-run      show what would be adopted; write nothing",
        "rotator inventory adopt --all --yes          do not ask",
        "rotator inventory adopt ID --as npm-feed --secret npm-token    choose its name and its secret",
        "rotator inventory adopt ID --replace-foreign    its secret holds something else, which may be lost",
        "rotator inventory adopt --from pats.csv --dry-run    many, with the header id,name,secret; or a YAML list",
    )
)
@click.argument("references", metavar="[NAME|ID...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All PATs that a rule of the policy covers.")
@click.option(
    "--from",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PATs with names and secrets of your choice: a .csv or .yaml file.",
)
@click.option("--as", "name", metavar="NAME", help="The name to manage it by; with one PAT only.")
@click.option("--secret", metavar="NAME", help="The secret to write its value to; with one PAT only.")
@click.option("--replace-foreign", is_flag=True, help="Allow overwriting a secret that holds something else.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@reason_option
@common_options
@click.pass_obj
def adopt(
    cli: CliContext,
    references: tuple[str, ...],
    everything: bool,
    file: Path | None,
    name: str | None,
    secret: str | None,
    replace_foreign: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Bring existing PATs under management.

    Shows the name, vault and secret name of each, and what the secret holds, before anything is written, and on a
    terminal asks first. Changes nothing on the server or in the vault: the first rotation writes the secret, if it
    then still holds what was shown. A PAT that is managed already is looked at again.

    A file has one PAT per line, with the keys id, name and secret, and if need be account, organization, vault and
    replace_foreign (true or false). Nothing is adopted while one of its lines is bad.
    """
    from rotator.cli.adoption import Wish, adopt_wished, make_listed_wish
    from rotator.engine.choices import make_choice

    if bool(references) + everything + (file is not None) != 1:
        raise UsageError(
            "say which PATs to adopt: display names, authorization ids, --all alone, or --from FILE alone",
            fix="See `rotator scan` for what there is.",
        )
    if file is not None:
        if name is not None or secret is not None or replace_foreign:
            raise UsageError(
                "--as, --secret and --replace-foreign go with PATs that are named; with --from the file says it",
                fix="Use the keys name, secret and replace_foreign of the file.",
            )
        return adopt_wished(cli, make_listed_wish(file, dry_run=dry_run, yes=yes))
    if replace_foreign and everything:
        raise UsageError(
            "--replace-foreign does not go with --all: a person must have seen what is written over",
            fix="Name the PATs whose secrets may be overwritten.",
        )
    wanted = tuple(dict.fromkeys(references))
    if (name is not None or secret is not None) and len(wanted) != 1:
        raise UsageError("--as and --secret go with one PAT", fix="Name one PAT, by its authorization id.")
    return adopt_wished(
        cli, Wish(wanted, everything, dry_run, yes, make_choice(name, secret, replace_foreign=replace_foreign))
    )


@inventory.command(short_help="Keep a PAT but stop rotating it.", epilog=examples("rotator inventory pause npm-feed"))
@click.argument("name")
@reason_option
@common_options
@click.pass_obj
def pause(cli: CliContext, name: str) -> int:
    """Keep a PAT but stop rotating it; a rotation in progress is still finished."""
    from rotator.engine.keeping import pause as apply

    return _change(cli, name, apply, "paused", f"`rotator inventory resume {name}` rotates it again.")


@inventory.command(epilog=examples("rotator inventory resume npm-feed"))
@click.argument("name")
@reason_option
@common_options
@click.pass_obj
def resume(cli: CliContext, name: str) -> int:
    """Rotate a PAT again, and forget what failed before."""
    from rotator.engine.keeping import resume as apply

    return _change(cli, name, apply, "resumed", "`rotator plan` shows when it is due.")


@inventory.command(epilog=examples("rotator inventory rename npm-feed npm-publish"))
@click.argument("name")
@click.argument("new_name", metavar="NEW")
@reason_option
@common_options
@click.pass_obj
def rename(cli: CliContext, name: str, new_name: str) -> int:
    """Give a PAT another name in rotator. Its secret keeps its name, and so does the PAT at Azure DevOps."""
    from rotator.engine.keeping import rename as apply

    after = f"It was {name}; its secret keeps its name."
    return _change(cli, name, lambda run, old: apply(run, old, new_name), "renamed", after)


@inventory.command(
    epilog=examples("rotator inventory forget npm-feed", "rotator inventory forget npm-feed --yes    do not ask")
)
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@reason_option
@common_options
@click.pass_obj
def forget(cli: CliContext, name: str, yes: bool) -> int:
    """Remove a PAT from the inventory. Server and vault stay as they are: the PAT lives until it expires."""
    from rotator.cli.console import confirm, say
    from rotator.cli.exit_codes import FAILED
    from rotator.engine.keeping import forget as apply

    question = f"Forget {name}? It will no longer be rotated, and will expire."
    if cli.may_ask and not yes and not confirm(cli, question):
        say(cli, "Nothing was forgotten.")
        return FAILED
    return _change(cli, name, apply, "forgotten", "`rotator inventory adopt` brings it back.")


@inventory.command(
    "forget-limits",
    short_help="Forget the longest lifetimes that were granted.",
    epilog=examples(
        "rotator inventory forget-limits                          everything that was learned",
        "rotator inventory forget-limits --organization contoso   of one organization",
    ),
)
@click.option("--account", help="Only what was learned for this account.")
@click.option("--organization", help="Only what was learned in this organization.")
@reason_option
@common_options
@click.pass_obj
def forget_limits(cli: CliContext, account: str | None, organization: str | None) -> int:
    """Forget the longest lifetimes that servers were seen to grant: the next PAT is asked for with its full one.

    rotator tries again by itself after some time, at most 30 days, and when a PAT is near its expiry.
    """
    from rotator.cli.console import print_json, say
    from rotator.cli.session import open_installation
    from rotator.documents.limits import make_limits_document
    from rotator.domain.words import say_duration, say_moment
    from rotator.engine.limits import forget_limits as apply

    with open_installation(cli) as installation:
        forgotten = apply(installation.make_run(cli.reason), account, organization)
    if cli.as_json:
        print_json(make_limits_document(forgotten))
    for (owner, place), limit in forgotten.items():
        longest, learned = say_duration(limit.longest), say_moment(limit.learned_at)
        say(cli, f"forgotten  {owner} in {place}: {longest} at most, learned {learned}.")
    if not forgotten:
        say(cli, "Nothing was learned.")
    return 0


def _change(
    cli: CliContext, name: str, apply: Callable[[RunContext, str], ManagedPat], change: Change, after: str
) -> int:
    from rotator.cli.console import print_json, say
    from rotator.cli.session import open_installation
    from rotator.documents.inventory import make_inventory_change_document

    with open_installation(cli) as installation:
        pat = apply(installation.make_run(cli.reason), name)
    if cli.as_json:
        old_name = name if change == "renamed" else None
        print_json(make_inventory_change_document(change, pat, old_name))
    say(cli, f"{change}  {pat.name}. {after}")
    return 0


@inventory.command(
    short_help="Rebuild it after a database was lost or restored.",
    epilog=examples(
        "rotator inventory rebuild --dry-run    compare the vaults and the server with the database",
        "rotator inventory rebuild              correct the inventory",
    ),
)
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@reason_option
@common_options
@click.pass_obj
def rebuild(cli: CliContext, dry_run: bool) -> int:
    """Rebuild the inventory from the vaults' tags and the server's list, after a database was lost or restored.

    Revokes nothing and mints nothing; old PATs that still live get a new overlap. Where a vault hands out a PAT
    that is gone, the next run writes the previous value back. PATs that were never rotated are in no vault: adopt
    them again.
    """
    from rotator.cli.console import echo, print_json, progress, say
    from rotator.cli.exit_codes import find_code_of_errors
    from rotator.cli.output.recovery import render_rebuilt, render_unbuilt
    from rotator.cli.session import open_installation
    from rotator.documents.rebuild import make_rebuild_document
    from rotator.engine import rebuilding

    with open_installation(cli) as installation:
        run = installation.make_run(cli.reason)
        with progress(cli, "reading the vaults"):
            plan = rebuilding.look(run)
            if not dry_run:
                rebuilding.rebuild(run, plan)
    if cli.as_json:
        print_json(make_rebuild_document(plan, dry_run=dry_run))
    for item in plan.news:
        say(cli, render_rebuilt(item))
    if not cli.as_json:
        for line in render_unbuilt(plan):
            echo(line, err=True)
    done = "would be rebuilt" if dry_run else "rebuilt"
    say(cli, f"{len(plan.news)} {done}, {len(plan.found) - len(plan.news)} unchanged.")
    return find_code_of_errors(plan.errors, done=bool(plan.found), refused=bool(plan.refusals))
