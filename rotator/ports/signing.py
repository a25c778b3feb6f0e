"""Signatures: what they are made with, and how they are checked."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """A private key of ours, and its public half as base64."""

    @property
    def public_key(self) -> str:
        """The public key: 32 bytes as base64."""

    def sign(self, statement: bytes) -> str:
        """Return the signature as base64."""


class SignatureCheck(Protocol):
    """Checks signatures by anybody's public key."""

    def __call__(self, statement: bytes, signature: str, public_key: str) -> bool:
        """Whether that key (base64) signed the statement. Any text may be given for the signature."""
