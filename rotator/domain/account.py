"""An Entra user whose PATs are managed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """`name` is ours; `username` is the only user who may sign in for it; `organizations` are those it reaches."""

    name: str
    username: str
    tenant: str
    organizations: tuple[str, ...]


@dataclass(frozen=True)
class Identity:
    """Who a credential authenticates as in an organization: the service's own user id, and its name for people."""

    user_id: str
    display_name: str
    organization_id: str | None = None
    """The organization's own id, as `targetAccounts` names it; None when the service did not say."""
