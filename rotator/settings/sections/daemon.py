"""`daemon`: how often the daemon does each of its jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from rotator.domain.job_run import LONGEST_HEARTBEAT
from rotator.settings.fields import Duration, Section


def _check_heartbeat(pause: timedelta) -> timedelta:
    """No longer than others take it to be: on them depends who may go on with what a dead daemon was at."""
    if pause > LONGEST_HEARTBEAT:
        raise ValueError(
            "must be 1m at most: two minutes after its last heartbeat other commands and daemons take this one for dead"
        )
    return pause


class DaemonSettings(Section):
    """How often the daemon does each of its jobs, and how long a stop may take."""

    work: Duration = Field(
        default="1m",
        validate_default=True,
        description="How often to work on what is due. It also works at the very moment when something falls due, such "
        "as the end of an overlap. Where nothing is due, no service is asked.",
    )
    refresh: Duration = Field(
        default="15m", validate_default=True, description="How often to refresh each account's sign-in."
    )
    reconcile: Duration = Field(
        default="1h",
        validate_default=True,
        description="How often to look at every account and organization: for PATs that nobody tracks, or that were "
        "changed or revoked outside, and for what took effect late.",
    )
    probe: Duration = Field(
        default="24h",
        validate_default=True,
        description="How often to try the value of each PAT as consumers read it: does it sign in? "
        "The tries are spread over this time.",
    )
    verify_audit: Duration = Field(
        default="24h", validate_default=True, description="How often to recompute the audit log's hash chain."
    )
    audit_reconcile: Duration | None = Field(
        default="24h",
        validate_default=True,
        description="How often to compare Azure DevOps' own audit log with rotator's. It needs the permission to read "
        "that log; without it, the audit log says so once, and nothing fails. null: never.",
    )
    heartbeat: Annotated[Duration, AfterValidator(_check_heartbeat)] = Field(
        default="30s",
        validate_default=True,
        description="How often to note in the database that the daemon is alive, and when it last worked: at most 1m. "
        "On PostgreSQL, daemons on other hosts go on with what a daemon was at after two of its heartbeats.",
    )
    stop_within: Duration = Field(
        default="80s",
        validate_default=True,
        description="How long after a stop a new value that exists only in memory may still be written to the vault, "
        "by a daemon and by any other run.",
    )
