"""The files of an evidence archive. What is checked in them has one spelling, so that no byte of it is free."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress

from rotator.domain.canonical import encode_canonical
from rotator.domain.checkpoint import Checkpoint, spell_public_key
from rotator.engine.anchoring import Anchor
from rotator.engine.review.evidence import Evidence
from rotator.engine.review.facts import Review

MANIFEST_PURPOSE = "rotator-evidence"


def spell_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Give a checkpoint as it is signed, with its signature in hex."""
    signature = checkpoint.signature
    with suppress(ValueError):  # what somebody put in its place stays as it is, and does not fit
        signature = None if signature is None else base64.b64decode(signature).hex()
    return encode_canonical({**json.loads(checkpoint.make_statement()), "signature": signature})


def spell_anchor(anchor: Anchor, accepted: Collection[str]) -> bytes:
    """Give what a vault names of the log, and whether a person accepted that the log lacks it."""
    return encode_canonical(
        {
            "name": anchor.name,
            "sequence": anchor.sequence,
            "hash": anchor.hash,
            "accepted": anchor.key in accepted,
        }
    )


def spell_proofs(evidence: Evidence) -> bytes:
    """Give the proofs: of each event by its number, of each two checkpoints by their sizes."""
    document = {
        "peaks": [peak.hex() for peak in evidence.peaks],
        "inclusion": {str(number): _spell(proof) for number, proof in evidence.inclusion.items()},
        "consistency": {f"{old}-{new}": _spell(proof) for (old, new), proof in evidence.consistency.items()},
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def spell_keys(public_keys: Iterable[str]) -> Iterator[bytes]:
    """Give public keys in hex, one in a line."""
    return (spell_public_key(key).encode() for key in public_keys)


def spell_manifest(review: Review, evidence: Evidence, head: str | None, files: Mapping[str, str]) -> bytes:
    """Give what is signed of an archive: of which log and period it is, and the SHA-256 of each file."""
    return encode_canonical(
        {
            "purpose": MANIFEST_PURPOSE,
            "version": 1,
            "installation": review.log.installation,
            "made_at": review.made_at.isoformat(),
            "since": review.period.since.isoformat(),
            "until": review.period.until.isoformat(),
            "first": evidence.first,
            "last": evidence.last,
            "head": head,
            "files": dict(files),
        }
    )


def spell_signature(digest: str, key_id: str | None, signature: str | None) -> bytes:
    """Give the SHA-256 of a manifest and its signature (base64), which it has if there is a key."""
    in_hex = None if signature is None else base64.b64decode(signature).hex()
    return encode_canonical({"sha256": digest, "key": key_id, "signature": in_hex})


def _spell(proof: Iterable[bytes]) -> list[str]:
    return [node.hex() for node in proof]
