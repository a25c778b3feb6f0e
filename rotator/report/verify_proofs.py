"""The arithmetic of `verify.py`, which has no other part: hashes, trees of them, Ed25519 signatures and keys.

It stands in the `verify.py` of an archive, as text (`archive.py`): so it needs Python's standard library alone.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Iterator

_OLDEST = (3, 9)
if sys.version_info < _OLDEST:
    sys.exit("FAILED: verify.py needs Python 3.9 or newer.")

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)

Point = tuple[int, int, int, int]
_NEUTRAL: Point = (0, 1, 1, 0)


def decode_point(data: bytes) -> Point | None:
    """Return a point of the curve from its 32 bytes (RFC 8032, 5.1.3), in extended coordinates; None for no point."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    above, below = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = above * pow(below, 3, _P) * pow(above * pow(below, 7, _P), (_P - 5) // 8, _P) % _P
    if (below * x * x - above) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if y >= _P or (below * x * x - above) % _P or (x == 0 and sign):
        return None
    x = _P - x if x & 1 != sign else x
    return (x, y, 1, x * y % _P)


def add_points(one: Point, other: Point) -> Point:
    """Return the sum of two points (RFC 8032, 5.1.4)."""
    a, b = (one[1] - one[0]) * (other[1] - other[0]) % _P, (one[1] + one[0]) * (other[1] + other[0]) % _P
    c, d = 2 * one[3] * other[3] * _D % _P, 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


_BASE = decode_point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little")) or _NEUTRAL


def is_signed(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether a key made this Ed25519 signature (RFC 8032, 5.1.7)."""
    if len(signature) != 64 or len(public_key) != 32:
        return False
    key, made, scalar = decode_point(public_key), decode_point(signature[:32]), int.from_bytes(signature[32:], "little")
    if key is None or made is None or scalar >= _ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % _ORDER
    minus: Point = (_P - key[0], key[1], 1, _P - key[3])
    both, total = add_points(_BASE, minus), _NEUTRAL
    for bit in range(max(scalar.bit_length(), challenge.bit_length()) - 1, -1, -1):
        total = add_points(total, total)
        chosen = 2 * (scalar >> bit & 1) + (challenge >> bit & 1)
        total = add_points(total, (_NEUTRAL, minus, _BASE, both)[chosen])
    return (total[0] - made[0] * total[2]) % _P == 0 and (total[1] - made[1] * total[2]) % _P == 0


def hash_nodes(left: bytes, right: bytes, kind: bytes = b"\x01") -> bytes:
    """Return the hash of two subtrees (RFC 6962), or of a leaf by its own kind."""
    return hashlib.sha256(kind + left + right).digest()


def fold(peaks: list[bytes]) -> bytes:
    """Return the root of a tree from its peaks."""
    root = peaks[-1] if peaks else hashlib.sha256().digest()
    for peak in peaks[-2::-1]:
        root = hash_nodes(peak, root)
    return root


def climb(index: int, last: int, proof: list[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield each node of a proof, and whether it stands at the left. ValueError unless the proof ends at the root."""
    for other in proof:
        if not last:
            raise ValueError("the proof is too long")
        is_left = bool(index & 1) or index == last
        yield other, is_left
        while is_left and index and not index & 1:
            index, last = index >> 1, last >> 1
        index, last = index >> 1, last >> 1
    if last:
        raise ValueError("the proof is too short")


def is_included(data: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> bool:
    """Whether the data are the leaf at `index` of the tree of that size and root."""
    node = hash_nodes(data, b"", b"\x00")
    for other, is_left in climb(index, size - 1, proof):
        node = hash_nodes(other, node) if is_left else hash_nodes(node, other)
    return node == root


def is_consistent(old_size: int, old_root: bytes, size: int, root: bytes, proof: list[bytes]) -> bool:
    """Whether the tree of `size` has the older one as its beginning."""
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    index, last = old_size - 1, size - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    old = new = path[0]
    for other, is_left in climb(index, last, path[1:]):
        old = hash_nodes(other, old) if is_left else old
        new = hash_nodes(other, new) if is_left else hash_nodes(new, other)
    return old == old_root and new == root


def grow(peaks: list[bytes], size: int, data: bytes) -> None:
    """Add a leaf to a tree of that size, kept as its peaks."""
    node = hash_nodes(data, b"", b"\x00")
    while size & 1:
        node, size = hash_nodes(peaks.pop(), node), size >> 1
    peaks.append(node)


def decode_key(text: str) -> bytes:
    """Return a public key that is written in hex or base64. ValueError for any other text."""
    key = bytes.fromhex(text) if len(text := text.strip()) == 64 else base64.b64decode(text, validate=True)
    if len(key) != 32:
        raise ValueError("not 32 bytes")
    return key


def identify(keys: list[bytes]) -> dict[str, bytes]:
    """Return public keys by their ids."""
    return {hashlib.sha256(key).hexdigest()[:16]: key for key in keys}
