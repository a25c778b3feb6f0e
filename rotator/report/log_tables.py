"""The tables about the log itself: where it is anchored, what is wrong with it, and who could still hide what."""

from __future__ import annotations

from collections.abc import Iterator

from rotator.documents.review import ReviewDocument
from rotator.report.cells import NONE, say_proof
from rotator.report.controls import ATTACKERS, CONTROLS
from rotator.report.summary import say_time
from rotator.report.table import Table, make_events_table, make_table


def make_log_tables(review: ReviewDocument) -> Iterator[Table]:
    """Yield the tables."""
    log = review["log"]
    caption = "New anchors that vaults and other places were given"
    yield make_table(
        "anchors",
        caption,
        ("Place", "New anchors", "First", "First event", "Last", "Last event"),
        (
            (row["name"], str(row["count"]), *say_proof(row["first"], NONE), *say_proof(row["last"], NONE))
            for row in log["anchor_sums"]
        ),
    )
    yield make_table(
        "misdated",
        "Events that a wrong clock dated",
        ("First event", "Last event", "Events", "Dated", "Last one dated", "Taken as", "Last one taken as"),
        (
            (
                *(str(row[name]) for name in ("first", "last", "events")),
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
