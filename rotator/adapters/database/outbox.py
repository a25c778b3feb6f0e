"""The outbox: a row for each receiver, and one for each topic that it was told about or is to be told about."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from rotator.adapters.database.digests import read_digest, write_digest
from rotator.adapters.database.engine import make_upsert
from rotator.adapters.database.records import FAILURE, list_failure, make_failure
from rotator.adapters.database.schema import delivery, hook_call, receiver
from rotator.domain.audit_event import Detail
from rotator.domain.delivery import Delivery, Receiver
from rotator.domain.events.event import Severity
from rotator.domain.hook import HookCall, HookEvent
from rotator.domain.notification import Notification, NotificationKind
from rotator.domain.telling import Phase

_TIMES = ("made_at", "since", "first_expires_at")
_EVENT_TIMES = ("occurred_at", "expires_at")
_CALL = ("hook", "sequence", "id", "made_at", "tries", "retry_at", "set_aside_at", "done_at")
_COLUMNS = ("topic", "id", "made_at", "messages", "repeats", "sequence", "tries", "delivered_at", "set_aside_at")


class SqlOutboxReader:
    """The port OutboxReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load_receivers(self) -> tuple[Receiver, ...]:
        """See the port."""
        return tuple(map(_make_receiver, self._connection.execute(select(receiver).order_by(receiver.c.name))))

    def load_deliveries(self, receiver: str) -> tuple[Delivery, ...]:
        """See the port."""
        query = select(delivery).where(delivery.c.receiver == receiver).order_by(delivery.c.made_at, delivery.c.topic)
        return tuple(map(_make_delivery, self._connection.execute(query)))

    def load_calls(self, hook: str) -> tuple[HookCall, ...]:
        """See the port."""
        query = select(hook_call).where(hook_call.c.hook == hook).order_by(hook_call.c.sequence)
        return tuple(map(_make_call, self._connection.execute(query)))


class SqlOutbox(SqlOutboxReader):
    """The port Outbox. `is_gone` says whether the process behind a holder has certainly ended."""

    def __init__(self, connection: Connection, now: Callable[[], datetime], is_gone: Callable[[str], bool]) -> None:
        super().__init__(connection)
        self._now, self._is_gone = now, is_gone

    def claim(self, name: str, holder: str, span: timedelta) -> Receiver | None:
        """See the port. The row stays locked to the end of the transaction, so that one process alone gets it."""
        row = self._connection.execute(select(receiver).where(receiver.c.name == name).with_for_update()).first()
        if row is None:
            raise ValueError(f"no receiver {name}")
        now = self._now()
        if not may_claim(row.claimed_by, row.claimed_until, holder, now, span, self._is_gone):
            return None
        values = {"claimed_by": holder, "claimed_until": now + span}
        self._connection.execute(update(receiver).where(receiver.c.name == name).values(values))
        return _make_receiver(row)

    def release(self, name: str, holder: str) -> None:
        """See the port."""
        mine = (receiver.c.name == name, receiver.c.claimed_by == holder)
        self._connection.execute(update(receiver).where(*mine).values(claimed_by=None, claimed_until=None))

    def save_receiver(self, receiver: Receiver) -> None:
        """See the port."""
        values = {name: value for name, value in vars(receiver).items() if name != "failure"}
        self._upsert("receiver", values | list_failure(receiver.failure), ("name",))

    def save_delivery(self, delivery: Delivery) -> None:
        """See the port."""
        values = {name: getattr(delivery, name) for name in ("receiver", *_COLUMNS)}
        self._upsert(
            "delivery", {**values, "notification": _write_notification(delivery.notification)}, ("receiver", "topic")
        )

    def forget_delivery(self, receiver: str, topic: str) -> None:
        """See the port."""
        self._connection.execute(delete(delivery).where(delivery.c.receiver == receiver, delivery.c.topic == topic))

    def save_call(self, call: HookCall) -> None:
        """See the port."""
        values = {name: getattr(call, name) for name in _CALL}
        self._upsert(
            "hook_call",
            {**values, **list_failure(call.failure), "event": _write_event(call.event)},
            ("hook", "sequence"),
        )

    def forget_call(self, hook: str, sequence: int) -> None:
        """See the port."""
        self._connection.execute(delete(hook_call).where(hook_call.c.hook == hook, hook_call.c.sequence == sequence))

    def forget_receivers(self, names: Collection[str]) -> None:
        """See the port."""
        self._connection.execute(delete(hook_call).where(hook_call.c.hook.in_(names)))
        self._connection.execute(delete(delivery).where(delivery.c.receiver.in_(names)))
        self._connection.execute(delete(receiver).where(receiver.c.name.in_(names)))

    def _upsert(self, name: str, values: Mapping[str, object], keys: tuple[str, ...]) -> None:
        table = {"receiver": receiver, "delivery": delivery, "hook_call": hook_call}[name]
        insert = make_upsert(self._connection, table)
        statement = insert.values(values).on_conflict_do_update(index_elements=list(keys), set_=dict(values))
        self._connection.execute(statement)


def may_claim(
    claimed_by: str | None,
    until: datetime | None,
    holder: str,
    now: datetime,
    span: timedelta,
    is_gone: Callable[[str], bool],
) -> bool:
    """Whether a receiver that was claimed so may be claimed by this holder, for that span.

    An end that is further ahead than any claim lasts was written by a wrong clock, and binds nobody.
    """
    if claimed_by is None or until is None or claimed_by == holder:
        return True
    return not now < until <= now + 2 * span or is_gone(claimed_by)


def _make_receiver(row: Row[Any]) -> Receiver:
    return Receiver(
        row.name,
        row.cursor,
        row.cursor_at,
        row.failures,
        row.retry_at,
        row.delivered_at,
        make_failure([getattr(row, name) for name in FAILURE]),
    )


def _make_delivery(row: Row[Any]) -> Delivery:
    values = {name: getattr(row, name) for name in _COLUMNS}
    return Delivery(receiver=row.receiver, notification=_read_notification(row.notification), **values)


def _write_notification(notification: Notification) -> dict[str, Detail]:
    """Return a notification as a flat object; its subjects, which are names without line breaks, one in each line."""
    values = dict(vars(notification))
    values["subjects"] = "\n".join(notification.subjects)
    for name in _TIMES:
        values[name] = None if values[name] is None else values[name].isoformat()
    # Versions before the digest read what has no such key.
    digest = values.pop("digest")
    return values if digest is None else {**values, "digest": write_digest(digest)}


def _read_notification(found: Mapping[str, Any]) -> Notification:
    values = dict(found)
    for name in _TIMES:
        values[name] = None if values[name] is None else datetime.fromisoformat(values[name])
    values["subjects"] = tuple(filter(None, values["subjects"].split("\n")))
    values["kind"], values["severity"] = NotificationKind(values["kind"]), Severity(values["severity"])
    values["phase"] = None if values["phase"] is None else Phase(values["phase"])
    digest = values.pop("digest", None)
    return Notification(**values, digest=None if digest is None else read_digest(digest))


def _make_call(row: Row[Any]) -> HookCall:
    values = {name: getattr(row, name) for name in _CALL}
    failure = make_failure([getattr(row, name) for name in FAILURE])
    return HookCall(event=_read_event(row.event), failure=failure, **values)


def _write_event(event: HookEvent) -> dict[str, Detail]:
    """Return what a hook is given as a flat object; the details of the event are a text of JSON in it."""
    values = {**vars(event), "details": json.dumps(dict(event.details))}
    for name in _EVENT_TIMES:
        values[name] = None if values[name] is None else values[name].isoformat()
    return values


def _read_event(found: Mapping[str, Any]) -> HookEvent:
    values = dict(found)
    for name in _EVENT_TIMES:
        values[name] = None if values[name] is None else datetime.fromisoformat(values[name])
    values["details"], values["severity"] = json.loads(values["details"]), Severity(values["severity"])
    return HookEvent(**values)
