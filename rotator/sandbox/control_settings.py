"""What a control call may change in the world, and the summary that it gets; both as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from rotator.sandbox.azure_devops_listing import status_of
from rotator.sandbox.faults import Fault
from rotator.sandbox.world import World

# The fields that a control call may set here; Entra's own settings change users, apps and tenants.
_SETTABLE: Mapping[str, frozenset[str]] = {
    "organizations": frozenset(
        {
            "members",
            "max_lifetime",
            "lifetime_mode",
            "full_scope_allowed",
            "global_pats",
            "creation_allowed",
            "creation_scopes",
            "auditing",
            "audit_readers",
            "audit_lag",
            "audit_overlap",
            "token_admins",
            "graph_page",
        }
    ),
    "vaults": frozenset({"denied_operations", "denied_subjects", "firewall", "read_only"}),
}
WORLD_KINDS = frozenset(_SETTABLE)
Change = tuple[object, str, object]
"""What to set: the object, the name of its field, and the value."""

_SETS = frozenset({"members", "audit_readers", "token_admins", "denied_operations", "denied_subjects"})


def read_fields(document: object) -> Mapping[str, object]:
    """Return the JSON object of a control call; raise TypeError for anything else."""
    if not isinstance(document, dict):
        raise TypeError("the body must be a JSON object")
    return document


def read_fault(fields: Mapping[str, Any]) -> Fault:
    """Make a fault from its fields; raise TypeError or ValueError for what a Fault does not accept."""
    # Any, because the fields come from JSON; Fault checks their types.
    return Fault(**fields)


def check_changes(world: World, document: Mapping[str, object]) -> list[Change]:
    """Read settings such as `{"organizations": {"contoso": {"max_lifetime": 86400}}}`; durations are in seconds.

    Change nothing yet; raise KeyError, TypeError or ValueError for an unknown object or field.
    """
    changes: list[Change] = []
    for kind, named in document.items():
        things: Mapping[str, object] = world.organizations if kind == "organizations" else world.vaults
        for name, fields in read_fields(named).items():
            for field, value in read_fields(fields).items():
                if field not in _SETTABLE[kind]:
                    raise ValueError(f"{kind}.{name}.{field} cannot be set")
                changes.append((things[name], field, _convert(field, value)))
    return changes


def apply_changes(changes: list[Change]) -> None:
    """Make the changes that were checked. The caller holds the world's lock."""
    for thing, field, value in changes:
        setattr(thing, field, value)


def _convert(field: str, value: object) -> object:
    if field in ("max_lifetime", "audit_lag") and value is not None:
        return timedelta(seconds=float(str(value)))
    if isinstance(value, list):
        return set(value) if field in _SETS else tuple(value)
    return value


def describe_world(world: World) -> dict[str, object]:
    """Return a summary without any secret value. The caller holds the lock."""
    now = world.clock.now()
    kinds: Mapping[str, Mapping[str, object]] = {
        "tenants": world.tenants,
        "users": {user.username: user for user in world.users.values()},
        "organizations": world.organizations,
    }
    pats = [
        {
            "authorization_id": pat.authorization_id,
            "user": world.users[pat.user_id].username,
            "display_name": pat.display_name,
            "scope": pat.scope,
            "target_accounts": pat.target_accounts,
            "valid_from": pat.valid_from.isoformat(),
            "valid_to": pat.valid_to.isoformat(),
            "status": status_of(pat, now),
        }
        for pat in world.pats.values()
    ]
    vaults = {
        vault.name: {
            "base_url": vault.base_url,
            "secrets": {
                secret.name: {"versions": len(secret.versions), "deleted": secret.deleted_at is not None}
                for secret in vault.secrets.values()
            },
        }
        for vault in world.vaults.values()
    }
    described = {kind: {name: _describe(thing) for name, thing in things.items()} for kind, things in kinds.items()}
    return {"now": now.isoformat(), **described, "apps": list(world.apps), "pats": pats, "vaults": vaults}


def _describe(thing: object) -> dict[str, object]:
    return {name: _plain(value) for name, value in vars(thing).items() if name != "audit_log"}


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.isoformat()
    return sorted(value) if isinstance(value, set) else value
