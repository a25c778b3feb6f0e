"""Rebuild the inventory: write what a look at the vaults and the server found. Revokes and mints nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial

from rotator.domain.events.inventory import InventoryRebuilt
from rotator.domain.managed_pat import Failure
from rotator.domain.pending_revocation import PendingRevocation
from rotator.engine.auditing import record, record_policy
from rotator.engine.context import RunContext
from rotator.engine.intents import enter_lost, enter_refused
from rotator.engine.lives import outwait_silent
from rotator.engine.looking import Rebuild, belongs_to_another
from rotator.engine.moments import find_latest, read_moments
from rotator.engine.reading import fetch_history
from rotator.engine.rebuilt import (
    Found,
    make_last_writer,
    make_lost_writer,
)
from rotator.engine.records import add_moved
from rotator.engine.requested import find_requested
from rotator.engine.revoking import record_dropped
from rotator.errors import ClaimHeldError
from rotator.ports.claims import Claim
from rotator.ports.database import UnitOfWork
from rotator.ports.secret_store import SecretLocation


def rebuild(run: RunContext, plan: Rebuild) -> None:
    """Write what `look` found: records, and a new overlap for each old PAT that still lives.

    ClaimHeldError when another run works on one, or has done so since. Records before it are written; repeat it later.
    """
    now = run.services.clock.now()
    if plan.news:
        record_policy(run)
    for item in plan.news:
        _check_newest(run, item)
        outwait_silent(run, item.record.name, partial(_write, run, item, now))
    # Those that are as they should be too: a rebuild before this one may have ended after it wrote a record.
    enter_lost(run, [*(item.record for item in plan.found), *plan.refused])
    enter_refused(run, plan.unrecorded)


def _write(run: RunContext, item: Found, now: datetime) -> None:
    with run.services.database.begin() as work:
        if item.before is None:
            work.inventory.add(item.record)
        claim = work.claims.claim(item.record.name, run.claimant, now=work.now(), span=run.services.timing.lease)
        _check_unchanged(work, item)
        ended = _take_back(run, work, item)
        _rewrite_journal(run, work, item, claim)
        work.inventory.save(item.record, claim)
        work.claims.release(claim)
        before = item.before.authorization_id if item.before else None
        rebuilt = InventoryRebuilt(
            authorization_id=item.record.authorization_id,
            before=before,
            scope=item.record.scope,
            all_organizations=item.record.all_organizations,
        )
        place = {"account": item.record.account, "organization": item.record.organization}
        record(work, run, item.record.name, rebuilt, now, **place)
        for pending in ended:
            record_dropped(work, run, pending, item.record.name, now)


def _check_newest(run: RunContext, item: Found) -> None:
    """Raise ClaimHeldError when the vault shows another version on top than the look did: one of the two was old."""
    top = item.gone[0] if item.gone else item.version
    versions = fetch_history(run.services.secrets, SecretLocation.of(item.record))
    if top is not None and (not versions or versions[0].version != top.version):
        raise ClaimHeldError(
            f"secret {item.record.secret_name} in {item.record.vault} shows another version than when it was looked "
            f"at; {item.record.name} was left as it is",
            fix="Run `rotator inventory rebuild` again.",
        )


def _check_unchanged(work: UnitOfWork, item: Found) -> None:
    """Raise ClaimHeldError when a run changed the record, or another took one of its PATs, between look and claim."""
    current, name = work.inventory.load(item.record.name), item.record.name
    ids = [item.record.authorization_id, *([item.predecessor.authorization_id] if item.predecessor else [])]
    is_changed = item.before is not None and (
        current is None or replace(current, epoch=item.before.epoch) != item.before
    )
    if is_changed or any(belongs_to_another(work, found, name) for found in ids):
        raise ClaimHeldError(
            f"{item.record.name} was changed by another run since the vaults were read; it was left as it is",
            fix="Run `rotator inventory rebuild` again.",
        )


def _take_back(run: RunContext, work: UnitOfWork, item: Found) -> list[PendingRevocation]:
    """End the pending revocation of a PAT that the record did not name before, and return what was ended.

    Whoever reads the secret uses it. ClaimHeldError while a request to revoke it may still take effect.
    """
    name, found = item.record.name, item.record.authorization_id
    if item.before is not None and item.before.authorization_id == found:
        return []
    if find_requested(run, work, [found]):
        raise ClaimHeldError(
            f"a request to revoke {found} may still take effect; {name} was left as it is",
            fix="Run `rotator once`, then in a few minutes `rotator inventory rebuild` again.",
        )
    return [pending for pending in work.revocations.load_by_ids([found]) if work.revocations.end(found)]


def _rewrite_journal(run: RunContext, work: UnitOfWork, item: Found, claim: Claim) -> None:
    """Close the rotation that this database held as open, and enter the rotations that really wrote the secret."""
    at, name = max(read_moments(run, work)), item.record.name
    writers = [make_lost_writer(run, item, version) for version in item.gone]
    if item.version is not None:
        writers.append(make_last_writer(run, item, item.version, find_latest(run, work)))
    ids = {writer.id for writer in writers}
    for rotation in work.journal.load_open_for([name]):
        if rotation.place == item.record.place and rotation.id not in ids:
            failure = Failure("rebuilt", "the inventory was rebuilt from the vault, which is ahead of this rotation")
            work.journal.save(rotation.give_up(failure, at), claim)
            add_moved(rotation, work)
    for writer in (replace(writer, updated_at=at) for writer in writers):
        work.journal.enter(writer, claim)
