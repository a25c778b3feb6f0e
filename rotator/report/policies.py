"""The texts of the policies of a period: the first one whole, and of each later one what it changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff

from rotator.documents.review import ReviewDocument
from rotator.documents.review_parts import PolicyTextDocument
from rotator.report.cells import say_proof

_MOST_SHOWN = 20
"""How many policies the page shows the text of: the newest. An archive has them all."""
_MOST_TEXT = 64 * 1024
"""How many characters of these texts the page has: what does not fit is in the archive only."""
_MOST_LINES = 2000
_CONTEXT = 3


@dataclass(frozen=True)
class PolicyText:
    """A policy of the page: its number as in the table, a heading, a sentence, and the text if there is one to show."""

    number: int
    heading: str
    said: str
    text: str | None


def list_texts(review: ReviewDocument) -> Iterator[PolicyText]:
    """Yield the policies, in the order of their numbers."""
    policies = review["policy"]["texts"]
    room = _MOST_TEXT
    before: PolicyTextDocument | None = None
    for number, found in enumerate(policies, 1):
        is_now = found["sha256"] == review["policy"]["sha256"]
        heading = f"Policy {number}" + (", the current one" if is_now else "")
        said, text = _say_text(found, before)
        if text is not None and (len(text) > room or number <= len(policies) - _MOST_SHOWN):
            said, text = f"{said} It is too long to be shown here: an archive has it as {make_name(found)}.", None
        room -= len(text or "")
        if number > len(policies) - _MOST_SHOWN:
            yield PolicyText(number, heading, said, text)
        before = found if found["text"] is not None else before


def make_name(found: PolicyTextDocument) -> str:
    """Return the name of the file of a policy in an archive."""
    return f"policies/{found['sha256']}.yaml"


def _say_text(found: PolicyTextDocument, before: PolicyTextDocument | None) -> tuple[str, str | None]:
    text = found["text"]
    if text is None:
        return (
            "Its text is not known: it was not recorded then, as by an earlier version of rotator, or was too long. "
            f"If you have the file, compare its SHA-256: {found['sha256']}.",
            None,
        )
    _, event = say_proof(found["event"], "")
    source = "Its text is that of the file now" if found["event"] is None else f"Its text is in event {event}"
    if before is None or before["text"] is None:
        return f"{source}.", text
    old, new = (each.splitlines() for each in (before["text"], text))
    if max(len(old), len(new)) > _MOST_LINES:
        return f"{source}.", text
    changed = list(unified_diff(old, new, "before", "after", lineterm="", n=_CONTEXT))[2:]
    return f"{source}. What it changed, in lines that begin with - (gone) and + (new):", "\n".join(changed)
