"""`pings`: who hears when a job begins and how it ends, by the protocol of healthchecks.io."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from rotator.settings.fields import Section
from rotator.settings.secret_fields import SECRET, parse_secret
from rotator.settings.secrets import SecretForm, SecretReference

_parse_url = partial(parse_secret, setting="pings.url", form=SecretForm.PING_URL)
_PingUrl = Annotated[SecretReference, PlainValidator(_parse_url), SECRET]


class PingSettings(Section):
    """Who hears when a job begins and how it ends, by the protocol of healthchecks.io."""

    url: _PingUrl = Field(
        description="The address of a check. Whoever knows it can ping, so give it as a reference.",
        examples=[{"credential": "ping-url"}],
    )
    jobs: tuple[
        Literal[
            "work", "reconcile", "refresh", "probe", "verify_audit", "audit_reconcile", "heartbeat", "deliver", "hooks"
        ],
        ...,
    ] = Field(
        default=("work",),
        min_length=1,
        description="The jobs that ping this check. `rotator once` is `work`.",
    )
