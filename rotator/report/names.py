"""A status page that names no PAT: each has an opaque id in place of its name, and nothing that may contain a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rotator.documents.document import FailureDocument
from rotator.documents.status import PatStatusDocument
from rotator.domain.condition import Condition
from rotator.domain.events.catalogue import EVENTS
from rotator.domain.events.event import SubjectKind
from rotator.domain.outside import find_id
from rotator.report.status_page import StatusPage

_NAMING = frozenset({SubjectKind.MANAGED_PAT, SubjectKind.PAT, SubjectKind.SECRET})
_HARMLESS = {event.type.begins for event in EVENTS if event.type.subject not in _NAMING}
"""The conditions whose subject names no PAT, by the event that begins each."""


def hide_names(page: StatusPage, ids: Mapping[str, str]) -> StatusPage:
    """Return the page without the names of PATs; `ids` are those of the records, by name."""
    pats = [_hide(pat, ids) for pat in page.document["pats"]]
    conditions = tuple(_hide_subject(found, ids) for found in page.conditions)
    return replace(page, document={**page.document, "pats": pats}, conditions=conditions)


def _hide(pat: PatStatusDocument, ids: Mapping[str, str]) -> PatStatusDocument:
    """What nobody manages has no record: its id at Azure DevOps stands for it."""
    known = ids.get(pat["name"]) if pat["vault"] is not None else None
    name = known or pat["authorization_id"]
    error = pat["last_error"]
    bare: FailureDocument | None = None if error is None else {**error, "message": error["code"], "fix": ""}
    return {**pat, "name": name, "display_name": name, "secret_name": None, "last_error": bare}


def _hide_subject(found: Condition, ids: Mapping[str, str]) -> Condition:
    if found.kind in _HARMLESS:
        return found
    return replace(found, subject=ids.get(found.subject) or find_id(found.subject) or "(name hidden)")
