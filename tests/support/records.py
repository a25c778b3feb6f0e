"""Inventory records, rotations and audit entries for tests, with every field filled that matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rotator.domain.audit_event import AuditEntry, Outcome
from rotator.domain.managed_pat import ManagedPat, Pat
from rotator.domain.rotation import Rotation

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
DAY = timedelta(days=1)


def make_managed_pat(name: str = "npm-feed", *, organization: str = "contoso") -> ManagedPat:
    """Make a record whose authorization id and secret name follow from its name."""
    return ManagedPat(
        name=name,
        account="build-bot",
        organization=organization,
        authorization_id=f"id-{name}",
        display_name=f"{name} (build)",
        scope="vso.code vso.packaging",
        valid_from=NOW - 20 * DAY,
        valid_to=NOW + 10 * DAY,
        vault="https://contoso-kv.vault.azure.net",
        secret_name=f"{organization}-{name}",
    )


def make_rotation(identifier: str = "r1", name: str = "npm-feed", *, created_at: datetime = NOW) -> Rotation:
    """Make a planned rotation of a record of `make_managed_pat`."""
    return Rotation(
        id=identifier,
        name=name,
        account="build-bot",
        organization="contoso",
        display_name=f"{name} (build)",
        scope="vso.code vso.packaging",
        predecessor_id=f"id-{name}",
        predecessor_valid_to=NOW + 10 * DAY,
        rule="ci",
        vault="https://contoso-kv.vault.azure.net",
        secret_name=f"contoso-{name}",
        overlap=timedelta(hours=24, microseconds=1),
        disable_previous=True,
        created_at=created_at,
        updated_at=created_at,
    )


def make_pat(identifier: str, *, target_accounts: tuple[str, ...] | None = ("org-1",)) -> Pat:
    """Make a PAT as the server lists it."""
    return Pat(identifier, f"pat {identifier}", "vso.code", target_accounts, NOW - DAY, NOW + DAY)


def make_entry(event: str = "rotation_planned", subject: str = "npm-feed", run_id: str = "run-1") -> AuditEntry:
    """Make an audit entry with one detail of each type."""
    details: dict[str, str | int | bool | None] = {"text": "ü\u2028", "number": 2**53 - 1, "truth": True, "none": None}
    return AuditEntry(event, subject, Outcome.SUCCEEDED, "root@host", run_id, details)
