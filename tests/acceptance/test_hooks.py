"""Hooks of `rotator once` and of the real daemon: programs that write down what they were called with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.daemon import RunningDaemon, start_daemon, write_section
from tests.support.killing import NAME, SECRET, Run, Stage

PROGRAM = f"""#!{sys.executable}
import json, os, pathlib, sys, time
folder = pathlib.Path(__file__).parent
told = {{**json.load(sys.stdin), "variables": {{k: v for k, v in os.environ.items() if k.startswith("ROTATOR_")}}}}
with open(folder / "calls", "a") as calls:
    calls.write(json.dumps(told) + "\\n")
while (folder / "hold").exists():
    time.sleep(0.05)
print("restarted" if not (folder / "broken").exists() else "no such deployment")
sys.exit(3 if (folder / "broken").exists() else 0)
"""


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage, with a lease that outlasts the test, and put a program there."""
    prepared.reset(lease="1h")
    for name in ("calls", "hold", "broken"):
        (prepared.folder / name).unlink(missing_ok=True)
    (prepared.folder / "restart").write_text(PROGRAM, encoding="utf-8")
    (prepared.folder / "restart").chmod(0o755)
    yield prepared
    prepared.end()


def make_hook(**more: Any) -> dict[str, Any]:
    return {"name": "restart", "on": ["secret_stored"], "command": ["./restart"], **more}


def run(stage: Stage, *words: str, code: int = 0) -> Run:
    """One command that ends with this code."""
    made = stage.start(*words)
    assert made.wait() == code, made.read()
    return made


def list_calls(stage: Stage) -> list[dict[str, Any]]:
    """What the program was called with."""
    path = stage.folder / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def name_in_rule(stage: Stage, hook: str) -> Path:
    """Name a hook in the policy's first rule."""
    path = stage.sandbox.addresses.policy_path
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["rules"][0]["hooks"] = [hook]
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_run_calls_the_hook_about_what_it_did(stage: Stage) -> None:
    """In the first run, once; the audit log has what it printed."""
    write_section(stage, "hooks", [make_hook()])
    run(stage, "once")
    run(stage, "once")
    (call,) = list_calls(stage)
    assert (call["event"], call["name"], call["secret_name"]) == ("secret_stored", NAME, SECRET)
    (pat,) = [pat for pat in stage.world.pats.values() if pat.authorization_id == call["authorization_id"]]
    assert pat.display_name == NAME
    assert call["variables"]["ROTATOR_HOOK_ID"] == call["id"]
    assert set(call["variables"]) == {
        f"ROTATOR_HOOK_{name}"
        for name in (
            *("EVENT", "ID", "NAME", "ACCOUNT", "ORGANIZATION", "AUTHORIZATION_ID"),
            *("VAULT", "SECRET_NAME", "SECRET_VERSION", "EXPIRES_AT"),
        )
    }
    listed = run(stage, "audit", "list", "--event", "hook_succeeded", "--json")
    (event,) = json.loads(listed.output.read_text())["events"]
    assert event["details"]["output"] == "restarted"


def test_hook_that_fails_makes_the_run_end_with_3_until_it_succeeded(stage: Stage) -> None:
    """The PAT is rotated all the same; the report says which hook failed for which PAT, and what it printed."""
    (stage.folder / "broken").touch()
    write_section(stage, "hooks", [make_hook()])
    made = run(stage, "once", "--json", code=3)
    report = json.loads(made.output.read_text())
    assert [found["name"] for found in report["rotated"]] == [NAME]
    (failed,) = report["failed"]
    assert (failed["name"], failed["reason"], failed["error"]["code"]) == (NAME, "hook_failed", "hook_failed")
    assert failed["error"]["message"] == "the hook restart exited with 3; it printed: no such deployment"
    again = run(stage, "once", code=3).read()
    assert f"failed  {NAME}  (contoso): the hook restart exited with 3; it printed: no such deployment" in again
    assert len(list_calls(stage)) == 1


def test_test_calls_each_hook_and_shows_what_it_printed(stage: Stage) -> None:
    gone = make_hook(name="gone", command=["./nothing"])
    write_section(stage, "hooks", [make_hook(), gone])
    shown = run(stage, "hooks", "test", code=3).read()
    assert "restart: succeeded: restarted" in shown
    assert "gone: the hook gone cannot be called" in shown
    assert "fix: Correct the command of gone in hooks" in shown
    found = json.loads(run(stage, "hooks", "test", "restart", "--json").output.read_text())["hooks"]
    assert found == [{"name": "restart", "succeeded": True, "output": "restarted", "error": None}]
    assert [call["event"] for call in list_calls(stage)] == ["test", "test"]
    assert "There are: restart, gone." in run(stage, "hooks", "test", "nobody", code=2).read()
    write_section(stage, "hooks", [])
    run(stage, "hooks", "test", code=2)


def test_check_of_the_settings_finds_what_cannot_be_called(stage: Stage) -> None:
    """With line and column, in both files."""
    (stage.folder / "text").write_text("a text", encoding="utf-8")
    hooks = [
        make_hook(command=["./nothing"]),
        make_hook(name="text", command=["./text", "argument"]),
        make_hook(name="path", command=["no-such-program"]),
    ]
    write_section(stage, "hooks", hooks)
    name_in_rule(stage, "restrat")
    shown = " ".join(run(stage, "config", "check", code=2).read().split())
    assert "hooks[0].command[0]: the hook restart cannot be called" in shown
    assert "hooks[1].command[0]: the hook text cannot be called" in shown
    assert "hooks[2].command[0]: the hook path cannot be called: no-such-program is not on the PATH" in shown
    assert 'rules[0].hooks[0]: unknown hook "restrat", did you mean "restart"?' in shown
    for wrong, said in (
        ({"command": []}, "needs a command or a url, and not both"),
        ({"url": "https://127.0.0.1/x"}, "needs a command or a url, and not both"),
        ({"command": ["./restart", ""]}, "hooks[0].command[1]"),
        ({"on": ["secret_stord"]}, 'unknown event "secret_stord", did you mean "secret_stored"?'),
        ({"on": ["hook_failed"]}, "no hook is called about that"),
        ({"secret": {"env": "X"}}, "a command needs none"),
        ({"required": True, "on": ["pat_revoked"]}, "needs secret_stored in `on`"),
        ({"timeout": "5m"}, "must be 4m at most"),
    ):
        write_section(stage, "hooks", [make_hook(**wrong)])
        assert said in " ".join(run(stage, "config", "check", code=2).read().split())


def test_daemon_goes_on_with_a_hook_that_cannot_be_called(stage: Stage) -> None:
    """It says so; the PAT is rotated, and the other hook is called."""
    write_section(stage, "hooks", [make_hook(name="gone", command=["./nothing"]), make_hook()])
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    daemon.wait_for("hook_succeeded")
    assert daemon.stop() == 0
    (failed,) = [line for line in daemon.read_log() if line["event"] == "hook_failed"]
    assert (failed["hook"], failed["code"]) == ("gone", "hook_unusable")
    assert [call["name"] for call in list_calls(stage)] == [NAME]


def test_old_pat_waits_for_a_hook_that_must_succeed_until_a_person_overrules_it(stage: Stage) -> None:
    """There is no overlap on this stage: without the hook the old PAT would be gone at once."""
    (stage.folder / "broken").touch()
    write_section(stage, "hooks", [make_hook(required=True)])
    run(stage, "once", code=3)
    old = [pat for pat in stage.world.pats.values() if pat.display_name == NAME and not pat.revoked]
    assert len(old) == 2 + len(stage.by_people)
    assert "the hook restart has not succeeded" in run(stage, "status").read()
    refused = run(stage, "revoke", NAME, "--previous", "--yes", code=1).read()
    assert "--without-hook --reason TEXT" in refused
    run(stage, "revoke", NAME, "--previous", "--without-hook", code=2)
    run(stage, "revoke", NAME, "--previous", "--yes", "--without-hook", "--reason", "by hand")
    shown = run(stage, "audit", "list", "--event", "hooks_overruled", "--json").output.read_text()
    assert json.loads(shown)["events"][0]["details"]["reason"] == "by hand"
    left = [pat for pat in stage.world.pats.values() if pat.display_name == NAME and not pat.revoked]
    assert len(left) == len(old) - 1


def test_renamed_hook_that_an_old_pat_waited_for_is_told(stage: Stage) -> None:
    """Its call is dropped once nothing waits for it; the one with the new name hears of the next value only."""
    (stage.folder / "broken").touch()
    write_section(stage, "hooks", [make_hook(required=True)])
    run(stage, "once", code=3)
    write_section(stage, "hooks", [make_hook(name="renamed", required=True)])
    run(stage, "once")
    listed = run(stage, "audit", "list", "--event", "hook_call_dropped", "--json")
    (event,) = json.loads(listed.output.read_text())["events"]
    assert (event["subject"], event["details"]["code"]) == ("restart", "hook_removed")
    assert event["details"]["about"] == f"secret_stored of {NAME}"
    assert len(list_calls(stage)) == 1


def test_old_pat_goes_once_the_hook_has_succeeded(stage: Stage) -> None:
    write_section(stage, "hooks", [make_hook(required=True)])
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    daemon.wait_for("overlap_released")
    daemon.wait_for("pat_revoked")
    assert daemon.stop() == 0
    events = daemon.list_events()
    assert events.index("hook_succeeded") < events.index("overlap_released") < events.index("revoke_started")


def wait_for_calls(daemon: RunningDaemon, stage: Stage, count: int) -> None:
    daemon.wait_until(lambda: len(list_calls(stage)) >= count)


@pytest.mark.parametrize("is_killed", [True, False])
def test_daemon_that_ends_in_the_middle_of_a_call_makes_it_again_with_the_same_id(
    stage: Stage, *, is_killed: bool
) -> None:
    """Killed, or stopped: then the hook is ended first, and has not failed."""
    (stage.folder / "hold").touch()
    write_section(stage, "hooks", [make_hook(timeout="4m")])
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    wait_for_calls(daemon, stage, 1)
    if is_killed:
        daemon.run.kill()
    else:
        assert daemon.stop() == 0
        assert "hook_failed" not in daemon.list_events()
    (stage.folder / "hold").unlink()
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    daemon.wait_for("hook_succeeded")
    assert daemon.stop() == 0
    assert len({call["id"] for call in list_calls(stage)}) == 1
    assert len(list_calls(stage)) == 2
