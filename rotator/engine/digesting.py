"""Deliver notifications, and write the weekly digests that are due, to be delivered as the others are.

A digest is made from the audit log and from how every PAT stands by our own records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from rotator.domain.delivery import DIGEST, Delivery
from rotator.domain.digest import WEEK, Dated, Digest, Past, Standing, Weekday, is_digest_due, make_digest
from rotator.domain.events.rotations import OverlapStarted
from rotator.domain.next_step import NextAction
from rotator.domain.notification import make_digest_notification
from rotator.engine.context import RunContext
from rotator.engine.delivering import deliver
from rotator.engine.jobs import JobResult
from rotator.engine.needs import Need, find_need
from rotator.engine.outage import DeliveryMemory
from rotator.engine.receiver_claim import CLAIMED_FOR
from rotator.engine.status import PatStatus, status_from
from rotator.errors import AuditChainError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Reading
from rotator.ports.notifier import Notifier
from rotator.ports.outbox import OutboxReader

_ROTATED = OverlapStarted.type.name
_MOST_EVENTS = 10_000


def deliver_all(run: RunContext, notifiers: Sequence[Notifier], memory: DeliveryMemory) -> JobResult:
    """Deliver what there is to deliver, and then the digests that are due."""
    result = deliver(run, notifiers, memory)
    written = [write_digest(run, notifier) for notifier in notifiers]
    if not any(written):
        return result
    return JobResult(dict(Counter(result.counts) + Counter(deliver(run, notifiers, memory).counts)))


def write_digest(run: RunContext, notifier: Notifier) -> bool:
    """Write a receiver's digest into the outbox if one is due, and return whether that was done.

    All of the inventory is read for it, outside of the transaction that writes. Not while another process delivers to
    the receiver, and not for one that nothing was delivered to yet: the next look does it.
    """
    day, now, database = notifier.habits.digest_on, run.services.clock.now(), run.services.database
    if day is None:
        return False
    with database.read() as reading:
        last = _find_last(reading.outbox, notifier.name)
    if not _is_due(last, day, now):
        return False
    notification = make_digest_notification(_gather(run, last, now), now)
    made = Delivery(notifier.name, DIGEST, run.services.entropy.make_id(), notification, now)
    with database.begin() as work:
        known = {receiver.name for receiver in work.outbox.load_receivers()}
        if notifier.name not in known or work.outbox.claim(notifier.name, run.claimant, CLAIMED_FOR) is None:
            return False
        is_due = _is_due(_find_last(work.outbox, notifier.name), day, now)
        if is_due:
            work.outbox.save_delivery(made)
        work.outbox.release(notifier.name, run.claimant)
    return is_due


def _find_last(outbox: OutboxReader, receiver: str) -> Delivery | None:
    return next((item for item in outbox.load_deliveries(receiver) if item.topic == DIGEST), None)


def _is_due(last: Delivery | None, day: Weekday, now: datetime) -> bool:
    """Whether a digest is to be made; none while one waits."""
    if last is not None and last.is_waiting:
        return False
    return is_digest_due(None if last is None else last.notification.made_at, day, now)


def _gather(run: RunContext, last: Delivery | None, now: datetime) -> Digest:
    """Return the digest of what came after the last one, or of a week if there is none."""
    timing = run.services.timing
    rows = status_from(run.services.database, run.policy, now, settle=timing.settle, lease=timing.lease)
    with run.services.database.read() as reading:
        past = _load_past(reading, last, now)
    return make_digest(past, [_make_standing(row) for row in rows], now)


def _load_past(reading: Reading, last: Delivery | None, now: datetime) -> Past:
    """Return what was rotated. What follows an event that cannot be read is not known."""
    through = reading.audit.load_newest_number()
    after, since, wanted = None, now - WEEK, AuditFilter(since=now - WEEK, event=_ROTATED)
    told = None if last is None else last.notification
    if told is not None and told.digest is not None and told.made_at <= now and told.digest.through <= through:
        after, since, wanted = told.digest.through, told.made_at, AuditFilter(event=_ROTATED)
    found: list[Dated] = []
    try:
        for event in reading.audit.load_after(after, _MOST_EVENTS, wanted):
            found.append(Dated(event.entry.subject, event.occurred_at))
    except AuditChainError:
        return Past(since, tuple(found), through, is_whole=False)
    return Past(since, tuple(found), through, is_whole=len(found) < _MOST_EVENTS)


def _make_standing(row: PatStatus) -> Standing:
    rotates_at = row.next_at if row.next_action is NextAction.ROTATE else row.rotate_after if row.is_rotated else None
    return Standing(row.name, row.account, row.expires_at, rotates_at, _find_need(row))


def _find_need(row: PatStatus) -> str:
    """Return what a person must do for a PAT; nothing for what passes by itself or is tried again."""
    need, error = find_need(row), row.last_error
    if need is None:
        return ""
    if need is Need.REPLACEMENT:
        return "Replace it by hand."
    return error.fix or error.message if error is not None else "It has expired. See `rotator status`."
