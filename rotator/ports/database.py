"""Transactions over inventory, journal, audit log, claims and limits."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from rotator.ports.audit_log import AuditLog
from rotator.ports.claims import Claims
from rotator.ports.inventory import Inventory
from rotator.ports.journal import Journal
from rotator.ports.limits import LifetimeLimits


class UnitOfWork(Protocol):
    """One transaction. Leaving the `with` block commits it; an exception rolls all of it back."""

    inventory: Inventory
    journal: Journal
    audit: AuditLog
    claims: Claims
    limits: LifetimeLimits

    def now(self) -> datetime:
        """The database server's clock; for SQLite the host's."""


class Database(Protocol):
    """Transactions. DatabaseError and its children when it cannot be used."""

    def begin(self) -> AbstractContextManager[UnitOfWork]:
        """A transaction that no other writer runs beside (SQLite) or that locks what it changes (PostgreSQL)."""
