"""`rotator db`: the schema of the inventory database."""

from __future__ import annotations

from typing import Annotated

from rotator.documents.document import SCHEMA_VERSION, Document


class DatabaseUpgradeDocument(Document):
    """What an upgrade did."""

    before: Annotated[str | None, "Revision before. Null: the database was empty."]
    after: Annotated[str, "Revision now."]
    changed: Annotated[bool, "Whether anything was changed."]


class DatabaseRevisionDocument(Document):
    """Which schema the database has."""

    current: Annotated[str | None, "Its revision. Null: it is empty."]
    head: Annotated[str, "Revision that this rotator needs."]
    up_to_date: Annotated[bool, "Whether the two are the same."]


def make_upgrade_document(before: str | None, after: str) -> DatabaseUpgradeDocument:
    """Say what an upgrade did."""
    return {"schema_version": SCHEMA_VERSION, "before": before, "after": after, "changed": before != after}


def make_revision_document(current: str | None, head: str) -> DatabaseRevisionDocument:
    """Say which schema the database has, and which one is needed."""
    return {"schema_version": SCHEMA_VERSION, "current": current, "head": head, "up_to_date": current == head}
