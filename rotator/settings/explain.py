"""Pydantic's findings in our words, each at the right place."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rotator.domain.words import say_did_you_mean
from rotator.settings.problem import Location, Problem
from rotator.settings.schema import JsonSchema, find_properties, find_schema, is_secret
from rotator.settings.source import Source
from rotator.settings.words import say_alternatives


def make_problems(error: ValidationError, source: Source, schema: JsonSchema) -> list[Problem]:
    """A problem of ours for each finding; the values of secret settings never get into one."""
    # The inputs are not asked for: pydantic would put whole sections into its messages.
    return [
        _make_problem(found, source, schema)
        for found in error.errors(include_url=False)
        # Of a list whose entries are all wrong, pydantic also says that it has none.
        if found["type"] != "too_short" or not found["input"]
    ]


def _make_problem(found: ErrorDetails, source: Source, schema: JsonSchema) -> Problem:
    location = found["loc"]
    kind = found["type"]
    if kind == "extra_forbidden":
        known = find_properties(find_schema(schema, location[:-1]) or {})
        hint = say_did_you_mean(str(location[-1]), known)
        return source.problem_at(location, f"unknown key{hint or f', expected {say_alternatives(known)}'}", at_key=True)
    part = find_schema(schema, location)
    value = None if is_secret(part) else found["input"]
    if kind == "missing":
        return source.problem_at(location, f"is missing{_say_example(part, location)}")
    if found["input"] is None:
        return source.problem_at(location, f"is empty{_say_example(part, location)}", at_key=True)
    explain = _EXPLANATIONS.get(kind)
    message = explain(value, found) if explain else found["msg"]
    return source.problem_at(location, message)


def _say_example(part: JsonSchema | None, location: Location) -> str:
    examples = (part or {}).get("examples")
    if not isinstance(examples, list) or not examples:
        return ""
    example = examples[0]
    if isinstance(example, list):
        example = f"[{', '.join(map(str, example))}]"
    if isinstance(example, Mapping):
        example = f"{{{', '.join(f'{key}: {value}' for key, value in example.items())}}}"
    return f", for example {location[-1]}: {example}"


def _say_not_text(value: object, found: ErrorDetails) -> str:
    if isinstance(value, bool):
        return f'must be text: put it in quotes, "{str(value).lower()}"'
    return f'must be text: put it in quotes, "{value}"' if isinstance(value, int | float) else "must be text"


def _say_unknown(value: object, found: ErrorDetails) -> str:
    name = found["loc"][-1]
    if isinstance(name, int):  # an entry of a list: `days` has one `day` after the other
        name = str(found["loc"][-2]).removesuffix("s")
    expected = str(found.get("ctx", {}).get("expected", "")).replace("'", "")
    if not isinstance(value, str):
        shown = f" {value}" if isinstance(value, int | float) else ""
        return f"unknown {name}{shown}, expected {expected}"
    names = expected.replace(" or ", ", ").split(", ")
    return f'unknown {name} "{value}", expected {expected}{say_did_you_mean(value, names)}'


def _say_bound(value: object, found: ErrorDetails) -> str:
    context = found.get("ctx", {})
    if "ge" in context:
        return f"{value} must be at least {context['ge']}"
    return f"{value} must be at most {context.get('le')}"


def _say_own(value: object, found: ErrorDetails) -> str:
    return str(found.get("ctx", {}).get("error", found["msg"]))


_EXPLANATIONS: dict[str, Callable[[object, ErrorDetails], str]] = {
    "value_error": _say_own,
    "string_type": _say_not_text,
    "literal_error": _say_unknown,
    "bool_type": lambda value, found: "must be true or false",
    "int_type": lambda value, found: "must be a whole number",
    "greater_than_equal": _say_bound,
    "less_than_equal": _say_bound,
    "tuple_type": lambda value, found: "must be a list: [first, second], or one line each that begins with -",
    "model_type": lambda value, found: "must be a section with keys and values",
    "string_too_short": lambda value, found: "must not be empty",
    "too_short": lambda value, found: "must have at least one entry",
}
