"""The kinds of values that both files share, each with its check and what the JSON Schema says about it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)

from rotator.settings.addresses import parse_authority_url, parse_service_url, parse_vault
from rotator.settings.durations import parse_duration
from rotator.settings.paths import expand_home

PUBLIC_AUTHORITY = "https://login.microsoftonline.com"
DURATION_PATTERN = r"^\s*(\d+[wdhms]\s*)+$"


class Section(BaseModel):
    """A mapping in one of the files: unknown keys are refused, and it never changes after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True)


def _fill_empty(value: object) -> object:
    """A key with nothing behind it is an empty section."""
    return {} if value is None else value


_Section = TypeVar("_Section", bound=Section)
Filled = Annotated[_Section, BeforeValidator(_fill_empty), Field(default={}, validate_default=True)]
"""A section that may be left out or empty: its keys then have their defaults."""


def make_settings_context(file: Path) -> dict[str, Path]:
    """What validation needs to know: the settings file. Relative paths start from its folder."""
    return {"file": file.absolute()}


def find_folder(info: ValidationInfo) -> Path:
    """The folder that relative paths start from."""
    file = find_file(info)
    return Path() if file is None else file.parent


def find_file(info: ValidationInfo) -> Path | None:
    """The settings file that is read; None for values that come from no file."""
    return info.context["file"] if info.context else None


def _parse_path(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be the path of a file, as text")
    return find_folder(info) / expand_home(value)


def _parse_optional_path(value: object, info: ValidationInfo) -> Path | None:
    return None if value is None else _parse_path(value, info)


_DURATION_SCHEMA = {"type": "string", "pattern": DURATION_PATTERN}

Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DAYS: tuple[Day, ...] = get_args(Day)
"""From Monday on."""
Text = Annotated[str, StringConstraints(min_length=1)]
Duration = Annotated[timedelta, PlainValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
DurationOrZero = Annotated[
    timedelta, PlainValidator(partial(parse_duration, may_be_zero=True)), WithJsonSchema(_DURATION_SCHEMA)
]
ServiceUrl = Annotated[
    str, BeforeValidator(parse_service_url), WithJsonSchema({"type": "string", "pattern": "^https://"})
]
AuthorityUrl = Annotated[
    str, BeforeValidator(parse_authority_url), WithJsonSchema({"type": "string", "pattern": "^https?://"})
]
VaultUrl = Annotated[str, BeforeValidator(parse_vault), WithJsonSchema({"type": "string", "pattern": "^https://"})]
FilePath = Annotated[Path, PlainValidator(_parse_path), WithJsonSchema({"type": "string"})]
OptionalFilePath = Annotated[
    Path | None, PlainValidator(_parse_optional_path), WithJsonSchema({"type": ["string", "null"]})
]


def is_uuid(value: str) -> bool:
    """Whether the text is a UUID, with hyphens."""
    try:
        return str(UUID(value)) == value.lower()
    except ValueError:
        return False
