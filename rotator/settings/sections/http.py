"""`http`: settings for all HTTPS connections."""

from __future__ import annotations

from pydantic import Field

from rotator.settings.fields import Duration, OptionalFilePath, Section


class HttpSettings(Section):
    """Settings for all HTTPS connections."""

    ca_bundle: OptionalFilePath = Field(
        default=None,
        description="A PEM file of certificates to trust instead of the usual ones, for a proxy that inspects TLS.",
        examples=["/etc/ssl/certs/ca-certificates.crt"],
    )
    connect_timeout: Duration = Field(
        default="3s", validate_default=True, description="How long opening a connection may take."
    )
    read_timeout: Duration = Field(
        default="15s", validate_default=True, description="How long to wait for the next bytes of a response."
    )
    total_timeout: Duration = Field(
        default="60s",
        validate_default=True,
        description="How long one request may take in all, until the last byte of its response.",
    )
