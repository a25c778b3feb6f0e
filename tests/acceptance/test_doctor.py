"""`rotator doctor` as the installed command: exit codes, one line for each check, JSON by its schema."""

from __future__ import annotations

import json

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
