"""`rotator audit report`: the reviewer's page of a period, and the archive that proves it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.cli.context import CliContext, common_options, examples
from rotator.errors import AuditChainError, UsageError

if TYPE_CHECKING:
    from rotator.domain.period import Period
    from rotator.engine.review.facts import Review
    from rotator.wiring.installation import Installation


@click.command(
    short_help="Write a page for a reviewer.",
    epilog=examples(
        "rotator audit report                     the last 90 days",
        "rotator audit report --period 2026-Q4 --output q4.html",
        "rotator audit report --period 2026-10-01..2026-12-24",
    ),
)
@click.option("--period", metavar="PERIOD", help="2026, 2026-Q4, 2026-11, or FROM..TO in UTC. Default: 90 days.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write (mode 0600). Default: rotator-audit-PERIOD.html.",
)
@click.option("--anchors", is_flag=True, help="Also compare the log with what the vaults hold of it.")
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@common_options
@click.pass_obj
def report(cli: CliContext, period: str | None, output: Path | None, anchors: bool, force: bool) -> int:
    """Write one page for a reviewer of a period: what there is, what was done, and the events that prove it.

    The page loads nothing and runs nothing. Its path goes to stdout, its summary to stderr. If the audit log was
    changed, the page says so on top and the exit code is 1.
    """
    from rotator.cli.console import note, print_json, progress, say
    from rotator.cli.exporting import check_free, opened
    from rotator.cli.session import open_installation
    from rotator.documents.review import make_review_document
    from rotator.report.page import render_page
    from rotator.report.summary import list_warnings, summarize

    with open_installation(cli) as installation:
        now = _end_second(installation.clock.now())
        asked = _find_period(period, now)
        path = output or Path(f"rotator-audit-{asked.name}.html")
        check_free(path, force=force)
        with progress(cli, "reading the audit log"):
            review = _review(installation, asked, now, anchors=anchors)
    document = make_review_document(review, str(path))
    with opened(path, force=force) as stream:
        stream.write(render_page(document))
    if cli.as_json:
        print_json(document)
    say(cli, str(path))
    note(cli, " ".join(summarize(document)))
    for warning in list_warnings(document):
        note(cli, f"warning: {warning}")
    return _find_code(review)


def _end_second(moment: datetime) -> datetime:
    """Return the end of the second: what the page says fits the time that it shows, to the second."""
    return (moment + timedelta(microseconds=999_999)).replace(microsecond=0)


def _find_period(text: str | None, now: datetime) -> Period:
    from rotator.domain.period import make_default_period, read_period

    if text is None:
        return make_default_period(now)
    try:
        return read_period(text)
    except ValueError as error:
        raise UsageError(f"--period: {error}", fix="Days and times are UTC.") from None


def _review(installation: Installation, period: Period, now: datetime, *, anchors: bool) -> Review:
    from rotator.engine.anchoring import fetch_anchors
    from rotator.engine.review.reviewing import look_at_log, make_review
    from rotator.wiring.sealing import find_trust

    trust, problem = find_trust(installation)
    sight = None
    if anchors:
        try:
            sight = fetch_anchors(installation.make_run())
        except AuditChainError:
            sight = None  # the check of the log names what is wrong with it
    log = look_at_log(installation.database, sight, trust, problem, period, now)
    rotation = installation.settings.rotation
    return make_review(
        installation.database,
        installation.policy,
        installation.accounts,
        rotation.settle,
        rotation.lease,
        log,
        period,
        now,
    )


def _find_code(review: Review) -> int:
    from rotator.domain.exit_code import FAILED
    from rotator.engine.exit_codes import find_code_of_errors

    if review.log.fault is not None or review.log.key_problem is not None:
        return FAILED
    unread = {} if review.log.sight is None else review.log.sight.unread
    return find_code_of_errors(unread.values(), done=True)
