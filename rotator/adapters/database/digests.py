"""A digest as the database keeps it: a text of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rotator.domain.digest import Dated, Digest, Mail, MailAbout, Wait


def write_digest(digest: Digest) -> str:
    """Return a digest as JSON."""
    return json.dumps(asdict(digest), default=datetime.isoformat)


def read_digest(text: str) -> Digest:
    """Return what `write_digest` wrote."""
    found = json.loads(text)
    return Digest(
        _read_moment(found["since"]),
        _read_moment(found["until"]),
        tuple(map(_read_dated, found["rotated"])),
        tuple(map(_read_dated, found["coming"])),
        tuple(
            Wait(each["needs"], tuple(each["names"]), _read_moment(each["first_expires_at"]))
            for each in found["waiting"]
        ),
        tuple(
            Mail(each["account"], each["name"], MailAbout(each["about"]), _read_moment(each["at"]))
            for each in found["mails"]
        ),
        found["through"],
        found["is_whole"],
    )


def _read_dated(found: dict[str, Any]) -> Dated:
    return Dated(found["name"], _read_moment(found["at"]))


def _read_moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
