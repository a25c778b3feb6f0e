"""Anchors of the audit log in a file and by a webhook: what they are given, and what is seen when they were changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.adapters.anchor_places import AnchorFile, AnchorWebhook
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.notify.webhook import SignedPost, make_signature
from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.domain.secret_value import SecretValue
from rotator.engine.anchoring import fetch_anchors
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext, Trust
from rotator.engine.gaps import accept_gap
from rotator.engine.giving_anchors import give_anchors
from rotator.engine.log_checking import verify_log
from rotator.errors import AuditChainError, RotatorError
from rotator.ports.anchor_place import AnchorPlace
from rotator.ports.audit_log import AuditFilter
from rotator.sandbox.certificates import write_certificates
from tests.support.engine import EngineWorld, make_world
from tests.support.forgery import chain_anew, forge_checkpoint
from tests.support.receiver_server import HOOK_PATH, SIGNING_KEY, WebhookServer
from tests.support.records import make_entry

KEY, THEIRS = Ed25519Signer(make_signing_key()), Ed25519Signer(make_signing_key())
TRUST = Trust((KEY.public_key,), is_signed)
HOUR = timedelta(hours=1)


def make_run(world: EngineWorld, *places: AnchorPlace) -> RunContext:
    """A run with a key and these places."""
    return world.make_run(replace(world.make_services(), signer=KEY, trust=TRUST, anchor_places=places))


def go_on(world: EngineWorld, *places: AnchorPlace, count: int = 1) -> None:
    """An event, a checkpoint and its anchors, and an hour passes; so many times."""
    for _ in range(count):
        with world.database.begin() as work:
            work.audit.append(make_entry(), world.clock.now())
        seal(make_run(world, *places), timedelta(0))
        give_anchors(make_run(world, *places))
        world.clock.advance(HOUR)


def check(world: EngineWorld, *places: AnchorPlace) -> int:
    """What `rotator audit verify --anchors` does; how many anchors there are."""
    sight = fetch_anchors(make_run(world, *places))
    verify_log(world.database, sight, TRUST, world.clock.now())
    assert sight.unread.keys() <= {place.name for place in places}
    return len(sight.anchors)


def find_wrong(world: EngineWorld, *places: AnchorPlace) -> AuditChainError:
    """The error of that."""
    with pytest.raises(AuditChainError) as caught:
        check(world, *places)
    return caught.value


def list_anchored(world: EngineWorld) -> list[int]:
    """The sizes that the log says were anchored."""
    with world.database.read() as reading:
        events = reading.audit.load_newest(99, AuditFilter(event="log_anchored"))
    return [int(str(event.entry.details["size"])) for event in events]


def put_back(world: EngineWorld, size: int) -> None:
    """The database as it was, with so many events."""
    tables = world.database._tables
    del tables.events[size:]
    tables.checkpoints = {number: found for number, found in tables.checkpoints.items() if number <= size}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "anchors.jsonl"


def read_sizes(path: Path) -> list[int]:
    """The sizes in the file."""
    return [int(json.loads(line)["rotator-audit-size"]) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("ask", ["find_last", "read"])
def test_file_of_anchors_that_is_a_pipe_is_named_and_nobody_waits_for_it(tmp_path: Path, ask: str) -> None:
    os.mkfifo(tmp_path / "anchors.jsonl")
    place = AnchorFile(tmp_path / "anchors.jsonl")
    asks: dict[str, Callable[[], object]] = {"find_last": place.find_last, "read": lambda: list(place.read())}
    with pytest.raises(RotatorError, match="no regular file") as caught:
        asks[ask]()
    assert caught.value.code == "anchor_file"


def test_file_gets_each_checkpoint_once_and_the_log_says_so_once_a_day(path: Path) -> None:
    world, file = make_world(), AnchorFile(path)
    go_on(world, file, count=3)
    assert read_sizes(path) == [1, 3, 4]
    give_anchors(make_run(world, file))
    assert (read_sizes(path), list_anchored(world)) == ([1, 3, 4], [1])
    assert path.stat().st_mode & 0o777 == 0o600
    assert check(world, file) == 3
    world.clock.advance(24 * HOUR)
    go_on(world, file)
    assert list_anchored(world) == [1, 5]
    seal(make_run(world), timedelta(0))
    assert check(world, file) == 4


def test_file_that_cannot_be_written_is_a_warning_and_made_up_for_later(path: Path) -> None:
    world, file = make_world(), AnchorFile(path / "below" / "anchors.jsonl")
    go_on(world, file)
    assert [name for name, _ in world.told if name == "anchoring_failed"] == ["anchoring_failed"]
    sight = fetch_anchors(make_run(world, file))
    assert sight.unread[file.name].code == "anchor_file"
    (path / "below").mkdir(parents=True)
    give_anchors(make_run(world, file))
    assert check(world, file) == 1


def test_line_that_a_crash_cut_off_stays_alone(path: Path) -> None:
    world, file = make_world(), AnchorFile(path)
    go_on(world, file)
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"rotator-audit-si')
    go_on(world, file)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert (len(lines), lines[1]) == (3, '{"rotator-audit-si')
    assert check(world, file) == 2


Change = Callable[[list[str]], list[str]]
CHANGES: dict[str, tuple[Change, str]] = {
    "line deleted that the log names": (lambda lines: lines[1:], "is gone: there are fewer than were made"),
    "emptied": (lambda lines: [], "is gone: there are fewer than were made"),
    "altered": (lambda lines: [lines[0].replace('"1"', '"2"', 1), *lines[1:]], "does not fit"),
    "of another key": (lambda lines: [*lines, _sign_anew(lines[-1])], "which the settings do not name"),
}


def _sign_anew(line: str) -> str:
    return line.replace(json.loads(line)["rotator-audit-key"], "0123456789abcdef")


@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=CHANGES)
def test_file_is_named_when_it_was_changed(path: Path, change: Change, words: str) -> None:
    world, file = make_world(), AnchorFile(path)
    go_on(world, file, count=3)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(change(lines)), encoding="utf-8")
    error = find_wrong(world, file)
    assert words in error.message
    assert str(path) in str(error.anchor)


def test_log_that_was_put_back_is_named_by_the_file_until_its_gap_is_accepted(path: Path) -> None:
    world, file = make_world(), AnchorFile(path)
    go_on(world, file, count=3)
    put_back(world, 3)
    assert "the log was cut off" in find_wrong(world, file).message
    with pytest.raises(AuditChainError, match="was put back to an earlier state"):
        give_anchors(make_run(world, file))
    assert len(accept_gap(make_run(world, file))) == 1
    assert check(world, file) == 3
    go_on(world, file)
    path.write_text("", encoding="utf-8")
    assert "is gone" in find_wrong(world, file).message
    accept_gap(replace(make_run(world, file), reason="somebody emptied it"))
    assert check(world, file) == 0


def test_log_that_was_rewritten_by_who_has_the_key_is_named_by_the_file(path: Path) -> None:
    world, file = make_world(), AnchorFile(path)
    go_on(world, file, count=3)
    tables = world.database._tables
    forged = chain_anew([replace(e, entry=replace(e.entry, actor="nobody@host")) for e in tables.events])
    tables.events[:] = forged
    tables.checkpoints = {size: forge_checkpoint(c, forged, KEY) for size, c in tables.checkpoints.items()}
    verify_log(world.database, fetch_anchors(make_run(world)), TRUST, world.clock.now())
    assert "has other content now: the log was rewritten" in find_wrong(world, file).message


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[WebhookServer, AnchorWebhook]]:
    """A server, and what sends to it."""
    ca, certificate = write_certificates(tmp_path)
    server = WebhookServer(certificate)
    http, clock = HttpOptions(ca_bundle=ca), make_world().clock
    post = SignedPost(SecretValue(server.url), SecretValue(SIGNING_KEY), http, clock, "audit.anchors")
    with server.running():
        yield server, AnchorWebhook(server.host, post)


def test_webhook_gets_each_checkpoint_signed_and_what_it_keeps_can_be_checked_as_a_file(
    receiver: tuple[WebhookServer, AnchorWebhook], path: Path
) -> None:
    server, webhook = receiver
    world = make_world()
    go_on(world, webhook, count=2)
    give_anchors(make_run(world, webhook))
    assert [document["rotator-audit-size"] for document in server.documents] == ["1", "3"]
    for request in server.received:
        headers = {name.lower(): value for name, value in request.headers.items()}
        signed = make_signature(
            SecretValue(SIGNING_KEY), headers["webhook-id"], headers["webhook-timestamp"], request.body
        )
        assert headers["webhook-signature"] == signed
    assert check(world, webhook) == 0
    path.write_bytes(b"".join(request.body + b"\n" for request in server.received))
    assert check(world, AnchorFile(path)) == 2
    assert HOOK_PATH not in world.database.dump()


def test_webhook_that_fails_is_a_warning_and_made_up_for_later_with_the_same_id(
    receiver: tuple[WebhookServer, AnchorWebhook],
) -> None:
    server, webhook = receiver
    world = make_world()
    server.answers = [503]
    go_on(world, webhook)
    assert [name for name, _ in world.told if name == "anchoring_failed"] == ["anchoring_failed"]
    assert list_anchored(world) == []
    give_anchors(make_run(world, webhook))
    first, second = server.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert list_anchored(world) == [1]
