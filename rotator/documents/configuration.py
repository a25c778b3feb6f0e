"""`rotator init` and `rotator config`: the settings and the policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from rotator.documents.document import SCHEMA_VERSION, Document


class InitDocument(Document):
    """Files that were written."""

    written: Annotated[list[str], "Paths of the files."]
    account: Annotated[str, "Name of the account in the settings; empty: they were there and stay."]


class ConfigCheckDocument(Document):
    """Problems of settings and policy."""

    settings: Annotated[str, "Path of the settings file."]
    problems: Annotated[list[str], "Each with file, line, column, and the source line. Empty: there are none."]
    warnings: Annotated[list[str], "Settings that work but may not do what was intended, in the same form."]


class ConfigDocument(Document):
    """Settings and policy in effect."""

    path: Annotated[str, "Path of the settings file."]
    settings: Annotated[dict[str, object], "Settings, every default filled in, secrets masked."]
    policy: Annotated[dict[str, object], "Policy, every default filled in."]


def make_init_document(written: Iterable[str], account: str) -> InitDocument:
    """Say what was written."""
    return {"schema_version": SCHEMA_VERSION, "written": list(written), "account": account}


def make_config_check_document(settings: str, problems: Iterable[str], warnings: Iterable[str]) -> ConfigCheckDocument:
    """Give all problems and warnings."""
    return {
        "schema_version": SCHEMA_VERSION,
        "settings": settings,
        "problems": list(problems),
        "warnings": list(warnings),
    }


def make_config_document(path: str, settings: Mapping[str, object], policy: Mapping[str, object]) -> ConfigDocument:
    """Give settings and policy in effect."""
    return {"schema_version": SCHEMA_VERSION, "path": path, "settings": dict(settings), "policy": dict(policy)}
