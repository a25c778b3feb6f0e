"""The texts of the policies that the log names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from rotator.domain.audit_event import AuditEvent
from rotator.engine.review.facts import Review
from rotator.engine.review.marks import Mark


def read_policy(event: AuditEvent) -> str | None:
    """Return the text that a `policy_changed` has; None if it has none, or one that its own SHA-256 is not of."""
    text = event.entry.details.get("text")
    if not isinstance(text, str):
        return None
    fits = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() == event.entry.details.get("sha256")
    return text if fits else None


def list_policies(review: Review) -> Iterator[tuple[str, str | None, Mark | None]]:
    """Yield the policies of the period that are listed, and the current one: SHA-256, text, the event that has it.

    They come in the order of their first use. A text that no event has is that of the file of now, or not known.
    """
    found = review.findings
    before = [] if found.policy_before is None else [found.policy_before]
    named = [str(event.entry.details.get("sha256")) for event in (*before, *found.policies)]
    for digest in dict.fromkeys([*named, review.policy.digest]):
        mark, text = found.policy_texts.get(digest, (None, None))
        if text is None and digest == review.policy.digest:
            text = review.policy.text
        yield digest, text, mark
