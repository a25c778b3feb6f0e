"""`http`: what every connection uses."""

from __future__ import annotations

from pydantic import Field

from rotator.settings.fields import Duration, OptionalFilePath, Section


class HttpSettings(Section):
    """What every connection goes by."""

    ca_bundle: OptionalFilePath = Field(
        default=None,
        description="Certificates to trust instead of the usual ones (PEM), for a proxy that inspects TLS.",
        examples=["/etc/ssl/certs/ca-certificates.crt"],
    )
    connect_timeout: Duration = Field(
        default="3s", validate_default=True, description="How long a connection may take to open."
    )
    read_timeout: Duration = Field(
        default="15s", validate_default=True, description="How long an answer may stay silent."
    )
