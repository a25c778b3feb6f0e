"""The tables about what others did: Azure DevOps' own log, and the PATs of all users."""

from __future__ import annotations

from collections.abc import Iterator

from rotator.documents.review import ReviewDocument
from rotator.documents.review_outside import ComparedLogDocument
from rotator.report.cells import NONE, say_or, say_proof, say_seconds
from rotator.report.table import Table, make_events_table, make_table
from rotator.report.times import say_time


def make_outside_tables(review: ReviewDocument) -> Iterator[Table]:
    """Yield the tables."""
    outside = review["outside"]
    yield make_table(
        "service-logs",
        "Azure DevOps' own log against rotator's: the newest comparison, and how much of the period was compared",
        (
            *("Organization", "Compared", "Event", "Up to", "Explained", "Foreign", "Lacking", "Unreadable"),
            *("Of the period", "Not compared", "Cannot be read since"),
        ),
        (
            (
                log["organization"],
                *say_proof(log["compared"], "never"),
                NONE if log["until"] is None else say_time(log["until"]),
                *(say_or(log[name], NONE) for name in ("explained", "foreign", "lacking", "unreadable")),
                say_seconds(log["covered_seconds"]),
                say_seconds(log["uncovered_seconds"]),
                _say_failure(log),
            )
            for log in outside["logs"]
        ),
    )
    yield make_events_table(
        "foreign", "What somebody else did to the accounts' PATs", outside["foreign"], outside["foreign_found"]
    )
    yield make_events_table(
        "lacking", "What rotator did and Azure DevOps' log lacks", outside["lacking"], outside["lacking_found"]
    )
    yield make_table(
        "user-pats",
        "The newest look at the PATs of all users of an organization",
        (
            *("Organization", "Looked", "Event", "Users", "Denied", "Skipped", "PATs", "Full access", "Long-lived"),
            *("All organizations", "No living owner", "Managed", "Unreadable"),
        ),
        (
            (
                scan["organization"],
                *say_proof(scan["made"], NONE),
                *map(str, (scan["users"], scan["denied"], scan["skipped"], scan["pats"])),
                *map(str, (scan["full_access"], scan["long_lived"], scan["all_organizations"])),
                *map(str, (scan["ownerless"], scan["managed"], scan["unreadable"])),
            )
            for scan in outside["scans"]
        ),
    )


def _say_failure(log: ComparedLogDocument) -> str:
    failed = log["failed"]
    return NONE if failed is None else f"event {failed['event']}: {failed['message']}"
