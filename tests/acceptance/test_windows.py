"""A change freeze as the installed command shows it: what waits and until when, what a person may do all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.sandbox.running import Sandbox
from tests.support.installed_command import Rotator, config_of
from tests.support.published import check_printed

Freeze = Callable[[int], str]


@pytest.fixture
def freeze(sandbox: Sandbox) -> Freeze:
    """Put a change freeze of so many days into the policy, under which `docs-site` is due, and return its end."""

    def write(days: int) -> str:
        now = datetime.now(UTC).replace(microsecond=0, second=0)
        begins, ends = now - timedelta(hours=1), now + timedelta(days=days)
        text = f"{{from: {begins.isoformat()}, to: {ends.isoformat()}, reason: end of the year}}"
        path = Path(config_of(sandbox)).with_name("policy.yaml")
        path.write_text(path.read_text().replace("defaults:\n", f"defaults:\n  freezes: [{text}]\n"))
        path.write_text(path.read_text().replace("rotate_before: 33%", "rotate_before: 95%"))
        return f"{ends:%Y-%m-%dT%H:%M:%SZ}"

    return write


def adopt(rotator: Rotator) -> None:
    """Put `docs-site` under management: 28 days of 30 are left."""
    assert rotator("inventory", "adopt", "docs-site").returncode == 0


def test_change_freeze_holds_runs_back_and_every_command_says_until_when(signed_in: Rotator, freeze: Freeze) -> None:
    adopt(signed_in)
    ends = freeze(10)
    once = signed_in("once")
    assert (once.returncode, once.stderr) == (0, "")
    assert once.stdout.splitlines() == [
        "Nothing was done.",
        "1 PAT waits for a window or for the end of a change freeze: see `rotator status`.",
    ]
    document = signed_in("once", "--json")
    check_printed(document.args, json.loads(document.stdout))
    [held] = json.loads(document.stdout)["held"]
    assert (held["name"], held["reason"], held["held_until"]) == ("docs-site", "change_freeze", ends)
    assert "in a change freeze (end of the year); continues 20" in signed_in("plan").stdout
    [pat] = json.loads(signed_in("status", "docs-site", "--json").stdout)["pats"]
    assert (pat["state"], pat["next_action"], pat["next_at"]) == ("due", "rotate", ends)
    assert "rotate in 10 days" in signed_in("status").stdout
    assert signed_in("status", "--check", "docs-site").returncode == 0


def test_person_is_told_of_a_change_freeze_and_not_held_back(signed_in: Rotator, freeze: Freeze) -> None:
    adopt(signed_in)
    freeze(10)
    rotated = signed_in("rotate", "docs-site")
    assert rotated.returncode == 0, rotated.stderr
    assert rotated.stderr.startswith("docs-site is in a change freeze until 20")
    assert rotated.stdout.endswith("; in a change freeze (end of the year), but this did not wait\n")
    revoked = signed_in("revoke", "docs-site", "--previous", "--yes")
    assert (revoked.returncode, "is in a change freeze until" in revoked.stderr) == (0, True)
    events = json.loads(signed_in("audit", "list", "--event", "revoke_started", "--json").stdout)["events"]
    assert [event["details"]["despite"] for event in events] == ["change_freeze"]


def test_plan_and_config_check_name_a_pat_whose_change_freeze_lasts_too_long(
    signed_in: Rotator, freeze: Freeze
) -> None:
    adopt(signed_in)
    assert "lasts too long" not in signed_in("config", "check").stderr
    freeze(60)
    said = "its change freeze (end of the year) lasts too long: it will be rotated 20"
    assert said in signed_in("plan").stdout
    checked = signed_in("config", "check")
    assert (checked.returncode, f"policy.yaml docs-site: {said}" in checked.stderr) == (0, True)
