"""`rotator config`: the settings and the policy, checked and shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from rotator.cli.console import note_warnings, print_json, say
from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.session import open_installation
from rotator.documents.configuration import make_config_check_document, make_config_document
from rotator.errors import ConfigError

if TYPE_CHECKING:
    from rotator.settings.model import Settings
    from rotator.settings.policy_checks import Finding


@click.group(epilog=examples("rotator config check", "rotator config show"))
@common_options
def config() -> None:
    """Check and show the settings and the policy."""


@config.command(
    short_help="Show every problem in both files, with its line.",
    epilog=examples("rotator config check", "rotator config check --json"),
)
@common_options
@click.pass_obj
def check(cli: CliContext) -> None:
    """Show all problems in rotator.yaml and its policy, each with file, line and column.

    Warnings are about settings that work but may not do what you intended. The files and folders that
    the settings name are checked too: keys, CA bundle, database; so are the addresses in `notify`
    and the commands in `hooks`; and if the policy has windows or change freezes, whether every managed PAT
    has a window before its expiry. Run it as the user that runs rotator. It changes nothing, contacts
    no service but the database, and exits with 2 if there is a problem.
    """
    from rotator.settings.load import check_files
    from rotator.wiring.checking import find_unusable, list_doubts
    from rotator.wiring.hooks import find_unusable_hooks
    from rotator.wiring.notifying import find_unusable_receivers

    with open_installation(cli) as installation:
        path, installation.warn = installation.settings_path, _leave_to_the_warnings

        def find_more(sound: Settings) -> Iterator[Finding]:
            with open_installation(cli) as described:
                described.settings, described.warn, described.doubts = sound, installation.warn, installation.doubts
                yield from find_unusable(described)
                yield from find_unusable_receivers(described)
                yield from find_unusable_hooks(described)

        problems = check_files(path, find_more)
        warnings = [] if problems else list_doubts(installation)
        if cli.as_json:
            print_json(make_config_check_document(str(path), problems, warnings))
            click.get_current_context().exit(ConfigError.exit_code if problems else 0)
        if problems:
            what = "problem" if len(problems) == 1 else f"{len(problems)} problems"
            raise ConfigError(problems, fix=f"Correct the {what} above. Nothing was changed.")
        note_warnings(cli, warnings)
        say(cli, f"{path} and {installation.settings.policy} are fine.")


def _leave_to_the_warnings(_setting: str, _problem: str, _fix: str) -> None:
    """Do not log what is shown among the warnings."""


@config.command(
    short_help="Show what is in effect, secrets masked.",
    epilog=examples("rotator config show", "rotator config show --json"),
)
@common_options
@click.pass_obj
def show(cli: CliContext) -> None:
    """Show the settings and the policy as they are in effect, every default filled in, secrets masked."""
    with open_installation(cli) as installation:
        from rotator.settings.effective import show_policy, show_settings

        path = installation.settings_path
        settings, policy = show_settings(installation.settings), show_policy(installation.policy)
    if cli.as_json:
        print_json(make_config_document(str(path), settings, policy))
        return
    import yaml

    def render(document: dict[str, object]) -> str:
        # By way of JSON: plain lists and texts only, whatever types the document is made of.
        plain = json.loads(json.dumps(document))
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100).rstrip()

    say(cli, f"# {path}")
    say(cli, render(settings))
    say(cli)
    say(cli, f"# {installation.settings.policy}")
    say(cli, render(policy))


@config.command(
    short_help="Print the JSON Schema of a file.",
    epilog=examples("rotator config schema > rotator.schema.json", "rotator config schema policy"),
)
@click.argument("which", type=click.Choice(["settings", "policy"]), default="settings")
@common_options
def schema(which: str) -> None:
    """Print the JSON Schema of rotator.yaml (`settings`) or of policy.yaml (`policy`), for editors."""
    from rotator.settings.reference import policy_schema, settings_schema

    print_json(settings_schema() if which == "settings" else policy_schema())
