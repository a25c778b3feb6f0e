"""`rotator inventory` commands that write are killed at every HTTP request and at every commit."""

from __future__ import annotations

import uuid

import pytest

from rotator.sandbox.faults import Fault
from rotator.sandbox.seeds import ACCOUNT, ORGANIZATION, VAULT
from rotator.sandbox.world import SecretVersion
from tests.support.by_hand import (
    ByHand,
    kill_at_commit,
    kill_at_request,
    list_deaths,
    list_kills,
    list_records,
    run_once,
    set_overlap,
    settle,
)
from tests.support.killing import NAME, SECRET, Stage
from tests.support.proving import with_sample
from tests.support.sent import IDENTITY, LIST, NAMES, READ, VERSIONS, WRITTEN, Sent

pytestmark = pytest.mark.prove

FEED, NOTES = "npm-feed", "release-notes"
"""PATs of people that nobody has adopted: display names."""
CREATED = "deploy"
RENAMED = "ci-release"
LIST_FILE = "adopt.csv"


def succeed(stage: Stage, *words: str) -> None:
    """Give another command, which must do what it says."""
    run = stage.start(*words)
    assert run.wait() == 0, run.read()


def find_served(stage: Stage, secret: str) -> str:
    """The id of the live PAT that a secret holds."""
    with stage.world.lock:
        value = stage.world.vaults[VAULT].secrets[secret].versions[-1].value
        [pat] = [pat for pat in stage.world.pats.values() if pat.value == value and not pat.revoked]
    return pat.authorization_id


def is_revoked(stage: Stage, authorization_id: str) -> bool:
    """Whether the server has revoked it."""
    with stage.world.lock:
        return stage.world.pats[authorization_id].revoked


def write_elsewhere(stage: Stage) -> None:
    """Somebody writes the value that works into the secret once more: not ours by its tags."""
    latest, now = stage.find_latest(), stage.world.clock.now()
    version = SecretVersion(uuid.uuid4().hex, latest.value, {}, None, enabled=True, created=now, updated=now)
    with stage.world.lock:
        stage.world.vaults[VAULT].secrets[SECRET].versions.append(version)


def rotate_with_overlap(stage: Stage) -> None:
    """Both PATs are valid for a day."""
    set_overlap(stage, "24h")
    assert [entry["name"] for entry in run_once(stage)["rotated"]] == [NAME]


def plant_ineffective_revocations(stage: Stage) -> None:
    """Each request to revoke is answered as done, and does nothing."""
    stage.faults.add(Fault("azure_devops", "status", method="DELETE", status=204, times=None))


def rotate_without_end(stage: Stage) -> None:
    """The old PAT lives on, and its revocation is pending."""
    plant_ineffective_revocations(stage)
    assert len(run_once(stage)["rotated"]) == 1
    stage.faults.clear()


def lose_commits(stage: Stage) -> None:
    """Two rotations of which the database, restored, knows nothing: of its only record, and of one it never had."""
    rotate_with_overlap(stage)
    succeed(
        *(stage, "create", CREATED, "--account", ACCOUNT, "--organization", ORGANIZATION),
        *("--scope", "vso.code", "--lifetime", "30d"),
    )
    stage.end()
    stage.database.restore()


def write_list(stage: Stage) -> None:
    """A file of what is to be adopted; whoever had these PATs has given them."""
    feed, notes = stage.find_id(FEED), stage.find_id(NOTES)
    lines = ["id,name,secret", f"{feed},feed,contoso-feed", f"{notes},notes,contoso-notes"]
    (stage.folder / LIST_FILE).write_text("\n".join([*lines, ""]), encoding="utf-8")
    stage.given |= {feed, notes}


def give_feed(stage: Stage) -> None:
    """A person wants one more PAT to be managed."""
    stage.given.add(stage.find_id(FEED))


def finish_adoption(stage: Stage, command: ByHand) -> None:
    """All of what was named is adopted or nothing; then each is rotated, into the secret that the person chose."""
    chosen = {"adopt": {"feed"}, "adopt-from": {"feed", "notes"}}[command.name]
    adopted = list_records(stage).keys() - {NAME}
    assert adopted in (set(), chosen)
    if not adopted:
        run_once(stage)
    command.repeat(stage)
    assert list_records(stage).keys() == {NAME, *chosen}
    settle(stage)
    stage.check_end()
    for name in chosen:
        assert find_served(stage, f"contoso-{name}") == list_records(stage)[name]["authorization_id"]
    given = stage.given - {find_served(stage, f"contoso-{name}") for name in chosen}
    assert {is_revoked(stage, found) for found in given} == {True}


def finish_confirmation(stage: Stage, command: ByHand) -> None:
    """Only what the person has confirmed is replaced, by that run or, asked again, by a later one."""
    run_once(stage)
    command.repeat(stage, 2)
    settle(stage)
    stage.check_end()


def finish_renaming(stage: Stage, command: ByHand) -> None:
    """It has one name or the other, and its overlap ends under the new one."""
    assert list_records(stage).keys() in ({NAME}, {RENAMED})
    run_once(stage)
    assert len(stage.find_ours()) == 2
    command.repeat(stage, 2)
    assert list_records(stage).keys() == {RENAMED}
    succeed(stage, "revoke", RENAMED, "--previous", "--yes")
    settle(stage)
    stage.check_end()


def finish_forgetting(stage: Stage, command: ByHand) -> None:
    """What was to be revoked is never revoked again, and told as long as it lives; what consumers read lives."""
    command.repeat(stage, 2)
    assert list_records(stage) == {}
    stage.world.record.clear()
    run_once(stage)
    run_once(stage)
    assert stage.world.record.all("azure_devops", "DELETE") == []
    old, served = stage.original_id, find_served(stage, SECRET)
    assert {pat.authorization_id for pat in stage.find_ours()} == {old, served}
    [told] = [pat for pat in stage.check_owners() if pat["authorization_id"] == old]
    assert told["last_error"]["code"] == "left_behind"


def finish_pause(stage: Stage, command: ByHand) -> None:
    """A paused PAT waits, however near its end; resumed, it is rotated."""
    command.repeat(stage)
    before = stage.find_latest()
    run_once(stage)
    assert stage.find_latest() == before
    succeed(stage, "inventory", "resume", NAME)
    finish_resumption(stage, command)


def finish_resumption(stage: Stage, command: ByHand) -> None:
    """It is rotated, at the latest when the person asks again."""
    run_once(stage)
    if command.name == "resume":
        command.repeat(stage)
    settle(stage)
    stage.check_end()


def finish_rebuild(stage: Stage, command: ByHand) -> None:
    """Runs change nothing while the database is behind the vault; asked again, both are managed as the vault says."""
    alive = {pat.authorization_id for pat in stage.find_ours()}
    run_once(stage)
    assert {pat.authorization_id for pat in stage.find_ours()} == alive
    command.repeat(stage)
    assert list_records(stage).keys() == {NAME, CREATED}
    succeed(stage, "revoke", NAME, "--previous", "--yes")
    settle(stage)
    stage.check_end()
    assert find_served(stage, f"contoso-{CREATED}") == list_records(stage)[CREATED]["authorization_id"]


CLAIMED = "UPDATE managed_pat"
"""A claim was taken or given back."""
COMMANDS = (
    ByHand(
        "adopt",
        lambda stage: (
            *("inventory", "adopt", *stage.given - {stage.original_id}),
            *("--as", "feed", "--secret", "contoso-feed"),
        ),
        finish_adoption,
        requests=(IDENTITY, LIST, READ, READ, VERSIONS),
        commits=("pat_adopted",),
        arrange=give_feed,
    ),
    ByHand(
        "adopt-from",
        lambda _: ("inventory", "adopt", "--from", LIST_FILE),
        finish_adoption,
        requests=(IDENTITY, LIST, READ, READ, VERSIONS, READ, VERSIONS),
        commits=("pat_adopted",),
        arrange=write_list,
    ),
    ByHand(
        "adopt-again",
        lambda stage: ("inventory", "adopt", *stage.given, "--replace-foreign"),
        finish_confirmation,
        requests=(IDENTITY, LIST, READ, READ, VERSIONS, IDENTITY),
        commits=(CLAIMED, "secret_confirmed", CLAIMED, "values_read"),
        prepare=write_elsewhere,
    ),
    ByHand(
        "rename",
        lambda _: ("inventory", "rename", NAME, RENAMED),
        finish_renaming,
        commits=("pat_renamed",),
        prepare=rotate_with_overlap,
    ),
    ByHand(
        "forget",
        lambda _: ("inventory", "forget", NAME, "--yes"),
        finish_forgetting,
        commits=(CLAIMED, "pat_forgotten", CLAIMED),
        prepare=rotate_without_end,
        arrange=plant_ineffective_revocations,
    ),
    ByHand(
        "pause",
        lambda _: ("inventory", "pause", NAME),
        finish_pause,
        commits=(CLAIMED, "pat_paused", CLAIMED),
    ),
    ByHand(
        "resume",
        lambda _: ("inventory", "resume", NAME),
        finish_resumption,
        commits=(CLAIMED, "pat_resumed", CLAIMED),
        prepare=lambda stage: succeed(stage, "inventory", "pause", NAME),
    ),
    ByHand(
        "rebuild",
        lambda _: ("inventory", "rebuild", "--yes"),
        finish_rebuild,
        requests=(
            *(NAMES, NAMES, VERSIONS, READ, IDENTITY, LIST, WRITTEN, WRITTEN, VERSIONS, READ, WRITTEN),
            *(VERSIONS, READ) * 4,
        ),
        commits=("policy_changed", "inventory_rebuilt", "inventory_rebuilt", "values_read"),
        prepare=lose_commits,
    ),
)
SAMPLE = ("adopt-0-pat_adopted-before", "rebuild-2-inventory_rebuilt-before")


@pytest.mark.parametrize("command", with_sample({one.name: (one,) for one in COMMANDS}, ["adopt"]))
def test_command_sends_and_commits_exactly_what_it_is_killed_at_when_undisturbed(
    prepared: Stage, command: ByHand
) -> None:
    command.begin(prepared)
    command.check_points(prepared)
    command.finish(prepared, command)


@pytest.mark.parametrize(("command", "sent", "skip", "effect"), with_sample(list_kills(COMMANDS), ()))
def test_command_loses_nothing_when_killed_at_a_request(
    prepared: Stage, command: ByHand, sent: Sent, skip: int, effect: bool
) -> None:
    kill_at_request(prepared, command, sent, skip, effect)


@pytest.mark.parametrize(("command", "when", "number"), with_sample(list_deaths(COMMANDS), SAMPLE))
def test_command_loses_nothing_when_killed_at_a_commit(
    prepared: Stage, command: ByHand, when: str, number: int
) -> None:
    kill_at_commit(prepared, command, when, number)
