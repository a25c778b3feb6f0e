"""`rotation`: the times that recovery and claims depend on, and the mark of a clone."""

from __future__ import annotations

from pydantic import Field

from rotator.settings.fields import Duration, DurationOrZero, Section


class RotationSettings(Section):
    """The times that recovery and several hosts at once depend on."""

    settle: DurationOrZero = Field(
        default="10m",
        validate_default=True,
        description="How long an unanswered mint or store may still land before recovery decides.",
    )
    lease: Duration = Field(
        default="5m",
        validate_default=True,
        description="How long a run may hold a PAT without renewing its claim.",
    )
    name_marker: bool = Field(
        default=False,
        description="Whether each clone's display name gets a mark, such as `npm-feed #rot-3f9c2a7d10b4e865`, that "
        "proves it ours whatever expiry the server gave it. Without it a clone is known by its exact expiry.",
    )
