"""What is written beside a value in the vault."""

from __future__ import annotations

from collections.abc import Mapping

from rotator.domain.audit_event import AuditEvent
from rotator.domain.rotation import Rotation
from rotator.ports.secret_store import MOST_TAGS

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
OUR_TAGS = (
    ROTATION_TAG,
    AUTHORIZATION_TAG,
    PREDECESSOR_TAG,
    NAME_TAG,
    ACCOUNT_TAG,
    ORGANIZATION_TAG,
    RULE_TAG,
    AUDIT_HEAD_TAG,
    INTENT_TAG,
    RESTORED_TAG,
)
"""Every tag that we write; one version may come to have all of them, so there is room for them beside others' tags."""


def _list_foreign(tags: Mapping[str, str]) -> list[str]:
    return sorted(name for name in tags if name not in OUR_TAGS)


def carry_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of others that a version which replaces this one gets too, as far as there is room."""
    return {name: tags[name] for name in _list_foreign(tags)[: MOST_TAGS - len(OUR_TAGS)]}


def list_dropped(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the tags for which there is no room."""
    return tuple(_list_foreign(tags)[MOST_TAGS - len(OUR_TAGS) :])


def make_tags(rotation: Rotation, head: AuditEvent | None, replaced: Mapping[str, str]) -> dict[str, str]:
    """Make the tags from which a rotation can be found and an inventory rebuilt. `head` anchors the audit chain.

    Others' tags on the version that is `replaced` are carried over, as far as there is room.
    """
    return carry_tags(replaced) | {
        ROTATION_TAG: rotation.id,
        AUTHORIZATION_TAG: rotation.new_authorization_id or "",
        PREDECESSOR_TAG: rotation.predecessor_id,
        NAME_TAG: rotation.name,
        ACCOUNT_TAG: rotation.account,
        ORGANIZATION_TAG: rotation.organization,
        RULE_TAG: rotation.rule,
        AUDIT_HEAD_TAG: f"{head.sequence}:{head.hash}" if head is not None else "",
    }
