"""The ids that a service gives to its answers: its support finds an action by them. The audit log keeps them."""

from __future__ import annotations

import re
from collections.abc import Mapping

AnswerIds = Mapping[str, str]
"""The ids of one answer, by the name of the audit log's field: `e2e_id`, `activity_id`, `request_id`."""

NO_IDS: AnswerIds = {}

_STRANGE = re.compile(r"[^0-9A-Za-z._:-]")
_LONGEST = 64
"""Characters. Real ids have 36; no PAT of today fits."""


def make_answer_id(text: str) -> str:
    """Return an id from outside without characters that no id has, and cut; empty when nothing is left."""
    return _STRANGE.sub("", text)[:_LONGEST]
