"""`rotator doctor` as the installed command: exit codes, one line for each check, JSON by its schema."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rotator.sandbox.running import Sandbox
from tests.support.installed_command import Rotator
from tests.support.published import check_printed


@pytest.mark.timeout(600)
def test_doctor_ends_with_the_code_of_the_worst_that_it_found(sandbox: Sandbox, signed_in: Rotator) -> None:
    """4 with WARN only, 1 with a FAIL, 0 when all is well, 2 when the settings cannot be read."""
    cache = sandbox.addresses.config_path.with_name("token-cache.bin")
    cache.chmod(0o604)
    doubted = signed_in("doctor", "--json")
    document = json.loads(doubted.stdout)
    assert check_printed(("doctor",), document) == "doctor"
    assert doubted.returncode == 4, doubted.stdout + doubted.stderr
    assert doubted.stderr == ""
    [wrong] = [check for check in document["checks"] if check["outcome"] != "ok"]
    assert (wrong["name"], wrong["outcome"]) == ("files", "warn")
    assert "chmod" in wrong["fix"]
    cache.chmod(0o600)
    for words in (("inventory", "adopt", "npm-feed"), ("once",)):
        assert signed_in(*words).returncode == 0
    plain = signed_in("doctor")
    assert plain.returncode == 0, plain.stdout + plain.stderr
    head, *lines = plain.stdout.splitlines()
    assert head.split() == ["CHECK", "SUBJECT", "WHAT", "WAS", "FOUND"]
    assert {line.split()[0] for line in lines if line} == {"OK", "15"}
    assert lines[-1] == "15 OK. Nothing was changed."
    sandbox.world.vaults["contoso-kv"].firewall = True
    failed = signed_in("doctor", "--quiet")
    assert failed.returncode == 1
    assert failed.stdout.startswith("FAIL vault https://")
    assert "    fix: " in failed.stdout
    sandbox.addresses.config_path.write_text("accounts: 7\n", encoding="utf-8")
    unreadable = signed_in("doctor", "--json")
    assert unreadable.returncode == 2
    assert json.loads(unreadable.stdout)["error"]["code"] == "config_invalid"


CANARY = ("doctor", "--canary")


def test_canary_is_asked_for_and_shows_what_each_policy_of_the_organization_does(
    sandbox: Sandbox, signed_in: Rotator
) -> None:
    world, home = sandbox.world, sandbox.world.organizations["contoso"]
    before = set(world.pats)
    unasked = signed_in(*CANARY)
    assert (unasked.returncode, "Microsoft mails build-bot@contoso.com about it" in unasked.stderr) == (2, True)
    assert (
        "fix: Confirm with `rotator doctor --canary --account build-bot --organization contoso --yes`" in unasked.stderr
    )
    assert signed_in("doctor", "--yes").returncode == 2
    refused = json.loads(signed_in("audit", "list", "--event", "command_refused", "--json").stdout)["events"]
    assert refused == [], "nobody was asked, and without --canary it only looks"
    assert set(world.pats) == before
    well = signed_in(*CANARY, "--yes", "--reason", "before the rollout")
    assert well.returncode == 0, well.stdout + well.stderr
    assert well.stdout.splitlines()[-1] == "3 OK. Microsoft mails build-bot@contoso.com about it."
    [canary] = set(world.pats) - before
    assert (world.pats[canary].revoked, world.pats[canary].scope) == (True, "vso.profile")

    def send(*words: str) -> tuple[int, dict[str, tuple[str, str]]]:
        sent = signed_in(*CANARY, "--yes", "--json", *words)
        document = json.loads(sent.stdout)
        check_printed(("doctor",), document)
        return sent.returncode, {
            each["name"]: (each["outcome"], each["message"] + each["fix"]) for each in document["checks"]
        }

    home.max_lifetime = timedelta(days=2)
    code, checks = send()
    assert (code, checks["canary_mint"][0], "Azure DevOps made it 2d" in checks["canary_mint"][1]) == (4, "warn", True)
    home.lifetime_mode = "refuse"
    code, checks = send()
    assert (code, "longer than the tenant allows" in checks["canary_mint"][1]) == (1, True)
    home.max_lifetime, home.creation_allowed = None, False
    code, checks = send()
    assert (code, "Restrict personal access token creation" in checks["canary_mint"][1]) == (1, True)
    home.creation_allowed, home.full_scope_allowed = True, False
    assert "app_token" in signed_in(*CANARY, "--yes", "--scope", "app_token").stderr, "the policy denies it"
    policy = sandbox.addresses.policy_path
    policy.write_text(policy.read_text(encoding="utf-8").replace("deny_scopes: [app_token]", ""), encoding="utf-8")
    code, checks = send("--scope", "app_token")
    assert (code, "full-access PATs are forbidden" in checks["canary_mint"][1]) == (1, True)
    assert {number for number, pat in world.pats.items() if not pat.revoked} <= before
    assert json.loads(signed_in("inventory", "list", "--json").stdout)["pats"] == []
