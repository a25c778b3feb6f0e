"""A comparison with Azure DevOps' own log: what was covered in sentences, what was found in a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from rotator.cli.console import clean
from rotator.cli.output.audit import say_number
from rotator.cli.widths import Column
from rotator.domain.policy import LeakAction
from rotator.domain.probe import ProbeResult
from rotator.domain.service_log import LAG, EntryKind
from rotator.domain.words import say_moment
from rotator.engine.log_findings import Finding, OrganizationLog

COLUMNS = (
    Column("time", fixed=True),
    Column("organization", may_go=True, lower=True),
    Column("what", wraps=True),
    Column("PAT", is_key=True),
    Column("detail", lower=True),
)
_WHAT = {
    EntryKind.MINTED: "minted by somebody else",
    EntryKind.CHANGED: "changed by somebody else",
    EntryKind.REVOKED: "revoked by somebody else",
    EntryKind.REVOKED_BY_SYSTEM: "revoked by Azure DevOps",
    EntryKind.FOUND_IN_PUBLIC: "found in a public place",
}
_VALUES = {
    ProbeResult.WORKS: "its value still signs in",
    ProbeResult.REFUSED: "its value is refused",
    ProbeResult.UNKNOWN: "its value could not be tried",
    ProbeResult.UNTRIED: "its secret holds no value of ours",
}


def list_rows(found: Iterable[OrganizationLog]) -> Iterator[tuple[str, ...]]:
    """One row of `COLUMNS` for each thing that needs a person, the oldest first in each organization."""
    for item in found:
        for finding in item.findings:
            entry = finding.entry
            name = entry.display_name or "(no name)"
            yield _say_at(entry.at), clean(item.organization), _WHAT[entry.kind], clean(name), clean(_say(finding))
        for lacking in item.lacking:
            action = lacking.action
            what = f"{action.kind.value} by rotator, not in that log"
            yield _say_at(action.ended_at), clean(item.organization), what, clean(action.name), f"event {action.number}"


def _say_at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def _say(finding: Finding) -> str:
    parts = [f"by {finding.entry.actor}"] if finding.entry.actor else []
    if finding.names:
        parts.append("managed as " + ", ".join(finding.names))
    if finding.value is not None:
        parts.append(_VALUES[finding.value])
    if finding.on_leak is not None and finding.value is ProbeResult.REFUSED:
        parts.append("the next run replaces it" if finding.on_leak is LeakAction.ROTATE else "its rule says alert")
    return "; ".join(parts)


def render_coverage(item: OrganizationLog, now: datetime) -> Iterator[str]:
    """What the comparison of one organization covers."""
    read = item.read
    yield (
        f"{clean(item.organization)}, read by {clean(item.account)}, {say_moment(item.since)} to "
        f"{say_moment(item.until)}: {say_number(read.read, 'event')} read, {len(read.entries)} about PATs."
    )
    yield (
        f"    {item.explained} by rotator, {item.expired} expired, {item.others} of other users, "
        f"{len(item.findings)} unexplained, {len(item.lacking)} missing."
    )
    if item.undecided:
        count = say_number(item.undecided, "event")
        yield f"    {count} not told apart: it cannot be said whose PATs they are about, and the next one looks again."
    if item.lost_since is not None:
        yield f"    Not covered: {say_moment(item.lost_since)} to {say_moment(item.since)}, which it no longer keeps."
    if not read.read:
        yield "    The log is empty: nothing happened in that time, or auditing is off."
    if read.unreadable:
        count = say_number(read.unreadable, "event")
        yield f"    {count} could not be read, so whether the log lacks something cannot be said."
    if item.unsettled:
        edge = say_moment(min(item.until, now - LAG))
        yield f"    {item.unsettled} by rotator cannot be judged yet: what is later than {edge} may still appear."
