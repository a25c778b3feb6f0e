"""What happens to the audit log as a whole: its anchors, its archives, its keys, and what is known to be missing."""

from __future__ import annotations

from rotator.domain.audit_event import Outcome
from rotator.domain.events.event import Event, Severity, SubjectKind


class LogAnchored(Event, name="log_anchored", subject=SubjectKind.ANCHOR):
    """A vault has a new version of our anchor, of the first `size` events; or another place got the day's first."""

    secret_name: str | None = None
    secret_version: str | None = None
    size: int


class AnchoringFailed(
    Event,
    name="anchoring_failed",
    subject=SubjectKind.ANCHOR,
    outcome=Outcome.FAILED,
    severity=Severity.WARNING,
):
    """The newest checkpoint of the audit log could not be given to a vault or other place; a later run tries again."""

    code: str
    message: str


class GapAccepted(Event, name="gap_accepted", subject=SubjectKind.AUDIT_LOG):
    """A person accepted that the audit log lacks what these anchors name, as after a restore; signed with the key."""

    missing: str
    installation: str
    key: str | None = None
    signature: str | None = None


class SigningKeyChanged(Event, name="signing_key_changed", subject=SubjectKind.AUDIT_LOG):
    """The log is signed with another key from now on. Both keys signed that, or the old one was lost."""

    installation: str
    size: int
    head: str
    old_key: str
    new_key: str
    new_signature: str
    signature: str | None = None


class LogArchived(Event, name="log_archived", subject=SubjectKind.AUDIT_LOG):
    """The events `first` to `last` are in a signed file, and are deleted here but for the kinds of `keeps`."""

    installation: str
    first: int
    last: int
    previous_hash: str
    head: str
    keeps: str
    kept: int
    kept_hash: str
    body_hash: str
    key: str
    signature: str
    file: str
