"""Writes the new value into the .npmrc of an agent, for a feed of Azure Artifacts. The other lines stay."""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path

from agent_file import find_file, replace
from stored_value import fetch_value, is_test, read_told

_REGISTRY = "/npm/registry/"


def main() -> None:
    """Change the password of the feed, for both of its addresses, or add it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", required=True, type=Path)
    parser.add_argument("--registry", required=True, help=f"the feed's address, which ends with {_REGISTRY}")
    given = parser.parse_args()

    scheme, _, feed = given.registry.partition("://")
    if scheme != "https" or not feed.endswith(_REGISTRY):
        sys.exit(f"--registry must be https://...{_REGISTRY}")
    path = find_file(given.file)
    if is_test():
        print(f"{path} may be written; a test changes nothing")
        return
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    password = base64.b64encode(fetch_value().encode()).decode()
    for place in (f"//{feed}", f"//{feed.removesuffix('registry/')}"):
        # npm asks for a user and an address; Azure Artifacts looks at neither.
        for key, value in (("username", "agent"), ("_password", password), ("email", "agent@example.com")):
            lines = set_line(lines, f"{place}:{key}", value, keeps=key != "_password")
    replace(path, "".join(f"{line}\n" for line in lines).encode())
    print(f"{path} has the new value of {read_told('NAME')}")


def set_line(lines: list[str], key: str, value: str, *, keeps: bool) -> list[str]:
    """Return the lines with this value, in place of the one before; one that is there is kept if that is wanted."""
    made = f"{key}={value}"
    if not any(line.partition("=")[0].strip() == key for line in lines):
        return [*lines, made]
    return lines if keeps else [made if line.partition("=")[0].strip() == key else line for line in lines]


if __name__ == "__main__":
    main()
