"""An anchor: a checkpoint as it is kept outside, as the tags of a secret of ours or as a line of text.

Also what is accepted to be missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime

from rotator.domain.canonical import encode_canonical
from rotator.domain.checkpoint import Checkpoint

SIZE_TAG = "rotator-audit-size"
_TAGS = {
    "head": "rotator-audit-head",
    "root": "rotator-audit-root",
    "installation": "rotator-audit-installation",
    "key_id": "rotator-audit-key",
    "signature": "rotator-audit-signature",
}
_MADE_TAG, _ANCHORS_TAG = "rotator-audit-made-at", "rotator-audit-anchors"
PREFIX = "rotator-audit-"


def make_anchor_name(installation: str) -> str:
    """Return the name of the secret that holds an installation's anchors in each vault."""
    return PREFIX + installation


def make_anchor_tags(checkpoint: Checkpoint) -> dict[str, str]:
    """Return a checkpoint as tags; an unsigned one has empty ones for key and signature."""
    return {tag: getattr(checkpoint, name) or "" for name, tag in _TAGS.items()} | {
        SIZE_TAG: str(checkpoint.size),
        _MADE_TAG: checkpoint.made_at.isoformat(timespec="microseconds"),
        _ANCHORS_TAG: str(checkpoint.anchors),
    }


def read_anchor(tags: Mapping[str, str]) -> Checkpoint | None:
    """Return the checkpoint that tags name; None if they name none."""
    try:
        return Checkpoint(
            size=int(tags[SIZE_TAG]),
            head=tags[_TAGS["head"]],
            root=tags[_TAGS["root"]],
            installation=tags[_TAGS["installation"]],
            made_at=datetime.fromisoformat(tags[_MADE_TAG]),
            anchors=int(tags[_ANCHORS_TAG]),
            key_id=tags[_TAGS["key_id"]] or None,
            signature=tags[_TAGS["signature"]] or None,
        )
    except (KeyError, ValueError):
        return None


def make_anchor_value(checkpoint: Checkpoint) -> str:
    """Return a checkpoint as a text, which the secret holds and a file or a webhook gets: its tags as JSON."""
    return encode_canonical({**make_anchor_tags(checkpoint)}).decode()


def read_anchor_value(text: str) -> Checkpoint | None:
    """Return the checkpoint that such a text names; None if it names none."""
    try:
        tags = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return read_anchor(tags) if isinstance(tags, dict) and all(isinstance(tag, str) for tag in tags.values()) else None


def make_gap_statement(installation: str, missing: Iterable[str]) -> bytes:
    """Return what a person's acceptance of a gap is, to be signed."""
    return encode_canonical(
        {
            "purpose": "rotator-audit-gap",
            "version": 1,
            "installation": installation,
            "missing": " ".join(missing),
        }
    )
