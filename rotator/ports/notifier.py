"""The receivers of notifications, as the settings describe them."""

from __future__ import annotations

from typing import Protocol

from rotator.domain.notification import Notification
from rotator.domain.telling import Habits

UNUSABLE = "receiver_unusable"
"""The code of what no repeat fixes: the settings must change, or a package is missing."""


class Notifier(Protocol):
    """Sends notifications to one receiver."""

    @property
    def name(self) -> str:
        """The receiver's name in the settings."""

    @property
    def habits(self) -> Habits:
        """How it wants to be told about conditions."""

    @property
    def events(self) -> frozenset[str]:
        """The events that it wants to be told of one by one, beside those that a person must act on."""

    def check(self) -> None:
        """Find out, without sending anything, whether it can be used at all. DeliveryError `UNUSABLE` if not."""

    def send(self, notification: Notification, delivery_id: str) -> str:
        """Send a notification and return what came back, in a few words.

        DeliveryError when the receiver did not take it, or nobody knows whether it did: then it is sent again with the
        same id. It never takes longer than one request may take.
        """
