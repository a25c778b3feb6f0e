"""`hooks`: what is called when something happens."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    StrictBool,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from rotator.domain.events.catalogue import CATALOGUE
from rotator.domain.events.event import SubjectKind
from rotator.domain.events.rotations import SecretStored
from rotator.domain.hook import HookTerms
from rotator.domain.words import say_did_you_mean
from rotator.settings.fields import Duration, Section, Text, find_folder
from rotator.settings.paths import expand_home
from rotator.settings.secret_fields import OPTIONAL_LOCAL_SECRET, parse_secret
from rotator.settings.secrets import SecretForm, SecretReference

LONGEST_TIMEOUT = timedelta(minutes=4)
_STORED = SecretStored.type.name


def _check_event(name: str) -> str:
    known = [
        each for each, event in CATALOGUE.items() if event.type.subject not in (SubjectKind.RECEIVER, SubjectKind.HOOK)
    ]
    if name in CATALOGUE and name not in known:
        raise ValueError(f'"{name}" is about a delivery or a hook: no hook is called about that')
    if name not in CATALOGUE:
        hint = say_did_you_mean(name, known) or ", docs/events.md has their names"
        raise ValueError(f'unknown event "{name}"{hint}')
    return name


def _find_program(command: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """A program that is named by a path is looked for from the settings' folder on, any other on the PATH."""
    if not command or "/" not in command[0]:
        return command
    return str(find_folder(info) / expand_home(command[0])), *command[1:]


def _check_timeout(timeout: timedelta) -> timedelta:
    if timeout > LONGEST_TIMEOUT:
        raise ValueError("must be 4m at most: let a hook that takes longer only start the work")
    return timeout


def _parse_url(value: object, info: ValidationInfo) -> SecretReference | None:
    if value is None:
        return None
    return parse_secret(value, info, setting="hooks.url", form=SecretForm.WEBHOOK_URL)


def _parse_signing(value: object, info: ValidationInfo) -> SecretReference | None:
    if value is None:
        return None
    return parse_secret(value, info, setting="hooks.secret", form=SecretForm.SIGNING_KEY)


_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
_Event = Annotated[str, AfterValidator(_check_event)]
_Command = Annotated[tuple[Text, ...], AfterValidator(_find_program)]
_Timeout = Annotated[Duration, AfterValidator(_check_timeout)]
_Url = Annotated[SecretReference | None, PlainValidator(_parse_url), OPTIONAL_LOCAL_SECRET]
_Signing = Annotated[SecretReference | None, PlainValidator(_parse_signing), OPTIONAL_LOCAL_SECRET]


class HookSettings(Section):
    """A command or a webhook that is called when something happens. One of `command` and `url` is set."""

    name: _Name = Field(description="The name of this hook, in rules of the policy, messages and `rotator hooks test`.")
    on: tuple[_Event, ...] = Field(
        min_length=1,
        description="The events that it is called about: names of docs/events.md.",
        examples=[["secret_stored"]],
    )
    command: _Command = Field(
        default=(),
        description="A program and its arguments, without a shell. It gets the event in variables and as JSON on its "
        "stdin, and never a value.",
        examples=[["kubectl", "rollout", "restart", "deployment/builder"]],
    )
    url: _Url = Field(
        default=None,
        description="Instead of a command, an https address that gets the event as JSON in a POST.",
        examples=[{"credential": "hook-url"}],
    )
    secret: _Signing = Field(
        default=None,
        description="What the webhook is signed with, by the rules of Standard Webhooks: `whsec_` and 24 to 64 bytes "
        "in base64.",
        examples=[{"credential": "hook-secret"}],
    )
    required: StrictBool = Field(
        default=False,
        description="The overlap of a PAT begins only when this hook has succeeded, called about `secret_stored`. It "
        "is called until then.",
    )
    timeout: _Timeout = Field(
        default="30s",
        validate_default=True,
        description="How long a call may take before it is ended and counts as failed. At most 4m.",
    )

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if bool(self.command) == (self.url is not None):
            raise ValueError("needs a command or a url, and not both")
        if self.secret is not None and self.url is None:
            raise ValueError("has a secret, which signs webhooks only: a command needs none")
        if self.required and _STORED not in self.on:
            raise ValueError(f"is required, which needs {_STORED} in `on`: the overlap waits for that call")
        return self

    def make_terms(self) -> HookTerms:
        """Return its name, and when it is called."""
        return HookTerms(self.name, tuple(sorted(set(self.on))), self.required)
