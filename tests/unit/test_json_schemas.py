"""The published JSON Schemas are up to date, complete and strict, and every command has one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest
from jsonschema import Draft202012Validator

from rotator.cli.main import rotator
from tests.unit.json_schemas import (
    COMMANDS,
    DOCUMENTS,
    NO_DOCUMENT,
    PAGE,
    SCHEMAS,
    Schema,
    make_schema,
    render_page,
    render_schema,
)


def _list_commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _list_commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def _list_objects(schema: Schema) -> list[Schema]:
    parts = schema.get("$defs", {})
    assert isinstance(parts, dict)
    return [item for item in (schema, *parts.values()) if "properties" in item]


def test_every_command_with_json_has_a_schema() -> None:
    with_json = {
        name for name, command in _list_commands(rotator) if any("--json" in option.opts for option in command.params)
    }
    assert with_json == COMMANDS.keys() | NO_DOCUMENT.keys()


def test_every_document_of_a_command_has_its_version_but_for_a_line_of_an_export() -> None:
    printed = {name for names in COMMANDS.values() for name in names} - set(COMMANDS["audit export"])
    assert [name for name in printed if '"schema_version"' not in render_schema(name)] == []


def test_every_schema_belongs_to_a_command() -> None:
    """But for what any command may print, and what webhooks receive."""
    used = {schema for schemas in COMMANDS.values() for schema in schemas}
    assert used | {"error", "notification", "hook"} == DOCUMENTS.keys()


def test_schemas_are_up_to_date() -> None:
    written = {path.stem: path.read_text(encoding="utf-8") for path in SCHEMAS.glob("*.json")}
    assert written == {name: render_schema(name) for name in DOCUMENTS}


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schema_is_strict_and_says_what_each_field_means(name: str) -> None:
    schema = make_schema(name)
    Draft202012Validator.check_schema(schema)
    for item in _list_objects(schema):
        properties, required = item["properties"], item["required"]
        assert isinstance(properties, dict)
        assert isinstance(required, list)
        assert item["additionalProperties"] is False
        assert set(required) <= set(properties)
        assert item["description"]
        assert [key for key, field in properties.items() if not field.get("description")] == []


def test_schema_refuses_a_field_that_is_missing_or_unknown_or_a_time_in_another_form() -> None:
    validator = Draft202012Validator(json.loads(render_schema("logout")))
    good: dict[str, object] = {"schema_version": 1, "account": "build-bot", "was_signed_in": True}
    assert validator.is_valid(good)
    assert not validator.is_valid(good | {"token": "x"})
    assert not validator.is_valid({key: good[key] for key in ("schema_version", "account")})
    prompt = Draft202012Validator(json.loads(render_schema("device-prompt")))
    said: dict[str, object] = {
        "verification_uri": "https://x",
        "user_code": "ABC",
        "expires_at": "2026-12-03T09:00:00Z",
    }
    assert not prompt.is_valid(said)
    said |= {"schema_version": 1}
    assert prompt.is_valid(said)
    assert not prompt.is_valid(said | {"expires_at": "2026-12-03T09:00:00.5+00:00"})
