"""Look things up in a JSON Schema: which keys a place may have, what they mean, whether they hold a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from rotator.settings.problem import Location

JsonSchema = Mapping[str, object]


def find_schema(schema: JsonSchema, location: Location) -> JsonSchema | None:
    """The part of the schema that applies to a place in the document, or None when no such place exists."""
    found: JsonSchema | None = _follow(schema, schema)
    for part in location:
        if found is None:
            return None
        inner = found.get("items") if isinstance(part, int) else find_properties(found).get(part)
        found = _follow(schema, cast(JsonSchema, inner)) if isinstance(inner, Mapping) else None
    return found


def find_properties(part: JsonSchema) -> Mapping[str, JsonSchema]:
    """The keys that a mapping may have; empty for anything else."""
    properties = part.get("properties")
    return cast(Mapping[str, JsonSchema], properties) if isinstance(properties, Mapping) else {}


def is_secret(part: JsonSchema | None) -> bool:
    """Whether the value at that place may be a secret. An unknown key may hold one, if it is mistyped."""
    return part is None or part.get("writeOnly") is True


def _follow(schema: JsonSchema, part: JsonSchema) -> JsonSchema:
    """The part with its `$ref` replaced by what it refers to; the part's own texts win."""
    choices = part.get("anyOf")
    if isinstance(choices, list):  # a list of sections, or nothing
        lists = [choice for choice in choices if "$ref" in choice.get("items", ())]
        return {**lists[0], **part} if lists else part
    reference = part.get("$ref")
    if not isinstance(reference, str):
        return part
    target: object = schema
    for step in reference.removeprefix("#/").split("/"):
        target = cast(Mapping[str, object], target)[step]
    return {**cast(JsonSchema, target), **{key: value for key, value in part.items() if key != "$ref"}}
