"""What a process knows of the conditions that last: it tells those that another one began, or an earlier one, once."""

from __future__ import annotations

import threading

from rotator.domain.condition import ConditionKind
from rotator.domain.events.daemon import ConditionContinued, ConditionEnded
from rotator.domain.events.event import Event
from rotator.domain.runbook import CONDITIONS
from rotator.domain.telling import SEVERITIES
from rotator.engine.context import RunContext


class Awareness:
    """The conditions that this process has told of. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: set[tuple[ConditionKind, str]] = set()

    def hear(self, event: Event, subject: str) -> None:
        """Note an event that this process tells."""
        with self._lock:
            self._told -= {(kind, subject) for kind in event.type.ends}
            if event.type.begins is not None:
                self._told.add((event.type.begins, subject))

    def knows(self, kind: ConditionKind, subject: str) -> bool:
        """Whether that lasts, as far as this process knows."""
        return (kind, subject) in self._told

    def look(self, run: RunContext) -> None:
        """Tell of each condition that lasts and was not told of yet, and of each that ended elsewhere."""
        with run.services.database.read() as reading:
            lasting = {(found.kind, found.subject): found for found in reading.conditions.load()}
        with self._lock:
            kept = {
                key for key in self._told if key[0] is ConditionKind.DATABASE_DOWN
            }  # not in the database: see `outage`
            found, ended = lasting.keys() - self._told, self._told - lasting.keys() - kept
            self._told = set(lasting) | kept
        for key in sorted(found):
            condition, headline = lasting[key], CONDITIONS[key[0]].say_one(key[1])
            told = ConditionContinued(
                kind=key[0].value,
                message=headline,
                since=condition.since,
                code=condition.code,
                severity=SEVERITIES[key[0]].value,
            )
            run.progress(told, key[1])
        for kind, subject in sorted(ended):
            run.progress(ConditionEnded(kind=kind.value), subject)
