"""The record of a canary: it is there from before the mint until nothing of the canary is left to do."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.domain.events.canaries import CanaryEnded, CanaryPlanned
from rotator.domain.managed_pat import ManagedPat, ManagedPatState, make_scopes
from rotator.engine.auditing import record
from rotator.engine.claiming import ClaimedPat
from rotator.engine.context import RunContext
from rotator.ports.claims import Claim


def make_canary(run: RunContext, place: tuple[str, str], scopes: tuple[str, ...], lifetime: timedelta) -> ManagedPat:
    """Make the record of a canary of that account and organization. It has no vault: there is nowhere to store it."""
    now, name = _to_seconds(run.services.clock.now()), f"canary-{run.services.entropy.make_id()[-8:]}"
    account, organization = place
    return ManagedPat(
        name=name,
        account=account,
        organization=organization,
        authorization_id="",
        display_name=name,
        scope=" ".join(make_scopes(" ".join(scopes))),
        valid_from=now,
        valid_to=now + lifetime,
        vault="",
        secret_name=name,
        state=ManagedPatState.PAUSED,
    )


def begin_canary(run: RunContext, pat: ManagedPat) -> Claim:
    """Write the record, claimed from the start: whatever becomes of this run, a later one finds it."""
    planned = CanaryPlanned(account=pat.account, organization=pat.organization, scope=pat.scope, valid_to=pat.valid_to)
    with run.services.database.begin() as work:
        work.inventory.add(pat)
        claim = work.claims.claim(pat.name, run.claimant, now=work.now(), span=run.services.timing.lease)
        record(work, run, pat.name, planned, run.services.clock.now())
    return claim


def end_canary(held: ClaimedPat) -> bool:
    """Take the record out of the inventory, unless something is left to do for it. Return whether it went."""
    pending = held.load(lambda reading: reading.revocations.load_for([held.pat.name]))
    if held.has_open_rotation or any(item.belongs_to(held.pat) for item in pending):
        return False
    held.remove(CanaryEnded())
    return True


def _to_seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
