"""`rotator sandbox up --full`: a second account, an administrator and a receiver are there to be tried."""

from __future__ import annotations

import json
from pathlib import Path

from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import OTHER_ACCOUNT, OTHER_USERNAME, USERNAME
from tests.support.installed_command import make_rotator, sign_in


def test_full_sandbox_has_a_second_account_an_administrator_and_a_receiver(tmp_path: Path) -> None:
    told: list[dict[str, str]] = []
    with Sandbox(tmp_path / "sandbox", hear=told.append) as sandbox:
        rotator = make_rotator(sandbox, tmp_path)
        assert rotator("db", "upgrade").returncode == 0
        sign_in(sandbox, tmp_path)
        sign_in(sandbox, tmp_path, OTHER_ACCOUNT, OTHER_USERNAME)
        scanned = rotator("scan")
        assert (scanned.returncode, scanned.stderr) == (0, "")
        assert scanned.stdout.splitlines()[0].split()[:4] == ["DISPLAY", "NAME", "ACCOUNT", "ORGANIZATION"]
        everybody = json.loads(rotator("scan", "--organization-wide", "--json").stdout)
        assert {pat["user"] for pat in everybody["pats"]} == {USERNAME, OTHER_USERNAME}
        assert rotator("inventory", "adopt", "npm-feed").returncode == 0
        moved = rotator("inventory", "move", "npm-feed", "--account", OTHER_ACCOUNT, "--dry-run")
        assert f"from build-bot to {OTHER_ACCOUNT}" in moved.stdout, moved.stderr
        assert rotator("notify", "test").stdout == "ops: delivered (HTTP 200)\n"
        assert [document["name"] for document in told] == ["test"]
