"""Check an evidence archive of rotator, unpacked: `python3 -I verify.py [--public-key HEX]` beside its files.

It needs Python 3.9 or newer and nothing else. It ends with 1 if anything is not as it was signed. Whoever changes an
archive can change this program too: if that matters, get it, and the public key, from whoever runs rotator.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import sys
from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rotator.report.verify_proofs import (
    decode_key,
    fold,
    grow,
    identify,
    is_consistent,
    is_included,
    is_signed,
)

MANIFEST, SIGNATURE, KEYS, CHECKPOINTS = "manifest.json", "signature.json", "public-keys.txt", "checkpoints.jsonl"
LATE = timedelta(hours=25)


class Fault(Exception):
    """Something is not as it was written."""


def spell(document: dict[str, Any]) -> bytes:
    """Return the one spelling of a document, as rotator signs it."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_spelled(data: bytes, what: str) -> dict[str, Any]:
    """Return a document; Fault unless it is in its one spelling."""
    document = json.loads(data)
    if not isinstance(document, dict) or spell(document) != data:
        raise Fault(what + " is not as rotator writes it")
    return document


def check_kind(path: Path) -> Path:
    """Return a path; Fault for a link, whose target may change, and for a pipe or device, which may never end."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise Fault(path.name + " is not a file of its own")
    return path


def read_signature(data: bytes) -> dict[str, Any]:
    """Return what is signed of the manifest; Fault unless it is in its one spelling, its hex too."""
    found = read_spelled(data, SIGNATURE)
    made = None if found["key"] is None else bytes.fromhex(found["signature"]).hex()
    if found != {"sha256": found["sha256"], "key": found["key"], "signature": made}:
        raise Fault(SIGNATURE + " is not as rotator writes it")
    return found


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


def follow(keys: dict[str, bytes], changes: list[Change]) -> set[str]:
    """Add the keys that a known one names: those before it, then those after it. Return the ids of all."""
    for change in reversed(changes):
        if change.new_id in keys:
            keys[change.old_id] = change.old
    for change in changes:
        if change.old_id in keys and not change.is_lost:
            keys[change.new_id] = change.new
    return set(keys)


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
        self._check_report()

    def _note(self, said: list[str], count: int, what: str) -> None:
        said.extend([f"{count} {what}"] if count else [])

    def _read_lines(self, name: str) -> Iterator[bytes]:
        with check_kind(self._folder / name).open("rb") as lines:
            yield from (line[:-1] if line.endswith(b"\n") else line for line in lines)

    def _check_manifest(self) -> None:
        data, signature = (check_kind(self._folder / name).read_bytes() for name in (MANIFEST, SIGNATURE))
        signed = read_signature(signature)
        self._manifest, self._signer = read_spelled(data, MANIFEST), signed["key"]
        if signed["sha256"] != hashlib.sha256(data).hexdigest() or self._manifest["purpose"] != "rotator-evidence":
            raise Fault(f"{MANIFEST} is not the one that {SIGNATURE} names")
        if not self._given:
            self._keys = self._load_keys()
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

    def _load_keys(self) -> dict[str, bytes]:
        return identify([decode_key(line.decode()) for line in self._read_lines(KEYS)])

    def _find_more(self) -> str:
        try:
            self._check_content()
        except Fault as fault:
            return f"; of what the manifest names, {fault}"
        return "; all that it names fits"

    def _follow_keys(self) -> None:
        """Believe the keys that a believed one names, and tell of each change."""
        changes = [Change(line) for line in self._read_lines("key-changes.jsonl")]
        self._changes = {change.old_id: change for change in changes}
        if len(self._changes) < len(changes) or len({change.new_id for change in changes}) < len(changes):
            raise Fault("more than one key follows a key, or is followed by one")
        follow(self._keys, changes)
        for change in changes:
            how = "the new key alone, as after the loss of the old one" if change.is_lost else "both"
            what = f"the key {change.new_id} signs, in place of {change.old_id}: signed by {how}"
            self.proven.append(f"From event {change.number} on {what}.")

    def _check_files(self) -> None:
        files = self._manifest["files"]
        for name, digest in sorted(files.items()):
            if hashlib.sha256(check_kind(self._folder / name).read_bytes()).hexdigest() != digest:
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
        size, previous, sealed, begun = first - 1 if first else 0, "", 0, dict[int, str]()
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
            if size == first or size - 1 in self._roots:
                begun[size] = event["occurred_at"]
        if (size, previous or None) != (last if first else 0, self._manifest["head"]):
            raise Fault("the events do not end with the one that the manifest names")
        if 0 < size < self._size:
            self._compare_grown(size, fold(peaks), self._size)
            sealed = size
        if not first:
            self.open.append("The period has no events.")
            return
        self._tell_late(begun)
        covered = f" Up to {sealed} they are those that the checkpoints cover." if sealed else ""
        self.proven.append(f"The events {first} to {last} follow each other, and none was altered.{covered}")

    def _tell_late(self, begun: dict[int, str]) -> None:
        """Tell of the checkpoint that was made the latest. `begun`: the time of the first event that each covers."""
        sizes, late = list(self._roots), [(LATE, 0, 0)]
        for number, at in begun.items():
            if (place := bisect_left(sizes, number)) < len(sizes):
                made = datetime.fromisoformat(self._checkpoints[place]["made_at"])
                late.append((made - datetime.fromisoformat(at), sizes[place], number))
        lag, size, first = max(late)
        if size:
            what = f"The checkpoint of {size} events was made {str(lag).split('.')[0]} after event {first}"
            why = "the oldest here that only it covers: nobody ran rotator in between, or somebody wrote the log anew."
            self.open.append(f"{what}, {why}")

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
        if not stamps:
            self.open.append("The archive holds no time stamps: when it was written is by rotator's own clocks alone.")
        if not anchors:
            self.open.append("The archive holds no anchors: nobody asked for them, or there were none.")

    def _check_report(self) -> None:
        """Hold what report.json and the page say of the log against the rest: who signs anew may leave them as is."""
        log = json.loads((self._folder / "report.json").read_bytes())["log"]
        if not log["valid"]:
            raise Fault("rotator itself found that the log was changed: " + log["error"]["message"])
        told, here = identify([decode_key(key) for key in log["public_keys"]]), self._load_keys()
        known, changes = {*here, *({self._signer} - {None})}, list(self._changes.values())
        if not known <= follow(dict(told), changes) or not set(told) <= follow(dict(here), changes):
            named, found = (", ".join(sorted(ids)) or "none" for ids in (told, known))
            why = "and no change of the key explains it: somebody else signed it than the report is of"
            raise Fault(f"report.json names the key {named}, and the archive the key {found}, {why}")
        last = log["last"] if (log["last"] or 0) > log["archived"] else 0
        if last != self._manifest["last"]:
            raise Fault(f"report.json tells of events up to {last}, and the archive up to {self._manifest['last']}")
        if (newest := log["newest_checkpoint"]) and newest not in [
            {name: found[name] for name in newest} for found in self._checkpoints
        ]:
            raise Fault(f"the checkpoint of {newest['size']} events that report.json names is not here")
        page = (self._folder / "report.html").read_text(encoding="utf-8")
        shown = set(re.findall('class="key">([0-9a-f]*)<', page))
        if shown != {key.hex() for key in told.values()} | ({newest["key"]} - {None} if newest else set()):
            raise Fault("report.html names other keys than report.json")
        self.proven.append("The page names the keys, and report.json the keys, newest checkpoint and last event here.")


def show(lines: list[str], code: int) -> int:
    """Print lines without what a terminal obeys: whoever changed the archive may have named files. Return the code."""
    text = "\n".join("".join(one if " " <= one <= "~" else "?" for one in line) for line in lines)
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError) as error:  # it was closed before, or is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the end of Python tries that again
        if sys.stderr is not None:
            sys.stderr.write(f"FAILED: what was found could not be written: {error}.\n")
        return 1
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
    archive.open.append("All else on the page and in report.json was not compared: the manifest covers it.")
    archive.open.append("Nothing shows what the log does not tell, or what came after its last checkpoint and anchor.")
    said = [f"proved: {line}" for line in archive.proven] + [f"not proved: {line}" for line in archive.open]
    alone = "WITHOUT THE KEY FROM OUTSIDE (--public-key HEX) THIS PROVES NOTHING AGAINST WHOEVER MADE THE ARCHIVE."
    return show([*said, "The archive is as it was made."] if keys else [alone, *said, alone], 0)


if __name__ == "__main__":
    sys.exit(main())
