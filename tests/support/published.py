"""The published JSON Schemas, and whether what a command printed is as they say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

from tests.support.source_tree import PACKAGE
from tests.unit.json_schemas import COMMANDS

_SCHEMAS = PACKAGE / "documents" / "schemas"


@cache
def load_validator(name: str) -> Draft202012Validator:
    """The validator of a schema, formats included."""
    schema = json.loads((_SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def find_command(words: Sequence[str | Path]) -> str:
    """The name of the command in a command line."""
    plain = [str(word) for word in words]
    found = [name for name in COMMANDS if any(plain[at : at + len(name.split())] == name.split() for at in range(3))]
    whole = [name for name in found if not any(other.endswith(f" {name}") for other in found)]
    assert len(whole) == 1, (plain, found)
    return whole[0]


def check_printed(words: Sequence[str | Path], document: Mapping[str, object]) -> str:
    """Fail unless the document is as one of the command's schemas, or that of errors, says; the command's name."""
    command = find_command(words)
    problems = {}
    for name in ("error", *COMMANDS[command]):
        problems[name] = [f"{error.json_path}: {error.message}" for error in load_validator(name).iter_errors(document)]
        if not problems[name]:
            return command
    raise AssertionError(f"`rotator {command}` printed what no schema allows: {problems}")
