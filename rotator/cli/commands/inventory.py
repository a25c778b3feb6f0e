"""`rotator inventory`: what is under management."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from rotator.cli.changing import change_records, forget_records
from rotator.cli.commands.inventory_move import move
from rotator.cli.completing import complete
from rotator.cli.confirming import check_can_confirm, is_sure, yes_option
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.cli.exporting import NamedPath
from rotator.cli.selecting import print_csv, print_names, selection_options
from rotator.cli.selection import Form, check_known, take_one
from rotator.domain.managed_pat import ManagedPat, ManagedPatState
from rotator.domain.words import say_names
from rotator.engine.context import RunContext
from rotator.errors import UsageError


@click.group(
    epilog=examples(
        "rotator inventory adopt --all        adopt all PATs that the policy covers",
        "rotator inventory list               what is under management",
        "rotator inventory pause npm-feed     keep it, but stop rotating it",
    )
)
@common_options
def inventory() -> None:
    """Adopt PATs into the inventory; list, show, pause, resume, move, forget and rebuild them."""


@inventory.command(
    "list",
    epilog=examples(
        "rotator inventory list",
        "rotator inventory list 'team01*' --state blocked -o name    for xargs",
        "rotator inventory list -o wide    scopes, vault and ids too; --json for all fields",
    ),
)
@selection_options([*(state.value for state in ManagedPatState), "blocked"])
@common_options
@click.pass_obj
def list_records(cli: CliContext) -> int:
    """List the PATs under management."""
    from rotator.cli.console import note, print_json, print_table, say
    from rotator.cli.output.inventory import (
        COLUMNS,
        WIDE_COLUMNS,
        describe_record,
        list_record_rows,
        list_wide_rows,
        render_record_notes,
        render_record_summary,
    )
    from rotator.cli.output.plan import NONE_CHOSEN, say_no_pats
    from rotator.cli.session import open_installation
    from rotator.documents.inventory import RecordDocument, make_inventory_document
    from rotator.engine.status import load_effective
    from rotator.wiring.sign_ins import find_signed_out

    with open_installation(cli) as installation:
        now = installation.clock.now()
        every = load_effective(installation.database, installation.policy, now)
        signed_out = [] if every or cli.as_json else find_signed_out(installation, partial(note, cli))
    records = cli.selection.choose(every, describe_record, now)
    if cli.as_json:
        print_json(make_inventory_document(records))
    elif cli.selection.form is Form.NAME:
        print_names(pat.name for pat in records)
    elif cli.selection.form is Form.CSV:
        print_csv(make_inventory_document(records)["pats"], RecordDocument)
    elif records and cli.selection.form is Form.WIDE:
        print_table(cli, WIDE_COLUMNS, list(list_wide_rows(records, now)))
    elif records:
        print_table(cli, COLUMNS, list(list_record_rows(records, now)))
    else:
        say(cli, NONE_CHOSEN if every else say_no_pats(signed_out))
    if cli.selection.form not in (Form.NAME, Form.CSV) and records:
        for line in (*render_record_notes(records), render_record_summary(records)):
            say(cli, line)
    return 0


@inventory.command(
    short_help="Show everything known about one PAT.", epilog=examples("rotator inventory show npm-feed")
)
@click.argument("name", callback=take_one, shell_complete=complete("pat"))
@common_options
@click.pass_obj
def show(cli: CliContext, name: str) -> int:
    """Show everything known about one PAT: its rotations, how each ended and why, and its newest events."""
    from rotator.cli.console import print_json, say
    from rotator.cli.output.inventory import render_record
    from rotator.cli.session import open_installation
    from rotator.documents.inventory import make_inventory_entry_document
    from rotator.engine.overview import view_record

    with open_installation(cli) as installation:
        now = installation.clock.now()
        seen = view_record(installation.database, installation.policy, name, now)
    if cli.as_json:
        print_json(make_inventory_entry_document(seen, now))
    for line in render_record(seen, now):
        say(cli, line)
    return 0


@inventory.command(
    epilog=examples(
        "rotator inventory adopt npm-feed ci-build    by display name, or by authorization id",
        "rotator inventory adopt --all --dry-run      show what would be adopted; write nothing",
        "rotator inventory adopt 'team01*'            of these, those that a rule of the policy covers",
        "rotator inventory adopt --all --yes          do not ask",
        "rotator inventory adopt ID --as npm-feed --secret npm-token    choose its name and its secret",
        "rotator inventory adopt ID --replace-foreign    its secret holds something else: overwrite that",
        "rotator inventory adopt --from pats.csv --dry-run    many, with the header id,name,secret; or a YAML list",
    )
)
@click.argument("references", metavar="[NAME|ID|GLOB...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All PATs that a rule of the policy covers.")
@click.option(
    "--from",
    "file",
    metavar="FILE",
    type=NamedPath(dir_okay=False),
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
    then still holds what was shown. A PAT that is managed already is looked at again. A glob such as 'team01*' adopts
    what --all would, of the PATs whose display names fit. What no run may rotate is adopted too, and only watched.

    A file has one PAT per line, with the keys id, name and secret, and if need be account, organization, vault and
    replace_foreign (true or false). Nothing is adopted until every line can be read; then
    a PAT whose secret is refused is left out, and the others are adopted.
    """
    from rotator.cli.adoption import Wish, adopt_wished, make_listed_wish
    from rotator.cli.selection import is_glob
    from rotator.engine.choices import make_choice

    if bool(references) + everything + (file is not None) != 1:
        raise UsageError(
            "say which PATs to adopt: display names, authorization ids, --all alone, or --from FILE alone",
            fix="`rotator scan -o wide` lists the PATs with their ids.",
        )
    if file is not None:
        if name is not None or secret is not None or replace_foreign:
            raise UsageError(
                "--as, --secret and --replace-foreign go with PATs that are named; with --from the file says it",
                fix="Use the keys name, secret and replace_foreign of the file.",
            )
        return adopt_wished(cli, make_listed_wish(file, dry_run=dry_run, yes=yes))
    wanted = tuple(dict.fromkeys(references))
    matching = wanted if any(map(is_glob, wanted)) else ()
    if matching and not all(map(is_glob, wanted)):
        raise UsageError(
            "give names and ids, or globs, not both: a glob adopts what --all does, a name what you have looked at",
            fix="Run the command twice.",
        )
    if replace_foreign and (everything or matching):
        raise UsageError(
            "--replace-foreign does not go with --all or a glob: a person must have seen what is overwritten",
            fix="Name the PATs whose secrets may be overwritten.",
        )
    if (name is not None or secret is not None) and (len(wanted) != 1 or matching):
        raise UsageError("--as and --secret go with one PAT", fix="Name one PAT, by its authorization id.")
    choice = make_choice(name, secret, replace_foreign=replace_foreign)
    named = () if matching else wanted
    return adopt_wished(cli, Wish(named, everything or bool(matching), dry_run, yes, choice, matching=matching))


@inventory.command(
    short_help="Keep PATs but stop rotating them.",
    epilog=examples(
        "rotator inventory pause npm-feed",
        "rotator inventory pause 'team01*' --reason 'moving house'",
        "rotator inventory pause --all --reason 'audit week'    no run rotates or revokes anything",
    ),
)
@click.argument("names", metavar="NAME...", nargs=-1, shell_complete=complete("pat"))
@click.option("--all", "all_of_them", is_flag=True, help="Everything, PATs that are adopted later included.")
@reason_option
@common_options
@click.pass_obj
def pause(cli: CliContext, names: tuple[str, ...], all_of_them: bool) -> int:
    """Keep these PATs but stop rotating them; a rotation in progress is still finished. A NAME may be a glob.

    With --all no run rotates or revokes anything until `resume --all`, even if a PAT expires. What was interrupted
    is still finished, and commands by hand still work.
    """
    from rotator.cli.pausing import check_names, pause_everything
    from rotator.engine.keeping import pause as apply

    check_names(names, all_of_them=all_of_them, command="pause")
    if all_of_them:
        return pause_everything(cli)
    return change_records(cli, names, apply, "paused", "`rotator inventory resume {name}` lets runs rotate it again.")


@inventory.command(
    short_help="Rotate PATs again.",
    epilog=examples(
        "rotator inventory resume npm-feed", "rotator inventory resume 'team01*'", "rotator inventory resume --all"
    ),
)
@click.argument("names", metavar="NAME...", nargs=-1, shell_complete=complete("pat"))
@click.option("--all", "all_of_them", is_flag=True, help="End `pause --all`. PATs paused by name stay paused.")
@reason_option
@common_options
@click.pass_obj
def resume(cli: CliContext, names: tuple[str, ...], all_of_them: bool) -> int:
    """Rotate these PATs again, and forget what failed before. A NAME may be a glob."""
    from rotator.cli.pausing import check_names, resume_everything
    from rotator.engine.keeping import is_resumed
    from rotator.engine.keeping import resume as change

    check_names(names, all_of_them=all_of_them, command="resume")
    if all_of_them:
        return resume_everything(cli)
    same: set[str] = set()

    def apply(run: RunContext, name: str) -> ManagedPat:
        if is_resumed(run, name):
            same.add(name)
        return change(run, name)

    after, why_same = "`rotator plan` shows when it is due.", "not paused by name, so there was nothing to resume."
    return change_records(cli, names, apply, "resumed", after, same=same, why_same=why_same)


@inventory.command(epilog=examples("rotator inventory rename npm-feed npm-publish"))
@click.argument("name", callback=take_one, shell_complete=complete("pat"))
@click.argument("new_name", metavar="NEW")
@reason_option
@common_options
@click.pass_obj
def rename(cli: CliContext, name: str, new_name: str) -> int:
    """Give a PAT another name in rotator. Its secret keeps its name, and so does the PAT at Azure DevOps."""
    from rotator.engine.keeping import rename as apply

    after = f"It was {name}; its secret keeps its name."
    return change_records(cli, (name,), lambda run, old: apply(run, old, new_name), "renamed", after)


inventory.add_command(move)


@inventory.command(
    epilog=examples(
        "rotator inventory forget npm-feed           asks first",
        "rotator inventory forget 'team01*' --dry-run    only show what would be forgotten",
        "rotator inventory forget 'team01*' --yes    from a script: does not ask",
    )
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete("pat"))
@click.option("--dry-run", is_flag=True, help="Show what would be forgotten and what is refused, and forget nothing.")
@yes_option
@reason_option
@common_options
@click.pass_obj
def forget(cli: CliContext, names: tuple[str, ...], dry_run: bool, yes: bool) -> int:
    """Remove PATs from the inventory. Server and vault stay as they are: the PATs live until they expire.

    A NAME may be a glob.
    """
    return forget_records(cli, names, dry_run=dry_run, yes=yes)


@inventory.command(
    "forget-limits",
    short_help="Forget the longest lifetimes that were granted.",
    epilog=examples(
        "rotator inventory forget-limits                          everything that was learned",
        "rotator inventory forget-limits --organization contoso   of one organization",
    ),
)
@click.option(
    "--account", metavar="NAME", shell_complete=complete("account"), help="Only what was learned for this account."
)
@click.option(
    "--organization",
    metavar="NAME",
    shell_complete=complete("organization"),
    help="Only what was learned in this organization.",
)
@reason_option
@common_options
@click.pass_obj
def forget_limits(cli: CliContext, account: str | None, organization: str | None) -> int:
    """Forget the longest lifetimes that servers have granted, so that the next PAT is requested with its full lifetime.

    rotator tries again by itself after some time, at most 30 days, and when a PAT is near its expiry.
    """
    from rotator.cli.console import print_json, say
    from rotator.cli.session import open_installation
    from rotator.documents.limits import make_limits_document
    from rotator.domain.words import say_duration, say_moment
    from rotator.engine.limits import forget_limits as apply

    with open_installation(cli) as installation:
        with installation.database.read() as reading:
            known = [*reading.limits.load()]
        known += [(one.name, place) for one in installation.settings.accounts for place in one.organizations]
        fix = "Leave it out to forget everything that was learned."
        check_known("account", filter(None, [account]), [owner for owner, _ in known], fix, globs=False)
        check_known("organization", filter(None, [organization]), [place for _, place in known], fix, globs=False)
        forgotten = apply(installation.make_run(cli.reason), account, organization)
    if cli.as_json:
        print_json(make_limits_document(forgotten))
    for (owner, place), limit in forgotten.items():
        longest, learned = say_duration(limit.longest), say_moment(limit.learned_at)
        say(cli, f"forgotten  {owner} in {place}: {longest} at most, learned {learned}.")
    if not forgotten:
        say(cli, "Nothing was learned.")
    return 0


@inventory.command(
    short_help="Rebuild it after a database was lost or restored.",
    epilog=examples(
        "rotator inventory rebuild --dry-run    compare the vaults and the server with the database",
        "rotator inventory rebuild              correct the inventory; asks first",
        "rotator inventory rebuild --yes        from a script: does not ask",
    ),
)
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@yes_option
@reason_option
@common_options
@click.pass_obj
def rebuild(cli: CliContext, dry_run: bool, yes: bool) -> int:
    """Rebuild the inventory from the vaults' tags and the server's list, after a database was lost or restored.

    Revokes nothing and mints nothing; old PATs that still live get a new overlap. Where a vault still holds the value
    of a PAT that no longer exists, the next run writes the previous value back. PATs that were never rotated are in no
    vault: adopt them again.
    """
    from rotator.cli.console import echo, print_json, progress, say
    from rotator.cli.exit_codes import DECLINED
    from rotator.cli.failures import report_others
    from rotator.cli.output.recovery import render_rebuilt, render_unbuilt
    from rotator.cli.session import open_installation
    from rotator.documents.rebuild import make_rebuild_document
    from rotator.engine import exit_codes, looking, rebuilding

    check_can_confirm(cli, "a rebuild overwrites what the inventory says", "inventory rebuild", yes=yes or dry_run)
    with open_installation(cli) as installation:
        run = installation.make_run(cli.reason)
        with progress(cli, "reading the vaults"):
            plan = looking.look(run)
        names = say_names([item.record.name for item in plan.news])
        if names and not dry_run and not is_sure(cli, f"Overwrite what the inventory says of {names}?", yes=yes):
            say(cli, "Nothing was written.")
            return DECLINED
        if not dry_run:
            with progress(cli, "writing the inventory"):
                rebuilding.rebuild(run, plan)
    if cli.as_json:
        print_json(make_rebuild_document(plan, dry_run=dry_run))
    for item in plan.news:
        say(cli, render_rebuilt(item))
    if not cli.as_json:
        for line in render_unbuilt(plan):
            echo(line, err=True)
        report_others(cli, [("", error) for error in plan.errors])
    done = "would be rebuilt" if dry_run else "rebuilt"
    say(cli, f"{len(plan.news)} {done}, {len(plan.found) - len(plan.news)} unchanged.")
    return exit_codes.find_code_of_errors(plan.errors, done=bool(plan.found), refused=bool(plan.refusals))
