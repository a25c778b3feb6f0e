"""What is delivered to a receiver, and what is remembered of each receiver. It outlives the process that delivers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from rotator.domain.condition import ConditionKind
from rotator.domain.managed_pat import Failure, check_aware
from rotator.domain.notification import Notification, NotificationKind
from rotator.domain.telling import Cause, Told

EVENT = "event"
"""The topic of the one event that is being delivered."""
DIGEST = "digest"
"""The topic of the weekly digest."""


@dataclass(frozen=True)
class Delivery:
    """One notification on its way to a receiver, or the last one about its topic that the receiver took.

    A topic is a cause, as `kind/code`, or `event`, or `digest`. `id` stays the same however often it is sent.
    `sequence` is the number of the event in the audit log, if it is about one. `tries` counts the failed ones.
    """

    receiver: str
    topic: str
    id: str
    notification: Notification
    made_at: datetime
    messages: int = 1
    repeats: int = 0
    sequence: int | None = None
    tries: int = 0
    delivered_at: datetime | None = None
    set_aside_at: datetime | None = None

    def __post_init__(self) -> None:
        check_aware(self.made_at)

    @property
    def is_waiting(self) -> bool:
        """Whether it is still to be sent."""
        return self.delivered_at is None and self.set_aside_at is None

    def rename(self, old_name: str, new_name: str) -> Delivery:
        """Return it with another name for one of its subjects; what is said in it stays.

        One that waits says so, and its command can be typed.
        """
        told = self.notification
        names = (new_name if name == old_name else name for name in told.subjects)
        renamed = replace(told, subjects=tuple(sorted(set(names))))
        if self.is_waiting:
            command = " ".join(new_name if word == old_name else word for word in told.command.split(" "))
            text = told.text.replace(told.command, command) if told.command else told.text
            renamed = replace(renamed, command=command, text=f"{text}\n{old_name} is called {new_name} now.")
        return replace(self, notification=renamed)

    def find_told(self) -> Told | None:
        """Return what the receiver knows by it about a cause; None if it is about an event."""
        notification = self.notification
        if notification.kind is not NotificationKind.CONDITION or notification.phase is None:
            return None
        kind, _, code = self.topic.partition("/")
        told_at = self.delivered_at or self.set_aside_at or self.made_at
        return Told(
            Cause(ConditionKind(kind), code),
            notification.phase,
            frozenset(notification.subjects),
            told_at,
            self.messages,
            self.repeats,
            self.is_waiting,
        )


@dataclass(frozen=True)
class Receiver:
    """What is remembered of a receiver. `cursor` is the number of the last event in the audit log that it is done with.

    `failures` counts the failed tries in a row; nothing is sent to it before `retry_at`. `failure` says what keeps it
    from taking notifications now.
    """

    name: str
    cursor: int
    cursor_at: datetime
    failures: int = 0
    retry_at: datetime | None = None
    delivered_at: datetime | None = None
    failure: Failure | None = None


def make_topic(cause: Cause) -> str:
    """Return the topic of a cause."""
    return f"{cause.kind.value}/{cause.code}"
