"""A read-only look: the server's PATs against the inventory."""

from __future__ import annotations

from dataclasses import dataclass

from rotator.domain.events.places import ScanStarted
from rotator.engine.comparing import ScanEntry, compare
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.listing import ServerView
from rotator.engine.records import load_known, load_listed
from rotator.engine.subjects import name_organization
from rotator.errors import RotatorError


@dataclass(frozen=True)
class ScanReport:
    """Everything seen, by account, organization and display name; `errors` for what could not be looked at."""

    entries: tuple[ScanEntry, ...]
    errors: tuple[tuple[str, str, RotatorError], ...]


def scan(run: RunContext) -> ScanReport:
    """Compare each organization of each account with the inventory. Changes nothing, here or there."""
    view, known = ServerView(run), load_known(run)
    now = run.services.clock.now()
    entries: list[ScanEntry] = []
    errors: list[tuple[str, str, RotatorError]] = []
    seen: set[str] = set()
    for account in run.services.accounts:
        for organization in account.organizations:
            run.progress(ScanStarted(), name_organization((account.name, organization)))
            try:
                with naming_bugs():
                    listing = view.fetch_listing(account.name, organization)
            except RotatorError as error:
                errors.append((account.name, organization, error))
                continue
            compared = compare(known, load_listed(run, listing), listing, now, run.services.marker_key).entries
            fresh = [entry for entry in compared if entry.authorization_id not in seen]
            seen.update(entry.authorization_id for entry in fresh)
            entries.extend(entry.as_ending() for entry in fresh)
    return ScanReport(tuple(entries), tuple(errors))
