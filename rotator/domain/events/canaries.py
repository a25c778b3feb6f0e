"""What happens to canaries: PATs that are minted to see what an organization allows, and revoked at once."""

from __future__ import annotations

from datetime import datetime

from rotator.domain.audit_event import Outcome
from rotator.domain.events.event import Event, SubjectKind
from rotator.domain.events.rotations import HEALED


class CanaryPlanned(Event, name="canary_planned", subject=SubjectKind.MANAGED_PAT, outcome=Outcome.INTENDED):
    """A person asked for a canary; its record is there, and nothing is sent. Its value is never stored."""

    account: str
    organization: str
    scope: str
    valid_to: datetime


class CanaryEnded(Event, name="canary_ended", subject=SubjectKind.MANAGED_PAT, ends=HEALED):
    """A canary is over, and its record left the inventory: it is proven gone, was never made, or was left behind."""
