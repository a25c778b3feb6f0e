"""What is remembered of each organization, for each account that works in it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from rotator.domain.organization import OrganizationMemory


class OrganizationsReader(Protocol):
    """What is remembered."""

    def load(self) -> tuple[OrganizationMemory, ...]:
        """Return all that is remembered, by account and organization."""


class Organizations(OrganizationsReader, Protocol):
    """The same, with the means to write it. No claim is needed."""

    def save(self, memory: OrganizationMemory) -> None:
        """Replace what is remembered of an account's organization."""

    def forget(self, pairs: Collection[tuple[str, str]]) -> None:
        """Forget these pairs of account and organization."""
