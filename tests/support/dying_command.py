"""The `rotator` command, killed or frozen by itself at one commit that writes.

WHEN is `before` or `after`, NUMBER counts from 0. With WHEN `never` it lives on and, at its end, writes on stderr one
line for each commit that wrote, beginning with `commit `: its audit event, or else what was changed. With a TABLE, only
the commits count that wrote to it. BLOW is the signal that strikes: SIGKILL, or SIGSTOP, from which it may be woken.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine, ExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.pool import Pool

from rotator.cli.main import main

_WRITES = "writes of the open transaction"


class Executioner:
    """Watches every connection of the process by the library's own events."""

    def __init__(self, when: str, number: int, table: str | None, blow: signal.Signals) -> None:
        self.commits: list[str] = []
        self._blow = blow
        self._when = when
        self._number = number
        self._table = table
        self._doomed: int | None = None

    def watch(self) -> None:
        """Start to count."""
        event.listen(Engine, "before_cursor_execute", self._note)
        event.listen(Engine, "commit", self._meet_commit)
        event.listen(Engine, "rollback", self._forget)
        event.listen(Pool, "checkin", self._meet_checkin)

    def _note(
        self,
        connection: Connection,
        _cursor: DBAPICursor,
        statement: str,
        _parameters: object,
        context: ExecutionContext,
        _executemany: bool,
    ) -> None:
        words = statement.split()
        if words[0] not in ("INSERT", "UPDATE", "DELETE"):
            return
        label = " ".join(word for word in words[:3] if word not in ("INTO", "FROM", "SET"))
        rows: list[dict[str, object]] = getattr(context, "compiled_parameters", [])
        told = [str(row["event"]) for row in rows if "event" in row]
        connection.info.setdefault(_WRITES, []).append(told[0] if told else label)

    def _forget(self, connection: Connection) -> None:
        connection.info.pop(_WRITES, None)

    def _meet_commit(self, connection: Connection) -> None:
        writes = connection.info.pop(_WRITES, [])
        if not writes or not (self._table is None or any(write.endswith(f" {self._table}") for write in writes)):
            return
        if len(self.commits) == self._number and self._when == "before":
            self._strike()
        if len(self.commits) == self._number and self._when == "after":
            self._doomed = threading.get_ident()  # another thread's connection says nothing of this commit
        # An audit event says most, and the last one of several; without any, the first change does.
        events = [write for write in writes if " " not in write]
        self.commits.append(events[-1] if events else writes[0])

    def _meet_checkin(self, _dbapi_connection: object, _record: object) -> None:
        """Act when the connection returns to its pool, right after the commit and before anything else."""
        if self._doomed == threading.get_ident():
            self._doomed = None
            self._strike()

    def _strike(self) -> None:
        os.kill(os.getpid(), self._blow)


def run(
    when: str,
    number: int,
    arguments: Sequence[str],
    table: str | None = None,
    blow: signal.Signals = signal.SIGKILL,
) -> int:
    """Run a command line, and return its exit code if it lives."""
    executioner = Executioner(when, number, table, blow)
    executioner.watch()
    code = main(arguments)
    if when == "never":
        for commit in executioner.commits:
            print(f"commit {commit}", file=sys.stderr)
    return code
