"""`rotator audit report --archive`: it is checked by a bare Python, and any byte that is changed shows."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zipfile import ZipFile

import pytest

from rotator.adapters.signing import Ed25519Signer, make_signing_key
from rotator.cli.reviewing import review_period
from rotator.documents.evidence import spell_signature
from rotator.domain.canonical import encode_canonical
from rotator.domain.checkpoint import decode_public_key, make_key_id
from rotator.domain.key_change import KeyChange
from rotator.domain.period import read_period
from rotator.domain.secret_value import SecretValue
from rotator.engine.checkpointing import seal
from rotator.engine.giving_anchors import give_anchors
from rotator.engine.review.evidence import gather_evidence
from rotator.wiring.checking import find_unusable
from rotator.wiring.installation import Installation
from rotator.wiring.origin import Origin
from rotator.wiring.sealing import find_trust
from tests.support.canaries import CanarySearch, collect_canaries
from tests.support.filled_log import SCRIPT, Filled
from tests.support.forgery import drop_triggers, execute
from tests.support.installed_command import run_forked
from tests.support.time_stamp_server import TimeStampServer

FILES = (
    *("README.txt", "anchors.jsonl", "checkpoints.jsonl", "cited.jsonl", "events.jsonl", "inventory.json"),
    "unmanaged.json",
    *("key-changes.jsonl", "manifest.json", "policy.yaml", "proofs.json", "public-keys.txt", "report.html"),
    *("report.json", "signature.json", "verify.py"),
)


ALONE = "WITHOUT THE KEY FROM OUTSIDE (--public-key HEX) THIS PROVES NOTHING AGAINST WHOEVER MADE THE ARCHIVE."
"""What stands first and last if the key came from the archive."""

OLDEST = (3, 9)
"""The oldest Python that `verify.py` says it needs."""


def verify(folder: Path, *words: str, python: str = sys.executable) -> tuple[int, str]:
    """Run the archive's own program in a bare Python without an environment."""
    done = subprocess.run(
        [python, "-I", "-S", "verify.py", *words],
        cwd=folder,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def archive(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, unpacked, of a period within the log: events from before and after it are not in it.

    It is made of a copy of the installation, because it makes a checkpoint.
    """
    copied = shutil.copytree(filled.database.parent, tmp_path_factory.mktemp("archived") / "installation")
    connection = sqlite3.connect(filled.database)
    [[count]] = connection.execute("SELECT count(*) FROM audit_event")
    [[sealed]] = connection.execute("SELECT max(size) FROM checkpoint")
    [[first]] = connection.execute("SELECT min(size) FROM checkpoint")
    query = "SELECT occurred_at FROM audit_event WHERE sequence = ?"
    [[since]], [[until]] = (connection.execute(query, (number,)) for number in (first + 4, sealed - 3))
    connection.close()
    assert first + 4 < sealed - 3 < sealed < count
    target = filled.folder / "evidence.zip"
    page = filled.folder / "evidence.html"
    done = run_forked(
        *("audit", "report", "--period", f"{since}..{until}", "--anchors", "--output", page, "--archive", target),
        folder=filled.folder,
        env={"ROTATOR_CONFIG": str(copied / "rotator.yaml")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(page), str(target)]
    assert target.stat().st_mode & 0o777 == 0o600
    folder = filled.folder / "unpacked"
    now = hashlib.sha256(filled.database.with_name("policy.yaml").read_bytes()).hexdigest()
    with ZipFile(target) as packed:
        policies = [name for name in packed.namelist() if name.startswith("policies/")]
        assert sorted(packed.namelist()) == sorted((*FILES, *policies))
        assert all(name == f"policies/{hashlib.sha256(packed.read(name)).hexdigest()}.yaml" for name in policies)
        assert f"policies/{now}.yaml" in policies
        packed.extractall(folder)
    assert (folder / "report.html").read_bytes() == page.read_bytes()
    return folder


@pytest.fixture
def copy(archive: Path, tmp_path: Path) -> Path:
    """A copy of the archive, to be changed."""
    return Path(shutil.copytree(archive, tmp_path / "copy"))


@pytest.fixture(scope="module")
def signer(filled: Filled) -> Ed25519Signer:
    """The key of the installation."""
    key = filled.database.with_name("audit-signing.key")
    return Ed25519Signer(SecretValue(key.read_text(encoding="utf-8")))


def test_archive_is_proven_by_a_bare_python_with_the_key_and_without(archive: Path, signer: Ed25519Signer) -> None:
    manifest = json.loads((archive / "manifest.json").read_bytes())
    first, last = manifest["first"], manifest["last"]
    code, said = verify(archive)
    assert code == 0, said
    assert "The manifest is signed with the key that lies in the archive" in said
    first_line, *_, last_line = said.splitlines()
    assert first_line == last_line == ALONE
    assert "The archive is as it was made." not in said
    for key in (signer.public_key, decode_public_key(signer.public_key).hex()):
        code, said = verify(archive, "--public-key", key)
        assert code == 0, said
        assert f"proved: The manifest is signed with the key that you named, {make_key_id(signer.public_key)}." in said
        assert "WITHOUT THE KEY" not in said
    for line in (
        f"proved: All {len(manifest['files'])} files are those that the manifest names.",
        f"proved: The events {first} to {last} follow each other, and none was altered. Up to {last} they are those",
        "go on from the ones before them.",
        "are in the log of the newest checkpoint.",
        "anchors, of vaults and other places, name events that are here, and fit.",
        "proved: The page names the keys, and report.json the keys, newest checkpoint and last event here.",
        "not proved: All else on the page and in report.json was not compared: the manifest covers it.",
        "not proved: The archive holds no time stamps: when it was written is by rotator's own clocks alone.",
        "not proved: Nothing shows what the log does not tell",
        "The archive is as it was made.",
    ):
        assert line in said
    assert [path.name for path in sorted(archive.iterdir())] == sorted((*FILES, "policies"))


def test_lines_of_events_are_what_their_hashes_are_made_of(archive: Path, filled: Filled) -> None:
    connection = sqlite3.connect(filled.database)
    stored = dict(connection.execute("SELECT sequence, hash FROM audit_event"))
    connection.close()
    manifest = json.loads((archive / "manifest.json").read_bytes())
    inside = (archive / "events.jsonl").read_bytes().splitlines()
    cited = (archive / "cited.jsonl").read_bytes().splitlines()
    numbers = [json.loads(line)["sequence"] for line in inside]
    assert numbers == list(range(manifest["first"], manifest["last"] + 1))
    assert len(cited) >= 8  # the adoption of each PAT is from before the period
    for line in (*inside, *cited):
        assert hashlib.sha256(line).hexdigest() == stored[json.loads(line)["sequence"]]


def _list_proofs(part: object) -> Iterator[int]:
    """The numbers of all events that prove something in a document, wherever in it they are."""
    if isinstance(part, dict):
        if set(part) == {"event", "at", "placed", "guessed"}:
            yield part["event"]
        for each in part.values():
            yield from _list_proofs(each)
    elif isinstance(part, list):
        for each in part:
            yield from _list_proofs(each)


def test_every_event_that_the_report_names_is_in_the_archive(archive: Path) -> None:
    """Those from outside of the period are cited: what proves the use of a value began before it, or ended later."""
    lines = [line for name in ("events", "cited") for line in (archive / f"{name}.jsonl").read_bytes().splitlines()]
    report = json.loads((archive / "report.json").read_bytes())
    named = set(_list_proofs(report))
    assert named <= {json.loads(line)["sequence"] for line in lines}
    assert set(_list_proofs(report["values"]["uses"])) <= named
    assert len(named) > 10


def list_other_pythons() -> list[str]:
    """The other versions of Python on this machine that `verify.py` says it runs on; there need not be any."""
    names = (f"python3.{minor}" for minor in range(OLDEST[1], 30) if minor != sys.version_info.minor)
    found = [place for name in names if (place := shutil.which(name)) is not None]
    return [
        place for place in found if not subprocess.run([place, "-c", ""], capture_output=True, check=False).returncode
    ]


def test_archive_is_proven_by_every_other_python_of_the_machine(archive: Path, copy: Path) -> None:
    told = verify(archive)
    (copy / "report.html").write_text("another page", encoding="utf-8")
    refused = verify(copy)
    assert (told[0], refused[0]) == (0, 1)
    for python in list_other_pythons():
        assert (verify(archive, python=python), verify(copy, python=python)) == (told, refused), python


def test_verifier_says_which_python_it_needs_to_one_that_is_older(archive: Path) -> None:
    """One that says so itself stands for it; Python 3.8 too where it is at hand."""
    said = "FAILED: verify.py needs Python {}.{} or newer.\n".format(*OLDEST)
    older = f"import runpy, sys; sys.version_info = (3, 8, 18); runpy.run_path({str(archive / 'verify.py')!r})"
    calls = [[sys.executable, "-I", "-c", older]]
    if (place := shutil.which("python3.8")) is not None:
        calls.append([place, "-I", str(archive / "verify.py")])
    for call in calls:
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) in ((1, "", said), (127, "", done.stderr)), call


def test_verifier_needs_no_newer_python_than_it_says_and_only_its_standard_library(archive: Path) -> None:
    text = (archive / "verify.py").read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=OLDEST)
    for said in (text, (archive / "README.txt").read_text(encoding="utf-8")):
        assert "needs Python {}.{} or newer and nothing else".format(*OLDEST) in " ".join(said.split())
    names = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.mark.parametrize("name", [*FILES, "policies"])
def test_one_changed_byte_shows_in_every_file(copy: Path, signer: Ed25519Signer, name: str) -> None:
    path = copy / name
    path = next(path.iterdir()) if path.is_dir() else path
    data = path.read_bytes()
    places = sorted({0, len(data) // 3, len(data) // 2, len(data) - 1}) if data else []
    for place in places:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert verify(copy)[0] == 1, place
    for changed in (data + b"\n", data[:-1] or b"x"):
        path.write_bytes(changed)
        assert verify(copy, "--public-key", signer.public_key)[0] == 1
    path.unlink()
    assert verify(copy)[0] != 0
    if name != "verify.py":
        path.write_bytes(data)
        assert verify(copy)[0] == 0


def test_file_that_is_not_of_the_archive_shows(copy: Path) -> None:
    (copy / "more.txt").write_text("more", encoding="utf-8")
    code, said = verify(copy)
    assert (code, said) == (1, "FAILED: more.txt is not in the manifest.\n")


def test_link_to_a_folder_that_is_not_of_the_archive_shows(copy: Path, tmp_path: Path) -> None:
    (copy / "more").symlink_to(tmp_path, target_is_directory=True)
    assert verify(copy) == (1, "FAILED: more is not in the manifest.\n")


def test_name_of_a_file_cannot_hide_on_a_terminal_that_the_check_failed(copy: Path) -> None:
    (copy / "x\r\x1b[2KThe archive is as it was made.\n").write_text("more", encoding="utf-8")
    code, said = verify(copy)
    assert (code, said) == (1, "FAILED: x??[2KThe archive is as it was made.? is not in the manifest.\n")


def test_verifier_says_which_period_it_is_of_and_when_it_was_made(archive: Path) -> None:
    """So that an older archive, or one of another period, is not taken for the one that somebody asked for."""
    found = json.loads((archive / "manifest.json").read_bytes())
    what = f"It is of {found['since']} to {found['until']}, of {found['installation']}, made at {found['made_at']}.\n"
    assert what in verify(archive)[1]


def seal_again(folder: Path, signer: Ed25519Signer | None, **other: object) -> None:
    """Make manifest and signature anew, as somebody would who holds this key. `other`: what the manifest is to say."""
    manifest = {**json.loads((folder / "manifest.json").read_bytes()), **other}
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    data = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    (folder / "manifest.json").write_bytes(data)
    key = None if signer is None else make_key_id(signer.public_key)
    signature = None if signer is None else signer.sign(data)
    (folder / "signature.json").write_bytes(spell_signature(hashlib.sha256(data).hexdigest(), key, signature))


def edit_lines(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    """Return what changes the lines of a file."""

    def act(folder: Path) -> None:
        lines = (folder / name).read_bytes().splitlines()
        (folder / name).write_bytes(b"".join(line + b"\n" for line in change(lines)))

    return act


def _alter(old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    def act(lines: list[bytes]) -> list[bytes]:
        place = next(number for number, line in enumerate(lines) if old in line)
        return [*lines[:place], lines[place].replace(old, new, 1), *lines[place + 1 :]]

    return act


def _edit_proofs(name: str) -> Callable[[Path], None]:
    """Return what changes the first hash of each proof of a kind."""

    def act(folder: Path) -> None:
        proofs = json.loads((folder / "proofs.json").read_bytes())
        for found in [proofs[name]] if name == "peaks" else proofs[name].values():
            found[0] = hashlib.sha256(found[0].encode()).hexdigest()
        spelled = json.dumps(proofs, sort_keys=True, separators=(",", ":"))
        (folder / "proofs.json").write_text(spelled, encoding="utf-8")

    return act


TAMPERINGS = {
    "an event is altered": (
        edit_lines("events.jsonl", _alter(b'"outcome":"succeeded"', b'"outcome":"failed"')),
        "do not",
    ),
    "an event is left out": (edit_lines("events.jsonl", lambda lines: lines[:3] + lines[4:]), "is missing"),
    "two events are swapped": (
        edit_lines("events.jsonl", lambda lines: [lines[1], lines[0], *lines[2:]]),
        "is missing",
    ),
    "the newest event is left out": (edit_lines("events.jsonl", lambda lines: lines[:-1]), "do not end"),
    "a cited event is altered": (
        edit_lines("cited.jsonl", _alter(b"pat_adopted", b"pat_adoptee")),
        "is not in the log",
    ),
    "a checkpoint is altered": (edit_lines("checkpoints.jsonl", _alter(b'"anchors":', b'"anchors":1')), "does not fit"),
    "the newest checkpoint is left out": (edit_lines("checkpoints.jsonl", lambda lines: lines[:-1]), "FAILED"),
    "a checkpoint is there twice": (
        edit_lines("checkpoints.jsonl", lambda lines: [*lines, lines[-1]]),
        "does not follow",
    ),
    "an anchor is altered": (
        edit_lines("anchors.jsonl", lambda lines: list(map(_other_hash, lines))),
        "than the anchor names",
    ),
    "the peaks are others": (_edit_proofs("peaks"), "does not go on from"),
    "a proof of an event is another one": (_edit_proofs("inclusion"), "is not in the log"),
    "a proof of a checkpoint is another one": (_edit_proofs("consistency"), "does not go on from"),
}


def _other_hash(line: bytes) -> bytes:
    anchor = json.loads(line)
    return line.replace(anchor["hash"].encode(), hashlib.sha256(line).hexdigest().encode())


@pytest.mark.parametrize("what", TAMPERINGS)
def test_tampering_shows_even_if_the_manifest_fits(copy: Path, signer: Ed25519Signer, what: str) -> None:
    """As if whoever holds the key had made the manifest of changed files: the parts prove each other."""
    change, said = TAMPERINGS[what]
    change(copy)
    seal_again(copy, signer)
    code, told = verify(copy)
    assert code == 1, told
    assert said in told


def test_archive_that_somebody_else_sealed_shows_by_the_true_key(copy: Path, signer: Ed25519Signer) -> None:
    other = Ed25519Signer(make_signing_key())
    edit_lines("events.jsonl", _alter(b'"outcome":"succeeded"', b'"outcome":"failed"'))(copy)
    (copy / "public-keys.txt").write_text(decode_public_key(other.public_key).hex() + "\n", encoding="utf-8")
    for forger, said in ((other, "which is none of the keys"), (None, "although you named a key")):
        seal_again(copy, forger)
        code, told = verify(copy, "--public-key", signer.public_key)
        assert (code, said in told) == (1, True), told
    assert verify(copy, "--public-key", "no key")[0] == 2


def _sign_anew(folder: Path, other: Ed25519Signer) -> None:
    """Give the archive another key, as somebody without the true one can: the checkpoints too."""

    def sign(lines: list[bytes]) -> list[bytes]:
        found = [{**json.loads(line), "key": make_key_id(other.public_key)} for line in lines]
        for checkpoint in found:
            del checkpoint["signature"]
            signature = base64.b64decode(other.sign(encode_canonical(checkpoint)))
            checkpoint["signature"] = signature.hex()
        return [encode_canonical(checkpoint) for checkpoint in found]

    edit_lines("checkpoints.jsonl", sign)(folder)
    (folder / "public-keys.txt").write_text(decode_public_key(other.public_key).hex() + "\n", encoding="utf-8")
    seal_again(folder, other)


def test_checkpoint_that_was_made_long_after_its_events_is_told(copy: Path, signer: Ed25519Signer) -> None:
    """As where somebody wrote the log anew, and rotator signed it."""
    assert "The checkpoint of" not in verify(copy)[1]
    path = copy / "checkpoints.jsonl"
    *lines, last = path.read_bytes().splitlines()
    said = json.loads(last)
    del said["signature"]
    said["made_at"] = (datetime.fromisoformat(said["made_at"]) + timedelta(days=3)).isoformat(timespec="microseconds")
    signature = base64.b64decode(signer.sign(encode_canonical(said))).hex()
    path.write_bytes(b"".join(line + b"\n" for line in [*lines, encode_canonical({**said, "signature": signature})]))
    seal_again(copy, signer)
    code, told = verify(copy, "--public-key", signer.public_key)
    assert code == 0, told
    assert f"not proved: The checkpoint of {said['size']} events was made 3 days, " in told


def _edit_log(folder: Path, **said: object) -> None:
    report = json.loads((folder / "report.json").read_bytes())
    report["log"].update(said)
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")


def test_archive_that_somebody_signed_anew_shows_without_a_key_until_the_whole_report_is_forged_too(
    copy: Path, signer: Ed25519Signer
) -> None:
    other = Ed25519Signer(make_signing_key())
    true, forged = (decode_public_key(key.public_key).hex() for key in (signer, other))
    named, found = make_key_id(signer.public_key), make_key_id(other.public_key)
    _sign_anew(copy, other)
    code, said = verify(copy)
    assert (code, f"FAILED: report.json names the key {named}, and the archive the key {found}, " in said) == (1, True)
    _edit_log(copy, public_keys=[forged])
    seal_again(copy, other)
    code, said = verify(copy)
    assert (code, " events that report.json names is not here" in said) == (1, True), said
    newest = json.loads((copy / "report.json").read_bytes())["log"]["newest_checkpoint"]
    _edit_log(copy, newest_checkpoint={**newest, "key": found})
    seal_again(copy, other)
    assert verify(copy) == (1, "FAILED: report.html names other keys than report.json.\n")
    page = (copy / "report.html").read_text(encoding="utf-8")
    (copy / "report.html").write_text(page.replace(true, forged), encoding="utf-8")
    seal_again(copy, other)
    assert verify(copy) == (1, "FAILED: report.html names other keys than report.json.\n")
    (copy / "report.html").write_text(page.replace(true, forged).replace(named, found), encoding="utf-8")
    seal_again(copy, other)
    code, said = verify(copy)
    assert (code, said.splitlines()[0], said.splitlines()[-1]) == (0, ALONE, ALONE), said
    assert "none of the keys to check with" in verify(copy, "--public-key", signer.public_key)[1]


def test_report_that_tells_of_other_events_or_another_checkpoint_shows(copy: Path, signer: Ed25519Signer) -> None:
    """Although whoever holds the key made the manifest."""
    report, events = ((copy / name).read_bytes() for name in ("report.json", "events.jsonl"))
    newest, last = (json.loads(report)["log"][name] for name in ("newest_checkpoint", "last"))
    (copy / "events.jsonl").write_bytes(b"")
    (copy / "anchors.jsonl").write_bytes(b"")
    seal_again(copy, signer, first=0, last=0, head=None)
    assert verify(copy) == (1, f"FAILED: report.json tells of events up to {last}, and the archive up to 0.\n")
    manifest = [json.loads(line)["sequence"] for line in events.splitlines()]
    (copy / "events.jsonl").write_bytes(events)
    head = hashlib.sha256(events.splitlines()[-1]).hexdigest()
    for changed in ({"root": "0" * 64}, {"head": "0" * 64}, {"size": newest["size"] + 1}, {"key": None}):
        (copy / "report.json").write_bytes(report)
        _edit_log(copy, newest_checkpoint={**newest, **changed})
        seal_again(copy, signer, first=manifest[0], last=manifest[-1], head=head)
        code, said = verify(copy)
        assert (code, " events that report.json names is not here" in said) == (1, True), said


@pytest.fixture
def settings(filled: Filled, tmp_path: Path) -> Path:
    """The settings of a copy of the installation."""
    shutil.copytree(filled.database.parent, tmp_path / "installation")
    return tmp_path / "installation" / "rotator.yaml"


def _archive(filled: Filled, settings: Path, code: int, *words: str) -> Path:
    target = settings.with_name("evidence.zip")
    done = run_forked(
        *("audit", "report", "--output", str(settings.with_name("page.html")), "--archive", str(target), *words),
        folder=filled.folder,
        env={"ROTATOR_CONFIG": str(settings)},
    )
    assert done.returncode == code, done.stdout + done.stderr
    folder = settings.with_name("unpacked")
    with ZipFile(target) as packed:
        packed.extractall(folder)
    return folder


def test_archive_without_a_key_says_so_and_still_shows_changes(filled: Filled, settings: Path) -> None:
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("signing_key: {file: audit-signing.key}", "signing_key: null"), "utf-8")
    url = f"sqlite:///{settings.with_name('rotator.db')}"
    drop_triggers(url)
    execute(url, "DELETE FROM checkpoint")
    folder = _archive(filled, settings, 0)
    code, said = verify(folder)
    assert code == 0, said
    assert "not proved: The archive is not signed" in said
    assert "not proved: There is no checkpoint" in said
    assert "not proved: The archive holds no anchors: nobody asked for them" in said
    for name in FILES:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:-1] + b"\x01")
        assert verify(folder)[0] == 1, name
        (folder / name).write_bytes(data)
    assert verify(folder)[0] == 0


def _find_end(settings: Path) -> tuple[int, int]:
    """How many events the log has, and how many of them its checkpoints cover."""
    connection = sqlite3.connect(settings.with_name("rotator.db"))
    [[count, sealed]] = connection.execute("SELECT (SELECT count(*) FROM audit_event), max(size) FROM checkpoint")
    connection.close()
    return count, sealed


def test_archive_has_no_event_that_no_checkpoint_covers(filled: Filled, settings: Path) -> None:
    count, sealed = _find_end(settings)
    assert sealed < count
    folder = _archive(filled, settings, 0)
    assert _find_end(settings) == (count, count)
    code, said = verify(folder)
    assert (code, f"Up to {count} they are those that the checkpoints cover." in said) == (0, True), said
    assert "are newer than the newest checkpoint" not in said
    log = json.loads((folder / "report.json").read_bytes())["log"]
    assert (log["events"], log["sealed"]) == (count, count)


def test_page_alone_makes_no_checkpoint(filled: Filled, settings: Path) -> None:
    before = _find_end(settings)
    page = settings.with_name("page.html")
    done = run_forked(
        "audit", "report", "--output", str(page), folder=filled.folder, env={"ROTATOR_CONFIG": str(settings)}
    )
    assert (done.returncode, _find_end(settings)) == (0, before)


def test_who_may_not_write_into_the_log_gets_an_archive_and_is_told_what_no_checkpoint_covers(
    filled: Filled, settings: Path
) -> None:
    count, sealed = _find_end(settings)
    refused = "BEGIN SELECT RAISE(ABORT, 'you may only read'); END"
    execute(f"sqlite:///{settings.with_name('rotator.db')}", f"CREATE TRIGGER no BEFORE INSERT ON checkpoint {refused}")
    target = settings.with_name("evidence.zip")
    done = run_forked(
        *("audit", "report", "--output", str(settings.with_name("page.html")), "--archive", str(target)),
        folder=filled.folder,
        env={"ROTATOR_CONFIG": str(settings)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning: no checkpoint was made for the archive: " in done.stderr
    assert "you may only read" in done.stderr
    assert f"warning: No checkpoint covers the last {count - sealed} events of the log ({sealed + 1} to {count})" in (
        done.stderr
    )
    with ZipFile(target) as packed:
        packed.extractall(settings.with_name("unpacked"))
    code, said = verify(settings.with_name("unpacked"))
    assert (code, f"{count - sealed} events are newer than the newest checkpoint" in said) == (0, True), said


def test_who_may_not_read_the_private_key_gets_an_archive_that_is_not_signed_and_is_told(
    filled: Filled, settings: Path, signer: Ed25519Signer
) -> None:
    text, key = settings.read_text(encoding="utf-8"), settings.with_name("audit-signing.key")
    in_hex = decode_public_key(signer.public_key).hex()
    [line] = [line for line in text.splitlines(keepends=True) if "signing_key:" in line]
    settings.write_text(text.replace(line, f"{line}  public_key: {in_hex}\n"), encoding="utf-8")
    key.rename(key.with_suffix(".away"))
    count, sealed = _find_end(settings)
    target = settings.with_name("evidence.zip")
    done = run_forked(
        *("audit", "report", "--output", str(settings.with_name("page.html")), "--archive", str(target)),
        folder=filled.folder,
        env={"ROTATOR_CONFIG": str(settings)},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    for warning in ("no checkpoint was made for the archive: ", "the archive is not signed: "):
        assert f"warning: {warning}" in done.stderr
    assert f"No checkpoint covers the last {count - sealed} events" in done.stderr
    with ZipFile(target) as packed:
        packed.extractall(settings.with_name("unpacked"))
    code, said = verify(settings.with_name("unpacked"))
    assert (code, "not proved: The archive is not signed" in said) == (0, True), said
    assert "checkpoints have signatures that fit" in said


def test_archive_has_the_checkpoint_that_its_report_names_although_another_was_made_since(settings: Path) -> None:
    with Installation(Origin(settings, {}, settings.parent)) as installation:
        now = installation.clock.now()
        trust, problem = find_trust(installation)
        review = review_period(installation, read_period("2001"), now, trust, problem, anchors=False)
        assert seal(installation.make_run(), timedelta(0)) is not None
        sizes = [found.size for found in gather_evidence(installation.database, review).checkpoints]
    assert review.log.size in sizes[:-1]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_event SET actor = 'nobody' WHERE sequence = 9",
        "DELETE FROM audit_event WHERE sequence = 9",
        "UPDATE audit_event SET details = 'no JSON' WHERE sequence = 9",
        "UPDATE audit_event SET hash = 'none' WHERE sequence = 9",
        "DELETE FROM audit_event WHERE sequence > 20",
    ],
)
def test_archive_of_a_broken_log_is_made_and_does_not_verify(filled: Filled, settings: Path, change: str) -> None:
    url = f"sqlite:///{settings.with_name('rotator.db')}"
    drop_triggers(url)
    execute(url, change)
    code, said = verify(_archive(filled, settings, 1))
    assert (code, said[:8]) == (1, "FAILED: "), said


def test_archive_does_not_verify_if_rotator_found_the_log_changed_where_its_files_fit(
    filled: Filled, settings: Path
) -> None:
    url = f"sqlite:///{settings.with_name('rotator.db')}"
    drop_triggers(url)
    execute(url, "UPDATE checkpoint SET signature = NULL, key_id = NULL WHERE size=(SELECT max(size) FROM checkpoint)")
    code, said = verify(_archive(filled, settings, 1))
    assert code == 1, said
    assert said.startswith("FAILED: rotator itself found that the log was changed: "), said
    assert "it is not signed, although earlier ones are" in said


def test_archive_of_a_period_without_events_verifies(filled: Filled, settings: Path) -> None:
    code, said = verify(_archive(filled, settings, 0, "--period", "2001"))
    assert code == 0, said
    assert "not proved: The period has no events." in said
    assert "checkpoints from outside of the period go on from the ones before them." in said


def test_archive_holds_no_secret_and_overwrites_nothing(filled: Filled, archive: Path) -> None:
    canaries = {canary for canary in collect_canaries(filled.sandbox) if "rotator-audit" not in canary.value}
    search = CanarySearch(canaries)
    key = filled.database.with_name("audit-signing.key").read_bytes().splitlines()[1]
    for name in FILES:
        data = (archive / name).read_bytes()
        assert list(search.find(data, name)) == []
        assert key not in data
    assert (
        json.dumps(SCRIPT)[1:-1].encode()
        in (archive / "events.jsonl").read_bytes() + (archive / "inventory.json").read_bytes()
    )
    done = filled.run(
        "audit", "report", "--output", filled.folder / "new.html", "--archive", filled.folder / "evidence.zip", code=2
    )
    assert "evidence.zip exists" in done.stderr
    assert not (filled.folder / "new.html").exists()


def _change_key(settings: Path, number: int) -> Ed25519Signer:
    """Give the installation another key, and have its next checkpoint made: the old key signs the change."""
    key, text = make_signing_key(), settings.read_text(encoding="utf-8")
    [line] = [line for line in text.splitlines() if "signing_key:" in line]
    old, new = line.split("{file: ")[1].rstrip("}"), f"audit-signing-{number}.key"
    settings.with_name(new).write_text(key.reveal(), encoding="utf-8")
    settings.with_name(new).chmod(0o600)
    kept = "".join(found + "\n" for found in text.splitlines() if "previous_keys: [{file: audit" not in found)
    changed = line.replace(old, new) + f"\n  previous_keys: [{{file: {old}}}]"
    settings.write_text(kept.replace(line, changed), encoding="utf-8")
    with Installation(Origin(settings, {}, settings.parent)) as installation:
        assert seal(installation.make_run(), timedelta(0)) is not None
    return Ed25519Signer(key)


@pytest.fixture
def keys(settings: Path, signer: Ed25519Signer) -> list[Ed25519Signer]:
    """The installation's keys, the oldest first: they were changed twice."""
    return [signer, _change_key(settings, 2), _change_key(settings, 3)]


@pytest.mark.parametrize("keeps_old", [True, False])
def test_verifier_follows_two_changes_of_the_key_from_any_of_the_keys(
    filled: Filled, settings: Path, keys: list[Ed25519Signer], keeps_old: bool
) -> None:
    if not keeps_old:
        text = settings.read_text(encoding="utf-8").splitlines(keepends=True)
        settings.write_text("".join(line for line in text if "previous_keys: [{file: audit" not in line), "utf-8")
        for name in ("audit-signing.key", "audit-signing-2.key"):
            settings.with_name(name).unlink()
    folder = _archive(filled, settings, 0)
    for place, key in enumerate(keys):
        code, said = verify(folder, "--public-key", key.public_key)
        assert code == 0, said
        named = "the key that you named" if place == 2 else "a key that follows from the key that you named"
        assert f"proved: The manifest is signed with {named}, {make_key_id(keys[2].public_key)}." in said
        assert "are not signed with a key to check with" not in said
        for old, new in pairwise(make_key_id(found.public_key) for found in keys):
            assert f"on the key {new} signs, in place of {old}: signed by both." in said
    other = Ed25519Signer(make_signing_key())
    assert "none of the keys to check with" in verify(folder, "--public-key", other.public_key)[1]


def _drop_signature(lines: list[bytes]) -> list[bytes]:
    change = json.loads(lines[0])
    del change["details"]["signature"]
    return [json.dumps(change, sort_keys=True, separators=(",", ":")).encode(), *lines[1:]]


def test_change_of_the_key_that_was_altered_is_found(
    filled: Filled, settings: Path, keys: list[Ed25519Signer], signer: Ed25519Signer
) -> None:
    """Although whoever has the newest key made a manifest that fits."""
    folder = _archive(filled, settings, 0)
    path = folder / "key-changes.jsonl"
    data = path.read_bytes()
    names = (b'"head":"', b'"installation":"', b'"new_key":"', b'"new_signature":"', b'"old_key":"', b'"signature":"')
    places = [data.index(name) + len(name) + 3 for name in (*names, b'"size":', b'"actor":"')]
    for place in places:
        other = b"A" if data[place : place + 1] != b"A" else b"B"
        path.write_bytes(data[:place] + other + data[place + 1 :])
        seal_again(folder, keys[2])
        code, said = verify(folder, "--public-key", signer.public_key)
        assert (code, said[:8]) == (1, "FAILED: "), (place, said)
    path.write_bytes(data)
    for change in (lambda lines: lines[1:], lambda lines: lines[:1], _drop_signature):
        edit_lines(path.name, change)(folder)
        seal_again(folder, keys[2])
        assert "none of the keys to check with" in verify(folder, "--public-key", signer.public_key)[1]
        path.write_bytes(data)
    edit_lines(path.name, lambda lines: [*lines, lines[1]])(folder)
    seal_again(folder, keys[2])
    assert "more than one key follows a key" in verify(folder)[1]
    path.write_bytes(data)
    seal_again(folder, keys[1])
    assert "none of the keys to check with" in verify(folder, "--public-key", signer.public_key)[1]


def test_log_that_was_rewritten_before_the_change_of_the_key_shows(
    filled: Filled, settings: Path, keys: list[Ed25519Signer]
) -> None:
    """The first change is from before the period, and its checkpoint is in the archive all the same."""
    folder = _archive(filled, settings, 0, "--period", "2001")
    path = folder / "key-changes.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    code, said = verify(folder, "--public-key", keys[2].public_key)
    assert (code, "changes of the key are from after" in said) == (0, False), said
    event = json.loads(lines[0])
    del event["details"]["signature"], event["details"]["new_signature"]
    change = KeyChange(**{**event["details"], "head": "0" * 64})
    signatures = [found.sign(change.make_statement()) for found in keys[:2]]
    event["details"] = {**vars(change), "signature": signatures[0], "new_signature": signatures[1]}
    path.write_text(json.dumps(event) + "\n" + lines[1].decode(), encoding="utf-8")
    seal_again(folder, keys[2])
    code, said = verify(folder, "--public-key", keys[2].public_key)
    assert code == 1, said
    assert f"the key was changed after event {change.size}, and that is another one here: " in said


def test_change_that_the_old_key_did_not_sign_is_not_followed(
    filled: Filled, settings: Path, signer: Ed25519Signer
) -> None:
    """As by somebody who makes an archive of their own, of a key that nobody else has."""
    folder, other = _archive(filled, settings, 0), Ed25519Signer(make_signing_key())
    change = KeyChange("0" * 16, 9, "0" * 64, signer.public_key, other.public_key)
    signature = other.sign(change.make_statement())
    cases = {
        "has a signature that does not fit": replace(change, signature=signature, new_signature=signature),
        "none of the keys to check with": replace(change, new_signature=signature),
        "event 1000000 has a signature": replace(change, signature=signer.sign(b"x"), new_signature=signature),
    }
    for said, forged in cases.items():
        details = {name: value for name, value in vars(forged).items() if value is not None}
        line = json.dumps({"sequence": 1_000_000, "details": details}) + "\n"
        (folder / "key-changes.jsonl").write_text(line, encoding="utf-8")
        seal_again(folder, other)
        code, told = verify(folder, "--public-key", signer.public_key)
        assert (code, said in told) == (1, True), told


def test_archive_has_the_time_stamps_and_openssl_checks_them(filled: Filled, settings: Path, tmp_path: Path) -> None:
    with TimeStampServer(tmp_path / "authority").running() as server:
        stamps = f"anchors: [{{stamps: stamps.jsonl, authority: '{server.url}', certificates: {server.certificates}}}]"
        text = settings.read_text(encoding="utf-8").replace("anchors: [vault]", stamps)
        settings.write_text(text, encoding="utf-8")
        with Installation(Origin(settings, {}, settings.parent)) as installation:
            assert list(find_unusable(installation)) == []
            give_anchors(installation.make_run())
        server.certificates.rename(tmp_path / "ca.pem")
        with Installation(Origin(settings, {}, settings.parent)) as installation:
            [(place, problem)] = find_unusable(installation)
        assert (place, "No such file" in problem) == (("audit", "anchors", 0, "certificates"), True)
        (tmp_path / "ca.pem").rename(server.certificates)
    done = run_forked("audit", "verify", "--anchors", folder=filled.folder, env={"ROTATOR_CONFIG": str(settings)})
    assert "1 time stamp checked; the newest says that events 1 to " in done.stdout, done.stdout + done.stderr
    folder = _archive(filled, settings, 0, "--anchors")
    [stamp] = (folder / "stamps").glob("*.tsr")
    command = ["openssl", "ts", "-verify", "-data", str(stamp.with_suffix(".json")), "-in", str(stamp)]
    command += ["-CAfile", str(server.certificates)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    code, said = verify(folder)
    assert code == 0, said
    assert "not proved: 1 time stamps are for `openssl ts -verify`" in said
    assert "holds no time stamps" not in said
    stamp.write_bytes(stamp.read_bytes()[:-1] + b"x")
    assert verify(folder)[0] == 1


def test_signature_that_does_not_fit_is_no_end_of_the_search(copy: Path, signer: Ed25519Signer) -> None:
    """Somebody without the key made the manifest anew: what they changed is named, if it shows without the manifest."""
    signed = json.loads((copy / "signature.json").read_bytes())["signature"]

    def give_old_signature() -> str:
        seal_again(copy, None)
        data = (copy / "manifest.json").read_bytes()
        found = spell_signature(
            hashlib.sha256(data).hexdigest(),
            make_key_id(signer.public_key),
            base64.b64encode(bytes.fromhex(signed)).decode(),
        )
        (copy / "signature.json").write_bytes(found)
        code, said = verify(copy, "--public-key", signer.public_key)
        assert code == 1
        return said

    edit_lines("policy.yaml", lambda lines: [*lines, b"# more"])(copy)
    said = give_old_signature()
    assert said == "FAILED: the signature of the manifest does not fit; all that it names fits.\n"
    edit_lines("events.jsonl", _alter(b'"outcome":"succeeded"', b'"outcome":"failed"'))(copy)
    said = give_old_signature()
    assert said.startswith("FAILED: the signature of the manifest does not fit; of what the manifest names, ")
    assert "was altered" in said
