"""The conditions: what is wrong and lasts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from rotator.domain.condition import Condition, ConditionKind


class ConditionsReader(Protocol):
    """What is wrong now."""

    def load(self) -> tuple[Condition, ...]:
        """Return all that last, by kind and subject."""

    def load_of(self, kinds: Collection[ConditionKind]) -> tuple[Condition, ...]:
        """Return those of these kinds, by kind and subject."""


class Conditions(ConditionsReader, Protocol):
    """The same, changed in the transaction that writes the audit log, by `engine.auditing.record` alone."""

    def begin(self, condition: Condition) -> None:
        """Note it. One of the same kind and subject that lasts already stays as it is; only its `code` is renewed."""

    def lock(self, kind: ConditionKind, *, shared: bool = False) -> tuple[Condition, ...]:
        """Make others who lock this kind wait until this transaction ends, and return those that last: `load_of`.

        Those who only look lock it `shared`: they do not wait for each other; see the order of locks.
        What is read after it is what stands until then, where only those who lock the kind begin and end it.
        """

    def end(self, kinds: Collection[ConditionKind], subject: str) -> None:
        """Note that conditions of a subject are over; does nothing where there is none."""
