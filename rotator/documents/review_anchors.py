"""What each place outside of the database holds of the log."""

from __future__ import annotations

from collections.abc import Iterable

from rotator.documents.review_parts import HeldAnchorsDocument
from rotator.engine.anchoring import Anchor

IN_TAGS = "the tags of managed PATs' secrets"
"""Where each version of a secret that a rotation wrote names the newest event of that moment."""


def make_held(anchors: Iterable[Anchor]) -> list[HeldAnchorsDocument]:
    """Give how many anchors each place holds, and how far they reach."""
    places = dict[str, list[int]]()
    for anchor in anchors:
        places.setdefault(anchor.place or IN_TAGS, []).append(anchor.sequence)
    return [{"name": name, "held": len(held), "newest": max(held)} for name, held in sorted(places.items())]
