"""The tables about values in use and overlaps, and about what lasted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rotator.documents.review import ReviewDocument
from rotator.documents.review_parts import SpanDocument
from rotator.domain.runbook import CONDITIONS
from rotator.report.cells import NONE, say_proof, say_seconds, say_words
from rotator.report.summary import say_time
from rotator.report.table import Table, make_table

_SPAN_COLUMNS = ("Event", "What", "About", "Cause", "Began", "Ended", "Ended by event", "Lasted")


def make_value_tables(review: ReviewDocument) -> Iterator[Table]:
    """Yield the tables."""
    values = review["values"]
    yield make_table(
        "uses",
        "How long one value was in use",
        ("PAT", "Values", "Longest", "From", "From event", "To", "To event"),
        (
            (
                use["name"],
                str(use["values"]),
                say_seconds(use["longest_seconds"]),
                *say_proof(use["begun"], NONE),
                *say_proof(use["ended"], "in use"),
            )
            for use in values["uses"]
        ),
    )
    yield make_table(
        "outlived",
        "Old PATs that were there more than 15 minutes after their overlap",
        ("Event", "PAT", "Id", "Overlap ended", "Proven gone", "Proven by event", "Beyond the overlap"),
        (
            (
                str(row["told"]["event"]),
                row["name"],
                row["authorization_id"],
                say_time(row["until"]),
                *say_proof(row["gone"], "not yet"),
                say_seconds(row["seconds"]),
            )
            for row in values["outlived"]
        ),
        values["outlived_found"],
    )


def make_spans(name: str, caption: str, spans: Iterable[SpanDocument], total: int | None = None) -> Table:
    """Make a table of what lasted."""
    rows = (
        (
            str(span["begun"]["event"]),
            say_words(span["kind"]),
            span["subject"] if span["pat"] is None else f"{span['pat']}: {span['subject']}",
            span["code"] or NONE,
            say_time(span["begun"]["at"]),
            *say_proof(span["ended"], "lasts"),
            say_seconds(span["seconds"]),
        )
        for span in spans
    )
    return make_table(name, caption, _SPAN_COLUMNS, rows, total)


def make_terms(review: ReviewDocument) -> Table:
    """Make a table of what the kinds of failures and exceptions of the page mean."""
    kinds = sorted({found["kind"] for found in (*review["exception_sums"], *review["failure_sums"])})
    rows = ((say_words(kind), CONDITIONS[kind].name_in(["it"]).meaning) for kind in kinds)
    return make_table("terms", "What these words mean", ("What", "What it means"), rows)
