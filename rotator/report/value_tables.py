"""The tables about values in use, and about what lasted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from rotator.documents.review import ReviewDocument
from rotator.documents.review_parts import ProofDocument, SpanDocument
from rotator.documents.review_values import LateDocument, OutlivedDocument
from rotator.domain.error_codes import find_meaning
from rotator.domain.pending_revocation import TELL_AFTER
from rotator.domain.runbook import CONDITIONS
from rotator.report.cells import NONE, say_lasted, say_proof, say_seconds, say_when, say_words
from rotator.report.table import Table, make_table
from rotator.report.times import say_time

_OLD = "this version of rotator has no such cause; an earlier one had"
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


def make_outlived(review: ReviewDocument) -> Table:
    """Make the table of the old PATs that were there too long after their overlap, from its end to the proof."""
    values = review["values"]
    return make_table(
        "outlived",
        "Old PATs that were there more than 15 minutes after their overlap",
        (
            *("PAT", "Id", "Overlap ended", "As event says", "Requested", "Event", "Proven gone"),
            *("Event of the proof", "How long", "Cause"),
        ),
        (
            (
                row["name"],
                row["authorization_id"],
                say_time(row["until"]),
                str(row["told"]["event"]),
                *_say_request(row),
                *say_proof(row["gone"], "not yet"),
                say_seconds(row["seconds"]),
                say_cause(row),
            )
            for row in values["outlived"]
        ),
        values["outlived_found"],
    )


def _say_request(row: OutlivedDocument) -> tuple[str, str]:
    """Say when the revocation was first requested, and whether any answer came."""
    said, event = say_proof(row["asked"], "not yet" if row["gone"] is None else "not in the log")
    return (said if row["asked"] is None or row["accepted"] else f"{said}, no answer that it was accepted"), event


def say_cause(row: OutlivedDocument) -> str:
    """Say why an old PAT was there too long, as far as the log knows."""
    if (again := row["began_again"]) is not None:
        return f"another value was in the secret, so the overlap began again (event {again['event']})"
    if (event := row["cause_event"]) is not None:
        return _say_event(say_words(str(row["cause"])), row["cause_code"], event)
    asked = row["asked"]
    on_time = asked is not None and _find_moment(asked) - datetime.fromisoformat(row["until"]) <= TELL_AFTER
    return "requested on time, but not seen gone sooner" if on_time else "not known"


def say_late(row: LateDocument) -> str:
    """Say what kept a rotation from beginning on time, as far as the log knows."""
    said = [_say_event(say_words(found["kind"]), found["code"], found["begun"]) for found in row["causes"]]
    if row["paused"] is not None:
        said.append(_say_event("a person had paused it", None, row["paused"]))
    if row["tried"]:
        said.append(f"tried before ({'event' if len(row['tried']) == 1 else 'events'} {_list_numbers(row['tried'])})")
    return "; ".join(said) or "the log tells of nothing in the way: perhaps rotator did not run"


def _list_numbers(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _say_event(what: str, named: str | None, proof: ProofDocument) -> str:
    return f"{what}{'' if named is None else f', {named}'} (event {proof['event']})"


def _find_moment(proof: ProofDocument) -> datetime:
    return datetime.fromisoformat(proof["placed"] or proof["at"])


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
            say_lasted(span["seconds"]),
        )
        for span in spans
    )
    return make_table(name, caption, _SPAN_COLUMNS, rows, total)


def make_terms(review: ReviewDocument) -> Table:
    """Make a table of what the kinds of failures and exceptions of the page mean."""
    late = (found["kind"] for row in review["values"]["late"] for found in row["causes"])
    kinds = sorted({*late, *(found["kind"] for found in (*review["exception_sums"], *review["failure_sums"]))})
    rows = ((say_words(kind), CONDITIONS[kind].name_in(["it"]).meaning) for kind in kinds)
    return make_table("terms", "What these words mean", ("What", "What it means"), rows)


def make_causes(review: ReviewDocument) -> Table:
    """Make a table of what the codes of causes mean that are on the page."""
    rows = ((code, find_meaning(code).replace("`", "") or _OLD) for code in sorted(set(_list_codes(review))))
    return make_table("causes", "What these causes mean", ("Cause", "What it means"), rows)


def _list_codes(review: ReviewDocument) -> Iterator[str]:
    spans = (*review["exception_sums"], *review["failure_sums"], *review["without_sign_in"])
    codes = [span["code"] for span in spans]
    codes += [row["cause_code"] for row in review["values"]["outlived"]]
    codes += [found["code"] for row in review["values"]["late"] for found in row["causes"]]
    codes += [str(event["details"]["code"]) for event in review["sign_ins"] if "code" in event["details"]]
    return filter(None, codes)
