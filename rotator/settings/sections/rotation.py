"""`rotation`: timing of recovery and of claims, and the optional mark in display names."""

from __future__ import annotations

from pydantic import Field

from rotator.settings.fields import Duration, DurationOrZero, Section


class RotationSettings(Section):
    """Timing of recovery and of claims, and the optional mark in display names."""

    settle: DurationOrZero = Field(
        default="10m",
        validate_default=True,
        description="How long a mint or vault write may still take effect after its answer was lost. Recovery waits "
        "this long before it decides.",
    )
    lease: Duration = Field(
        default="5m",
        validate_default=True,
        description="How long a claim on a PAT lasts if it is not renewed.",
    )
    name_marker: bool = Field(
        default=False,
        description="Add a mark to each new PAT's display name, such as `npm-feed #rot-3f9c2a7d10b4e865`. It proves "
        "that rotator created the PAT even if the server changed its expiry. Without it, the expiry is the proof. Its "
        "key is made from the token cache's key.",
    )
