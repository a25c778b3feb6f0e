"""`rotator inventory move`: the next PAT is another account's, for when somebody leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rotator.cli.completing import complete
from rotator.cli.confirming import check_can_confirm, is_sure, yes_option
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.cli.selection import check_known, take_one

if TYPE_CHECKING:
    from rotator.engine.updating import Change, Preview
    from rotator.wiring.installation import Installation


@click.command(
    short_help="Move a PAT to another account.",
    epilog=examples(
        "rotator inventory move npm-feed --account release-bot --reason 'Ann leaves'    asks first",
        "rotator inventory move npm-feed --account release-bot --dry-run    check everything, and change nothing",
        "rotator inventory move npm-feed --account release-bot --yes    from a script: does not ask",
    ),
)
@click.argument("name", callback=take_one, shell_complete=complete("pat"))
@click.option(
    "--account", required=True, metavar="NAME", shell_complete=complete("account"), help="Whose PAT the next one is."
)
@click.option("--dry-run", is_flag=True, help="Check everything, and change nothing.")
@yes_option
@reason_option
@common_options
@click.pass_obj
def move(cli: CliContext, name: str, account: str, dry_run: bool, yes: bool) -> int:
    """Move a PAT to another account of the same organization: for when the person whose PAT it is leaves.

    A new PAT is made as that account's user, proven, and stored in the same secret; consumers change nothing. The old
    PAT stays valid for the overlap. Then it is revoked. If its account must sign in first, that is waited for; if its
    user has left, nobody but Azure DevOps can revoke it, and it is left behind and reported until it has expired. If
    policy, server or vault refuse, the PAT stays where it is.
    """
    from rotator.cli.console import say
    from rotator.cli.exit_codes import DECLINED
    from rotator.cli.reporting import print_report
    from rotator.cli.session import open_installation
    from rotator.engine.context import RunMode
    from rotator.engine.updating import Change, update

    command = f"inventory move {name} --account {account}"
    change, otherwise = Change(name, account=account), f"{name} belongs to {account} already. Nothing to do."
    asked = None
    with open_installation(cli) as installation:
        known = [one.name for one in installation.settings.accounts]
        check_known("account", [account], known, f"Known accounts: {', '.join(known)}.", globs=False)
        check_can_confirm(cli, "a move makes the PAT another user's", command, yes=yes or dry_run)
        if dry_run or not yes:
            seen = _look(cli, installation, change)
            asked = seen.wanted
            if dry_run or seen.action is None:
                return _show(cli, installation, seen, otherwise)
            for line in _describe(seen, installation):
                say(cli, line)
            if not is_sure(cli, f"Move {name} from {seen.wanted.account} to {account}?", yes=yes):
                say(cli, "Nothing was moved.")
                return DECLINED
        return print_report(
            cli,
            installation,
            lambda run: update(run, change, asked),
            what="moving",
            mode=RunMode.BY_HAND,
            otherwise=otherwise,
        )


def _look(cli: CliContext, installation: Installation, change: Change) -> Preview:
    from rotator.cli.console import progress
    from rotator.engine.updating import preview

    with progress(cli, "asking Azure DevOps and Key Vault"):
        return preview(installation.make_run(cli.reason), change)


def _describe(seen: Preview, installation: Installation) -> list[str]:
    from rotator.cli.console import clean
    from rotator.cli.output.plan import render_action
    from rotator.cli.output.report import say_left

    if seen.action is None:
        return []
    pat = seen.wanted.as_wanted()
    lines = [render_action(seen.action._replace(pat=pat), installation.clock.now())]
    lines.append(clean(f"    from {seen.wanted.account} to {pat.account}; secret {pat.secret_name} in {pat.vault}"))
    return lines if seen.revokes else [*lines, f"    {say_left(pat.authorization_id)}"]


def _show(cli: CliContext, installation: Installation, seen: Preview, otherwise: str) -> int:
    from rotator.cli.console import print_json, say
    from rotator.documents.report import make_preview_document
    from rotator.domain.exit_code import DONE

    if cli.as_json:
        print_json(make_preview_document(seen, installation.make_run(cli.reason).run_id))
    for line in _describe(seen, installation) or [otherwise]:
        say(cli, line)
    if seen.action is not None:
        say(cli, "A dry run: nothing was moved.")
    return DONE
