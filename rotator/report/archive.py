"""The evidence archive: the page, the events and all that proves them, and a program that checks it without rotator."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from rotator.documents.evidence import (
    spell_anchor,
    spell_checkpoint,
    spell_keys,
    spell_manifest,
    spell_proofs,
    spell_signature,
)
from rotator.documents.inventory import InventoryDocument
from rotator.documents.review import ReviewDocument
from rotator.domain.checkpoint import make_key_id
from rotator.engine.review.evidence import Evidence
from rotator.engine.review.facts import Review
from rotator.ports.anchor_place import Stamp
from rotator.ports.signing import Signer
from rotator.report.policies import make_name
from rotator.report.verify import KEYS, MANIFEST, SIGNATURE

_VERIFIER, _PROOFS = (Path(__file__).with_name(name) for name in ("verify.py", "verify_proofs.py"))
_IMPORT = re.compile(r"^from rotator\.report\.verify_proofs import \([^)]*\)\n", re.MULTILINE)
_HEAD = re.compile(r"\A(?s:.*?)\n\n(?:(?:import|from) .*\n)+(?!\n(?:import|from) )")
_GUIDE = Path(__file__).parent / "templates" / "archive.txt"


@dataclass(frozen=True)
class Contents:
    """What an archive holds. `events`, `cited` and `key_changes` are the lines that the events' hashes are made of.

    `policy` is the file of now, `public_keys` (base64) are those that the log is signed with, `accepted` the anchors
    that the log is known to lack, `stamps` the time stamps of checkpoints, with their sizes.
    """

    review: Review
    document: ReviewDocument
    page: str
    evidence: Evidence
    events: Iterable[bytes]
    cited: Iterable[bytes]
    key_changes: Iterable[bytes]
    inventory: InventoryDocument
    policy: bytes
    public_keys: tuple[str, ...]
    accepted: frozenset[str]
    stamps: tuple[tuple[int, Stamp], ...] = ()


def write_archive(stream: IO[bytes], contents: Contents, signer: Signer | None) -> None:
    """Write the archive; its events go by one at a time. It is signed if there is a signer."""
    with ZipFile(stream, "w", ZIP_DEFLATED) as archive:
        writer = _Writer(archive, contents)
        for name, parts in _list_files(contents):
            writer.write(name, parts)
        head = writer.write("events.jsonl", _end_lines(contents.events))
        manifest = spell_manifest(contents.review, contents.evidence, head, writer.files)
        key = None if signer is None else make_key_id(signer.public_key)
        signature = None if signer is None else signer.sign(manifest)
        writer.write(MANIFEST, [manifest])
        writer.write(SIGNATURE, [spell_signature(hashlib.sha256(manifest).hexdigest(), key, signature)])


def make_verifier() -> str:
    """Return the program of an archive: verify.py with verify_proofs.py in place of what it imports of it.

    It needs no import of the second that the first has not.
    """
    proofs = _HEAD.sub("", _PROOFS.read_text(encoding="utf-8")).strip()
    return _IMPORT.sub(lambda _: proofs + "\n\n", _VERIFIER.read_text(encoding="utf-8"))


def _list_files(contents: Contents) -> Iterator[tuple[str, Iterable[bytes]]]:
    evidence, sight = contents.evidence, contents.review.log.sight
    anchors = () if sight is None else sight.anchors
    yield "README.txt", [_GUIDE.read_bytes()]
    yield "verify.py", [make_verifier().encode()]
    yield "report.html", [contents.page.encode()]
    yield "report.json", [json.dumps(contents.document, indent=2).encode()]
    yield "inventory.json", [json.dumps(contents.inventory, indent=2).encode()]
    unmanaged = {name: contents.document[name] for name in ("schema_version", "looked_at", "unmanaged")}
    yield "unmanaged.json", [json.dumps(unmanaged, indent=2).encode()]
    yield "policy.yaml", [contents.policy]
    for found in contents.document["policy"]["texts"]:
        if found["text"] is not None:
            yield make_name(found), [found["text"].encode()]
    yield KEYS, _end_lines(spell_keys(contents.public_keys))
    yield "checkpoints.jsonl", _end_lines(map(spell_checkpoint, evidence.checkpoints))
    yield "anchors.jsonl", _end_lines(spell_anchor(anchor, contents.accepted) for anchor in anchors)
    yield "proofs.json", [spell_proofs(evidence)]
    yield "cited.jsonl", _end_lines(contents.cited)
    yield "key-changes.jsonl", _end_lines(contents.key_changes)
    for number, (size, stamp) in enumerate(contents.stamps, start=1):
        yield f"stamps/{size}-{number}.json", [stamp.data]
        yield f"stamps/{size}-{number}.tsr", [stamp.signed]


def _end_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    return (line + b"\n" for line in lines)


class _Writer:
    """Writes files into an archive, and keeps the SHA-256 of each."""

    def __init__(self, archive: ZipFile, contents: Contents) -> None:
        self._archive, self._made_at = archive, contents.review.made_at
        self.files: dict[str, str] = {}

    def write(self, name: str, parts: Iterable[bytes]) -> str | None:
        """Write a file from its parts. Return the SHA-256 of the last part without the end of its line, if any."""
        found, last = hashlib.sha256(), None
        entry = ZipInfo(name, self._made_at.timetuple()[:6])
        entry.compress_type = ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        with self._archive.open(entry, "w") as file:
            for part in parts:
                file.write(part)
                found.update(part)
                last = part
        self.files[name] = found.hexdigest()
        return None if last is None else hashlib.sha256(last.removesuffix(b"\n")).hexdigest()
