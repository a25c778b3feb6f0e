"""`rotator create`: create a managed PAT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rotator.cli.completing import complete
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.cli.selection import check_known

if TYPE_CHECKING:
    from rotator.engine.creating import Draft, Order
    from rotator.wiring.installation import Installation


_TAKEN = {"name_taken", "secret_taken", "display_name_taken"}
"""What is wrong with the order, not with the world: the command line names something that another PAT has."""


@click.command(
    epilog=examples(
        "rotator create npm-feed --account build-bot --organization contoso \\",
        "    --scope vso.packaging --lifetime 30d",
        "rotator create npm-feed ... --dry-run    check everything, and create nothing",
    )
)
@click.argument("name")
@click.option(
    "--account", required=True, metavar="NAME", shell_complete=complete("account"), help="The account whose PAT it is."
)
@click.option(
    "--organization",
    required=True,
    metavar="NAME",
    shell_complete=complete("organization"),
    help="The one organization that it is valid for.",
)
@click.option(
    "--scope",
    "scopes",
    required=True,
    multiple=True,
    metavar="SCOPE",
    help="A scope, such as vso.code; may be given several times.",
)
@click.option(
    "--lifetime",
    required=True,
    metavar="DURATION",
    help="The lifetime of the first PAT, such as 30d.",
)
@click.option(
    "--vault",
    metavar="URL",
    help="The vault for its value, one that the policy names. Default: the rule's.",
)
@click.option("--secret", metavar="NAME", help="The secret for its value. Default: as the rule says.")
@click.option("--dry-run", is_flag=True, help="Check everything, and create nothing.")
@reason_option
@common_options
@click.pass_obj
def create(
    cli: CliContext,
    name: str,
    account: str,
    organization: str,
    scopes: tuple[str, ...],
    lifetime: str,
    vault: str | None,
    secret: str | None,
    dry_run: bool,
) -> int:
    """Create a managed PAT: it is minted, proven, stored in the vault and read back, and nobody sees its value.

    NAME is its name here and its display name in Azure DevOps. A creation that is refused leaves no record;
    one that is interrupted is finished by the next run.
    """
    from rotator.cli.reporting import print_report
    from rotator.cli.session import open_installation
    from rotator.cli.wanted import read_lifetime, read_scopes, read_vault
    from rotator.engine.context import RunMode
    from rotator.engine.creating import create as apply
    from rotator.engine.creating import make_order
    from rotator.errors import PlanRefusedError, UsageError

    order = make_order(
        name,
        account,
        organization,
        read_scopes(scopes),
        read_lifetime(lifetime),
        vault=None if vault is None else read_vault(vault),
        secret_name=secret,
    )
    with open_installation(cli) as installation:
        known = [one.name for one in installation.settings.accounts]
        check_known("account", [account], known, f"Known accounts: {', '.join(known)}.", globs=False)
        try:
            if dry_run:
                return _show(cli, installation, order)
            return print_report(cli, installation, lambda run: apply(run, order), what="creating", mode=RunMode.BY_HAND)
        except PlanRefusedError as error:
            if error.code not in _TAKEN:
                raise
            raise UsageError(error.message, code=error.code, fix=error.fix) from error


def _show(cli: CliContext, installation: Installation, order: Order) -> int:
    from rotator.cli.console import print_json, progress, say
    from rotator.cli.output.inventory import render_draft
    from rotator.documents.report import make_draft_document
    from rotator.domain.exit_code import DONE
    from rotator.engine.creating import propose

    run = installation.make_run(cli.reason)
    with progress(cli, "asking Azure DevOps and Key Vault"):
        draft: Draft = propose(run, order)
    if cli.as_json:
        print_json(make_draft_document(draft.record, draft.rule.name, run.run_id))
    for line in render_draft(draft, run.services.clock.now()):
        say(cli, line)
    say(cli, "A dry run: nothing was created.")
    return DONE
