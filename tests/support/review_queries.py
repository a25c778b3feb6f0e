"""The queries that compute again what is on the page of `rotator audit report`, by name."""

from __future__ import annotations

import re

from tests.support.source_tree import ROOT

_TEXT = (ROOT / "tests" / "acceptance" / "audit_report.sql").read_text("utf-8")
_PARTS = re.split(r"^-- ([\w -]+)\n(?!-- )", _TEXT, flags=re.M)
QUERIES = dict(zip(_PARTS[1::2], _PARTS[2::2], strict=True))
"""Those of the page's tables, and others."""
