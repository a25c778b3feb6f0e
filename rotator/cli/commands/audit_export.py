"""`rotator audit export`."""

from __future__ import annotations

from pathlib import Path

import click

from rotator.cli.choosing_events import COUNT, Asked, check_follow, event_filters, make_filter, make_pause
from rotator.cli.context import CliContext, common_options, examples


@click.command(
    short_help="Write events to stdout or a file, hashes included.",
    epilog=examples(
        "rotator audit export --output audit.jsonl    one event per line, readable by you alone",
        "rotator audit export --format csv --since 30d > audit.csv",
        "rotator audit export --format ocsf --since-sequence 4711 --follow | ship    for a SIEM, from event 4712 on",
    ),
)
@event_filters
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv", "cef", "ocsf"]), default="jsonl", show_default=True
)
@click.option("--since-sequence", "after", metavar="N", type=COUNT, help="Only events after event N: a cursor.")
@click.option("--follow", is_flag=True, help="Keep writing events as they are recorded, until Ctrl-C.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write (mode 0600). Default: stdout."
)
@click.option("--force", is_flag=True, help="Overwrite the file of --output.")
@common_options
@click.pass_obj
def export(
    cli: CliContext, asked: Asked, form: str, after: int | None, follow: bool, output: Path | None, force: bool
) -> int:
    """Write events to stdout or a file, hashes included, for a reviewer or another system.

    CEF and OCSF (class 3004, Entity Management) are what SIEMs read. Keep the number of the last event that you have,
    and ask with --since-sequence for what came later.
    """
    from rotator.cli.console import note
    from rotator.cli.exporting import opened
    from rotator.cli.following import follow_events
    from rotator.cli.output.exports import write_events
    from rotator.cli.session import open_installation
    from rotator.cli.stopping import stop_on_signals
    from rotator.engine.auditing import load_events

    check_follow(asked, follow=follow)
    with open_installation(cli) as installation, opened(output, force=force) as stream:
        wanted = make_filter(installation, asked)
        if follow:
            with stop_on_signals(installation.stop, tell=lambda *_: None):
                events = follow_events(installation.database, after or 0, wanted, make_pause(installation, stream))
                count = write_events(events, stream, form)
        else:
            count = write_events(load_events(installation.database, wanted, after=after), stream, form)
    if output is not None:
        note(cli, f"{count} events written to {output}")
    return 0
