"""What the sandbox's record shows, as a few kinds of requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum


class Kind(StrEnum):
    """A request, named by what it is for; in the order in which one rotation and its revocation send them."""

    SIGN_IN = "Entra"
    IDENTITY = "GET connectionData (account)"
    LIST = "GET pats (list)"
    PAT = "GET pats (one)"
    CHALLENGE = "vault, unauthenticated (401)"
    VERSIONS = "GET secret versions"
    TAGS = "PATCH secret tags"
    MINT = "POST pats"
    PROBE = "GET connectionData (new PAT)"
    STORE = "PUT secret"
    SECRET = "GET secret"
    REVOKE = "DELETE pats"


RUN_WIDE = (Kind.SIGN_IN, Kind.IDENTITY, Kind.LIST)
"""Those that come first, once for all PATs."""

_PATTERNS = (
    ("entra [A-Z]+ ", Kind.SIGN_IN),
    ("azure_devops GET Bearer .*/connectionData", Kind.IDENTITY),
    ("azure_devops GET Basic .*/connectionData", Kind.PROBE),
    (r"azure_devops GET Bearer .*/pats\?.*authorizationId", Kind.PAT),
    (r"azure_devops GET Bearer .*/pats\?", Kind.LIST),
    ("azure_devops POST Bearer .*/pats", Kind.MINT),
    ("azure_devops DELETE Bearer .*/pats", Kind.REVOKE),
    ("key_vault [A-Z]+ none ", Kind.CHALLENGE),
    ("key_vault GET Bearer /secrets/[^/]+/versions", Kind.VERSIONS),
    ("key_vault GET Bearer /secrets/", Kind.SECRET),
    ("key_vault PATCH Bearer /secrets/", Kind.TAGS),
    ("key_vault PUT Bearer /secrets/", Kind.STORE),
)


def classify(service: str, method: str, path: str, query: Mapping[str, str], auth: str) -> Kind:
    """The kind of a recorded request. ValueError for one that the bare sequence could not repeat."""
    text = f"{service} {method} {auth} {path}?{' '.join(query)}"
    for pattern, kind in _PATTERNS:
        if re.match(pattern, text):
            return kind
    raise ValueError(f"a request that the benchmark does not know: {text}")
