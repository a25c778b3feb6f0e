"""Tables of sums: they count what a list of single rows leaves out, too."""

from __future__ import annotations

from collections.abc import Iterable

from rotator.documents.review_parts import SpanSumDocument, TallyDocument
from rotator.report.cells import NONE, say_lasted, say_proof, say_seconds, say_words
from rotator.report.table import Table, make_table


def make_sums(name: str, caption: str, sums: Iterable[SpanSumDocument]) -> Table:
    """Make a table of what lasted, by kind and cause."""
    columns = (
        *("What", "Cause", "How often", "Lasted in all", "First began", "First event", "Last began", "Last event"),
        *("Longest", "Event of the longest"),
    )
    rows = (
        (
            say_words(found["kind"]),
            found["code"] or NONE,
            str(found["count"]),
            _say_whole(found),
            *say_proof(found["first"], NONE),
            *say_proof(found["last"], NONE),
            say_lasted(None if found["unmeasured"] == found["count"] else found["longest_seconds"]),
            str(found["longest"]["event"]),
        )
        for found in sums
    )
    return make_table(name, caption, columns, rows)


def _say_whole(found: SpanSumDocument) -> str:
    """Say how long all of them lasted, and how many more of which that is not known."""
    if found["unmeasured"] == found["count"]:
        return say_lasted(None)
    more = f" and {found['unmeasured']} more, not known" if found["unmeasured"] else ""
    return say_seconds(found["seconds"]) + more


def make_tallies(name: str, caption: str, about: str | None, tallies: Iterable[TallyDocument]) -> Table:
    """Make a table of how often something happened; `about` heads the column of what it was about, if there is one."""
    subject = () if about is None else (about,)
    rows = (
        (
            say_words(found["name"]),
            *((found["subject"] or NONE,) if subject else ()),
            str(found["count"]),
            *say_proof(found["first"], NONE),
            *say_proof(found["last"], NONE),
        )
        for found in tallies
    )
    return make_table(
        name, caption, ("What", *subject, "How often", "First", "First event", "Last", "Last event"), rows
    )
