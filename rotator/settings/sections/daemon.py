"""`daemon`: how often it works, and how long a stop may take."""

from __future__ import annotations

from pydantic import Field

from rotator.settings.fields import Duration, Section


class DaemonSettings(Section):
    """How often the daemon works, and how long a stop may take."""

    work: Duration = Field(
        default="1m",
        validate_default=True,
        description="How often to look at the server and work on what is due. It also works at the very moment when "
        "something falls due, such as the end of an overlap.",
    )
    stop_within: Duration = Field(
        default="80s",
        validate_default=True,
        description="How long after a stop a new value that exists only in memory may still be brought to the vault, "
        "by a daemon and by any other run.",
    )
