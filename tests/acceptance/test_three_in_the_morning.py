"""Faults that nobody expects: the notification alone says what is wrong, by when it hurts, what to type, what to mend.

Each fault is planted in the world of a running daemon. What a receiver gets must name the facts that a person needs
who did not plant it, in whatever words. The command that it names is run, and must show what is wrong.
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest

from rotator.domain.words import say_moment
from rotator.sandbox.faults import Fault
from rotator.sandbox.seeds import ACCOUNT, ORGANIZATION, USERNAME, VAULT
from rotator.sandbox.world import SecretVersion
from tests.support.daemon import RunningDaemon, set_overlap, start_daemon, write_section
from tests.support.forgery import drop_triggers, execute
from tests.support.killing import NAME, SECRET, Stage
from tests.support.receiver_server import WebhookServer

pytestmark = pytest.mark.timeout(600)

OTHERS = ("npm-feed", "release-notes")


def revoke_sign_in(stage: Stage) -> None:
    stage.sandbox.entra.configure({"users": {USERNAME: {"revoked": True}}})


def write_secret(stage: Stage) -> None:
    """Somebody else does it, while the old PAT waits for the end of its overlap."""
    now = stage.world.clock.now()
    version = SecretVersion(uuid.uuid4().hex, "x" * 84, {}, None, enabled=True, created=now, updated=now)
    with stage.world.lock:
        stage.world.vaults[VAULT].secrets[SECRET].versions.append(version)


def break_vault(stage: Stage) -> None:
    stage.faults.add(Fault("key_vault", "status", status=503, times=None))


def shut_out(stage: Stage) -> None:
    """Nobody is a member of the organization any more."""
    with stage.world.lock:
        stage.world.organizations[ORGANIZATION].members = set()


def alter_log(stage: Stage) -> None:
    drop_triggers(stage.database.url())
    execute(stage.database.url(), "UPDATE audit_event SET subject = 'somebody' WHERE sequence = 3")


@dataclass(frozen=True)
class Case:
    """A fault, and what must be found: in the title, in the text, and in what the command shows. `pats`: who waits.

    `also` are the problems that come with it and need a decision of their own.
    """

    plant: Callable[[Stage], None]
    name: str
    title: tuple[str, ...]
    text: tuple[str, ...]
    command: str
    shown: tuple[str, ...]
    fix: str
    pats: int
    also: frozenset[str] = frozenset()


CASES = [
    Case(
        revoke_sign_in,
        "sign_in_needed",
        ("build-bot", "AADSTS50173", "3 PATs", "expires in"),
        (USERNAME, "revoked", "password", "No PAT of the account is rotated"),
        "rotator login build-bot",
        (),
        "rotator login build-bot",
        3,
    ),
    Case(
        write_secret,
        "rotation_blocked",
        (NAME, "foreign_write", "expires in"),
        (SECRET, "Somebody else wrote or deleted the secret", "nothing was revoked", "they are failing now"),
        f"rotator status {NAME}",
        ("written by somebody else", SECRET),
        "rotator rotate ci-build",
        1,
        frozenset({"pat_left_behind"}),  # neither PAT was revoked, and only one is in the inventory
    ),
    Case(
        break_vault,
        "vault_down",
        ("https://127.0.0.1", "vault_failed", "3 PATs", "expires in"),
        ("an error of its own", "each run tries again", "until a PAT expires"),
        "rotator status",
        ("503", "3 failed"),
        "service health of Key Vault",
        3,
    ),
    Case(
        shut_out,
        "organization_down",
        ("build-bot/contoso", "3 PATs", "expires in"),
        ("Azure DevOps refuses the account", "no longer a member", "no PAT of the account in this organization"),
        "rotator scan",
        ("contoso", "TF400813"),
        "if it is a member",
        3,
    ),
    Case(
        alter_log,
        "audit_broken",
        ("audit log was altered",),
        ("somebody changed the tables", "Rotations continue", "no PAT fails"),
        "rotator audit verify --anchors",
        ("event 3",),
        "Keep a copy of the database",
        0,
    ),
]


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage, with two more PATs, and a lease that outlasts the test; afterwards the world is well again."""
    prepared.reset(lease="1h")
    for name in OTHERS:
        (pat,) = (pat for pat in prepared.world.pats.values() if pat.display_name == name)
        adopted = prepared.start("inventory", "adopt", pat.authorization_id)
        assert adopted.wait() == 0, adopted.read()
    yield prepared
    prepared.sandbox.entra.configure({"users": {USERNAME: {"revoked": False}}})
    prepared.world.organizations[ORGANIZATION].members = None
    prepared.end()


@pytest.fixture
def server(stage: Stage) -> Iterator[WebhookServer]:
    """What a receiver gets, which is told of what may pass by itself after two seconds."""
    made = WebhookServer(stage.folder / "server.pem")
    write_section(stage, "notify", [{"name": "ops", "kind": "webhook", "url": made.url, "down_after": "2s"}])
    with made.running():
        yield made


def start(stage: Stage) -> RunningDaemon:
    """A daemon with every job soon."""
    return start_daemon(stage, work="1s", heartbeat="1s", refresh="1s", reconcile="1s", verify_audit="1s")


def plant(stage: Stage, case: Case) -> RunningDaemon:
    """Plant the fault, and start the daemon before or after that."""
    if case.plant is not write_secret:
        case.plant(stage)
        return start(stage)
    set_overlap(stage, "10s")
    daemon = start(stage)
    daemon.wait_until(lambda: "overlap_started" in stage.find_events())
    case.plant(stage)
    return daemon


@pytest.mark.parametrize("case", CASES, ids=[case.plant.__name__ for case in CASES])
def test_notification_alone_says_what_is_wrong_and_what_to_do(stage: Stage, server: WebhookServer, case: Case) -> None:
    daemon = plant(stage, case)
    began = [document for document in server.wait_for(1 + len(case.also)) if document["phase"] == "began"]
    (told,) = [document for document in began if document["name"] not in case.also]
    lines = told["text"].splitlines()
    assert told["name"] == case.name
    assert lines[0].startswith("Consumers: ")
    place = f"PAT: {NAME} (account {ACCOUNT}, organization {ORGANIZATION}, secret {SECRET} in https://"
    assert (place in told["text"]) == (case.pats > 0)
    for fact in case.title:
        assert fact in told["title"]
    for fact in case.text:
        assert fact in told["text"], told["text"]
    assert told["command"] == case.command
    assert [line for line in lines if line.endswith(f": {case.command}")], told["text"]
    assert case.fix in told["fix"]
    assert told["fix"] in told["text"]
    assert told["runbook"] == f"docs/runbook.md#{case.name}"
    assert told["waiting"] == case.pats
    if case.pats:
        assert say_moment(datetime.fromisoformat(told["first_expires_at"])) in told["text"]
    if case.shown:
        shown = stage.start(*shlex.split(case.command)[1:])
        shown.wait()
        for fact in case.shown:
            assert fact in shown.read()
    assert daemon.stop() == 0
    assert {document["name"] for document in server.documents} == {case.name, *case.also}, "one cause is told once"
