"""What becomes of the calls of hooks. No hook is called about any of these."""

from __future__ import annotations

from rotator.domain.audit_event import Outcome
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event, Severity, SubjectKind


class HookSucceeded(Event, name="hook_succeeded", subject=SubjectKind.HOOK):
    """A hook was called about an event and succeeded; a repeated call has the same `delivery_id`."""

    delivery_id: str
    about: str
    output: str


class HookFailed(
    Event,
    name="hook_failed",
    subject=SubjectKind.HOOK,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    begins=ConditionKind.HOOK_FAILING,
):
    """A hook failed, or cannot be called. Calls that failed are made again, at growing intervals."""

    code: str
    message: str
    about: str | None = None
    delivery_id: str | None = None
    output: str = ""


class HookRestored(Event, name="hook_restored", subject=SubjectKind.HOOK, ends=(ConditionKind.HOOK_FAILING,)):
    """No call of a hook that had failed waits to be made again."""


class HookCallDropped(
    Event,
    name="hook_call_dropped",
    subject=SubjectKind.HOOK,
    outcome=Outcome.FAILED,
    severity=Severity.ERROR,
    needs_person=True,
):
    """A call of a hook failed too often, or cannot be made: it is set aside and not made again."""

    about: str
    code: str
    message: str
    delivery_id: str | None = None


class HookRemoved(Event, name="hook_removed", subject=SubjectKind.HOOK, ends=(ConditionKind.HOOK_FAILING,)):
    """A hook that had failed is no longer in the settings."""
