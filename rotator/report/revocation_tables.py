"""The tables about what was revoked, and about what is still valid."""

from __future__ import annotations

from collections.abc import Iterator

from rotator.documents.review import ReviewDocument
from rotator.report.cells import NONE, say_lasted, say_proof, say_seconds
from rotator.report.sums import make_tallies
from rotator.report.table import Table, make_table
from rotator.report.times import say_time

_KINDS = {
    "failed_rotation": "left by a failed rotation",
    "kept_predecessor": "kept when it was replaced",
    "unproven_mint": "looks like a lost mint of ours",
    "pending_revocation": "to be revoked, still active",
    "overlap": "its consumers get time to switch",
}


def make_revocation_tables(review: ReviewDocument) -> Iterator[Table]:
    """Yield the tables."""
    revocations = review["revocations"]
    yield make_table(
        "revocations",
        "Revocations in the period",
        (
            *(
                "PAT",
                "Requests accepted",
                "PATs proven gone",
                "Slowest proof",
                "Its event",
                "First proof",
                "First event",
            ),
            *("Last proof", "Last event", "Events that prove it, the newest"),
        ),
        (
            (
                row["name"],
                str(row["requested"]),
                str(row["proven"]),
                say_seconds(row["slowest_seconds"]),
                NONE if row["slowest"] is None else str(row["slowest"]["event"]),
                *say_proof(row["first"], NONE),
                *say_proof(row["last"], NONE),
                " ".join(map(str, row["events"])) or NONE,
            )
            for row in revocations["pats"]
        ),
    )
    yield make_tallies("revoked-why", "All PATs proven gone, by reason", None, revocations["why"])
    yield make_table(
        "gone",
        "PATs proven gone, one row for each",
        ("Event", "Time", "PAT", "Id", "Why"),
        (
            (
                str(event["sequence"]),
                say_time(event["occurred_at"]),
                event["subject"],
                *(str(event["details"].get(name)) for name in ("authorization_id", "why")),
            )
            for event in revocations["gone"]
        ),
        revocations["proven"],
    )
    yield make_table(
        "unseen",
        "PATs whose value nobody ever got",
        (
            *("PAT", "Lived at most", "What happened", "Id", "Requested", "By event", "Noticed", "Event", "Gone"),
            "Event of the proof",
        ),
        (
            (
                row["name"],
                say_lasted(row["most_seconds"]),
                "made late" if row["late"] else "its answer was lost",
                row["authorization_id"],
                *say_proof(row["asked"], "not known"),
                *say_proof(row["noticed"], NONE),
                *say_proof(row["gone"], "not yet"),
            )
            for row in revocations["unseen"]
        ),
        revocations["unseen_found"],
    )
    yield make_table(
        "pending",
        "Revocations that are not proven now",
        ("Id", "PAT", "First requested", "Last requested", "Requests"),
        (
            (
                row["authorization_id"],
                row["name"],
                say_time(row["since"]),
                say_time(row["requested_at"]),
                str(row["requests"]),
            )
            for row in revocations["pending"]
        ),
    )
    yield make_table(
        "living",
        "PATs still valid beside the one in use",
        ("Id", "PAT", "Why", "Since", "Event", "Until"),
        (
            (
                row["authorization_id"],
                row["name"],
                _KINDS[row["kind"]],
                *say_proof(row["event"], "not in the log"),
                "not known" if row["until"] is None else say_time(row["until"]),
            )
            for row in revocations["living"]
        ),
    )
