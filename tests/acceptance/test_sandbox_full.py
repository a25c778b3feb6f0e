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
        sign_in(sandbox, tmp_path, OTHER_ACCOUNT, OTHER_USERNAME)
        everybody = rotator("scan", "--organization-wide", "--json")
        assert everybody.returncode == 0, everybody.stderr
        assert {pat["user"] for pat in json.loads(everybody.stdout)["pats"]} == {USERNAME, OTHER_USERNAME}
        assert rotator("notify", "test").stdout == "ops: delivered (HTTP 200)\n"
        assert [document["name"] for document in told] == ["test"]
