"""The commented files that `rotator init` writes: kept in `config/`, shipped in the wheel as `rotator/_config`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from rotator.errors import ConfigError

PLACEHOLDERS = {
    "account": "YOUR-ACCOUNT",
    "tenant": "YOUR-TENANT-ID",
    "client_id": "YOUR-CLIENT-ID",
    "username": "YOUR-USERNAME",
    "organizations": "YOUR-ORGANIZATION",
    "vault": "YOUR-VAULT-URL",
    "public_key": "YOUR-PUBLIC-KEY",
}
"""What `fill_template` fills in, and how it stands in the files."""

_PLAIN = re.compile(r"(?=.*[A-Za-z])(?!(?:true|false|null)$)[A-Za-z0-9][A-Za-z0-9@._/:-]*(?<!:)", re.IGNORECASE)


def load_template(name: str) -> str:
    """The text of `rotator.yaml` or `policy.yaml`, with placeholders. ConfigError when the installation lacks it."""
    packaged = resources.files("rotator") / "_config" / name
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    beside = Path(__file__).resolve().parents[2] / "config" / name
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    raise ConfigError([f"this installation lacks the template {name}"], fix="Install rotator again.")


def fill_template(text: str, values: Mapping[str, str | Sequence[str]]) -> str:
    """The template with values in place of the placeholders, quoted where YAML needs it.

    Keys are those of PLACEHOLDERS; `organizations` takes several names. What is not given stays a placeholder.
    """
    for key, value in values.items():
        names = [value] if isinstance(value, str) else value
        text = text.replace(PLACEHOLDERS[key], ", ".join(_quote(name) for name in names))
    return text


def _quote(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else json.dumps(value)
