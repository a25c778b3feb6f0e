"""What is written beside a value in the vault."""

from __future__ import annotations

from rotator.domain.rotation import Rotation

ROTATION_TAG = "rotator-rotation-id"
AUTHORIZATION_TAG = "rotator-authorization-id"
INTENT_TAG = "rotator-intent"


def make_tags(rotation: Rotation, audit_head: str) -> dict[str, str]:
    """Enough to find the rotation again, and to rebuild an inventory from; `audit_head` anchors the audit chain."""
    return {
        ROTATION_TAG: rotation.id,
        AUTHORIZATION_TAG: rotation.new_authorization_id or "",
        "rotator-predecessor-id": rotation.predecessor_id,
        "rotator-name": rotation.name,
        "rotator-account": rotation.account,
        "rotator-organization": rotation.organization,
        "rotator-rule": rotation.rule,
        "rotator-audit-head": audit_head,
    }
