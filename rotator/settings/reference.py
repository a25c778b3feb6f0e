"""What every key of the two files means, made from the models: JSON Schemas for editors, Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache

from rotator.settings.fields import Section
from rotator.settings.model import Settings
from rotator.settings.policy_model import PolicyFile
from rotator.settings.problem import Location, render_location
from rotator.settings.schema import JsonSchema, find_properties, find_schema

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_INTRODUCTION = """\
# Configuration

There are two files: `rotator.yaml` holds accounts and connections, `policy.yaml` says which PATs are rotated, when, and
where they are stored. This folder holds the templates that `rotator init` fills in. `rotator config check` shows every
problem in both files with its line; `rotator config schema` prints JSON Schemas for editors.

- `rotator.yaml` is the file named by `--config`, else by `ROTATOR_CONFIG`, else the one in the working directory, else
  the one in `/etc/rotator`. Relative paths in it are relative to its folder.
- **duration**: a number with a unit, `90s`, `30m`, `12h`, `7d`, `2w`, or several, `1d12h`.
- **secret**: the value itself or, better, a reference: `{env: NAME}`, `{file: PATH}` or `{credential: NAME}` (a systemd
  credential). An account's client secret or certificate, and `audit.signing_key`,
  can also be `{key_vault: {vault: URL, name: NAME}}`.
- **pattern**: `*` matches any text, `?` one character, `[ab]` one of these characters. Case matters.

This page is generated from the code, and a test fails when it is out of date. To generate it again:
`python -m rotator.settings.reference > config/README.md`
"""


@cache
def settings_schema() -> dict[str, object]:
    """The JSON Schema of `rotator.yaml`, with a description of every key. Do not change it: it is shared."""
    return _make_schema(Settings)


@cache
def policy_schema() -> dict[str, object]:
    """The JSON Schema of `policy.yaml`, with a description of every key. Do not change it: it is shared."""
    return _make_schema(PolicyFile)


def render_reference() -> str:
    """Every key of both files as Markdown: the content of `config/README.md`."""
    parts = [_INTRODUCTION]
    for file, schema in (("rotator.yaml", settings_schema()), ("policy.yaml", policy_schema())):
        parts.append(f"## {file}\n")
        parts += _render_sections(schema, ())
    return "\n".join(parts)


def _make_schema(model: type[Section]) -> dict[str, object]:
    return {"$schema": _DIALECT, **model.model_json_schema()}


def _render_sections(schema: JsonSchema, location: Location) -> Iterator[str]:
    """A table for the section at `location`, then one for each section inside it."""
    section = find_schema(schema, location) or {}
    inner: list[Location] = []
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    required = section.get("required")
    told = find_properties(find_schema(schema, ("defaults",)) or {}) if location == ("rules", 0) else {}
    for key in find_properties(section):
        if key in told:
            continue
        part = find_schema(schema, (*location, key)) or {}
        items = find_schema(schema, (*location, key, 0)) or {}
        if find_properties(part):
            inner.append((*location, key))
        elif find_properties(items):
            inner.append((*location, key, 0))
        is_required = isinstance(required, list) and key in required
        rows.append(_render_row(key, part, items, is_required))
    if told:
        rows.append("| every key of `defaults` | | from `defaults` | Overrides `defaults` for this rule. |")
    if location:
        yield f"### {render_location(location).replace('[0]', '[]')}\n\n{section.get('description', '')}\n"
    yield "\n".join(rows) + "\n"
    for each in inner:
        yield from _render_sections(schema, each)


def _render_row(key: str, part: JsonSchema, items: JsonSchema, is_required: bool) -> str:
    default = "**required**" if is_required else _render_value(part.get("default"))
    examples = part.get("examples")
    meaning = str(part.get("description", ""))
    if isinstance(examples, list) and examples:
        meaning += f" Example: {', '.join(_render_value(example) for example in examples)}"
    kind = f"list of {_say_kind(items)}" if items else _say_kind(part)
    return f"| `{key}` | {kind} | {default} | {meaning.replace('|', chr(92) + '|')} |"


def _say_kind(part: JsonSchema) -> str:
    """What may be written there, in a word or two."""
    choices = part.get("anyOf")
    if part.get("writeOnly"):
        return "secret"
    if isinstance(choices, list):
        return _say_kind(next(each for each in choices if each.get("type") != "null"))
    names = part.get("enum")
    if isinstance(names, list):
        return "scope" if "app_token" in names else ", ".join(f"`{name}`" for name in names)
    if "const" in part:
        return f"`{part['const']}`"
    pattern = str(part.get("pattern", ""))
    for mark, word in (("%", "percentage or duration"), ("keep", "`keep` or duration"), ("[wdhms]", "duration")):
        if mark in pattern:
            return word
    if pattern.startswith("^https"):
        return "URL" if pattern.startswith("^https?:") else "https URL"
    if find_properties(part):
        return "section"
    kind = part.get("type")
    plain = kind[0] if isinstance(kind, list) else kind
    items = part.get("items")
    if isinstance(items, Mapping):
        return f"list of {_say_kind(items)}"
    return {"string": "text", "boolean": "`true`, `false`", "integer": "whole number"}.get(str(plain), str(plain))


def _render_value(value: object) -> str:
    """The value as it is written in YAML."""
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, Mapping):
        return f"`{{{', '.join(f'{key}: {inner}' for key, inner in value.items())}}}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


if __name__ == "__main__":
    print(render_reference(), end="")
