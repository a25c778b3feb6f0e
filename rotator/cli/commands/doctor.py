"""`rotator doctor`: everything that rotator depends on, checked."""

from __future__ import annotations

from dataclasses import replace

import click

from rotator.cli.context import CliContext, common_options, examples


@click.command(
    epilog=examples(
        "rotator doctor           OK, WARN or FAIL for each thing, and its fix",
        "rotator doctor --quiet   only what is not OK",
        "rotator doctor --json    for scripts",
    )
)
@common_options
@click.pass_obj
def doctor(cli: CliContext) -> int:
    """Check settings, policy, files, database, sign-ins, organizations, vaults, audit log, daemon and clock.

    Changes nothing and creates no PAT: to test write access, it asks to change a version that does not exist. Each
    account's sign-in is refreshed, as a run does. Run it as the user that runs rotator, with the same environment.

    Exits with 0 if all is well, 4 if there is a WARN, 1 if there is a FAIL, and 2 if the settings cannot be read.
    """
    from rotator.cli.console import print_json, print_table, progress, say
    from rotator.cli.output.doctor import (
        COLUMNS,
        find_code_of_checks,
        list_check_rows,
        render_fixes,
        render_problems,
        render_summary,
    )
    from rotator.cli.session import open_installation
    from rotator.cli.stopping import stop_on_signals
    from rotator.documents.doctor import make_doctor_document
    from rotator.wiring.doctor import examine_installation

    # What the log would warn of is among the results.
    heard = replace(cli, quiet=cli.quiet or not cli.verbosity)
    with open_installation(heard) as installation, stop_on_signals(installation.stop), progress(cli, "examining"):
        results = examine_installation(installation)
    if cli.as_json:
        print_json(make_doctor_document(results))
    elif cli.quiet:
        for line in render_problems(results):
            say(cli, line)
    else:
        print_table(cli, COLUMNS, list(list_check_rows(results)))
        for line in ("", *render_fixes(results), render_summary(results)):
            say(cli, line)
    return find_code_of_checks(results)
