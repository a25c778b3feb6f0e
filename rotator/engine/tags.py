"""What is written beside a value in the vault."""

from __future__ import annotations

from collections.abc import Mapping

from rotator.domain.audit_event import AuditEvent
from rotator.domain.rotation import Rotation
from rotator.ports.secret_store import MOST_TAGS

ROTATION_TAG = "rotator-rotation-id"
AUTHORIZATION_TAG = "rotator-authorization-id"
PREDECESSOR_TAG = "rotator-predecessor-id"
KEPT_TAG = "rotator-keeps-predecessor"
NAME_TAG = "rotator-name"
ACCOUNT_TAG = "rotator-account"
ORGANIZATION_TAG = "rotator-organization"
RULE_TAG = "rotator-rule"
AUDIT_HEAD_TAG = "rotator-audit-head"
INTENT_TAG = "rotator-intent"
RESTORED_TAG = "rotator-restored"
RESTORED_FOREIGN_TAG = "rotator-restored-foreign"
"""In place of `RESTORED_TAG` on a value that was put back although nobody has confirmed that it may be replaced."""
OUR_TAGS = (
    ROTATION_TAG,
    AUTHORIZATION_TAG,
    PREDECESSOR_TAG,
    KEPT_TAG,
    NAME_TAG,
    ACCOUNT_TAG,
    ORGANIZATION_TAG,
    RULE_TAG,
    AUDIT_HEAD_TAG,
    INTENT_TAG,
    RESTORED_TAG,
)
"""Every tag of ours that one version may come to have: so much room is kept beside others' tags."""


def _list_foreign(tags: Mapping[str, str]) -> list[str]:
    return sorted(name for name in tags if name not in {*OUR_TAGS, RESTORED_FOREIGN_TAG})


def carry_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of others that a version which replaces this one gets too, as far as there is room."""
    return {name: tags[name] for name in _list_foreign(tags)[: MOST_TAGS - len(OUR_TAGS)]}


def list_dropped(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the tags for which there is no room."""
    return tuple(_list_foreign(tags)[MOST_TAGS - len(OUR_TAGS) :])


def find_attempt_id(tags: Mapping[str, str]) -> str | None:
    """Return the id of the attempt that put this version's value back; None for any other version."""
    return tags.get(RESTORED_TAG) or tags.get(RESTORED_FOREIGN_TAG)


def make_restored_tags(tags: Mapping[str, str], attempt_id: str, *, is_foreign: bool) -> dict[str, str]:
    """Make the tags of a version that puts back the value of the one with these tags.

    `is_foreign`: somebody else wrote that, and it stays theirs. Others' tags are kept as far as there is room.
    """
    kept = [name for name in tags if name not in (INTENT_TAG, RESTORED_TAG, RESTORED_FOREIGN_TAG)]
    added = RESTORED_FOREIGN_TAG if is_foreign else RESTORED_TAG
    return {name: tags[name] for name in kept[: MOST_TAGS - len((added, INTENT_TAG))]} | {added: attempt_id}


def make_tags(rotation: Rotation, head: AuditEvent | None, replaced: Mapping[str, str]) -> dict[str, str]:
    """Make the tags from which a rotation can be found and an inventory rebuilt. `head` anchors the audit chain.

    Others' tags on the version that is `replaced` are carried over, as far as there is room.
    """
    kept = {KEPT_TAG: "true"} if rotation.keeps_predecessor else {}
    return (
        carry_tags(replaced)
        | kept
        | {
            ROTATION_TAG: rotation.id,
            AUTHORIZATION_TAG: rotation.new_authorization_id or "",
            PREDECESSOR_TAG: rotation.predecessor_id,
            NAME_TAG: rotation.name,
            ACCOUNT_TAG: rotation.account,
            ORGANIZATION_TAG: rotation.organization,
            RULE_TAG: rotation.rule,
            AUDIT_HEAD_TAG: f"{head.sequence}:{head.hash}" if head is not None else "",
        }
    )
