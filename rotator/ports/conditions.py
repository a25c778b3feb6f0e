"""The conditions that last."""

from __future__ import annotations

from typing import Protocol

from rotator.domain.condition import Condition, ConditionKind


class ConditionsReader(Protocol):
    """What is wrong now."""

    def load(self) -> tuple[Condition, ...]:
        """Return all that last, by kind and subject."""


class Conditions(ConditionsReader, Protocol):
    """The same, changed in the very transaction that writes the audit log: by `record` of `engine.auditing`."""

    def begin(self, condition: Condition) -> None:
        """Note it. If one of the same kind and subject already lasts, that one stays as it is, with its `since`."""

    def end(self, kind: ConditionKind, subject: str) -> None:
        """Note that it is over; nothing happens when it did not last."""
