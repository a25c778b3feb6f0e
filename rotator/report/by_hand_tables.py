"""The tables about what people had rotator do."""

from __future__ import annotations

from collections.abc import Iterator

from rotator.documents.review import ReviewDocument
from rotator.documents.review_by_hand import HandRunDocument
from rotator.engine.review.facts import Fate
from rotator.report.cells import NONE, say_proof, say_words
from rotator.report.table import Table, make_table
from rotator.report.times import say_time

_OPEN = "not ended"


def make_by_hand_tables(review: ReviewDocument) -> Iterator[Table]:
    """Yield the tables."""
    yield make_table(
        "by-hand",
        "What people did, one row for each command",
        ("First event", "Last event", "Events", "Time", "What", "About", "Who", "Reason", "Command", "Outcome"),
        (
            (
                str(run["first"]),
                str(run["last"]),
                str(run["events"]),
                say_time(run["at"]),
                say_words(run["event"]),
                run["subject"],
                run["actor"],
                run["reason"] or "none given",
                run["command"] or "not in the log",
                _say_outcome(run),
            )
            for run in review["by_hand"]
        ),
        review["done_by_hand"],
    )
    yield make_table(
        "ordered",
        "Rotations that people ordered, from the order to the proof that the old PAT was gone",
        (
            *("PAT", "Ordered", "Event", "Who", "Reason", "In the vault", "As event says", "Old PAT", "Gone"),
            *("Event of the proof", "Outcome"),
        ),
        (
            (
                found["name"],
                say_time(found["ordered"]),
                str(found["order"]),
                found["actor"],
                found["reason"] or "none given",
                *say_proof(found["in_vault"], "not yet" if found["fate"] is Fate.OPEN else "never"),
                found["old_id"] or NONE,
                *(say_proof(found["gone"], "not yet") if found["old_id"] else (NONE, NONE)),
                _OPEN if found["fate"] is Fate.OPEN else found["fate"],
            )
            for found in review["ordered"]
        ),
        review["ordered_found"],
    )


def _say_outcome(run: HandRunDocument) -> str:
    """Say what became of the rotations that a command began, and of the PATs that they were to replace."""
    fates, gone = run["fates"], run["gone"]
    if not fates["begun"]:
        return "it began no rotation"
    counts = {
        "completed": fates["completed"],
        "abandoned": fates["abandoned"],
        "undone": fates["undone"],
        _OPEN: fates["open"],
    }
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    if run["made"] is not None:
        said = f"{said}; the PAT was made at {say_time(run['made']['at'])} (event {run['made']['event']})"
    if not run["replaced"]:
        return said
    if gone is None:
        return f"{said}; no old PAT proven gone yet"
    last = f"{say_time(gone['at'])} (event {gone['event']})"
    return f"{said}; {run['gone_count']} of {run['replaced']} old PATs proven gone, the last at {last}"
