"""The outbox: what is to be delivered to which receiver, and how far each receiver is."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # many of the commands that look at the database deliver nothing
    from rotator.domain.delivery import Delivery, Receiver
    from rotator.domain.hook import HookCall


class OutboxReader(Protocol):
    """What is on its way, and what was told last."""

    def load_receivers(self) -> tuple[Receiver, ...]:
        """Return what is remembered of each receiver, by name."""

    def load_deliveries(self, receiver: str) -> tuple[Delivery, ...]:
        """Return what waits for a receiver, and the last that it was told about each topic, the oldest first."""

    def load_calls(self, hook: str) -> tuple[HookCall, ...]:
        """Return the calls of a hook that wait or were set aside, in the order of their events."""


class Outbox(OutboxReader, Protocol):
    """The same, with the means to write it."""

    def claim(self, name: str, holder: str, span: timedelta) -> Receiver | None:
        """Take or renew the right to deliver to a receiver, and return it; None while another process has it.

        The right ends after the span, by the database's clock, or at once when its holder is gone. ValueError for a
        receiver that is not known: `save_receiver` makes one.
        """

    def release(self, name: str, holder: str) -> None:
        """Give the right back, if it is still ours."""

    def save_receiver(self, receiver: Receiver) -> None:
        """Note how far a receiver is, and how it fares; the right to deliver to it stays as it is."""

    def save_delivery(self, delivery: Delivery) -> None:
        """Note a delivery, in the place of the one about the same topic."""

    def forget_delivery(self, receiver: str, topic: str) -> None:
        """Forget what a receiver was told about a topic."""

    def save_call(self, call: HookCall) -> None:
        """Note a call of a hook, in the place of the one about the same event."""

    def forget_call(self, hook: str, sequence: int) -> None:
        """Forget the call of a hook about the event of that number."""

    def forget_receivers(self, names: Collection[str]) -> None:
        """Forget the receivers and hooks of these names, with all that waits for them."""
