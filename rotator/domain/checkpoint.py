"""A checkpoint: what the audit log was at one moment, in a few lines that can be signed and kept elsewhere."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from rotator.domain.canonical import encode_canonical
from rotator.domain.managed_pat import check_aware
from rotator.domain.merkle import GrowingTree

SIGNED_WITHIN = timedelta(hours=25)
"""With a key, a log that is older than this has a signed checkpoint."""

AT_MOST_EVERY = timedelta(minutes=15)
"""How often a checkpoint is made at most, by runs that go well."""

AT_LEAST_EVERY = timedelta(days=1)
"""How long nothing but reads of values may wait for one."""

ID_LENGTH = 16
"""Hex digits of the id of a key, and of an installation."""


@dataclass(frozen=True)
class Checkpoint:
    """The log's first `size` events: the hash of the last of them, and the root of the Merkle tree over all.

    `installation` is whose log it is. `anchors` is how many versions of anchors the vaults had been given until then.
    `key_id` and `signature` are None in an installation without a key. `peaks` are the tree's, so that the next
    checkpoint need not read the log from its start; they are not signed, because the root follows from them.
    """

    size: int
    head: str
    root: str
    installation: str
    made_at: datetime
    anchors: int = 0
    key_id: str | None = None
    signature: str | None = None
    peaks: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        check_aware(self.made_at)

    def make_statement(self) -> bytes:
        """Return what is signed: everything that the checkpoint says."""
        return encode_canonical(
            {
                "purpose": "rotator-audit-checkpoint",
                "version": 1,
                "size": self.size,
                "head": self.head,
                "root": self.root,
                "installation": self.installation,
                "made_at": self.made_at.astimezone(UTC).isoformat(timespec="microseconds"),
                "anchors": self.anchors,
                "key": self.key_id,
            }
        )

    def make_tree(self) -> GrowingTree:
        """Return the tree, to be grown. ValueError if the peaks are not those of the root."""
        tree = GrowingTree(self.size, (bytes.fromhex(str(peak)) for peak in self.peaks))
        if tree.make_root().hex() != self.root:
            raise ValueError("the peaks do not give the root")
        return tree


def make_key_id(public_key: str) -> str:
    """Return the id of a public key. An installation has the id of its first key."""
    return hashlib.sha256(decode_public_key(public_key)).hexdigest()[:ID_LENGTH]


def decode_public_key(text: str) -> bytes:
    """Return the 32 bytes of an Ed25519 public key in hex, or in base64 as earlier versions wrote it. ValueError."""
    try:
        key = bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise ValueError("an Ed25519 public key is 64 characters of hex")
    return key


def spell_public_key(text: str) -> str:
    """Return a public key as people are shown it: in hex. ValueError as `decode_public_key`."""
    return decode_public_key(text).hex()


def encode_public_key(text: str) -> str:
    """Return a public key as signed statements name it: in base64. ValueError as `decode_public_key`."""
    return base64.b64encode(decode_public_key(text)).decode()
