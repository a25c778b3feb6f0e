"""A read-only look: the server's PATs against the inventory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rotator.domain.events.places import ScanStarted
from rotator.domain.managed_pat import ManagedPat, Pat
from rotator.engine.context import RunContext
from rotator.engine.left_behind import find_left_behind
from rotator.engine.listing import Listing, ServerView
from rotator.engine.reconciling import has_drifted
from rotator.engine.records import Known, load_known
from rotator.errors import RotatorError


class ScanKind(StrEnum):
    """How a PAT of the server, or a record of ours, stands to the other side.

    `rotating` is accounted for by an open rotation; `left_behind` is what a closed one left
    alive, or may have.
    """

    MANAGED = "managed"
    UNTRACKED = "untracked"
    MISSING = "missing"
    DRIFTED = "drifted"
    ROTATING = "rotating"
    LEFT_BEHIND = "left_behind"


@dataclass(frozen=True)
class ScanEntry:
    """One PAT. `name` is our handle if we manage it; `pat` is None when the server does not list it (missing)."""

    kind: ScanKind
    account: str
    organization: str
    name: str | None
    authorization_id: str
    pat: Pat | None
    record: ManagedPat | None = None


@dataclass(frozen=True)
class ScanReport:
    """Everything seen, by account, organization and display name; `errors` for what could not be looked at."""

    entries: tuple[ScanEntry, ...]
    errors: tuple[tuple[str, str, RotatorError], ...]


def scan(run: RunContext) -> ScanReport:
    """Compare each organization of each account with the inventory. Changes nothing, here or there."""
    view, known = ServerView(run), load_known(run)
    entries: list[ScanEntry] = []
    errors: list[tuple[str, str, RotatorError]] = []
    seen: set[str] = set()
    for account in run.services.accounts:
        for organization in account.organizations:
            run.progress(ScanStarted(), f"{account.name}/{organization}")
            try:
                listing = view.fetch_listing(account.name, organization)
            except RotatorError as error:
                errors.append((account.name, organization, error))
                continue
            fresh = [entry for entry in _compare(known, listing) if entry.authorization_id not in seen]
            seen.update(entry.authorization_id for entry in fresh)
            entries.extend(fresh)
    return ScanReport(tuple(entries), tuple(errors))


def _compare(known: Known, listing: Listing) -> list[ScanEntry]:
    account, organization = listing.account, listing.organization
    records = {p.authorization_id: p for p in known.pats if (p.account, p.organization) == (account, organization)}
    listed = {pat.authorization_id for pat in listing.pats}
    entries = []
    for pat in sorted(listing.pats, key=lambda item: (item.display_name, item.valid_to)):
        record = records.get(pat.authorization_id)
        kind = _classify(known, listing, pat, record)
        name = record.name if record else None
        entries.append(ScanEntry(kind, account, organization, name, pat.authorization_id, pat, record))
    for record in records.values():
        if record.authorization_id not in listed:
            entries.append(
                ScanEntry(ScanKind.MISSING, account, organization, record.name, record.authorization_id, None, record)
            )
    return entries


def _classify(known: Known, listing: Listing, pat: Pat, record: ManagedPat | None) -> ScanKind:
    if record is not None:
        return ScanKind.DRIFTED if has_drifted(record, pat) else ScanKind.MANAGED
    if pat.authorization_id in known.tracked_ids:
        return ScanKind.ROTATING
    left_behind = find_left_behind(known, listing.account, listing.organization, (pat,))
    return ScanKind.LEFT_BEHIND if left_behind else ScanKind.UNTRACKED
