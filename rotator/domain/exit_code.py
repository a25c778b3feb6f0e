"""How a run ends, as an exit code: numbers that scripts, cron and monitoring rely on."""

from __future__ import annotations

DONE = 0
FAILED = 1
PARTLY_FAILED = 3
LOCKED = 11
