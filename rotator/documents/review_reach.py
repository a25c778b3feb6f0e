"""What an event says that a managed PAT reaches, and whether the inventory says the same."""

from __future__ import annotations

from rotator.documents.review_parts import ReachDocument
from rotator.domain.managed_pat import ManagedPat, make_scopes
from rotator.engine.review.facts import Reach


def make_reach(told: Reach, record: ManagedPat) -> ReachDocument:
    """Give it. What the event does not say contradicts nothing."""
    scopes = None if told.scope is None else make_scopes(told.scope)
    said = (
        (scopes, make_scopes(record.scope)),
        (told.organization, record.organization),
        (told.all_organizations, record.all_organizations),
    )
    return {
        "scopes": None if scopes is None else list(scopes),
        "organization": told.organization,
        "all_organizations": told.all_organizations,
        "fits": all(there is None or there == here for there, here in said),
    }
