"""Stops of a daemon that its database could not be told of: each is a file, until a later daemon passes it on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from rotator.adapters.ownership import make_file

PassOn = Callable[[str, datetime], None]
"""Passes on the stop of a daemon, by its holder and when it began."""


class StopNotes:
    """Keeps them beside a file of ours, each under its own name: several daemons of a host may share the folder."""

    def __init__(self, beside: Path) -> None:
        self._beside = beside

    def keep(self, holder: str, began_at: datetime) -> None:
        """Keep the stop of a daemon. Where that fails too, nobody will know of it."""
        digest = hashlib.blake2b(holder.encode(), digest_size=8).hexdigest()
        text = json.dumps([holder, began_at.isoformat()])
        with suppress(OSError):
            descriptor = make_file(self._beside.with_name(f"{self._prefix}{digest}"), 0o600, self._beside)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)

    def pass_on(self, tell: PassOn) -> None:
        """Tell each, and forget it once that worked. What is no note is forgotten."""
        for path in sorted(self._beside.parent.glob(f"{self._prefix}*")):
            with suppress(OSError):
                with suppress(ValueError, TypeError):
                    holder, began_at = json.loads(path.read_text(encoding="utf-8"))
                    tell(holder, datetime.fromisoformat(began_at))
                path.unlink(missing_ok=True)

    @property
    def _prefix(self) -> str:
        return f".{self._beside.name}.stopped-"
