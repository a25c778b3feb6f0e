"""The demo, end to end, as `make demo` runs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.installed_command import PATIENCE, run_command

COMMANDS = [
    "rotator sandbox up --dir .  &",
    "rotator db upgrade",
    "rotator login build-bot --device-code",
    "rotator scan",
    "rotator inventory adopt --all",
    "rotator plan",
    "rotator once",
    "rotator once",
    "rotator status",
    "rotator audit verify --all",
    "rotator daemon  &",
    "rotator inventory adopt deploy-feed",
    "kill -USR1 %2",
    "kill %2",
    "rotator once --quiet",
    "rotator audit report --output PAGE",
]
PAT_VALUE = re.compile(r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}|eyJ[\w-]{10}")


@pytest.mark.timeout(300)
def test_demo_tells_the_whole_story_when_run_on_an_empty_machine(tmp_path: Path) -> None:
    environment = {"TMPDIR": str(tmp_path), "ROTATOR_CONFIG": "no-such-file"}
    demo = run_command("sandbox", "demo", env=environment, cwd=tmp_path, patience=4 * PATIENCE)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    told = demo.stdout
    [page] = tmp_path.glob("rotator-demo-report-*/report.html")
    told = told.replace(str(page), "PAGE")
    assert [line.removeprefix("$ ") for line in told.splitlines() if line.startswith("$ ")] == COMMANDS
    assert told.index("-> accepted") < told.index("refused")
    assert "uses the old value          -> refused" in told
    for name in ("ci-build", "npm-feed", "release-notes", "team-feed"):
        assert re.search(rf"^rotated +{name}\b", told, re.MULTILINE), name
        assert re.search(rf"^revoked +{name}\b", told, re.MULTILINE), name
    assert "The audit log is intact" in told
    overlap = (
        "overlap started: it waits for the hook",
        "overlap released: it waits no longer, and ends in a few seconds",
    )
    steps = ("daemon started", "pat minted", "secret stored", *overlap, "rotation completed", "pat revoked")
    assert re.search(r"\n.*".join(rf"^  [0-9:]{{8}}  {step}$" for step in steps), told, re.MULTILINE | re.DOTALL)
    assert re.search(r"^  [0-9:]{8}  hook succeeded: restarted what reads contoso-deploy-feed$", told, re.MULTILINE)
    notified = told[told.index("8. Be told") :]
    # The PAT for all organizations has expired from December 2026 on, and then waits as well.
    assert re.search(r"  \| build-bot must sign in again \(AADSTS50173\); [67] PATs wait, the first", notified)
    assert "  | Fix: rotator login build-bot\n" in notified
    # Prose begins at the margin, and goes on there; what is printed goes on moved in.
    assert re.search(r"^Builds that use .*\n\w", told, re.MULTILINE)
    assert "Now for a real organization" in told
    waiting = r"^  [0-9:]{8}  (?:expiry foreseen|rotation blocked) ([\w-]+)$"
    named = set(re.findall(waiting, told, re.MULTILINE))
    assert {"deploy-manual", "old-admin"} <= named <= {"deploy-manual", "nightly-everywhere", "old-admin"}
    assert max(map(len, told.splitlines())) <= 80
    assert "Traceback" not in told + demo.stderr
    assert not PAT_VALUE.search(told + demo.stderr)
    assert list(tmp_path.iterdir()) == [page.parent]
    path, *summary = told[told.index("audit report --output PAGE") :].splitlines()[1:]
    assert path == "PAGE"
    said = " ".join(line.strip() for line in summary)
    assert re.fullmatch(
        r"From .* events\. - PATs of 1 account: 9, .* - Rotations: \d+ completed.* - Revocations: \d+ proven.* "
        r"- By hand: .* - The audit log is intact: .* a signature\. "
        r"- Azure DevOps' own log was compared with it for every organization; .*\.",
        said,
    )
    assert "not confirmed yet" not in said
    assert not PAT_VALUE.search(page.read_text(encoding="utf-8"))


def test_demo_fails_with_one_sentence_when_the_sandbox_cannot_start(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    # A child that ends at once, whatever it is asked for: the interpreter itself runs this file first.
    (site / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'up' in sys.orig_argv:\n"
        "    sys.stderr.write('no room for a sandbox')\n"
        "    sys.stderr.flush()\n"
        "    import os\n"
        "    os._exit(7)\n",
        encoding="utf-8",
    )
    demo = run_command("sandbox", "demo", env={"PYTHONPATH": str(site)}, cwd=tmp_path)
    assert demo.returncode == 1
    assert "error: the demo failed: the sandbox did not start: no room for a sandbox" in demo.stderr
    assert "Traceback" not in demo.stdout + demo.stderr
