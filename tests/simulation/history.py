"""What happened in one history, counted."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """What one history went through.

    `lost_by_heartbeat`: how often a daemon lost its claims before their lease ended. `breaks` are the moments at which
    a late write let consumers read a dead PAT.
    """

    seed: int
    crashes: int = 0
    killed_before_commit: int = 0
    faults: int = 0
    thaws: int = 0
    cuts: int = 0
    lost_by_heartbeat: int = 0
    stops: int = 0
    adoptions: int = 0
    takeovers: int = 0
    commands: int = 0
    creations: int = 0
    updates: int = 0
    outages: int = 0
    short_lives: int = 0
    slow: int = 0
    wrong_clocks: int = 0
    daemons: int = 0
    restores: int = 0
    late_restores: int = 0
    rebuilds: int = 0
    database_faults: int = 0
    ignored_revocations: int = 0
    ignored_stores: int = 0
    calendars: int = 0
    pauses: int = 0
    old_rotations: int = 0
    whims: int = 0
    notes: list[str] = field(default_factory=list)
    breaks: int = 0
