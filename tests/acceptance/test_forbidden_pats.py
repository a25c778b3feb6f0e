"""PATs that the policy forbids to rotate: the way out that their fix names is walked to its end, dead or alive."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import VAULT
from rotator.sandbox.world import Pat, Secret, SecretVersion
from tests.support.installed_command import Rotator

OLD, SECRET, NEW = "old-admin", "contoso-old-admin", "5d1c7a52-9a3e-4b0e-8f6d-2f4d7f0a9c11"


def find_old(sandbox: Sandbox) -> Pat:
    return next(pat for pat in sandbox.world.pats.values() if pat.display_name == OLD)


def run_well(rotator: Rotator, *words: str) -> str:
    done = rotator(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("is_dead", [False, True], ids=["alive", "dead"])
def test_fix_of_a_pat_that_may_not_be_rotated_leads_out(sandbox: Sandbox, signed_in: Rotator, *, is_dead: bool) -> None:
    run_well(signed_in, "inventory", "adopt", OLD)
    with sandbox.world.lock:
        old, now = find_old(sandbox), sandbox.world.clock.now()
        stored = SecretVersion("1" * 32, old.value, {}, None, True, now, now)
        sandbox.world.vaults[VAULT].secrets[SECRET] = Secret(SECRET, [stored])
        old.revoked = is_dead
    for command in ("once", "rotate", "once"):
        assert signed_in(command, *([OLD] if command == "rotate" else [])).returncode in (0, 1)
    (row,) = [row for row in json.loads(signed_in("status", "--json").stdout)["pats"] if row["name"] == OLD]
    assert row["last_error"]["code"] == ("revoked_elsewhere" if is_dead else "blocked")
    fix = row["last_error"]["fix"]
    check = signed_in("status", "--check")
    assert (check.returncode, "pat_vanished" in check.stdout) == (4, is_dead)
    assert "next try" not in signed_in("plan").stdout
    with sandbox.world.lock:  # a person makes another one
        made = replace(old, authorization_id=NEW, scope="vso.code", value=f"{'B' * 76}AZDObbbb", revoked=False)
        sandbox.world.pats[NEW] = made
    adopt = f"adopt ID --as {OLD} --secret {SECRET}"
    assert all(part in " ".join(fix.split()) for part in (f"rotator inventory forget {OLD}", adopt, f"rotate {OLD}`"))
    run_well(signed_in, "inventory", "forget", OLD, "--yes")
    words = ["inventory", "adopt", NEW, "--as", OLD, "--secret", SECRET]
    if is_dead:  # the secret holds a value that does not sign in: a person confirms that it may go
        refused = signed_in(*words)
        again = f"`rotator inventory adopt {NEW} --as {OLD} --secret {SECRET} --replace-foreign`"
        assert (refused.returncode, again in refused.stderr) == (1, True)
        words.append("--replace-foreign")
    run_well(signed_in, *words)
    run_well(signed_in, "rotate", OLD)
    with sandbox.world.lock:
        old.revoked = True  # in Azure DevOps
        served = sandbox.world.vaults[VAULT].secrets[SECRET].versions[-1].value
        assert next(pat for pat in sandbox.world.pats.values() if pat.value == served).scope == "vso.code"
    run_well(signed_in, "once")
    assert [row["name"] for row in json.loads(signed_in("status", "--json").stdout)["pats"] if row["last_error"]] == []
    assert signed_in("status", "--check").returncode == 0


def test_pat_that_a_person_revoked_is_no_alarm_when_a_new_one_is_refused(signed_in: Rotator) -> None:
    run_well(signed_in, "inventory", "adopt", OLD)
    assert "makes a new one" not in run_well(signed_in, "revoke", OLD, "--yes")
    assert signed_in("rotate", OLD).returncode == 1
    run_well(signed_in, "once")
    assert signed_in("status", "--check").returncode == 0
    (row,) = [row for row in json.loads(signed_in("status", "--json").stdout)["pats"] if row["name"] == OLD]
    assert (row["state"], row["last_error"]["code"]) == ("paused", "revoked_by_hand")
