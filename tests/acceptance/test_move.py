"""A person leaves: `rotator inventory move` makes the next PAT another account's, by the installed command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import OTHER_USER_ID, OTHER_USERNAME, USER_ID, VAULT
from rotator.sandbox.world import Pat
from tests.support.installed_command import Rotator, add_account, sign_in
from tests.support.published import check_printed

NAME, HEIR = "npm-feed", "heir"
MOVE = ("inventory", "move", NAME, "--account", HEIR)


@pytest.fixture
def managed(sandbox: Sandbox, signed_in: Rotator, tmp_path: Path) -> Rotator:
    """Give the command with a PAT of the first account, and another account that is signed in."""
    policy = sandbox.addresses.policy_path
    policy.write_text(policy.read_text(encoding="utf-8").replace("overlap: 5s", "overlap: 0s"), encoding="utf-8")
    settings = sandbox.addresses.config_path
    settings.write_text(add_account(settings.read_text(encoding="utf-8"), HEIR, OTHER_USERNAME), encoding="utf-8")
    sign_in(sandbox, tmp_path, HEIR, OTHER_USERNAME)
    adopted = signed_in("inventory", "adopt", NAME)
    assert adopted.returncode == 0, adopted.stderr
    return signed_in


def find_live(sandbox: Sandbox) -> dict[str, Pat]:
    """The live PATs of that name, by the user whose they are."""
    pats = [pat for pat in sandbox.world.pats.values() if pat.display_name == NAME and not pat.revoked]
    return {pat.user_id: pat for pat in pats}


def read(rotator: Rotator, *words: str, code: int = 0) -> dict[str, Any]:
    """What a command prints as JSON."""
    done = rotator(*words, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    check_printed(done.args, document)
    return document


def test_move_gives_the_pat_to_the_other_account_and_revokes_the_old_one(sandbox: Sandbox, managed: Rotator) -> None:
    [old] = find_live(sandbox).values()
    shown = managed(*MOVE, "--dry-run")
    assert (shown.returncode, f"from build-bot to {HEIR}" in shown.stdout) == (0, True), shown.stderr
    assert "asked for with `rotator inventory move`" in shown.stdout
    assert find_live(sandbox) == {USER_ID: old}
    done = read(managed, *MOVE, "--reason", "Ann leaves", "--yes")
    assert [(item["name"], item["account"]) for item in done["rotated"]] == [(NAME, HEIR)]
    read(managed, "once")
    [(owner, pat)] = find_live(sandbox).items()
    assert owner == OTHER_USER_ID
    assert sandbox.world.vaults[VAULT].secrets[f"contoso-{NAME}"].versions[-1].value == pat.value
    events = read(managed, "audit", "list", "--json")["events"]
    [moved] = [event for event in events if event["event"] == "move_started"]
    assert (moved["details"]["to"], moved["details"]["reason"]) == (HEIR, "Ann leaves")
    again = managed(*MOVE, "--yes")
    assert (again.returncode, f"{NAME} belongs to {HEIR} already" in again.stdout) == (0, True)
    assert managed(*MOVE, "--dry-run").stdout == f"{NAME} belongs to {HEIR} already. Nothing to do.\n"


def test_move_works_without_the_user_who_left_and_reports_the_pat_that_stays(
    sandbox: Sandbox, managed: Rotator
) -> None:
    """The vault is read and written as the other account too: each account signs in to it itself."""
    [old] = find_live(sandbox).values()
    sandbox.world.users[USER_ID].enabled = False
    assert managed("logout", "build-bot", "--yes").returncode == 0
    assert old.authorization_id in managed(*MOVE, "--dry-run").stdout
    moved = read(managed, *MOVE, "--yes", code=3)  # there is no overlap: the old PAT would be revoked now
    [rotated], [waiting] = moved["rotated"], moved["failed"]
    assert rotated["left_behind_authorization_id"] == old.authorization_id
    assert waiting["error"]["code"] == "old_account_signed_out"
    read(managed, "once", code=10)
    [row] = [row for row in read(managed, "status")["pats"] if row["name"] == NAME and row["last_error"]]
    assert (row["last_error"]["code"], row["account"]) == ("old_account_signed_out", HEIR)
    assert "rotator login build-bot" in row["last_error"]["fix"]
    settings = sandbox.addresses.config_path
    document = yaml.safe_load(settings.read_text(encoding="utf-8"))
    document["accounts"] = [account for account in document["accounts"] if account["name"] == HEIR]
    settings.write_text(yaml.safe_dump(document), encoding="utf-8")
    assert managed("inventory", "resume", NAME).returncode == 0  # tried again at once
    left_now = managed("once")
    assert f"the old PAT ({old.authorization_id}) is left behind" in left_now.stdout, left_now.stdout + left_now.stderr
    rows = {row["authorization_id"]: row for row in read(managed, "status")["pats"]}
    left = rows[old.authorization_id]
    assert (left["state"], left["account"], left["last_error"]["code"]) == ("untracked", "build-bot", "left_behind")
    [current] = [row for row in rows.values() if row["name"] == NAME and row["state"] == "ok"]
    assert (current["account"], set(find_live(sandbox))) == (HEIR, {USER_ID, OTHER_USER_ID})


def test_move_is_refused_with_its_fix_when_the_other_account_is_not_signed_in(managed: Rotator) -> None:
    assert managed("logout", HEIR, "--yes").returncode == 0
    refused = managed(*MOVE, "--yes")
    assert (refused.returncode, f"rotator login {HEIR}" in refused.stderr) == (10, True), refused.stderr
    assert managed("inventory", "pause", NAME).returncode == 0
    paused = managed(*MOVE, "--yes")
    assert (paused.returncode, "[paused]" in paused.stderr) == (2, True), paused.stderr
