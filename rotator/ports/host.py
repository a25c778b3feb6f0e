"""What only the host knows of an installation: its settings and files, and how its database keeps what it is given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a setting or with what it names. `is_usable`: it works all the same."""

    setting: str
    message: str
    fix: str
    is_usable: bool


@dataclass(frozen=True)
class Durability:
    """What a PostgreSQL server does before it says that something is committed.

    `standbys`: how many standbys there are, by the server's word for them (`sync`, `quorum`, `async`, `potential`);
    None where it does not let us see that. `synchronous_names` is empty where no standby needs to have it.
    """

    fsync: bool
    synchronous_commit: str
    synchronous_names: str
    standbys: dict[str, int] | None


@dataclass(frozen=True)
class Archiving:
    """How a PostgreSQL server archives its log for backups: when that last worked, and when it last failed."""

    archived_at: datetime | None
    failed_at: datetime | None


@dataclass(frozen=True)
class DatabaseFacts:
    """How a database is kept.

    `size` is in bytes, as is `free`, what is left on its disk (None: another host's). `durability` and `archiving` are
    None for SQLite, and `archiving` where it is off. `vacuums`: what is deleted and overwritten makes room by itself.
    """

    engine: str
    size: int
    free: int | None = None
    durability: Durability | None = None
    archiving: Archiving | None = None
    vacuums: bool = True


@dataclass(frozen=True)
class FileFacts:
    """A file: who owns it, and its mode. `is_state`: rotator writes it; `is_secret`: it holds secrets."""

    path: str
    owner: str
    mode: int
    is_state: bool
    is_secret: bool


class Host(Protocol):
    """What only the host knows. Raises ConfigError and DatabaseError."""

    def find_troubles(self) -> Iterable[Trouble]:
        """Return what is wrong with the settings, and with the files and folders that they name."""

    def read_database(self) -> DatabaseFacts:
        """Return how the database is kept."""

    def list_files(self) -> Iterable[FileFacts]:
        """Return the files of the installation that are there."""

    def list_policy_doubts(self) -> Iterable[str]:
        """Return what in the policy is valid but may be unintended, each with its place; nothing while it is wrong."""
