"""The phases of a rotation, each by a request that can be held open while something comes from outside."""

from __future__ import annotations

from tests.support.killing import CHANGES

MINT, STORE, REVOKE = CHANGES
IDENTITY = ("azure_devops", "GET", "/connectionData")
READ = ("key_vault", "GET", r"/secrets/[^/]+/\?")
TAG = ("key_vault", "PATCH", "/secrets/")

PHASES: dict[str, tuple[tuple[str, str, str], int, list[str], bool]] = {
    "look": (IDENTITY, 0, [], False),
    "preflight": (TAG, 0, ["planned"], False),
    "mint": (MINT, 0, ["overlapping"], True),
    "verify": (IDENTITY, 1, ["overlapping"], True),
    "store": (STORE, 0, ["overlapping"], True),
    "read back": (READ, 1, ["overlapping"], True),
    "guard": (READ, 2, ["overlapping"], False),
    "revoke": (REVOKE, 0, ["retiring"], False),
}
"""For each phase the request that is open, with how many like it came before; the states that are open when the run was
stopped then; and whether a value exists only in memory."""
