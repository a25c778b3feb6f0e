"""The kinds of values that both files share, each with its check and what the JSON Schema says about it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, StringConstraints, WithJsonSchema

from rotator.settings.addresses import parse_service_url, parse_vault
from rotator.settings.durations import parse_duration

DURATION_PATTERN = r"^\s*(\d+[wdhms]\s*)+$"


class Section(BaseModel):
    """A mapping in one of the files: unknown keys are refused, and it never changes after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


def _fill_empty(value: object) -> object:
    """A key with nothing behind it is an empty section."""
    return {} if value is None else value


EmptyAllowed = BeforeValidator(_fill_empty)
_DURATION_SCHEMA = {"type": "string", "pattern": DURATION_PATTERN}

Text = Annotated[str, StringConstraints(min_length=1)]
Duration = Annotated[timedelta, PlainValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
DurationOrZero = Annotated[
    timedelta, PlainValidator(partial(parse_duration, may_be_zero=True)), WithJsonSchema(_DURATION_SCHEMA)
]
ServiceUrl = Annotated[
    str, BeforeValidator(parse_service_url), WithJsonSchema({"type": "string", "pattern": "^https://"})
]
VaultUrl = Annotated[str, BeforeValidator(parse_vault), WithJsonSchema({"type": "string", "pattern": "^https://"})]
