"""`rotator update`: another display name, other scopes or another lifetime."""

from __future__ import annotations

import click

from rotator.cli.context import CliContext, common_options, examples, reason_option


@click.command(
    epilog=examples(
        "rotator update npm-feed --scope vso.packaging --scope vso.code    exactly these scopes",
        "rotator update npm-feed --display-name npm-publish --lifetime 60d",
    )
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPE",
    help="A scope of the new one, such as vso.code; give all that it is to have.",
)
@click.option("--display-name", metavar="TEXT", help="The name of the new one in Azure DevOps.")
@click.option("--lifetime", metavar="SPAN", help="How long the new one lives, such as 30d.")
@reason_option
@common_options
@click.pass_obj
def update(cli: CliContext, name: str, scopes: tuple[str, ...], display_name: str | None, lifetime: str | None) -> int:
    """Rotate a PAT now to other scopes, another display name or another lifetime; the old one stays for the overlap.

    What policy, server or vault refuse leaves it as it is. A lifetime lasts until a rule of the policy says another.
    """
    from rotator.cli.reporting import print_report
    from rotator.cli.session import open_installation
    from rotator.cli.wanted import read_lifetime, read_scopes
    from rotator.engine.updating import make_change
    from rotator.engine.updating import update as apply

    change = make_change(
        name,
        display_name=display_name,
        scopes=read_scopes(scopes),
        lifetime=None if lifetime is None else read_lifetime(lifetime),
    )
    with open_installation(cli) as installation:
        return print_report(
            cli,
            installation,
            lambda run: apply(run, change),
            what="updating",
            by_hand=True,
            otherwise=f"{name} is so already. Nothing to do.",
        )
