"""`http`: settings for all HTTPS connections."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo

from rotator.settings.durations import render_duration
from rotator.settings.fields import Duration, OptionalFilePath, Section, Text
from rotator.settings.secret_fields import OPTIONAL_LOCAL_SECRET, parse_secret
from rotator.settings.secrets import SecretForm, SecretReference


def _parse_proxy(value: object, info: ValidationInfo) -> SecretReference | None:
    return None if value is None else parse_secret(value, info, setting="http.proxy", form=SecretForm.PROXY)


def _limit(longest: timedelta) -> AfterValidator:
    """A timeout of no more than that: otherwise who waits is taken for stuck, or keeps a stop waiting."""

    def check(value: timedelta) -> timedelta:
        if value > longest:
            most = render_duration(longest)
            raise ValueError(
                f"{render_duration(value)} is longer than {most}: a service that does not answer would hold up each "
                "job and each stop for that long, and nobody could tell a daemon that waits from one that is stuck"
            )
        return value

    return AfterValidator(check)


_ConnectTimeout = Annotated[Duration, _limit(timedelta(minutes=1))]
_Timeout = Annotated[Duration, _limit(timedelta(minutes=10))]
_Proxy = Annotated[SecretReference | None, PlainValidator(_parse_proxy), OPTIONAL_LOCAL_SECRET]


class HttpSettings(Section):
    """Settings for all HTTPS connections."""

    ca_bundle: OptionalFilePath = Field(
        default=None,
        description="A PEM file of certificates to trust instead of the usual ones, for a proxy that inspects TLS.",
        examples=["/etc/ssl/certs/ca-certificates.crt"],
    )
    proxy: _Proxy = Field(
        default=None,
        description="The proxy for all three services, with user and password if it needs them. Proxies in the "
        "environment are not used. A reference keeps a password out of this file.",
        examples=["http://proxy.contoso.com:3128", {"credential": "proxy"}],
    )
    no_proxy: tuple[Text, ...] = Field(
        default=(),
        description="What is reached without the proxy: hosts, each with all its subdomains; networks; `*` for "
        "everything. This host's own identity service always is.",
        examples=[["contoso-kv.vault.azure.net", "10.0.0.0/8"]],
    )
    connect_timeout: _ConnectTimeout = Field(
        default="3s", validate_default=True, description="How long opening a connection may take: at most 1m."
    )
    read_timeout: _Timeout = Field(
        default="15s",
        validate_default=True,
        description="How long to wait for the next bytes of a response: at most 10m.",
    )
    total_timeout: _Timeout = Field(
        default="60s",
        validate_default=True,
        description="How long one request may take in all, until the last byte of its response: at most 10m. Only the "
        "lookup of a host name is not cut by it: the resolver of the system ends that, as `resolv.conf` says.",
    )
