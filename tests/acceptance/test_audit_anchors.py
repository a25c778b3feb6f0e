"""The vault tells that the whole database was put back, by the commands that a reviewer types."""

from __future__ import annotations

import json

import pytest

from rotator.sandbox.seeds import VAULT
from tests.support.killing import NAME, Run, Stage


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage, with anchors in the vault."""
    prepared.reset()
    settings = prepared.sandbox.addresses.config_path
    text = settings.read_text(encoding="utf-8")
    assert "anchors: []" in text
    settings.write_text(text.replace("anchors: []", "anchors: [vault]"), encoding="utf-8")
    return prepared


def call(stage: Stage, *words: str, code: int = 0) -> Run:
    """Run the command, and expect an exit code."""
    run = stage.start(*words)
    assert run.wait() == code, run.read()
    return run


def test_database_that_was_put_back_is_named_until_its_gap_is_accepted(stage: Stage) -> None:
    call(stage, "once")
    with stage.world.lock:
        [name] = [name for name in stage.world.vaults[VAULT].secrets if name.startswith("rotator-audit-")]
        [version] = stage.world.vaults[VAULT].secrets[name].versions
    intact = json.loads(call(stage, "audit", "verify", "--anchors", "--json").output.read_text(encoding="utf-8"))
    assert intact["valid"]
    assert (intact["accepted"], intact["others"], intact["unread"]) == (0, [], [])
    assert 0 < intact["signed"] <= intact["events"]
    stage.database.restore()
    call(stage, "audit", "verify")
    run = call(stage, "audit", "verify", "--anchors", "--json", code=1)
    error = json.loads(run.output.read_text(encoding="utf-8"))["error"]
    assert version.tags["rotator-audit-size"] == str(error["sequence"]) or error["anchor"] == "ci-build"
    assert "accept-gap" in error["fix"]
    assert "needs a reason" in call(stage, "audit", "accept-gap", code=2).read()
    accepted = call(stage, "audit", "accept-gap", "--reason", "restored a backup", "--json")
    assert len(json.loads(accepted.output.read_text(encoding="utf-8"))["accepted"]) >= 2
    text = call(stage, "audit", "verify", "--anchors").read()
    assert "A person accepted that the log lacks" in text
    assert call(stage, "audit", "accept-gap", "--reason", "again").read().startswith("The log lacks nothing")


def test_file_tells_that_the_database_was_put_back(prepared: Stage) -> None:
    prepared.reset()
    settings = prepared.sandbox.addresses.config_path
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("anchors: []", "anchors: [{file: anchors.jsonl}]"), encoding="utf-8")
    call(prepared, "once")
    path = prepared.folder / "anchors.jsonl"
    assert path.read_text(encoding="utf-8").count("\n") == 1
    assert call(prepared, "audit", "verify", "--anchors").output.read_text(encoding="utf-8")
    prepared.database.restore()
    error = json.loads(call(prepared, "audit", "verify", "--anchors", "--json", code=1).output.read_text("utf-8"))[
        "error"
    ]
    assert "the log was cut off" in error["message"]
    size = json.loads(path.read_text(encoding="utf-8"))["rotator-audit-size"]
    assert error["anchor"] in (NAME, f"{path} {size}")
