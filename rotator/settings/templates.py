"""The files that `rotator init` writes: of `config/` and `systemd/`, in the wheel `rotator/_config` and `_systemd`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
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
    template = _find_folder("config") / name
    if not template.is_file():
        raise ConfigError([f"this installation lacks the template {name}"], fix="Install rotator again.")
    return template.read_text(encoding="utf-8")


def load_units() -> dict[str, str]:
    """The units of systemd, and the rules and the dashboard for monitoring, by their path in a folder of their own."""
    folder = _find_folder("systemd")
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in found
        if path.suffix != ".md" and not path.name.endswith(".test.yaml")
    }


def _find_folder(name: str) -> Path:
    packaged = Path(__file__).resolve().parents[1] / f"_{name}"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / name


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
