"""`rotator inventory forget-limits`: the longest lifetimes that were forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypedDict

from rotator.documents.document import SCHEMA_VERSION, Document, Moment, write_moment
from rotator.domain.limit import LifetimeLimit


class LimitDocument(TypedDict):
    """The longest lifetime that an account was granted in an organization."""

    account: Annotated[str, "Name of the account."]
    organization: Annotated[str, "Name of the organization."]
    longest_seconds: Annotated[int, "The lifetime, in seconds."]
    learned_at: Annotated[Moment, "When a PAT was last given this lifetime although more was asked for."]


class LimitsDocument(Document):
    """The limits that a command made rotator forget."""

    forgotten: Annotated[list[LimitDocument], "One for each account and organization."]


def make_limits_document(limits: Mapping[tuple[str, str], LifetimeLimit]) -> LimitsDocument:
    """Give the limits that were forgotten."""
    return {
        "schema_version": SCHEMA_VERSION,
        "forgotten": [
            {
                "account": account,
                "organization": organization,
                "longest_seconds": int(limit.longest.total_seconds()),
                "learned_at": write_moment(limit.learned_at),
            }
            for (account, organization), limit in limits.items()
        ],
    }
