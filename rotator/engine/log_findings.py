"""What a comparison of Azure DevOps' own log with ours found, as values, and the events that tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rotator.domain.events.service_log import LeakReported, OutsideChangeFound, OwnChangesUnlisted, ServiceLogCompared
from rotator.domain.log_comparison import OwnAction
from rotator.domain.policy import LeakAction
from rotator.domain.probe import ProbeResult
from rotator.domain.service_log import ServiceLogEntry, ServiceLogRead
from rotator.errors import InternalError, RotatorError, TransientError


@dataclass(frozen=True)
class Finding:
    """An entry that nothing of ours explains. `names` are the ManagedPats of that display name.

    `value` is what a try of their current values showed; None where there was nothing to try, as for a PAT that was
    replaced since. `on_leak` is what their rule says. `is_news`: it was not told before.
    """

    account: str
    entry: ServiceLogEntry
    names: tuple[str, ...] = ()
    value: ProbeResult | None = None
    on_leak: LeakAction | None = None
    is_news: bool = True


@dataclass(frozen=True)
class Lacking:
    """A mint or revocation of ours that the service log lacks."""

    action: OwnAction
    is_news: bool = True


@dataclass(frozen=True)
class OrganizationLog:
    """What came of one organization. `account` read its log; where nobody could, `error` says why.

    `lost_since`: from then to `since` the service keeps nothing any more. `others` counts the entries about PATs of
    users that are not ours, `undecided` those of which it cannot be told, as `error` says: the period counts as not
    compared then.
    """

    account: str
    organization: str
    since: datetime
    until: datetime
    lost_since: datetime | None = None
    was_read: bool = False
    """Whether a comparison before found entries in it: then what keeps it from being read is news for people."""
    read: ServiceLogRead = field(default=ServiceLogRead(()))
    explained: int = 0
    expired: int = 0
    others: int = 0
    undecided: int = 0
    unsettled: int = 0
    findings: tuple[Finding, ...] = ()
    lacking: tuple[Lacking, ...] = ()
    error: RotatorError | None = None

    @property
    def fails(self) -> bool:
        """Whether its comparison failed, and may work soon. A log that was never read is one that nobody has."""
        is_passing = isinstance(self.error, TransientError) and self.was_read
        return is_passing or isinstance(self.error, InternalError)

    @property
    def needs_person(self) -> bool:
        """Whether there is something that only a person can judge."""
        return bool(self.findings or self.lacking)


def make_event(finding: Finding) -> OutsideChangeFound | LeakReported:
    """Return the event that tells of a finding."""
    entry = finding.entry
    name = ", ".join(finding.names) or None
    value = None if finding.value is None else finding.value.value
    if entry.kind.may_be_leak:
        return LeakReported(
            kind=entry.kind.value,
            display_name=entry.display_name,
            at=entry.at,
            entry_id=entry.id,
            name=name,
            value=value,
            on_leak=None if finding.on_leak is None else finding.on_leak.value,
        )
    return OutsideChangeFound(
        kind=entry.kind.value,
        display_name=entry.display_name,
        at=entry.at,
        by=entry.actor,
        entry_id=entry.id,
        name=name,
        value=value,
    )


def make_lack(actions: Sequence[OwnAction]) -> OwnChangesUnlisted:
    """Return the event that tells which mints and revocations of ours the service log lacks."""
    return OwnChangesUnlisted(
        changes=len(actions),
        first_at=min(action.began_at for action in actions),
        last_at=max(action.ended_at for action in actions),
        numbers=", ".join(str(action.number) for action in actions),
    )


def make_compared(result: OrganizationLog) -> ServiceLogCompared:
    """Return the event that says what of an organization was compared."""
    return ServiceLogCompared(
        since=result.since,
        until=result.until,
        explained=result.explained,
        foreign=len(result.findings),
        lacking=len(result.lacking),
        unreadable=result.read.unreadable,
        lost_since=result.lost_since,
    )
