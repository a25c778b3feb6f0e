"""`rotator audit report`: the reviewer's page of a period, and the archive that proves it."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.exporting import NamedPath
from rotator.domain.exit_code import FAILED
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.documents.review import ReviewDocument
    from rotator.domain.period import Period
    from rotator.engine.review.facts import Review


@click.command(
    short_help="Write a page for a reviewer.",
    epilog=examples(
        "rotator audit report                     the last 90 days",
        "rotator audit report --period 2026-Q4 --output q4.html",
        "rotator audit report --period 2026-10-01..2026-12-24",
        "rotator audit report --archive evidence.zip --anchors    all that proves the page, for another machine",
    ),
)
@click.option("--period", metavar="PERIOD", help="2026, 2026-Q4, 2026-11, or FROM..TO in UTC. Default: 90 days.")
@click.option(
    "--output",
    type=NamedPath(dir_okay=False),
    help="File to write (mode 0600). Default: rotator-audit-PERIOD.html.",
)
@click.option(
    "--archive",
    type=NamedPath(dir_okay=False),
    help="Also write the page, the events and all that proves them into this ZIP file.",
)
@click.option("--anchors", is_flag=True, help="Also compare the log with what the vaults hold of it.")
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@common_options
@click.pass_obj
def report(
    cli: CliContext, period: str | None, output: Path | None, archive: Path | None, anchors: bool, force: bool
) -> int:
    """Write one page for a reviewer of a period: what there is, what was done, and the events that prove it.

    The page loads nothing and runs nothing. Its path goes to stdout, its summary to stderr. If the audit log was
    changed, the page says so at the top and the exit code is 1. An archive holds a program that checks it
    without rotator. With a signing key, a checkpoint is made before it, so that a signature covers each event.
    """
    from rotator.cli.console import progress
    from rotator.cli.exporting import opened, opened_whole
    from rotator.cli.reviewing import find_signer, gather_contents, review_period, seal_log
    from rotator.cli.session import open_installation
    from rotator.documents.review import make_review_document
    from rotator.report.archive import write_archive
    from rotator.report.page import render_page
    from rotator.wiring.sealing import find_trust

    with progress(cli, "reading the audit log"), open_installation(cli) as installation:
        now = _end_second(installation.clock.now())
        asked = _find_period(period, now)
        path = output or Path(f"rotator-audit-{asked.name}.html")
        _check_targets(path, archive, force=force)
        unsealed, unsigned = (None if archive is None else seal_log(installation)), None
        now = _end_second(installation.clock.now())
        asked = _find_period(period, now)  # which ends after what was just written
        trust, problem = find_trust(installation)
        review = review_period(installation, asked, now, trust, problem, anchors=anchors)
        document = make_review_document(review, str(path), None if archive is None else str(archive))
        page = render_page(document)
        with opened(path, force=force) as stream:
            stream.write(page)
        if archive is not None:
            contents = gather_contents(installation, review, document, page, trust)
            signer, unsigned = find_signer(installation, review)
            with opened_whole(archive, force=force) as raw:
                write_archive(raw, contents, signer)
    _tell(cli, document, unsealed, unsigned)
    return FAILED if unsigned is not None else _find_code(review)


def _check_targets(path: Path, archive: Path | None, *, force: bool) -> None:
    from rotator.cli.exporting import check_free

    if archive is not None and os.path.realpath(path) == os.path.realpath(archive):
        raise UsageError("--output and --archive name one file", fix="Give the page and the archive a file each.")
    for target in filter(None, (path, archive)):
        check_free(target, force=force)


def _tell(cli: CliContext, document: ReviewDocument, unsealed: str | None, unsigned: str | None) -> None:
    from rotator.cli.console import note, print_json, say
    from rotator.report.summary import list_figures, list_uncovered, list_warnings

    if cli.as_json:
        print_json(document)
    for target in filter(None, (document["output"], document["archive"])):
        say(cli, target)
    begin, *figures = list_figures(document)
    note(cli, begin)
    for figure in figures:
        note(cli, f"  - {figure}")
    for warning in list_warnings(document):
        note(cli, f"warning: {warning}")
    for what, why in (("no checkpoint was made for the archive", unsealed), ("the archive is not signed", unsigned)):
        if why is not None:
            note(cli, f"warning: {what}: {why}")
    for warning in list_uncovered(document) if document["archive"] else ():
        note(cli, f"warning: {warning}")


def _end_second(moment: datetime) -> datetime:
    """Return the end of the second: what the page says fits the time that it shows, to the second."""
    return (moment + timedelta(microseconds=999_999)).replace(microsecond=0)


_PERIODS = (
    "Give a period that has begun, in UTC: a year (2026), a quarter (2026-Q4), a month (2026-11), days "
    "(2026-10-01..2026-12-24) or times (2026-12-01T09:00Z..2026-12-02T17:00Z)."
)


def _find_period(text: str | None, now: datetime) -> Period:
    from rotator.domain.period import make_default_period, read_period

    if text is None:
        return make_default_period(now)
    try:
        period = read_period(text)
    except ValueError as error:
        raise UsageError(f"--period: {error}", fix=_PERIODS) from None
    if period.since >= now:
        raise UsageError(f'--period: "{text}" has not begun yet', fix=_PERIODS)
    return period


def _find_code(review: Review) -> int:
    from rotator.engine.exit_codes import find_code_of_errors

    if review.log.fault is not None or review.log.key_problem is not None:
        return FAILED
    unread = {} if review.log.sight is None else review.log.sight.unread
    return find_code_of_errors(unread.values(), done=True)
