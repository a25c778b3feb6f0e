"""Time stamps (RFC 3161) of the audit log's checkpoints, by a real authority: kept, checked, and what spoils them."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rotator.adapters.anchor_places import AnchorFile
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.time_stamps import STAMP_TAG, StampFile, TimeStampAuthority
from rotator.engine.anchoring import fetch_anchors, list_stamps
from rotator.engine.giving_anchors import give_anchors
from tests.integration.test_anchor_places import HOUR, check, find_wrong, go_on, list_anchored, make_run, read_sizes
from tests.support.engine import EngineWorld, make_world
from tests.support.time_stamp_server import TimeStampServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TimeStampServer]:
    """The authority."""
    with TimeStampServer(tmp_path / "authority").running() as server:
        yield server


@pytest.fixture
def world() -> EngineWorld:
    """A world of today: the authority stamps by the true time."""
    world = make_world()
    world.clock.advance(datetime.now(UTC) - world.clock.now())
    return world


@pytest.fixture
def file(server: TimeStampServer, tmp_path: Path) -> StampFile:
    """Where the stamps are kept."""
    return make_file(server, tmp_path, server.certificates)


def make_authority(server: TimeStampServer, certificates: Path | None = None) -> TimeStampAuthority:
    """The authority as rotator asks it."""
    return TimeStampAuthority(server.url, certificates or server.certificates, HttpOptions())


def make_file(server: TimeStampServer, folder: Path, certificates: Path) -> StampFile:
    """The file, with the certificates that are believed."""
    return StampFile(folder / "stamps.jsonl", make_authority(server, certificates))


def list_failed(world: EngineWorld) -> list[str]:
    """The codes of what was told to have failed."""
    return [str(line["code"]) for name, line in world.told if name == "anchoring_failed"]


def test_each_checkpoint_is_stamped_once_and_the_stamp_is_checked(
    world: EngineWorld, file: StampFile, server: TimeStampServer, tmp_path: Path
) -> None:
    go_on(world, file)
    give_anchors(make_run(world, file))
    assert (server.asked, read_sizes(tmp_path / "stamps.jsonl"), list_anchored(world)) == (1, [1], [1])
    assert check(world, file) == 1
    [anchor] = fetch_anchors(make_run(world, file)).anchors
    assert anchor.stamped_at is not None
    assert abs((datetime.now(UTC) - anchor.stamped_at).total_seconds()) < 3600


def test_openssl_verifies_what_is_kept(
    world: EngineWorld, file: StampFile, server: TimeStampServer, tmp_path: Path
) -> None:
    """So a reviewer needs nothing of ours."""
    go_on(world, file)
    [(size, stamp)] = list_stamps([file], {1})
    (tmp_path / "1.json").write_bytes(stamp.data)
    (tmp_path / "1.tsr").write_bytes(stamp.signed)
    command = ["openssl", "ts", "-verify", "-data", "1.json", "-in", "1.tsr", "-CAfile", str(server.certificates)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (size, done.returncode) == (1, 0), done.stderr


def test_authority_that_is_away_or_answers_rubbish_is_a_warning_and_made_up_for_later(
    world: EngineWorld, file: StampFile, server: TimeStampServer
) -> None:
    foreign = make_authority(server).stamp(b"something else")
    server.answers = [503, b"<html>no stamps today</html>", b"", foreign]
    go_on(world, file)
    for _ in range(3):
        give_anchors(make_run(world, file))
    assert list_failed(world) == ["stamp_refused"] * 4
    assert list_anchored(world) == []
    give_anchors(make_run(world, file))
    assert (check(world, file), list_anchored(world)) == (1, [1])


def test_stamp_by_another_authority_is_not_taken_and_is_named_in_the_file(
    world: EngineWorld, file: StampFile, server: TimeStampServer, tmp_path: Path
) -> None:
    with TimeStampServer(tmp_path / "other").running() as other:
        wrong = make_file(server, tmp_path, other.certificates)
    go_on(world, wrong)
    assert list_failed(world) == ["stamp_refused"]
    give_anchors(make_run(world, file))
    assert "has no time stamp that fits" in find_wrong(world, wrong).message
    missing = make_file(server, tmp_path, tmp_path / "missing.pem")
    assert fetch_anchors(make_run(world, missing)).unread[missing.name].code == "stamp_certificates"


def _alter_stamp(tags: dict[str, str], place: int) -> None:
    stamp = bytearray(base64.b64decode(tags[STAMP_TAG]))
    stamp[place] ^= 1
    tags[STAMP_TAG] = base64.b64encode(stamp).decode()


def _swap(tags: dict[str, str]) -> None:
    tags["rotator-audit-anchors"] = "7"


def _drop(tags: dict[str, str]) -> None:
    del tags[STAMP_TAG]


CHANGES: dict[str, Callable[[dict[str, str]], None]] = {
    "stamp altered at its end": lambda tags: _alter_stamp(tags, -1),
    "stamp altered in its middle": lambda tags: _alter_stamp(tags, len(base64.b64decode(tags[STAMP_TAG])) // 2),
    "stamp altered in what it signs": lambda tags: _alter_stamp(tags, 60),
    "stamp taken away": _drop,
    "stamp of another checkpoint": _swap,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_stamp_that_was_altered_is_named(
    world: EngineWorld,
    file: StampFile,
    server: TimeStampServer,
    tmp_path: Path,
    change: Callable[[dict[str, str]], None],
) -> None:
    """The checkpoint is unsigned, so that nothing but the stamp can tell."""
    go_on(world, file)
    path = tmp_path / "stamps.jsonl"
    tags = json.loads(path.read_text(encoding="utf-8"))
    tags["rotator-audit-key"] = tags["rotator-audit-signature"] = ""
    data = json.dumps({key: tags[key] for key in sorted(tags) if key != STAMP_TAG}, separators=(",", ":"))
    tags[STAMP_TAG] = base64.b64encode(make_authority(server).stamp(data.encode())).decode()
    path.write_text(json.dumps(tags) + "\n", encoding="utf-8")
    assert check(world, file) == 1
    change(tags)
    path.write_text(json.dumps(tags) + "\n", encoding="utf-8")
    error = find_wrong(world, file)
    assert "has no time stamp that fits" in error.message
    assert str(path) in str(error.anchor)


def test_stamp_from_before_its_checkpoint_is_not_kept_and_asked_for_again(
    world: EngineWorld, file: StampFile, tmp_path: Path
) -> None:
    """The file is only appended to: a line that does not hold would be named as tampering for ever."""
    ahead = datetime(2100, 1, 1, tzinfo=UTC) - world.clock.now()
    world.clock.advance(ahead)
    go_on(world, file)
    assert (list_failed(world), list_anchored(world)) == (["stamp_refused"], [])
    assert not (tmp_path / "stamps.jsonl").exists()
    world.clock.advance(-ahead - HOUR)
    go_on(world, file)
    assert len(list_anchored(world)) == 1
    assert check(world, file)


def test_stamp_from_before_its_checkpoint_is_named(
    world: EngineWorld, file: StampFile, server: TimeStampServer, tmp_path: Path
) -> None:
    world.clock.advance(datetime(2100, 1, 1, tzinfo=UTC) - world.clock.now())
    plain = AnchorFile(tmp_path / "plain.jsonl")
    go_on(world, plain)
    anchor = (tmp_path / "plain.jsonl").read_text(encoding="utf-8").strip()
    stamp = base64.b64encode(make_authority(server).stamp(anchor.encode())).decode()
    line = json.dumps({**json.loads(anchor), STAMP_TAG: stamp}) + "\n"
    (tmp_path / "stamps.jsonl").write_text(line, encoding="utf-8")
    assert "before it was made" in find_wrong(world, file).message
