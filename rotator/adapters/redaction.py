"""Takes secrets out of text by their shape: the last line of defence, for logs and for messages from elsewhere.

Our own code puts no secret into a text; libraries and servers might. Imports the standard library only.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

MASK = "***"
LONGEST_TEXT = 8000
"""Characters of one text that are looked at and kept; the middle of a longer one is left out."""

SHORTEST_SECRET = 8
"""Characters of a secret in a row that may be nowhere."""
_FIELDS = (
    "client_secret|client_assertion|assertion|refresh_token|access_token|id_token|device_code|code_verifier"
    "|password|authorization"
)
_FIELD = re.compile(rf"(?:{_FIELDS})", re.IGNORECASE)

_PAT_IN_BYTES = re.compile(rb"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}|[a-z2-7]{52}")


def _mask_encoded(found: re.Match[str]) -> str:
    """Mask a run of base64 that a PAT can be read from, wherever in it that begins: alone, or behind a user's name."""
    run = found[0].rstrip("=").translate(_TO_BASE64)
    for start in range(4):
        piece = run[start:]
        piece = piece[: len(piece) - (len(piece) % 4 == 1)]
        if _PAT_IN_BYTES.search(base64.b64decode(piece + "=" * (-len(piece) % 4))):
            return MASK
    return found[0]


_TO_BASE64 = str.maketrans("-_", "+/")

# No pattern asks for a boundary in front: in the repr of a text a secret may follow the `n` of a line break.
_PATTERNS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    # PEM private keys, also when cut or with escaped line breaks.
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        MASK,
    ),
    # Authorization values.
    (re.compile(r"(Bearer|Basic)(\s+|%20)[A-Za-z0-9+/=._~%-]{16,}", re.IGNORECASE), rf"\1 {MASK}"),
    # JSON Web Tokens; the second part starts with an encoded brace as well, but may be cut.
    (re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}"), MASK),
    # Entra refresh tokens and authorization codes.
    (re.compile(r"[01]\.A[A-Za-z0-9_.-]{30,}"), MASK),
    # Entra client secrets.
    (re.compile(r"[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,34}"), MASK),
    # PATs: today's and the older ones.
    (re.compile(r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}"), MASK),
    (re.compile(r"[a-z2-7]{52,}"), MASK),
    # Base64 of a PAT, as a secret of Kubernetes or an .npmrc has it.
    (re.compile(r"[A-Za-z0-9+/_-]{70,}={0,2}"), _mask_encoded),
    # Base64 of a colon and a PAT, as Basic sends it: it begins with O and one of j to n.
    (re.compile(r"O[j-n][A-Za-z0-9+/_-]{66,}={0,2}"), MASK),
    # Fields of forms, of JSON and of a printed dict, whatever their value looks like. An authorization code's field
    # is `code`, but so are many harmless ones: it counts only in an address or a form.
    (re.compile(rf"({_FIELDS})=[^&\s\"']+", re.IGNORECASE), rf"\1={MASK}"),
    (re.compile(rf"({_FIELDS})(\\?[\"']\s*:\s*b?\\?[\"'])[^\"'\\]+", re.IGNORECASE), rf"\1\2{MASK}"),
    # A password on a command line or in a sentence, if it looks like one.
    (re.compile(r"(--password[\s=]+|password\s*(?:is|was|:)\s*)[\"']?[^\s\"']{8,}", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"(password\s+)[\"']?(?=[^\s\"']*[\d!#$%&*@^])[^\s\"']{8,}", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"(^|[?&\"'])code=[^&\s\"']+"), rf"\1code={MASK}"),
    # The password in an address, as of a database.
    (re.compile(r"(://[^/\s:@\"']*):[^/\s@\"']+@"), rf"\1:{MASK}@"),
)


_BLANKED = re.compile("(?<![A-Za-z0-9+=._~\0-])[A-Za-z0-9+=._~-]*+\0[A-Za-z0-9+=._~\0-]*+")
"""A word with something blanked in it. Each word is looked at once, however long it is."""


def redact_text(text: str) -> str:
    """Return the text without secrets. One above LONGEST_TEXT loses its middle."""
    text = _shorten(text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


_HALF = SHORTEST_SECRET // 2
_HALVES = re.compile(f".{{{_HALF}}}", re.DOTALL)


class Blanker:
    """Takes every word with eight characters of a secret in a row out of texts: services cut what they repeat."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets
        self._are_long = all(len(secret) >= SHORTEST_SECRET for secret in secrets)
        # Eight characters in a row have four of these, wherever they begin: a text without one has nothing of a secret.
        self._halves = {half for secret in secrets for half in _HALVES.findall(secret)}

    @cached_property
    def _pieces(self) -> set[str]:
        return {piece for secret in self._secrets for piece in _cut(secret)}

    def clean(self, text: str) -> str:
        """Return the text without them."""
        if len(text) < SHORTEST_SECRET:
            return text
        if self._are_long and self._halves.isdisjoint(text[at : at + _HALF] for at in range(len(text) - _HALF + 1)):
            return text
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        found = [start for start, piece in enumerate(_cut(text)) if piece in self._pieces]
        if not found:
            return text
        signs = list(text)
        for start in found:
            signs[start : start + SHORTEST_SECRET] = "\0" * SHORTEST_SECRET
        # With the rest of its word: of another token that begins alike, what is left would no longer have a shape.
        return _BLANKED.sub(MASK, "".join(signs))


def _cut(text: str) -> Iterator[str]:
    return (text[start : start + SHORTEST_SECRET] for start in range(len(text) - SHORTEST_SECRET + 1))


def is_secret_field(name: str) -> bool:
    """Return whether what goes by this name is a secret."""
    return _FIELD.fullmatch(name) is not None


def redact_value(value: object, *, key: object = None, clean: Callable[[str], str] = redact_text) -> object:
    """Numbers, booleans and None as they are; texts cleaned; lists and mappings item by item; others as text.

    Masked whole when `key`, the name it goes by, is a secret's. The result is made of JSON's types.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(key, str) and is_secret_field(key):
        return MASK
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bytes):
        return clean(value.decode(errors="replace"))
    if isinstance(value, Mapping):
        return {clean(str(name)): redact_value(item, key=name, clean=clean) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value(item, clean=clean) for item in value]
    return clean(str(value) if isinstance(value, BaseException) else repr(value))


def shorten(text: str, longest: int) -> str:
    """Return a redacted text without its middle, if it is longer: what matters comes first or last."""
    if len(text) <= longest:
        return text
    head = longest // 3
    return f"{text[:head]} ... {text[len(text) - (longest - head - 5) :]}"


def _shorten(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    # A secret that the cut goes through no longer has its shape: the whole run of such characters goes.
    head = re.sub(r"[A-Za-z0-9+/=._~%-]+\Z", "", text[: LONGEST_TEXT // 2])
    tail = re.sub(r"\A[A-Za-z0-9+/=._~%-]+", "", text[-LONGEST_TEXT // 2 :])
    return f"{head}[... {len(text) - len(head) - len(tail)} characters left out ...]{tail}"
