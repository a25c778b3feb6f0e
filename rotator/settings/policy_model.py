"""`policy.yaml` as a model: every key with its type, default, meaning and example."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta, tzinfo
from functools import partial
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    ValidationInfo,
    WithJsonSchema,
)

from rotator.domain.threshold import Threshold
from rotator.domain.words import say_did_you_mean
from rotator.settings.durations import parse_duration, parse_threshold
from rotator.settings.fields import DURATION_PATTERN, Day, Duration, DurationOrZero, Filled, Section, Text, VaultUrl
from rotator.settings.moments import END_PATTERN, HOUR_PATTERN, parse_hour, parse_moment, parse_zone
from rotator.settings.scopes import KNOWN_SCOPES, check_scope, check_scope_pattern

KEEP = timedelta(0)
"""`lifetime: keep`: the old PAT's own lifetime. No duration that a file can say is zero there."""

DEFAULT_ROTATE_BEFORE = Threshold(share=0.33)
DEFAULT_OVERLAP = timedelta(hours=24)
DEFAULT_NAME_TEMPLATE = "{organization}-{name}"
_PLACEHOLDERS = ("organization", "name", "account")


def _fill_empty_list(value: object) -> object:
    return () if value is None else value


def _parse_lifetime(value: object) -> timedelta:
    if value == "keep":
        return KEEP
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{error}; or keep") from None


def _parse_secret_name(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError('must be a name as text, such as "{organization}-{name}"')
    for placeholder in re.findall(r"\{([^{}]*)\}", value):
        if placeholder not in _PLACEHOLDERS:
            known = ", ".join(f"{{{name}}}" for name in _PLACEHOLDERS)
            hint = say_did_you_mean(placeholder, _PLACEHOLDERS)
            raise ValueError(f'unknown placeholder "{{{placeholder}}}"{hint or f"; there are {known}"}')
    fixed = re.sub(r"\{[^{}]*\}", "", value)
    wrong = re.search(r"[^0-9A-Za-z-]", fixed)
    if wrong:
        raise ValueError(f'"{wrong.group()}" cannot be in a secret\'s name: use letters, digits and hyphens')
    if len(fixed) > 127:
        raise ValueError("is longer than the 127 characters that Key Vault allows")
    return value


def _check_end_hour(ends: time, info: ValidationInfo) -> time:
    if ends == info.data.get("begins") != time():
        raise ValueError("is the same as `from`: write 00:00 and 24:00 for a whole day")
    return ends


def _check_end(ends: datetime, info: ValidationInfo) -> datetime:
    begins = info.data.get("begins")
    if begins is not None and ends <= begins:
        raise ValueError("is not after `from`")
    return ends


_LIFETIME_SCHEMA = {"type": "string", "pattern": rf"^keep$|{DURATION_PATTERN}"}
_THRESHOLD_SCHEMA = {"type": "string", "pattern": rf"^\s*\d+(\.\d+)?\s*%\s*$|{DURATION_PATTERN}"}

ThresholdField = Annotated[Threshold, PlainValidator(parse_threshold), WithJsonSchema(_THRESHOLD_SCHEMA)]
LifetimeField = Annotated[timedelta, PlainValidator(_parse_lifetime), WithJsonSchema(_LIFETIME_SCHEMA)]
SecretNameField = Annotated[str, PlainValidator(_parse_secret_name), WithJsonSchema({"type": "string"})]
Hour = Annotated[time, PlainValidator(parse_hour), WithJsonSchema({"type": "string", "pattern": HOUR_PATTERN})]
EndHour = Annotated[
    time,
    PlainValidator(partial(parse_hour, is_end=True)),
    AfterValidator(_check_end_hour),
    WithJsonSchema({"type": "string", "pattern": END_PATTERN}),
]
Moment = Annotated[datetime, PlainValidator(parse_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Zone = Annotated[tzinfo, PlainValidator(parse_zone), WithJsonSchema({"type": "string"})]
ScopePattern = Annotated[Text, AfterValidator(check_scope_pattern)]
Scope = Annotated[Text, AfterValidator(check_scope), WithJsonSchema({"enum": sorted(KNOWN_SCOPES)})]


class MatchSection(Section):
    """The PATs that a rule applies to: those that match every key given here."""

    organization: Text | None = Field(default=None, description="Pattern for the organization.", examples=["contoso"])
    account: Text | None = Field(
        default=None, description="Pattern for the account's name in rotator.yaml.", examples=["build-bot"]
    )
    display_name: Text | None = Field(
        default=None, description="Pattern for the PAT's display name.", examples=["ci-*"]
    )
    scope: ScopePattern | None = Field(
        default=None,
        description="Pattern that one of the PAT's scopes must match.",
        examples=["vso.build_execute"],
    )

    @property
    def is_everything(self) -> bool:
        """Whether every PAT matches."""
        patterns = (self.organization, self.account, self.display_name, self.scope)
        return all(pattern in (None, "*") for pattern in patterns)


class WindowSection(Section):
    """Hours in which runs may mint and revoke, as the clocks of a time zone show them, daylight saving included."""

    days: tuple[Day, ...] = Field(
        min_length=1, description="The days on which the window begins.", examples=[["saturday", "sunday"]]
    )
    begins: Hour = Field(alias="from", description="When it begins, from 00:00 to 23:59.", examples=["22:00"])
    ends: EndHour = Field(
        alias="to",
        description="When it ends, up to 24:00. A time before `from` is on the next day.",
        examples=["04:00"],
    )
    timezone: Zone = Field(description="The time zone, by its IANA name.", examples=["Europe/Berlin"])


class FreezeSection(Section):
    """A span in which runs mint and revoke nothing."""

    begins: Moment = Field(
        alias="from", description="When it begins, with its offset from UTC.", examples=["2026-12-19T00:00+01:00"]
    )
    ends: Annotated[Moment, AfterValidator(_check_end)] = Field(
        alias="to", description="When it ends, with its offset from UTC.", examples=["2027-01-04T06:00+01:00"]
    )
    reason: Text = Field(description="Why, for whoever wonders why nothing is rotated.", examples=["end of the year"])


class RuleKeys(Section):
    """The keys that `defaults` and each rule can have."""

    rotate_before: ThresholdField | None = Field(
        default=None,
        description="How long before its expiry a PAT is due: a percentage of its lifetime, or a duration. "
        "A percentage leaves at least the overlap and 6 h, or half of a shorter lifetime. Default: 33%.",
        examples=["33%", "7d"],
    )
    lifetime: LifetimeField | None = Field(
        default=None,
        description="The lifetime of a new PAT: `keep` for the same as the old PAT's, or a duration. Default: `keep`.",
        examples=["keep", "30d"],
    )
    overlap: DurationOrZero | None = Field(
        default=None,
        description="How long the old PAT stays valid after the new one is stored. Default: 24h.",
        examples=["24h"],
    )
    consumer_cache: Duration | None = Field(
        default=None,
        description="How long consumers keep a value that they have read from the vault. The overlap must be longer: "
        "with this key, a policy whose overlap is not is refused. Default: not known.",
        examples=["1h"],
    )
    vault: VaultUrl | None = Field(
        default=None,
        description="The Key Vault that new PATs are stored in. Required for every PAT that is rotated.",
        examples=["https://contoso-kv.vault.azure.net"],
    )
    secret_name: SecretNameField | None = Field(
        default=None,
        description="The name of the secret in the vault. `{organization}`, `{name}` and `{account}` are replaced. "
        "Default: `{organization}-{name}`.",
        examples=["{organization}-{name}"],
    )
    action: Literal["rotate", "alert", "ignore"] | None = Field(
        default=None,
        description="`rotate`, `alert` (only report that the PAT is due) or `ignore`. Default: `rotate`.",
        examples=["rotate"],
    )
    disable_previous: StrictBool | None = Field(
        default=None,
        description="Disable older versions of the secret once the old PAT is revoked. Default: `false`.",
        examples=[True],
    )
    on_leak: Literal["alert", "rotate"] | None = Field(
        default=None,
        description="What happens when somebody other than rotator revokes a PAT before its time, which may mean that "
        "it leaked. `alert`: people are notified. `rotate`: it is also replaced immediately, without an overlap, if "
        "the value in its secret is refused when rotator tries it. Without a value to try, people are only notified. "
        "The old PAT is left behind, not revoked, unless it is proven gone. Default: `alert`.",
        examples=["rotate"],
    )
    hooks: tuple[Text, ...] | None = Field(
        default=None,
        description="The hooks that are called for these PATs, by their names in rotator.yaml. One that no rule names "
        "is called for every PAT. Default: none.",
        examples=[["restart-builder"]],
    )
    windows: tuple[WindowSection, ...] | None = Field(
        default=None,
        description="When runs may rotate these PATs and revoke old ones. Neither recovery nor what a person asks for "
        "waits for a window, nor does a PAT near its expiry. Default: at any time.",
    )
    freezes: tuple[FreezeSection, ...] | None = Field(
        default=None,
        description="Change freezes: spans in which runs neither rotate these PATs nor revoke old ones, with the same "
        "exceptions. Default: none.",
    )


class DefaultsSection(RuleKeys):
    """Values for all rules that do not set their own."""


class RuleSection(RuleKeys):
    """One rule. The first rule that matches a PAT applies."""

    name: Text = Field(description="The rule's name, shown in plans and in the audit log.", examples=["ci"])
    match: Filled[MatchSection] = Field(
        default={}, validate_default=True, description="The PATs that the rule applies to. Default: all."
    )
    adopt: StrictBool = Field(
        default=False,
        description="Each run takes over new PATs that the rule matches, if their secret does not exist or holds what "
        "rotator wrote for a PAT that no longer exists. All others wait for a person. The first rotation does not "
        "revoke the old PAT, but leaves it behind.",
        examples=[True],
    )


class GuardrailsSection(Section):
    """Limits that apply to every rule."""

    max_lifetime: Duration | None = Field(
        default=None, description="The longest lifetime of a new PAT.", examples=["90d"]
    )
    deny_scopes: tuple[Scope, ...] = Field(
        default=(),
        description="PATs with any of these scopes are not rotated. `app_token` is full access.",
        examples=[["app_token"]],
    )
    max_rotations_per_hour: StrictInt = Field(
        default=50,
        ge=1,
        description="How many rotations may begin within 60 minutes, counted over all runs and hosts. The PATs that "
        "expire first go first, and the others are postponed. Rotations by hand count but are never postponed.",
    )


class PolicyFile(Section):
    """Everything that `policy.yaml` says."""

    version: Literal[1] = Field(description="The version of the file format.", examples=[1])
    defaults: Filled[DefaultsSection]
    rules: Annotated[tuple[RuleSection, ...], BeforeValidator(_fill_empty_list)] = Field(
        default=(),
        description="The rules, in order. Without rules, `defaults` apply to every PAT.",
    )
    guardrails: Filled[GuardrailsSection]
