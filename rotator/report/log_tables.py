"""The tables about the log itself: where it is anchored, what is wrong with it, and who could still hide what."""

from __future__ import annotations

from collections.abc import Iterator

from rotator.documents.review import ReviewDocument
from rotator.documents.review_anchors import IN_TAGS
from rotator.report.cells import NONE, say_proof, say_seconds
from rotator.report.controls import ATTACKERS, CONTROLS
from rotator.report.table import Table, make_events_table, make_table
from rotator.report.times import say_time

_IN_EACH = "one with each value"
_FILE = "a file on this host"


def make_log_tables(review: ReviewDocument) -> Iterator[Table]:
    """Yield the tables."""
    log = review["log"]
    yield _make_anchors(review)
    yield make_table(
        "misdated",
        "Events that a wrong clock dated",
        ("First event", "Last event", "Events", "Clock", "Dated", "Last one dated", "Taken as", "Last one taken as"),
        (
            (
                *(str(row[name]) for name in ("first", "last", "events")),
                _say_step(row["ahead_seconds"]),
                *(say_time(row[name]) for name in ("dated", "dated_last", "placed", "placed_last")),
            )
            for row in log["misdated"]
        ),
    )
    yield make_events_table("gaps", "What a person accepted to be missing, at any time", log["gaps"], len(log["gaps"]))
    yield make_table(
        "attackers",
        "Who could still hide what",
        ("Somebody who", "Is found out by", "Can still hide"),
        ATTACKERS,
    )
    yield make_table(
        "controls",
        "Controls, and the sections that are evidence for them",
        ("Control", "Asks for", "Sections"),
        (
            (f"{framework} {number}", asks, ", ".join(map(str, sections)))
            for framework, number, asks, sections in CONTROLS
        ),
    )


def _make_anchors(review: ReviewDocument) -> Table:
    """Make one row for each place: what it was given in the period, and what it holds, as far as it was asked."""
    log = review["log"]
    given = {row["name"]: row for row in log["anchor_sums"]}
    held = {row["name"]: row for row in log["anchor_places"]}
    not_asked = "not asked" if not log["vaults_asked"] else NONE
    unread = {row["name"]: "could not be read" for row in log["unread"]}
    columns = (
        *("Place", "New anchors", "First", "First event", "Last", "Last event", "Held in all"),
        "Newest event that they name",
    )
    rows = list[tuple[str, ...]]()
    for name in sorted({*given, *held, *unread}):
        new, kept = given.get(name), held.get(name)
        marks = (None, None) if new is None else (new["first"], new["last"])
        without = unread.get(name, not_asked)
        rows.append(
            (
                f"{name} ({_FILE})" if name.startswith("/") else name,
                _IN_EACH if name == IN_TAGS else "0" if new is None else str(new["count"]),
                *(cell for mark in marks for cell in say_proof(mark, NONE)),
                *((without, without) if kept is None else (str(kept["held"]), str(kept["newest"]))),
            )
        )
    return make_table("anchors", "Anchors: what vaults and other places outside of the database got", columns, rows)


def _say_step(ahead: int | None) -> str:
    """Say how wrong a clock was."""
    if ahead is None:
        return "wrong, the log does not say how"
    return f"{say_seconds(abs(ahead))} {'ahead' if ahead > 0 else 'behind'}"
