"""What is written beside a value in the vault."""

from __future__ import annotations

from rotator.domain.audit_event import AuditEvent
from rotator.domain.rotation import Rotation

ROTATION_TAG = "rotator-rotation-id"
AUTHORIZATION_TAG = "rotator-authorization-id"
PREDECESSOR_TAG = "rotator-predecessor-id"
NAME_TAG = "rotator-name"
ACCOUNT_TAG = "rotator-account"
ORGANIZATION_TAG = "rotator-organization"
RULE_TAG = "rotator-rule"
AUDIT_HEAD_TAG = "rotator-audit-head"
INTENT_TAG = "rotator-intent"
RESTORED_TAG = "rotator-restored"


def make_tags(rotation: Rotation, head: AuditEvent | None) -> dict[str, str]:
    """Make the tags from which a rotation can be found and an inventory rebuilt. `head` anchors the audit chain."""
    return {
        ROTATION_TAG: rotation.id,
        AUTHORIZATION_TAG: rotation.new_authorization_id or "",
        PREDECESSOR_TAG: rotation.predecessor_id,
        NAME_TAG: rotation.name,
        ACCOUNT_TAG: rotation.account,
        ORGANIZATION_TAG: rotation.organization,
        RULE_TAG: rotation.rule,
        AUDIT_HEAD_TAG: f"{head.sequence}:{head.hash}" if head is not None else "",
    }
