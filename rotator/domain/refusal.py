"""Why a PAT cannot be adopted, or a secret cannot be made a record again, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rotator.domain.managed_pat import Failure
from rotator.domain.sight import Sight


class RefusalKind(StrEnum):
    """What is in the way. Those up to `changed` are about adopting, the others about a rebuild."""

    MANAGED = "managed"
    MANAGED_BEFORE = "managed_before"
    UNFIT = "unfit"
    OCCUPIED = "occupied"
    ROTATING = "rotating"
    LEFT_BEHIND = "left_behind"
    KEPT = "kept"
    SENT_MINT = "sent_mint"
    POSSIBLE_MINT = "possible_mint"
    REVOCATION_PENDING = "revocation_pending"
    BEING_REVOKED = "being_revoked"
    AMBIGUOUS = "ambiguous"
    UNKNOWN = "unknown"
    UNSEEN = "unseen"
    NO_RULE = "no_rule"
    IGNORED = "ignored"
    NAME_TAKEN = "name_taken"
    PLACE_TAKEN = "secret_taken"
    SAME_NAME = "same_name"
    LIST_INCOMPLETE = "list_incomplete"
    ELSEWHERE = "elsewhere"
    MISPLACED = "misplaced"
    SOMETHING_ELSE = "something_else"
    SERVED = "served"
    UNREADABLE = "unreadable"
    CHANGED = "changed"
    FOREIGN_TAGS = "foreign_tags"
    PAT_GONE = "pat_gone"
    ROTATION_KNOWN = "rotation_known"
    STILL_VALID = "still_valid"
    VALUE_COPIED = "value_copied"
    TWO_SECRETS = "two_secrets"
    TWIN_UNREAD = "twin_unread"
    ACCOUNT_RENAMED = "account_renamed"
    MANAGED_AS = "managed_as"
    OTHER_ROTATION = "other_rotation"


@dataclass(frozen=True)
class Refusal:
    """One refusal. `reference` is what was asked for: the id or display name of a PAT, the name of a record or secret.

    `name` is the ManagedPat in the way, or the account that the settings do not name (ACCOUNT_RENAMED). `ids` are the
    PATs in question, `organizations` where each of them is. `secret_name` in `vault` is the secret in question,
    `other_secret` the one that it competes with, `sight` what it holds. `failure` is what the inventory (CHANGED), a
    service (UNREADABLE) or the policy (UNFIT) said.
    """

    kind: RefusalKind
    reference: str
    name: str = ""
    rule: str = ""
    display_name: str = ""
    ids: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    vault: str = ""
    secret_name: str = ""
    other_secret: str = ""
    failure: Failure | None = None
    sight: Sight | None = None
