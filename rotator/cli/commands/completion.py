"""`rotator completion`: the script that completes commands and options in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from rotator.cli.context import common_options, examples


@click.command(
    epilog=examples(
        'eval "$(rotator completion bash)"                                in ~/.bashrc',
        'eval "$(rotator completion zsh)"                                 in ~/.zshrc',
        "rotator completion fish > ~/.config/fish/completions/rotator.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common_options
def completion(shell: str) -> None:
    """Print the completion script for a shell."""
    maker = get_completion_class(shell)
    root = click.get_current_context().find_root().command
    if maker is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(maker(root, {}, "rotator", "_ROTATOR_COMPLETE").source())
