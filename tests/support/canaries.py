"""Every secret of a sandbox's world, the ways in which it could be written, and where it may go.

A secret counts as found when twenty characters in a row of any of its spellings are there: a truncated one is still
a leak.
"""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from rotator.sandbox.record import RecordedRequest
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import CLIENT_ID, TENANT_ID, USER_ID

PAT = "PAT"
DEVOPS_BEARER = "Azure DevOps bearer"
VAULT_BEARER = "Key Vault bearer"
REFRESH_TOKEN = "refresh token"
ID_TOKEN = "id token"
CLIENT_SECRET = "client secret"
PRIVATE_KEY = "private key"
CACHE_KEY = "token cache key"
PASSWORD = "database password"
AUTHORIZATION_CODE = "authorization code"
DEVICE_CODE = "device code"
CHECK_KEY = "key of a check"
RECEIVER = "address or key of a receiver"

CUT = 20
"""How many characters of a spelling reveal a secret."""
PUBLIC = (f'tid": "{TENANT_ID}"', CLIENT_ID, USER_ID)
"""What a bearer token contains in base64 and the sign-in library logs in base64 too; none of it is a secret."""
# A window of CUT characters always contains a whole seed that starts at a multiple of STRIDE.
_SEED = 10
_STRIDE = CUT - _SEED + 1

_BEARERS = {"azure_devops": DEVOPS_BEARER, "key_vault": VAULT_BEARER}
_FORM_SECRETS = {
    "refresh_token": REFRESH_TOKEN,
    "code": AUTHORIZATION_CODE,
    "device_code": DEVICE_CODE,
    "code_verifier": "code verifier",
    "client_assertion": "client assertion",
    "client_secret": CLIENT_SECRET,
}
"""Fields that may only be sent to Entra's token endpoint."""


@dataclass(frozen=True)
class Canary:
    """A secret and its kind."""

    kind: str
    value: str


@dataclass(frozen=True)
class Find:
    """A secret in a place where it must not be. `excerpt` is the part of a spelling that was found."""

    place: str
    kinds: frozenset[str]
    excerpt: bytes


class CanarySearch:
    """Searches for all spellings of the canaries, and for parts of them."""

    def __init__(self, canaries: set[Canary]) -> None:
        self._kinds: dict[bytes, set[str]] = defaultdict(set)
        for canary in canaries:
            for window in _cut(canary.value):
                self._kinds[window].add(canary.kind)
        for public in PUBLIC:
            for window in _cut(public):
                self._kinds.pop(window, None)
        self._seeds = {window[start : start + _SEED] for window in self._kinds for start in (0, CUT - _SEED)}

    def find(self, data: bytes, place: str) -> Iterator[Find]:
        """Find them in the data; give one find for each run of characters."""
        end = 0
        for seed in range(0, len(data) - _SEED + 1, _STRIDE):
            if data[seed : seed + _SEED] not in self._seeds:
                continue
            for start in range(max(0, end, seed + _SEED - CUT), seed + 1):
                kinds = self._kinds.get(data[start : start + CUT])
                if kinds is not None:
                    end = start + CUT
                    yield Find(place, frozenset(kinds), data[start:end])
                    break


def _cut(value: str) -> Iterator[bytes]:
    for spelling in spell(value):
        for start in range(len(spelling) - CUT + 1):
            yield spelling[start : start + CUT]


def spell(value: str) -> set[bytes]:
    """Spell a text in every likely way: plain, base64 at each alignment, URL-encoded, hex, JSON, reversed."""
    raw = value.encode()
    in_json = json.dumps(value)[1:-1]
    quoted = quote(value, safe="")
    texts = {value, quoted, quoted.replace("%20", "+"), re.sub("%..", lambda found: found[0].lower(), quoted)}
    texts |= {in_json, in_json.replace("/", "\\/"), value[::-1], in_json[::-1], raw.hex(), raw.hex().upper()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        texts |= {encode(raw).decode(), encode(b":" + raw).decode()}
        # After one or two unknown bytes: the first characters depend on them, the last one on what follows.
        texts |= {encode(b"." * count + raw).decode().rstrip("=")[count + 1 : -1] for count in (1, 2)}
    return {text.encode() for text in texts}


def collect_canaries(sandbox: Sandbox) -> set[Canary]:
    """Collect what the stand-ins know, and what was sent to the token endpoint."""
    world, state = sandbox.world, sandbox.entra.state
    with world.lock:
        values = {pat.value for pat in world.pats.values()}
        values |= {v.value for vault in world.vaults.values() for s in vault.secrets.values() for v in s.versions}
        found = {Canary(PAT, value) for value in values}
        found |= {Canary(_BEARERS[token.resource], token.value) for token in world.access_tokens.values()}
        found |= {Canary(REFRESH_TOKEN, value) for value in world.refresh_tokens}
        found |= {Canary(AUTHORIZATION_CODE, value) for value in state.authorization_codes}
        found |= {Canary(DEVICE_CODE, value) for value in state.device_codes}
        found |= {Canary(CLIENT_SECRET, app.secret) for app in world.apps.values() if app.secret}
    for entry in world.record.all("entra", "POST"):
        if entry.path.endswith("/token"):
            fields = parse_qsl(entry.body.decode())
            found |= {Canary(_FORM_SECRETS[name], value) for name, value in fields if name in _FORM_SECRETS}
    return found


def find_strays(search: CanarySearch, entry: RecordedRequest) -> tuple[list[Find], set[tuple[str, str]]]:
    """Return the secrets that must not be in a request, and the (kind, service) of those that may."""
    places = {"address": f"{entry.path}?{json.dumps(dict(entry.query))}".encode(), **_open_body(entry)}
    places |= {f"header {name}": value.encode() for name, value in entry.headers.items()}
    strays, rightful = [], set()
    for place, data in places.items():
        allowed = _find_allowed(entry, place.lower())
        for found in search.find(data, f"{entry.service} {entry.method} {entry.path}: {place}"):
            # Two kinds can begin with the same letters: such a part may be of either.
            if found.kinds & allowed:
                rightful |= {(kind, entry.service) for kind in found.kinds & allowed}
            else:
                strays.append(found)
    return strays, rightful


def _find_allowed(entry: RecordedRequest, place: str) -> set[str]:
    """Return the kinds that may be in this place of this request."""
    if entry.service == "entra":
        is_token_call = entry.method == "POST" and entry.path.endswith("/token")
        return set(_FORM_SECRETS.values()) if is_token_call and place == "body" else set()
    if place == "header authorization":
        if entry.auth == "Bearer":
            return {_BEARERS[entry.service]}
        is_probe = entry.service == "azure_devops" and entry.path.endswith("/_apis/connectionData")
        return {PAT} if is_probe and entry.auth == "Basic" and entry.method == "GET" else set()
    return {PAT} if entry.service == "key_vault" and entry.method == "PUT" and place == "body's value" else set()


def _open_body(entry: RecordedRequest) -> dict[str, bytes]:
    """Split the body: what is written to a vault has tags, and a value that the vault may see."""
    if entry.service != "key_vault" or entry.method != "PUT" or not entry.body:
        return {"body": entry.body}
    document = json.loads(entry.body)
    value = str(document.pop("value", ""))
    return {"body's value": value.encode(), "body": json.dumps(document).encode()}
