"""`entra`: where users sign in."""

from __future__ import annotations

from pydantic import Field, StrictBool

from rotator.settings.fields import PUBLIC_AUTHORITY, Section, ServiceUrl


class EntraSettings(Section):
    """Where users sign in."""

    authority: ServiceUrl = Field(
        default=PUBLIC_AUTHORITY,
        description="The sign-in service. National clouds have their own.",
        examples=["https://login.microsoftonline.us"],
    )
    instance_discovery: StrictBool = Field(
        default=True,
        description="Check with Microsoft that the authority is genuine. Set to `false` for a private authority.",
    )
