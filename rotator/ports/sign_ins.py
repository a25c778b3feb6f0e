"""What is remembered of each account's sign-in."""

from __future__ import annotations

from typing import Protocol

from rotator.domain.sign_in import SignInMemory


class SignInsReader(Protocol):
    """What is remembered."""

    def load(self, account: str) -> SignInMemory:
        """Return what is remembered of an account; nothing but its name when nothing is."""


class SignIns(SignInsReader, Protocol):
    """The same, with the means to write it. No claim is needed."""

    def save(self, memory: SignInMemory) -> None:
        """Replace what is remembered of an account."""
