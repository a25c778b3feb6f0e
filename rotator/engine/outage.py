"""What the daemon keeps in memory about deliveries, for as long as the database cannot: and how it tells without it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.events.deliveries import ReceiverFailed
from rotator.domain.events.places import DatabaseLost, DatabaseRestored
from rotator.domain.managed_pat import Failure
from rotator.domain.notification import Affected, Hurt, make_notification
from rotator.domain.telling import Notice, Phase, Told, find_notices
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.moments import is_clock_wrong
from rotator.errors import DatabaseError, RotatorError
from rotator.ports.notifier import Notifier

DATABASE = "database"

Message = tuple[str, Phase, datetime | None, int]
"""Which message it is: the receiver, and the phase, the beginning and the number of its notice."""


@dataclass
class DeliveryMemory:
    """`sent` are the ids that a receiver took and that could not be noted yet: they are not sent again.

    `down_since` is when the database was lost, and `told` what each receiver was notified of. `ids` are those of
    messages that a receiver has not taken yet. `checked` are the receivers that were looked at since the start.
    `is_swept`: what was wrong with receivers that are no longer in the settings was ended since then.
    """

    sent: set[str] = field(default_factory=set)
    down_since: datetime | None = None
    failure: Failure | None = None
    told: dict[str, Told] = field(default_factory=dict)
    ids: dict[Message, str] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)
    is_swept: bool = False

    def forget_settings(self) -> None:
        """Look again at what depends on the settings: they are others now."""
        self.checked.clear()
        self.is_swept = False


def note_outage(run: RunContext, notifiers: Iterable[Notifier], memory: DeliveryMemory, error: DatabaseError) -> None:
    """Tell directly that the database cannot be used, when that has lasted for long enough for a receiver."""
    if memory.down_since is None:
        memory.down_since = run.services.clock.now()
        run.progress(DatabaseLost(code=error.code, message=error.message), DATABASE)
    memory.failure = Failure.of(error)
    condition = Condition(ConditionKind.DATABASE_DOWN, DATABASE, memory.down_since, code=error.code)
    _tell(run, notifiers, memory, (condition,))


def note_database(run: RunContext, notifiers: Iterable[Notifier], memory: DeliveryMemory) -> None:
    """Tell those that heard of it that the database can be used again."""
    if memory.down_since is not None:
        memory.down_since = None
        run.progress(DatabaseRestored(), DATABASE)
    if memory.told:
        _tell(run, notifiers, memory, ())
    memory.ids = {message: delivery_id for message, delivery_id in memory.ids.items() if message[0] in memory.told}


def _tell(
    run: RunContext, notifiers: Iterable[Notifier], memory: DeliveryMemory, lasting: tuple[Condition, ...]
) -> None:
    now, is_wrong = run.services.clock.now(), is_clock_wrong(run, None)
    for notifier in notifiers:
        told = [memory.told[notifier.name]] if notifier.name in memory.told else []
        for notice in find_notices(told, lasting, notifier.habits, now, is_clock_wrong=is_wrong):
            _send(run, notifier, memory, notice, now)


def _send(run: RunContext, notifier: Notifier, memory: DeliveryMemory, notice: Notice, now: datetime) -> None:
    notification = make_notification(notice, Affected(failure=memory.failure, hurt=Hurt.UNKNOWN), now)
    run.services.stop.check()
    message = (notifier.name, notice.phase, notice.since, notice.messages)
    delivery_id = memory.ids.setdefault(message, run.services.entropy.make_id())
    try:
        with naming_bugs("the other receivers were told"):
            notifier.send(notification, delivery_id)
    except RotatorError as error:
        run.progress(ReceiverFailed(code=error.code, message=error.message), notifier.name)
        return
    del memory.ids[message]
    if notice.phase is Phase.OVER:
        del memory.told[notifier.name]
    else:
        memory.told[notifier.name] = Told(
            notice.cause, notice.phase, frozenset(notice.subjects), now, notice.messages, notice.repeats
        )
