"""Check an evidence archive of rotator, unpacked: `python3 -I verify.py [--public-key HEX]` beside its files.

It needs Python 3.9 or newer and nothing else. It ends with 1 if anything is not as it was signed. Whoever changes an
archive can change this program too: if that matters, get it, and the public key, from whoever runs rotator.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MANIFEST, SIGNATURE, KEYS, CHECKPOINTS = "manifest.json", "signature.json", "public-keys.txt", "checkpoints.jsonl"
_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)

Point = tuple[int, int, int, int]
_NEUTRAL: Point = (0, 1, 1, 0)


class Fault(Exception):
    """Something is not as it was written."""


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


def decode_key(text: str) -> bytes:
    """Return a public key that is written in hex or base64. ValueError for any other text."""
    key = bytes.fromhex(text) if len(text := text.strip()) == 64 else base64.b64decode(text, validate=True)
    if len(key) != 32:
        raise ValueError("not 32 bytes")
    return key


def spell(document: dict[str, Any]) -> bytes:
    """Return the one spelling of a document, as rotator signs it."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_spelled(data: bytes, what: str) -> dict[str, Any]:
    """Return a document; Fault unless it is in its one spelling."""
    document = json.loads(data)
    if not isinstance(document, dict) or spell(document) != data:
        raise Fault(what + " is not as rotator writes it")
    return document


def identify(keys: list[bytes]) -> dict[str, bytes]:
    """Return public keys by their ids."""
    return {hashlib.sha256(key).hexdigest()[:16]: key for key in keys}


class Change:
    """A change of the key. The new key signed it, and the old one, unless it was lost. Fault if one did not."""

    def __init__(self, line: bytes) -> None:
        event = json.loads(line)
        said: dict[str, Any] = event["details"]
        self.number, self.size, self.head = event["sequence"], said["size"], said["head"]
        self.hash = hashlib.sha256(line).hexdigest()
        self.old, self.new = decode_key(said["old_key"]), decode_key(said["new_key"])
        [self.old_id, self.new_id], self.is_lost = identify([self.old, self.new]), "signature" not in said
        names = ("installation", "size", "head", "old_key", "new_key")
        data = spell({"purpose": "rotator-audit-key-change", "version": 1, **{name: said[name] for name in names}})
        for name, key in (("new_signature", self.new), ("signature", self.old))[: 1 if self.is_lost else 2]:
            if not is_signed(data, base64.b64decode(said[name]), key):
                raise Fault(f"the change of the key in event {self.number} has a signature that does not fit")


class Archive:
    """The unpacked archive in a folder."""

    def __init__(self, folder: Path, keys: list[bytes]) -> None:
        self._folder, self._given = folder, bool(keys)
        self._keys, self._size = identify(keys), 0
        self.proven, self.open = list[str](), list[str]()
        self._roots, self._hashes = dict[int, tuple[bytes, str]](), dict[int, str]()

    def check(self) -> None:
        """Check everything. Fault names the first thing that is wrong."""
        self._check_manifest()
        self._check_content()

    def _check_content(self) -> None:
        self._check_files()
        self._proofs = read_spelled((self._folder / "proofs.json").read_bytes(), "proofs.json")
        self._checkpoints = [read_spelled(line, "a line of " + CHECKPOINTS) for line in self._read_lines(CHECKPOINTS)]
        for check in (self._check_signatures, self._check_events, self._check_consistency, self._check_inclusion):
            check()
        self._check_anchors()
        if not (log := json.loads((self._folder / "report.json").read_bytes())["log"])["valid"]:
            raise Fault("rotator itself found that the log was changed: " + log["error"]["message"])

    def _note(self, said: list[str], count: int, what: str) -> None:
        said.extend([f"{count} {what}"] if count else [])

    def _read_lines(self, name: str) -> Iterator[bytes]:
        with (self._folder / name).open("rb") as lines:
            yield from (line[:-1] if line.endswith(b"\n") else line for line in lines)

    def _check_manifest(self) -> None:
        data, signature = ((self._folder / name).read_bytes() for name in (MANIFEST, SIGNATURE))
        signed = read_spelled(signature, SIGNATURE)
        self._manifest = read_spelled(data, MANIFEST)
        if signed["sha256"] != hashlib.sha256(data).hexdigest() or self._manifest["purpose"] != "rotator-evidence":
            raise Fault(f"{MANIFEST} is not the one that {SIGNATURE} names")
        if not self._given:
            self._keys = identify([decode_key(line.decode()) for line in self._read_lines(KEYS)])
        named = set(self._keys)
        self._follow_keys()
        what = "It is of {since} to {until}, of {installation}, made at {made_at}.".format_map(self._manifest)
        if signed["key"] is None and self._given:
            raise Fault("the archive is not signed, although you named a key")
        if signed["key"] is None:
            self.open.append("The archive is not signed: that its files fit each other is all that it proves. " + what)
            return
        if signed["key"] not in self._keys or signed["key"] in self._changes:
            raise Fault(f"the archive is signed with the key {signed['key']}, which is none of the keys to check with")
        if not is_signed(data, bytes.fromhex(signed["signature"]), self._keys[signed["key"]]):
            raise Fault("the signature of the manifest does not fit" + self._find_more())
        whose = "" if signed["key"] in named else "a key that follows from "
        whose += "the key that you named" if self._given else "the key that lies in the archive"
        self.proven.append(f"The manifest is signed with {whose}, {signed['key']}. {what}")

    def _find_more(self) -> str:
        try:
            self._check_content()
        except Fault as fault:
            return f"; of what the manifest names, {fault}"
        return "; all that it names fits"

    def _follow_keys(self) -> None:
        """Believe the keys that a believed one names: those before it, then those after it."""
        changes = [Change(line) for line in self._read_lines("key-changes.jsonl")]
        self._changes = {change.old_id: change for change in changes}
        if len(self._changes) < len(changes) or len({change.new_id for change in changes}) < len(changes):
            raise Fault("more than one key follows a key, or is followed by one")
        for change in reversed(changes):
            if change.new_id in self._keys:
                self._keys[change.old_id] = change.old
        for change in changes:
            if change.old_id in self._keys and not change.is_lost:
                self._keys[change.new_id] = change.new
            how = "the new key alone, as after the loss of the old one" if change.is_lost else "both"
            what = f"the key {change.new_id} signs, in place of {change.old_id}: signed by {how}"
            self.proven.append(f"From event {change.number} on {what}.")

    def _check_files(self) -> None:
        files = self._manifest["files"]
        for name, digest in sorted(files.items()):
            if hashlib.sha256((self._folder / name).read_bytes()).hexdigest() != digest:
                raise Fault(f"{name} was changed: the manifest names other content")
        paths = [path for path in self._folder.rglob("*") if path.is_symlink() or not path.is_dir()]
        there = {path.relative_to(self._folder).as_posix() for path in paths}
        if extra := sorted(there - set(files) - {MANIFEST, SIGNATURE}):
            raise Fault(f"{extra[0]} is not in the manifest")
        self.proven.append(f"All {len(files)} files are those that the manifest names.")

    def _check_signatures(self) -> None:
        signed = unknown = 0
        for found in self._checkpoints:
            size = found["size"]
            if size <= self._size:
                raise Fault(f"the checkpoint of {size} events does not follow the one of {self._size}")
            self._size, self._roots[size] = size, (bytes.fromhex(found["root"]), found["head"])
            if found["key"] not in self._keys:
                unknown += 1
                continue
            if found["key"] in self._changes and size > self._changes[found["key"]].size:
                raise Fault(f"the checkpoint of {size} events is signed with a key that had been replaced by then")
            statement = {name: value for name, value in found.items() if name != "signature"}
            if not is_signed(spell(statement), bytes.fromhex(found["signature"]), self._keys[found["key"]]):
                raise Fault(f"the signature of the checkpoint of {size} events does not fit")
            signed += 1
        self._note(self.proven, signed, f"checkpoints have signatures that fit; the newest has {self._size} events.")
        self._note(self.open, unknown, "checkpoints are not signed with a key to check with.")
        if not self._checkpoints:
            self.open.append("There is no checkpoint: only the events themselves say what the log was.")

    def _check_events(self) -> None:
        first, last = self._manifest["first"], self._manifest["last"]
        peaks = [bytes.fromhex(peak) for peak in self._proofs["peaks"]]
        size, previous, sealed = first - 1 if first else 0, "", 0
        for line in self._read_lines("events.jsonl"):
            event = json.loads(line)
            size += 1
            if event["sequence"] != size:
                raise Fault(f"event {size} is missing, or is not where it belongs")
            if previous and event["previous_hash"] != previous:
                raise Fault(f"event {size - 1} was altered, or {size} was: they do not fit")
            previous = hashlib.sha256(line).hexdigest()
            if size == first:
                self._compare(size - 1, peaks, event["previous_hash"])
            grow(peaks, size - 1, bytes.fromhex(previous))
            self._hashes[size] = previous
            sealed = size if self._compare(size, peaks, previous) else sealed
        if (size, previous or None) != (last if first else 0, self._manifest["head"]):
            raise Fault("the events do not end with the one that the manifest names")
        if 0 < size < self._size:
            self._compare_grown(size, fold(peaks), self._size)
            sealed = size
        if not first:
            self.open.append("The period has no events.")
            return
        covered = f" Up to {sealed} they are those that the checkpoints cover." if sealed else ""
        self.proven.append(f"The events {first} to {last} follow each other, and none was altered.{covered}")

    def _compare(self, size: int, peaks: list[bytes], head: str | None) -> bool:
        known = self._roots.get(size)
        if known is None or (size == 0 and not peaks):
            return False
        if fold(peaks) != known[0] or (head is not None and head != known[1]):
            raise Fault(f"the events up to {size} are not those that the checkpoint of {size} events covers")
        return True

    def _compare_grown(self, old: int, root: bytes, new: int) -> None:
        proof = [bytes.fromhex(node) for node in self._proofs["consistency"][f"{old}-{new}"]]
        if not is_consistent(old, root, new, self._roots[new][0], proof):
            raise Fault(f"the log of {new} events does not go on from that of {old}")

    def _check_consistency(self) -> None:
        first, last = max(0, self._manifest["first"] - 1), self._manifest["last"]
        sizes = [found["size"] for found in self._checkpoints]  # those between the events follow from these
        pairs = [(sizes[n - 1], sizes[n]) for n in range(1, len(sizes)) if sizes[n - 1] < first or last < sizes[n]]
        for old, new in pairs:
            self._compare_grown(old, self._roots[old][0], new)
        self._note(self.proven, len(pairs), "checkpoints from outside of the period go on from the ones before them.")

    def _check_inclusion(self) -> None:
        for line in self._read_lines("cited.jsonl"):
            self._hashes[json.loads(line)["sequence"]] = hashlib.sha256(line).hexdigest()
        heads = {**self._hashes, **{size: head for size, (_, head) in self._roots.items()}}
        for change in self._changes.values():
            if self._hashes.get(change.number, change.hash) != change.hash:
                raise Fault(f"event {change.number} is another one than the change of the key")
            if (found := heads.get(change.size)) not in (None, change.head):
                raise Fault(f"the key was changed after event {change.size}, and that is another one here: {found}")
        away = sum(change.size not in heads for change in self._changes.values())
        self._note(self.open, away, "changes of the key are from after an event that is not here.")
        first, last = self._manifest["first"], self._manifest["last"]
        ends = {number for number in (first, min(last, self._size)) if 0 < first <= number}
        outside = {number for number in self._hashes if not first <= number <= last}
        numbers = [number for number in sorted(ends | outside) if number <= self._size]
        for number in numbers:
            proof = [bytes.fromhex(node) for node in self._proofs["inclusion"][str(number)]]
            leaf, root = bytes.fromhex(self._hashes[number]), self._roots[self._size][0]
            if not is_included(leaf, number - 1, self._size, proof, root):
                raise Fault(f"event {number} is not in the log that the newest checkpoint covers")
        self._note(self.proven, len(numbers), "events, and all those between, are in the log of the newest checkpoint.")
        late = sum(number > self._size for number in self._hashes)
        self._note(self.open, late, "events are newer than the newest checkpoint: only the manifest covers them.")

    def _check_anchors(self) -> None:
        anchors = [read_spelled(line, "a line of anchors.jsonl") for line in self._read_lines("anchors.jsonl")]
        found = [(anchor, self._hashes.get(anchor["sequence"])) for anchor in anchors]
        fits, elsewhere = sum(digest == anchor["hash"] for anchor, digest in found), sum(not one[1] for one in found)
        for anchor, digest in found:
            if digest not in (None, anchor["hash"]) and not anchor["accepted"]:
                raise Fault("event {sequence} is another one than the anchor names: {name}".format(**anchor))
        self._note(self.proven, fits, "anchors, of vaults and other places, name events that are here, and fit.")
        self._note(self.open, elsewhere, "anchors, of vaults and other places, name events that are not here.")
        stamps = sum(name.endswith(".tsr") for name in self._manifest["files"])
        self._note(self.open, stamps, "time stamps are for `openssl ts -verify`: README.txt says how to check them.")
        if not anchors:
            self.open.append("The archive holds no anchors: nobody asked for them, or there were none.")


def grow(peaks: list[bytes], size: int, data: bytes) -> None:
    """Add a leaf to a tree of that size, kept as its peaks."""
    node = hash_nodes(data, b"", b"\x00")
    while size & 1:
        node, size = hash_nodes(peaks.pop(), node), size >> 1
    peaks.append(node)


def show(lines: list[str], code: int) -> int:
    """Print lines without what a terminal obeys: whoever changed the archive may have named files. Return the code."""
    print("\n".join("".join(one if " " <= one <= "~" else "?" for one in line) for line in lines))
    return code


def main() -> int:
    """Check the archive in the folder of this program, and say what was proved."""
    parser = argparse.ArgumentParser(description="Check an evidence archive of rotator.")
    parser.add_argument("--public-key", action="append", default=[], metavar="HEX", help="the key; repeatable")
    try:
        keys = [decode_key(text) for text in parser.parse_args().public_key]
    except ValueError:
        parser.error("--public-key is no Ed25519 key: write its 32 bytes in hex")
    archive = Archive(Path(__file__).resolve().parent, keys)
    try:
        archive.check()
    except (Fault, OSError, LookupError, AttributeError, RecursionError, TypeError, ValueError) as error:
        odd = f"the archive is not as rotator writes it ({type(error).__name__}: {error})"
        away = f"{error.filename} cannot be read: {error.strerror}" if isinstance(error, OSError) else ""
        return show([f"FAILED: {error if isinstance(error, Fault) else away or odd}."], 1)
    archive.open.append("The page and report.json were not compared with the events: the manifest covers them.")
    archive.open.append("Nothing shows what the log does not tell, or what came after its last checkpoint and anchor.")
    said = [f"proved: {line}" for line in archive.proven] + [f"not proved: {line}" for line in archive.open]
    alone = "WITHOUT THE KEY FROM OUTSIDE (--public-key HEX) THIS PROVES NOTHING AGAINST WHOEVER MADE THE ARCHIVE."
    return show([*said, "The archive is as it was made." if keys else alone], 0)


if __name__ == "__main__":
    sys.exit(main())
