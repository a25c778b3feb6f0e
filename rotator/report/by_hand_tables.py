"""The tables about what people had rotator do."""

from __future__ import annotations

from collections.abc import Iterator

from rotator.documents.review import ReviewDocument
from rotator.documents.review_by_hand import HandRunDocument, OrderedRotationDocument
from rotator.domain.events.inventory import CreationStarted
from rotator.engine.review.facts import Fate
from rotator.report.cells import NONE, say_proof, say_seconds, say_when, say_words
from rotator.report.table import Table, make_table
from rotator.report.times import say_time

_OPEN = "not ended"
_NOT_AGAIN = "not tried again"
_CREATION = CreationStarted.type.name
"""Runs try that again until the PAT is made."""
_FAILED = (Fate.ABANDONED, Fate.UNDONE)


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
                *_say_gone(found),
                _say_fate(found),
            )
            for found in review["ordered"]
        ),
        review["ordered_found"],
    )


def _say_gone(found: OrderedRotationDocument) -> tuple[str, str]:
    """Say when the old PAT was proven gone, how long after the order, and by which event."""
    if not found["old_id"]:
        return NONE, NONE
    said, event = say_proof(found["gone"], "not yet" if found["fate"] not in _FAILED else "no")
    return (said if found["gone"] is None else f"{said}, {say_seconds(found['gone_seconds'])} after the order"), event


def _say_fate(found: OrderedRotationDocument) -> str:
    """Say what became of an order, and what replaced the old PAT if the order did not."""
    if found["fate"] not in _FAILED:
        return _OPEN if found["fate"] is Fate.OPEN else found["fate"]
    code, later = "" if found["code"] is None else f": {found['code']}", found["replaced"]
    if not found["old_id"]:
        made = "" if later is None else f"; another rotation made the PAT at {say_when(later)} (event {later['event']})"
        return f"{found['fate']}{code}{made}"
    said = f"{found['fate']}, {_NOT_AGAIN}{code}"
    if later is None:
        return f"{said}; nothing replaced the old PAT later"
    return f"{said}; another rotation replaced the old PAT at {say_when(later)} (event {later['event']})"


def is_creation(run: HandRunDocument) -> bool:
    """Whether a command asked for a PAT that was not there: then runs try it again until it is."""
    return run["event"] == _CREATION


def _say_outcome(run: HandRunDocument) -> str:
    """Say what became of the rotations that a command began, and of the PATs that they were to replace."""
    fates, gone = run["fates"], run["gone"]
    if not fates["begun"]:
        return "it began no rotation"
    again = "" if is_creation(run) else f", {_NOT_AGAIN}"
    counts = {
        "completed": fates["completed"],
        f"abandoned{again}": fates["abandoned"],
        f"undone{again}": fates["undone"],
        _OPEN: fates["open"],
    }
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    if run["made"] is not None:
        said = f"{said}; the PAT was made at {say_time(run['made']['at'])} (event {run['made']['event']})"
    if not run["replaced"]:
        return said
    by_order = run["gone_count"] - run["gone_later"]
    said = f"{said}; old PATs proven gone by this order: {by_order} of {run['replaced']}"
    if run["gone_later"]:
        said = f"{said}, and {run['gone_later']} by a later rotation"
    return said if gone is None else f"{said}, the last at {say_time(gone['at'])} (event {gone['event']})"
