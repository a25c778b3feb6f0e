"""`notify`: who is notified of problems, and when they are over."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, StringConstraints, ValidationInfo

from rotator.domain.events.catalogue import CATALOGUE
from rotator.domain.events.event import SubjectKind
from rotator.domain.words import say_did_you_mean
from rotator.settings.fields import Day, Duration, DurationOrZero, Section
from rotator.settings.secret_fields import OPTIONAL_LOCAL_SECRET, SECRET, parse_secret
from rotator.settings.secrets import SecretForm, SecretReference


def _parse_url(value: object, info: ValidationInfo) -> SecretReference:
    is_webhook = info.data.get("kind") == "webhook"
    form = SecretForm.WEBHOOK_URL if is_webhook else SecretForm.APPRISE_URL
    return parse_secret(value, info, setting="notify.url", form=form)


def _parse_signing(value: object, info: ValidationInfo) -> SecretReference | None:
    if value is None:
        return None
    if info.data.get("kind") == "apprise":
        raise ValueError("is for kind: webhook only; what apprise needs is in its url")
    return parse_secret(value, info, setting="notify.secret", form=SecretForm.SIGNING_KEY)


def _check_event(name: str) -> str:
    known = [each for each, event in CATALOGUE.items() if event.type.subject is not SubjectKind.RECEIVER]
    if name in CATALOGUE and name not in known:
        raise ValueError(f'"{name}" is about a delivery: nobody is notified of that')
    if name not in CATALOGUE:
        hint = say_did_you_mean(name, known) or ", docs/events.md has their names"
        raise ValueError(f'unknown event "{name}"{hint}')
    return name


_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
_Event = Annotated[str, AfterValidator(_check_event)]
_Url = Annotated[SecretReference, PlainValidator(_parse_url), SECRET]
_Signing = Annotated[SecretReference | None, PlainValidator(_parse_signing), OPTIONAL_LOCAL_SECRET]


class NotifySettings(Section):
    """Who is notified of problems, and when they are over."""

    name: _Name = Field(description="The name of this receiver, in messages and in `rotator notify test`.")
    kind: Literal["apprise", "webhook"] = Field(
        description="`webhook`: a POST of a JSON document. `apprise`: chat, mail and much else; it needs the "
        "package apprise, which `requirements.txt` installs.",
    )
    url: _Url = Field(
        description="Where to send: an https address for a webhook, or an address as apprise writes it. Whoever knows "
        "it can write there, so give it as a reference.",
        examples=[{"credential": "teams"}],
    )
    secret: _Signing = Field(
        default=None,
        description="What webhooks are signed with, by the rules of Standard Webhooks: `whsec_` and 24 to 64 bytes in "
        "base64.",
        examples=[{"credential": "webhook-secret"}],
    )
    events: tuple[_Event, ...] = Field(
        default=(),
        description="Events that are reported one by one, in addition to problems: names of docs/events.md.",
        examples=[["rotation_completed"]],
    )
    min_severity: Literal["info", "warning", "error", "critical"] = Field(
        default="warning", description="The least severe problem that this receiver is notified of."
    )
    digest: Day | None = Field(
        default=None,
        description="The day of the week on which this receiver also gets a digest, after 06:00 UTC: what was rotated, "
        "what is coming, what waits for a person.",
    )
    repeat: Duration = Field(
        default="24h",
        validate_default=True,
        description="How long until a lasting problem is reported again. Each later interval is twice as long, up to a "
        "week.",
    )
    down_after: DurationOrZero = Field(
        default="30m",
        validate_default=True,
        description="How long a problem that may pass by itself must have lasted before it is reported: a service or "
        "the database that is down, a rotation that fails and is tried again.",
    )
