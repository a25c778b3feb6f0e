"""The queries that compute again what is on the page of `rotator audit report`, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta

from rotator.domain.words import say_duration
from tests.support.source_tree import ROOT

_TEXT = (ROOT / "tests" / "acceptance" / "audit_report.sql").read_text("utf-8")
_PARTS = re.split(r"^-- ([\w -]+)\n(?!-- )", _TEXT, flags=re.M)
QUERIES = dict(zip(_PARTS[1::2], _PARTS[2::2], strict=True))
"""Those of the page's tables, and others."""


def say_ordered(found: Iterable[tuple[str, ...]], times: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return what the page says of rotations that people ordered, by what SQL finds. `times`: of each event."""
    rows = []
    for *row, fate, code, later, seconds in found:
        if seconds != "None":
            row[8] += f", {say_duration(timedelta(seconds=float(seconds)))} after the order"
        if fate in ("abandoned", "undone"):
            is_first, at = row[7] == "none", None if later == "None" else f"{times[later]} (event {later})"
            fate += ("" if is_first else ", not tried again") + ("" if code == "None" else f": {code}")
            if at:
                fate += f"; another rotation {'made the PAT' if is_first else 'replaced the old PAT'} at {at}"
            elif not is_first:
                fate += "; nothing replaced the old PAT later"
        rows.append((*row, fate))
    return rows
