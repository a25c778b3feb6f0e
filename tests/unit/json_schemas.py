"""The JSON Schemas of the public documents, and the page about them, made from the types in `rotator/documents`.

`test_json_schemas.py` says when they are out of date; `python -m tests.unit.json_schemas --write` writes them anew.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from rotator.documents.accounts import AccountsDocument, DevicePromptDocument, LoginDocument, LogoutDocument
from rotator.documents.adoption import AdoptionDocument
from rotator.documents.audit import (
    AcceptedGapDocument,
    AuditArchiveDocument,
    AuditEntryDocument,
    AuditEventDocument,
    AuditEventsDocument,
    AuditVerificationDocument,
)
from rotator.documents.configuration import ConfigCheckDocument, ConfigDocument, InitDocument
from rotator.documents.database import DatabaseRevisionDocument, DatabaseUpgradeDocument
from rotator.documents.doctor import DoctorDocument
from rotator.documents.document import ErrorDocument, ExactMoment, Moment
from rotator.documents.hook import HookDocument, HooksTestDocument
from rotator.documents.inventory import (
    InventoryChangeDocument,
    InventoryDocument,
    InventoryEntryDocument,
    PauseDocument,
)
from rotator.documents.limits import LimitsDocument
from rotator.documents.log_comparison import LogComparisonDocument
from rotator.documents.notification import NotificationDocument, NotifyTestDocument
from rotator.documents.plan import PlanDocument
from rotator.documents.rebuild import RebuildDocument
from rotator.documents.recovery import RecoveryPlanDocument
from rotator.documents.report import RecoverDocument, ReportDocument
from rotator.documents.review import ReviewDocument
from rotator.documents.revocation import RevocationDocument
from rotator.documents.sandbox import DemoDocument, SandboxReadyDocument
from rotator.documents.scan import ScanDocument
from rotator.documents.status import StatusDocument
from rotator.documents.user_pats import AdminRevocationDocument, OrganizationScanDocument
from tests.support.source_tree import PACKAGE, ROOT

SCHEMAS = PACKAGE / "documents" / "schemas"
PAGE = ROOT / "docs" / "json.md"

DOCUMENTS: dict[str, object] = {
    "status": StatusDocument,
    "doctor": DoctorDocument,
    "plan": PlanDocument,
    "notification": NotificationDocument,
    "notify-test": NotifyTestDocument,
    "hook": HookDocument,
    "hooks-test": HooksTestDocument,
    "report": ReportDocument,
    "recover": RecoverDocument,
    "recovery-plan": RecoveryPlanDocument,
    "revocation": RevocationDocument,
    "scan": ScanDocument,
    "organization-scan": OrganizationScanDocument,
    "admin-revocation": AdminRevocationDocument,
    "inventory": InventoryDocument,
    "inventory-entry": InventoryEntryDocument,
    "inventory-change": InventoryChangeDocument,
    "pause": PauseDocument,
    "adoption": AdoptionDocument,
    "rebuild": RebuildDocument,
    "limits": LimitsDocument,
    "accounts": AccountsDocument,
    "device-prompt": DevicePromptDocument,
    "login": LoginDocument,
    "logout": LogoutDocument,
    "audit-events": AuditEventsDocument,
    "audit-entry": AuditEntryDocument,
    "audit-event": AuditEventDocument,
    "audit-gap": AcceptedGapDocument,
    "audit-report": ReviewDocument,
    "audit-archive": AuditArchiveDocument,
    "audit-reconcile": LogComparisonDocument,
    "audit-verification": AuditVerificationDocument,
    "init": InitDocument,
    "config": ConfigDocument,
    "config-check": ConfigCheckDocument,
    "database-revision": DatabaseRevisionDocument,
    "database-upgrade": DatabaseUpgradeDocument,
    "sandbox-ready": SandboxReadyDocument,
    "demo": DemoDocument,
    "error": ErrorDocument,
}
"""The type of each schema, in the order of the page."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "notify test": ("notify-test",),
    "hooks test": ("hooks-test",),
    "init": ("init",),
    "config check": ("config-check",),
    "config show": ("config",),
    "db upgrade": ("database-upgrade",),
    "db current": ("database-revision",),
    "login": ("device-prompt", "login"),
    "logout": ("logout",),
    "accounts": ("accounts",),
    "scan": ("scan", "organization-scan"),
    "inventory list": ("inventory",),
    "inventory show": ("inventory-entry",),
    "inventory adopt": ("adoption",),
    "inventory pause": ("inventory-change", "pause"),
    "inventory resume": ("inventory-change", "pause"),
    "inventory rename": ("inventory-change",),
    "inventory move": ("report",),
    "inventory forget": ("inventory-change",),
    "inventory rebuild": ("rebuild",),
    "inventory forget-limits": ("limits",),
    "plan": ("plan",),
    "once": ("report",),
    "create": ("report",),
    "update": ("report",),
    "rotate": ("report",),
    "revoke": ("revocation",),
    "admin revoke": ("admin-revocation",),
    "recover": ("recover", "recovery-plan", "revocation", "report"),
    "status": ("status",),
    "audit list": ("audit-events", "audit-event"),
    "doctor": ("doctor",),
    "audit show": ("audit-entry",),
    "audit verify": ("audit-verification",),
    "audit export": ("audit-event",),
    "audit accept-gap": ("audit-gap",),
    "audit report": ("audit-report",),
    "audit archive": ("audit-archive",),
    "audit reconcile": ("audit-reconcile",),
    "sandbox up": ("sandbox-ready",),
    "sandbox demo": ("demo",),
}
"""The schemas of what each command prints.

`recover` has one of its own for --dry-run and --revoke, and prints a report when the host's clock ends it.
"""

NO_DOCUMENT = {
    "config schema": "prints a JSON Schema",
    "completion": "prints a shell script",
    "runbook": "prints what a page says",
    "help": "prints the help of a command",
    "daemon": "prints nothing: its log goes to stderr",
}
"""Commands whose output is no document of ours, and what it is."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SECONDS = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$"
_MICROSECONDS = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"
_PLAIN: dict[object, dict[str, object]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    object: {},
    Moment: {"type": "string", "format": "date-time", "pattern": _SECONDS},
    ExactMoment: {"type": "string", "format": "date-time", "pattern": _MICROSECONDS},
}
_INTRODUCTION = """\
# The JSON of the commands

With `--json` a command prints one JSON document on stdout; logs and progress go to stderr. `schema_version` is 1.
Three commands print JSON Lines instead. `rotator login --json` prints a document before it waits for the person, with
what to enter where, and another one when that person is signed in. `rotator audit export` and `rotator audit list
--follow` print one event of the audit log on each line; those lines have no `schema_version`.
Times are UTC, in ISO 8601, to the second, with `Z`; events of the audit log have microseconds. No document ever holds
a token. Fields may be added within a version: a program should ignore those that it does not know.

For each document there is a JSON Schema (draft 2020-12) in [rotator/documents/schemas](../rotator/documents/schemas),
also in the installed package. A command that fails as a whole prints [`error`](#error) instead. A run that a wrong
clock of this host ended prints its [`report`](#report), with an `error` in it.

This page is generated; a test fails when it is not up to date. To write it anew:
`python -m tests.unit.json_schemas --write`
"""

Schema = dict[str, object]


def make_schema(name: str) -> Schema:
    """The JSON Schema of a document; the objects in it are its `$defs`, by name."""
    parts: dict[str, Schema] = {}
    kind = DOCUMENTS[name]
    body = _describe_object(kind, parts) if is_typeddict(kind) else _describe(kind, parts)
    return {"$schema": _DIALECT, "title": name, **body, **({"$defs": parts} if parts else {})}


def render_schema(name: str) -> str:
    """The content of the schema's file."""
    return json.dumps(make_schema(name), indent=2) + "\n"


def render_page() -> str:
    """The content of `docs/json.md`."""
    parts = [_INTRODUCTION, "| command | document |", "|---|---|"]
    parts += [f"| `rotator {command}` | {_link(names)} |" for command, names in COMMANDS.items()]
    inner: dict[str, Schema] = {}
    for name in DOCUMENTS:
        schema = make_schema(name)
        inner |= _parts(schema)
        body = _render_object(schema) if "properties" in schema else [f"Is {_say_kind(schema)}."]
        parts += [f"\n## {name}\n", *body]
    parts.append("\n## Parts of documents")
    for name, schema in sorted(inner.items()):
        if name not in DOCUMENTS:
            parts += [f"\n### {name}\n", *_render_object(schema)]
    return "\n".join(parts) + "\n"


def _describe(kind: object, parts: dict[str, Schema]) -> Schema:
    """The schema of a type. The objects in it are added to `parts`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if is_typeddict(kind):
        name = _make_name(kind)
        if name not in parts:
            parts[name] = _describe_object(kind, parts)
        return {"$ref": f"#/$defs/{name}"}
    if origin is Annotated:
        return {"description": arguments[1], **_describe(arguments[0], parts)}
    if origin is NotRequired:
        return _describe(arguments[0], parts)
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _describe(arguments[0], parts)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _describe(arguments[1], parts)}
    if origin in (UnionType, Union):
        return {"anyOf": [_describe(argument, parts) for argument in arguments]}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"enum": [item.value for item in kind]}
    raise TypeError(f"no JSON Schema for {kind!r}")


def _describe_object(kind: object, parts: dict[str, Schema]) -> Schema:
    hints = get_type_hints(kind, include_extras=True)
    return {
        "description": (getattr(kind, "__doc__", None) or "").strip(),
        "type": "object",
        "properties": {name: _describe(hint, parts) for name, hint in hints.items()},
        # Not `__required_keys__`, which does not see NotRequired in annotations that are kept as text.
        "required": [name for name, hint in hints.items() if get_origin(hint) is not NotRequired],
        "additionalProperties": False,
    }


def _make_name(kind: object) -> str:
    """`PatStatusDocument` becomes `pat-status`."""
    name = getattr(kind, "__name__", "").removesuffix("Document")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def _parts(schema: Schema) -> dict[str, Schema]:
    found = schema.get("$defs", {})
    assert isinstance(found, dict)
    return found


def _link(names: Iterable[str]) -> str:
    return ", ".join(f"[`{name}`](#{name})" for name in names)


def _render_object(schema: Schema) -> Iterator[str]:
    """What an object is, and a table of its fields."""
    properties, required = schema["properties"], schema["required"]
    assert isinstance(properties, dict)
    assert isinstance(required, list)
    yield f"{schema['description']}\n\n| field | value | meaning |\n|---|---|---|"
    for name, field in properties.items():
        often = "" if name in required else "; not always there"
        yield f"| `{name}` | {_say_kind(field)}{often} | {field['description']} |"


def _say_kind(schema: Mapping[str, object]) -> str:
    """What may be there, in a few words."""
    match schema:
        case {"anyOf": list(choices)}:
            return " or ".join(_say_kind(choice) for choice in choices)
        case {"$ref": str(reference)}:
            return _link([reference.removeprefix("#/$defs/")])
        case {"const": value}:
            return f"`{json.dumps(value)}`"
        case {"enum": list(values)}:
            return ", ".join(f"`{json.dumps(value)}`" for value in values)
        case {"items": dict(items)}:
            return f"list of {_say_kind(items)}"
        case {"format": "date-time"}:
            return "time"
    names = {"string": "text", "integer": "whole number", "boolean": "`true`, `false`", "null": "`null`"}
    return names.get(str(schema.get("type")), "object")


def write(folder: Path = SCHEMAS, page: Path = PAGE) -> None:
    """Write all files, and remove schemas of documents that are no more."""
    folder.mkdir(exist_ok=True)
    page.parent.mkdir(exist_ok=True)
    for path in folder.glob("*.json"):
        path.unlink()
    for name in DOCUMENTS:
        (folder / f"{name}.json").write_text(render_schema(name), encoding="utf-8")
    page.write_text(render_page(), encoding="utf-8")


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    else:
        print(render_page(), end="")
