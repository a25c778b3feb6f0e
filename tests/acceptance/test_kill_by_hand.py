"""`rotator rotate`, `revoke` and `recover` are killed at every HTTP request and at every commit."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.sandbox.faults import Fault
from rotator.sandbox.seeds import ORGANIZATION
from tests.support.by_hand import (
    ByHand,
    kill_at_commit,
    kill_at_request,
    list_deaths,
    list_kills,
    read,
    run_once,
    set_overlap,
    settle,
)
from tests.support.killing import CHANGES, MINTED, NAME, SECRET, Stage
from tests.support.killing import COMMITS as ROTATION_COMMITS
from tests.support.proving import with_sample
from tests.support.sent import IDENTITY, LIST, MINT, READ, REVOKE, SHOW, STORE, TAG, VERSIONS, WRITTEN, Sent

pytestmark = pytest.mark.prove


def rotate_once(stage: Stage) -> None:
    """The PAT is one that rotator made, and not due; the old one is revoked, unless there is an overlap."""
    assert [entry["name"] for entry in read(stage.start("once", "--json"))["rotated"]] == [NAME]


def rotate_with_overlap(stage: Stage) -> None:
    """Both PATs are valid for a day."""
    set_overlap(stage, "24h")
    rotate_once(stage)


def find_current(stage: Stage) -> str:
    """The PAT that consumers read."""
    value = stage.find_latest().value
    with stage.world.lock:
        return next(found for found, pat in stage.world.pats.items() if pat.value == value)


def find_others(stage: Stage) -> list[str]:
    """Our live PATs, without the one that consumers read."""
    current = find_current(stage)
    return [pat.authorization_id for pat in stage.find_ours() if pat.authorization_id != current]


def name_current(stage: Stage) -> None:
    """A person wants the PAT revoked that consumers read."""
    stage.named = {find_current(stage)}


def name_others(stage: Stage) -> None:
    """A person wants the PAT revoked that consumers do not read."""
    stage.named = set(find_others(stage))


def finish_rotation(stage: Stage, command: ByHand) -> None:
    """Whether it was finished or given up, once a late answer is no longer waited for: the person rotates."""
    settle(stage)
    command.repeat(stage)
    settle(stage)
    stage.check_end()


def finish_revocation(stage: Stage, command: ByHand) -> None:
    """No run revokes what a person did not; asked again, it is done, and `status` says so. A new PAT ends it."""
    [named] = stage.named
    run_once(stage)
    command.repeat(stage, 2)
    [row] = [pat for pat in stage.check_owners() if pat["secret_name"] == SECRET]
    assert row["last_error"] is not None
    assert f"rotator rotate {NAME}" in row["last_error"]["fix"]
    check_gone(stage, named)
    stage.named.clear()
    again = stage.start("rotate", NAME)
    assert again.wait() == 0, again.read()
    settle(stage)
    stage.check_end()


def finish_named(stage: Stage, command: ByHand) -> None:
    """The PAT that was named goes, at the latest when the person asks again, and no other."""
    [named] = stage.named
    run_once(stage)
    command.repeat(stage, 2)
    check_gone(stage, named)
    settle(stage)
    stage.check_end()


def check_gone(stage: Stage, named: str) -> None:
    """The PAT that a person named is revoked."""
    with stage.world.lock:
        assert stage.world.pats[named].revoked


def finish_recovery(stage: Stage, command: ByHand) -> None:
    """The same command again, and runs, bring it to its end."""
    command.repeat(stage)
    stage.named.clear()
    stage.run_until_at_rest()
    stage.check_end()


def interrupt_minted(stage: Stage) -> None:
    """A run has died between the answer to its mint and the vault: the clone's value is lost."""
    stage.die("after", MINTED)


def interrupt_late(stage: Stage) -> None:
    """A run has died while it wrote to the vault; it was recovered, and then the write took effect: it is undone."""
    stage.postpone(*CHANGES[1])
    stage.start_and_hold().kill()
    for _ in range(12):
        read(stage.start("recover", "--json"), 1)
        if not stage.find_open_states():
            break
    stage.land()


def leave_behind(stage: Stage) -> None:
    """The server shortened a lifetime, and the answer was lost: nobody can prove whose that PAT is."""
    stage.world.organizations[ORGANIZATION].max_lifetime = timedelta(days=20)
    stage.world.faults.add(Fault("azure_devops", "lost_after", method="POST", path="/tokens/pats"))
    read(stage.start("once", "--json"), 1)
    stage.world.organizations[ORGANIZATION].max_lifetime = None
    for _ in range(12):
        if read(stage.start("recover", "--json"), 1)["left_behind"]:
            break
    again = stage.start("rotate", NAME)
    assert again.wait() == 0, again.read()


ROTATION = (
    *(IDENTITY, LIST, SHOW, VERSIONS, VERSIONS, VERSIONS, READ, TAG),
    *(MINT, SHOW, IDENTITY, STORE, WRITTEN, READ),
    *(READ, VERSIONS, IDENTITY, SHOW, LIST, LIST, SHOW, LIST, REVOKE, LIST, LIST),
)
CLAIMED = "UPDATE managed_pat"
"""A claim was taken, confirmed or given back."""
READ_NOTED = "values_read"
"""Which values were read, at the end."""

COMMANDS = (
    ByHand(
        "rotate",
        lambda _: ("rotate", NAME),
        finish_rotation,
        requests=ROTATION,
        commits=(CLAIMED, *ROTATION_COMMITS[6:-5], READ_NOTED),
        prepare=rotate_once,
    ),
    ByHand(
        "revoke",
        lambda _: ("revoke", NAME, "--yes"),
        finish_revocation,
        requests=(IDENTITY, REVOKE, LIST, LIST),
        commits=(CLAIMED, "revoke_started", "pat_paused", CLAIMED, "pat_revoked"),
        prepare=rotate_once,
        arrange=name_current,
    ),
    ByHand(
        "revoke-previous",
        lambda _: ("revoke", NAME, "--previous", "--yes"),
        finish_named,
        requests=(READ, READ, VERSIONS, IDENTITY, IDENTITY, LIST, REVOKE, LIST, LIST),
        commits=(CLAIMED, CLAIMED, "revoke_started", "rotation_completed", CLAIMED, "pat_revoked", READ_NOTED),
        prepare=rotate_with_overlap,
        arrange=name_others,
    ),
    ByHand(
        "recover-mint",
        lambda _: ("recover",),
        finish_recovery,
        requests=(IDENTITY, LIST, VERSIONS, VERSIONS, READ, VERSIONS, VERSIONS, READ, REVOKE, LIST, LIST),
        commits=(
            "DELETE untracked_pat",
            CLAIMED,
            "revoke_started",
            CLAIMED,
            "revocation_requested",
            CLAIMED,
            "pat_revoked",
            READ_NOTED,
        ),
        prepare=interrupt_minted,
    ),
    ByHand(
        "recover-late-write",
        lambda _: ("recover",),
        finish_recovery,
        requests=(IDENTITY, LIST, VERSIONS, VERSIONS, READ, VERSIONS, VERSIONS, WRITTEN, IDENTITY, STORE, WRITTEN),
        commits=("DELETE untracked_pat", CLAIMED, "restore_started", "secret_restored", CLAIMED, READ_NOTED),
        prepare=interrupt_late,
        arrange=name_current,
    ),
    ByHand(
        "recover-revoke",
        lambda stage: ("recover", "--revoke", *stage.named, "--yes"),
        finish_named,
        requests=(IDENTITY, LIST, READ, READ, VERSIONS, REVOKE, LIST, LIST),
        commits=(
            CLAIMED,
            "revoke_started",
            CLAIMED,
            "revocation_requested",
            CLAIMED,
            "pat_revoked",
            "left_behind_resolved",
            READ_NOTED,
        ),
        prepare=leave_behind,
        arrange=name_others,
    ),
)

SAMPLE_KILLS = (f"revoke-{REVOKE}-0-after",)
SAMPLE_DEATHS = ("recover-mint-4-revocation_requested-before",)


@pytest.mark.parametrize("command", with_sample({one.name: (one,) for one in COMMANDS}, ["revoke-previous"]))
def test_command_sends_and_commits_exactly_what_it_is_killed_at_when_undisturbed(
    prepared: Stage, command: ByHand
) -> None:
    command.begin(prepared)
    command.check_points(prepared)
    command.finish(prepared, command)


@pytest.mark.parametrize(("command", "sent", "skip", "effect"), with_sample(list_kills(COMMANDS), SAMPLE_KILLS))
def test_command_loses_nothing_when_killed_at_a_request(
    prepared: Stage, command: ByHand, sent: Sent, skip: int, effect: bool
) -> None:
    kill_at_request(prepared, command, sent, skip, effect)


@pytest.mark.parametrize(("command", "when", "number"), with_sample(list_deaths(COMMANDS), SAMPLE_DEATHS))
def test_command_loses_nothing_when_killed_at_a_commit(
    prepared: Stage, command: ByHand, when: str, number: int
) -> None:
    kill_at_commit(prepared, command, when, number)
