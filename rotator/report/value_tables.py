"""The tables about values in use, and about what lasted."""

from __future__ import annotations

from collections.abc import Iterable

from rotator.documents.review import ReviewDocument
from rotator.documents.review_parts import SpanDocument
from rotator.domain.runbook import CONDITIONS
from rotator.report.cells import NONE, say_proof, say_seconds, say_when, say_words
from rotator.report.table import Table, make_table

_SPAN_COLUMNS = ("Event", "What", "About", "Cause", "Began", "Ended", "Ended by event", "Lasted")


def make_uses(review: ReviewDocument) -> Table:
    """Make the table of how long values were in use."""
    return make_table(
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
            for use in review["values"]["uses"]
        ),
    )


def make_spans(name: str, caption: str, spans: Iterable[SpanDocument], total: int | None = None) -> Table:
    """Make a table of what lasted."""
    rows = (
        (
            str(span["begun"]["event"]),
            say_words(span["kind"]),
            span["subject"] if span["pat"] is None else f"{span['pat']}: {span['subject']}",
            span["code"] or NONE,
            say_when(span["begun"]),
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
