"""What every document says about a PAT."""

from __future__ import annotations

from typing import Annotated, TypedDict

from rotator.documents.document import Moment, write_moment
from rotator.domain.managed_pat import ManagedPat
from rotator.engine.status import PatStatus


class PatReference(TypedDict):
    """Which PAT is meant."""

    name: Annotated[str, "Name of the PAT in rotator."]
    account: Annotated[str, "Account whose PAT it is, as the settings name it."]
    organization: Annotated[str, "Azure DevOps organization."]
    authorization_id: Annotated[str, "Id of the PAT at Azure DevOps. Empty: its first PAT is still to be made."]


class PatFacts(PatReference):
    """What a PAT is at Azure DevOps."""

    display_name: Annotated[str, "Name of the PAT at Azure DevOps."]
    scopes: Annotated[list[str], "Scopes of the PAT, sorted."]
    valid_from: Annotated[Moment, "When the PAT was created."]
    expires_at: Annotated[Moment, "When the PAT stops working; for all organizations, 2026-12-01 at the latest."]


def make_facts(row: PatStatus) -> PatFacts:
    """Say what a PAT is at Azure DevOps."""
    return {
        "name": row.name,
        "account": row.account,
        "organization": row.organization,
        "authorization_id": row.authorization_id,
        "display_name": row.display_name,
        "scopes": list(row.scopes),
        "valid_from": write_moment(row.valid_from),
        "expires_at": write_moment(row.expires_at),
    }


def make_reference(pat: ManagedPat) -> PatReference:
    """Say which PAT is meant."""
    return {
        "name": pat.name,
        "account": pat.account,
        "organization": pat.organization,
        "authorization_id": pat.authorization_id,
    }
