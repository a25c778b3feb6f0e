"""Receivers of notifications for tests: one that is told what to answer, and servers on loopback."""

from __future__ import annotations

from collections.abc import Callable

from rotator.domain.monitoring_errors import DeliveryError
from rotator.domain.notification import Notification
from rotator.domain.telling import Habits


class ScriptedNotifier:
    """The port Notifier: keeps what it is sent. `errors` are raised by the next sends, None lets one pass.

    `refuses` are titles that it never takes. `meet` is called with what is sent, before it is taken.
    """

    def __init__(self, name: str = "ops", habits: Habits | None = None, events: frozenset[str] = frozenset()) -> None:
        self.name, self.habits, self.events = name, habits or Habits(), events
        self.sent: list[tuple[str, Notification]] = []
        self.errors: list[DeliveryError | None] = []
        self.refuses: Callable[[Notification], bool] = lambda _: False
        self.unusable: DeliveryError | None = None
        self.meet: Callable[[str], None] = lambda _: None
        self.tries = 0

    def check(self) -> None:
        """See the port."""
        if self.unusable is not None:
            raise self.unusable

    def send(self, notification: Notification, delivery_id: str) -> str:
        """See the port."""
        self.tries += 1
        self.meet("before")
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        if self.refuses(notification):
            raise DeliveryError("too long", code="delivery_refused")
        self.sent.append((delivery_id, notification))
        self.meet("after")
        return "taken"

    @property
    def ids(self) -> list[str]:
        """The ids of what it took, each time it took it."""
        return [delivery_id for delivery_id, _ in self.sent]

    @property
    def heard(self) -> list[tuple[str, str | None]]:
        """What it took: the name of the condition or event, and the phase."""
        return [(item.name, None if item.phase is None else item.phase.value) for _, item in self.sent]
