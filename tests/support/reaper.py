"""Kills a process of an engine test at any one of its moments."""

from __future__ import annotations

from rotator.ports.database import UnitOfWork
from tests.support.engine_fakes import WatchedDatabase


class Reaper:
    """Lets the process die at the moment of this number: a read, a request, or the begin or commit of a transaction.

    A transaction that dies as it begins is one that dies before its commit: nothing of it is kept. `met` are the
    moments that there were; a receiver or hook names its own, by its `meet`.
    """

    def __init__(self, database: WatchedDatabase, number: int) -> None:
        self._database, self._number = database, number
        self.met: list[str] = []
        database.watcher = self

    @property
    def has_killed(self) -> bool:
        """Whether that moment came."""
        return len(self.met) > self._number

    def meet(self, moment: str) -> None:
        """One moment; after the death there are no more."""
        if not self.has_killed:
            self.met.append(moment)
            if self.has_killed:
                self._database.die()

    def meet_transaction(self, work: UnitOfWork) -> None:
        """See TransactionWatcher."""
        self.meet("begin")

    def meet_commit(self, marks: list[str]) -> None:
        """See TransactionWatcher."""
        self.meet("commit")

    def rest(self) -> None:
        """Look at nothing until `watch`: what happens now is not what is to die."""
        self._database.watcher = None

    def watch(self) -> None:
        """Look again."""
        self._database.watcher = self
