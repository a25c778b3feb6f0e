"""A program of its own that lets apprise send one notification: it reads JSON from stdin and writes JSON to stdout.

Apprise has no limit on the time that a whole message takes, and speaks with a stack of its own. So it runs where it can
be ended, knows nothing of rotator's secrets, and is given the proxy of the settings.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any


class _Sayings(logging.Handler):
    """Keeps what apprise warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it as text."""
        self.said.append(record.getMessage())


def main() -> int:
    """Do what stdin asks for, and say what came of it."""
    asked: dict[str, Any] = json.load(sys.stdin)
    for name, value in asked["environment"].items():
        os.environ[name] = value
    json.dump(_act(asked), sys.stdout)
    return 0


def _act(asked: dict[str, Any]) -> dict[str, object]:
    """`installed`: whether there is apprise; `known`: whether a plugin takes the address; `sent`: what came of it."""
    try:
        import apprise
    except ImportError:
        return {"installed": False, "known": False, "sent": False, "said": []}
    sayings = _Sayings()
    log = logging.getLogger("apprise")
    log.addHandler(sayings)
    log.propagate = False
    log.setLevel(logging.WARNING)  # below that it writes the whole address
    receiver = apprise.Apprise(asset=apprise.AppriseAsset(app_id="rotator", app_desc="rotator"))
    known = bool(receiver.add(asked["url"]))
    sent = (
        known
        and "body" in asked
        and receiver.notify(body=asked["body"], title=asked["title"], notify_type=asked["type"], body_format="text")
    )
    return {"installed": True, "known": known, "sent": bool(sent), "said": sayings.said}


if __name__ == "__main__":
    sys.exit(main())
