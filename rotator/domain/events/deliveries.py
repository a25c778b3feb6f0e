"""What becomes of notifications, and of the receivers that they go to. None of these is delivered itself."""

from __future__ import annotations

from rotator.domain.audit_event import Outcome
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event, Severity, SubjectKind


class NotificationDelivered(Event, name="notification_delivered", subject=SubjectKind.RECEIVER):
    """A receiver took a notification; if it arrives twice, it has the same `delivery_id`."""

    delivery_id: str
    about: str


class NotificationRefused(
    Event,
    name="notification_refused",
    subject=SubjectKind.RECEIVER,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    needs_person=True,
):
    """A receiver accepts others but not this notification, or it cannot be made: it is set aside and not sent again."""

    about: str
    code: str
    message: str
    delivery_id: str | None = None


class ReceiverFailed(
    Event,
    name="receiver_failed",
    subject=SubjectKind.RECEIVER,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    begins=ConditionKind.RECEIVER_FAILING,
):
    """A receiver does not take notifications; they wait, and it is tried again at growing intervals."""

    code: str
    message: str


class ReceiverRestored(
    Event, name="receiver_restored", subject=SubjectKind.RECEIVER, ends=(ConditionKind.RECEIVER_FAILING,)
):
    """A receiver that had failed takes notifications again."""


class ReceiverDropped(
    Event, name="receiver_dropped", subject=SubjectKind.RECEIVER, ends=(ConditionKind.RECEIVER_FAILING,)
):
    """A receiver that had failed is no longer in the settings."""
