"""A scan in a table and two sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from rotator.cli.console import clean
from rotator.cli.output.words import say_counts, say_expiry, say_pats
from rotator.cli.selection import Facts
from rotator.cli.widths import Column
from rotator.documents.scan import FULL_ACCESS, count_scan
from rotator.domain.managed_pat import ALL_ORGANIZATIONS_END, ManagedPat, Pat
from rotator.engine.comparing import ScanEntry, ScanKind
from rotator.engine.scanning import ScanReport

COLUMNS = (
    Column("display name", is_key=True),
    Column("organization", may_go=True, lower=True),
    Column("scopes", wraps=True),
    Column("expires", fixed=True),
    Column("state", wraps=True),
)


_ACCOUNT = Column("account", may_go=True, lower=True)
_IDENTIFIER = Column("authorization id", lower=True)
WIDE_COLUMNS = (
    *COLUMNS,
    _ACCOUNT,
    Column("created", lower=True),
    _IDENTIFIER,
)


def describe_entry(entry: ScanEntry) -> Facts:
    """What an entry is chosen and sorted by; its name is the one at Azure DevOps."""
    known = entry.pat or entry.record
    name = entry.name or entry.authorization_id if known is None else known.display_name
    expires_at = None if known is None else known.valid_to
    return Facts(name, entry.account, entry.organization, entry.kind.value, expires_at)


def list_scan_rows(report: ScanReport, now: datetime) -> Iterator[tuple[str, ...]]:
    """One row of `COLUMNS` per PAT; its state comes with whatever is special about it, in words."""
    for entry in report.entries:
        if (known := entry.pat or entry.record) is not None:
            yield _make_row(entry, known, now)


def _make_row(entry: ScanEntry, known: Pat | ManagedPat, now: datetime) -> tuple[str, ...]:
    return (
        clean(known.display_name),
        clean(entry.organization),
        " ".join(known.scopes),
        say_expiry(known.valid_to, now),
        ", ".join([_say_kind(entry), *_list_marks(entry, now)]),
    )


def make_scan_table(report: ScanReport, now: datetime) -> tuple[tuple[Column, ...], list[tuple[str, ...]]]:
    """Return columns and rows: `COLUMNS`, and after the name whose each PAT is, where several accounts have some.

    The authorization id comes last where PATs look the same otherwise, of these only.
    """
    columns: tuple[Column, ...] = COLUMNS
    rows = list(list_scan_rows(report, now))
    shown = [entry for entry in report.entries if entry.pat or entry.record]
    accounts = [clean(entry.account) for entry in shown]
    seen = Counter(zip(accounts, rows, strict=True))
    if seen and max(seen.values()) > 1:
        columns = (*columns, _IDENTIFIER)
        rows = [
            (*row, f"id {entry.authorization_id}" if seen[account, row] > 1 else "")
            for entry, account, row in zip(shown, accounts, rows, strict=True)
        ]
    if len(set(accounts)) < 2:
        return columns, rows
    columns = (columns[0], _ACCOUNT, *columns[1:])
    return columns, [(row[0], account, *row[1:]) for account, row in zip(accounts, rows, strict=True)]


def list_wide_rows(report: ScanReport, now: datetime) -> Iterator[tuple[str, ...]]:
    """One row of `WIDE_COLUMNS` per PAT."""
    shown = [entry for entry in report.entries if entry.pat or entry.record]
    for entry, row in zip(shown, list_scan_rows(report, now), strict=True):
        known = entry.pat or entry.record
        created = "-" if known is None else f"{known.valid_from:%Y-%m-%d}"
        yield (*row, clean(entry.account), created, entry.authorization_id)


def _say_kind(entry: ScanEntry) -> str:
    known = entry.pat or entry.record
    named = entry.name is not None and known is not None and entry.name != known.display_name
    return f"{entry.kind.value} as {entry.name}" if named else entry.kind.value


def _list_marks(entry: ScanEntry, now: datetime) -> list[str]:
    pat = entry.pat
    if pat is None:
        return []
    marks = ["all organizations"] if pat.all_organizations else []
    if pat.ends_with_all:
        marks.append(_say_end(now, "stops"))
    return [*marks, "full access"] if FULL_ACCESS in pat.scopes else marks


def _say_end(now: datetime, ahead: str) -> str:
    verb = "stopped" if now >= ALL_ORGANIZATIONS_END else ahead
    return f"{verb} working {ALL_ORGANIZATIONS_END:%Y-%m-%d}"


def render_scan_summary(report: ScanReport, now: datetime) -> Iterator[str]:
    """How many there are and what is wrong with them, how they compare with the inventory, and what to do next."""
    counts = count_scan(report, now)
    total, ends = counts["pats"], _say_end(now, "stops" if counts["all_organizations"] == 1 else "stop")
    special = {
        "with full access": counts["full_access"],
        f"for all organizations ({ends})": counts["all_organizations"],
        "expire within 7 days" if counts["expire_within_7_days"] != 1 else "expires within 7 days": counts[
            "expire_within_7_days"
        ],
    }
    said = say_counts(special)
    yield f"{say_pats(total)}{': ' if said else ''}{said}"
    kinds = say_counts({kind.value: sum(entry.kind is kind for entry in report.entries) for kind in ScanKind})
    if kinds:
        yield f"Against the inventory: {kinds}."
    if counts["untracked"]:
        yield (
            "Next: `rotator inventory adopt --all` adopts those that the policy covers; "
            "`rotator inventory adopt ID --as NAME` adopts one whose name `--all` refuses, and "
            "`rotator scan -o wide` shows the ids."
        )
