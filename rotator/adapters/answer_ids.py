"""Reads the ids of an answer from its headers."""

from __future__ import annotations

from collections.abc import Mapping

from rotator.adapters.redaction import redact_text
from rotator.domain.answer_ids import AnswerIds, make_answer_id


def read_answer_ids(headers: Mapping[str, str], names: Mapping[str, str]) -> AnswerIds:
    """Return the ids in these headers, each under the audit log's name for it, with no secret in them."""
    found = {field: make_answer_id(redact_text(headers.get(header) or "")) for header, field in names.items()}
    return {field: text for field, text in found.items() if text}
