"""Azure DevOps' own log, as the fake service would keep it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from rotator.domain.service_log import EntryKind, ServiceLogEntry, ServiceLogRead
from rotator.errors import RotatorError
from tests.support.engine import NAME, ORGANIZATION, EngineWorld

USERNAME = "build-bot@contoso.com"


@dataclass
class TheirLog:
    """Port ServiceLog: the log of `contoso`, which tells what the fake service did since it was noted last.

    `errors` are raised for an account. `asked` is who asked for which period.
    """

    world: EngineWorld
    entries: list[ServiceLogEntry] = field(default_factory=list)
    errors: dict[str, RotatorError] = field(default_factory=dict)
    asked: list[tuple[str, datetime, datetime]] = field(default_factory=list)
    unreadable: int = 0

    def __post_init__(self) -> None:
        self._seen: dict[str, bool] = {}
        self.note()
        self.entries.clear()

    def note(self) -> None:
        """Enter what was minted and revoked."""
        for fake in self.world.pats.pats.values():
            identifier, now = fake.pat.authorization_id, self.world.clock.now()
            kinds = [] if identifier in self._seen else [(EntryKind.MINTED, fake.pat.valid_from)]
            if fake.revoked and not self._seen.get(identifier):
                kinds.append((EntryKind.REVOKED, now))
            self._seen[identifier] = fake.revoked
            for kind, at in kinds:
                expiry = fake.pat.valid_to if kind is EntryKind.MINTED else None
                self.add(kind, at=at, display_name=fake.pat.display_name, valid_to=expiry)

    def add(
        self,
        kind: EntryKind,
        *,
        at: datetime | None = None,
        actor: str = USERNAME,
        owner: str = "",
        display_name: str = NAME,
        valid_to: datetime | None = None,
    ) -> ServiceLogEntry:
        """Enter something, by default of the account's user and now."""
        identifier, moment = f"e-{len(self.entries)}", at or self.world.clock.now()
        entry = ServiceLogEntry(
            identifier, kind, moment, actor, owner=owner, display_name=display_name, valid_to=valid_to
        )
        self.entries.append(entry)
        return entry

    def fetch(
        self, account: str, organization: str, since: datetime, until: datetime, tell: Callable[[int], None]
    ) -> ServiceLogRead:
        """See the port."""
        if organization != ORGANIZATION:
            return ServiceLogRead(())
        self.asked.append((account, since, until))
        if account in self.errors:
            raise self.errors[account]
        found = tuple(entry for entry in self.entries if since <= entry.at <= until)
        return ServiceLogRead(found, len(found) + self.unreadable, self.unreadable)
