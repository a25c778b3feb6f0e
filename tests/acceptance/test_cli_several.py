"""Commands that take several names and globs: one dry run, one question, and one PAT's failure never stops the next."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from rotator.sandbox.running import Sandbox
from tests.support.installed_command import Rotator
from tests.support.published import check_printed

Document = dict[str, Any]


@pytest.fixture
def managed(sandbox: Sandbox, signed_in: Rotator) -> Rotator:
    """Give the command with three PATs under management, and overlaps of a day."""
    policy = sandbox.addresses.policy_path
    policy.write_text(re.sub(r"overlap: \w+", "overlap: 24h", policy.read_text(encoding="utf-8")), encoding="utf-8")
    adopted = signed_in("inventory", "adopt", "npm-feed", "docs-site", "ci-build")
    assert adopted.returncode == 0, adopted.stderr
    return signed_in


def _read(result: subprocess.CompletedProcess[str], code: int = 0) -> Document:
    assert result.returncode == code, result.stdout + result.stderr
    document: Document = json.loads(result.stdout)
    check_printed(result.args, document)
    return document


def _count_sent(sandbox: Sandbox) -> int:
    return sum(len(sandbox.world.record.all("azure_devops", method)) for method in ("POST", "DELETE"))


def test_rotate_shows_rule_lifetime_overlap_and_secret_and_does_nothing_when_dry(
    sandbox: Sandbox, managed: Rotator
) -> None:
    shown = managed("rotate", "docs-site", "ci-*", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert re.fullmatch(
        r"~ docs-site  contoso  .*left -> .*  old PAT valid for another \d+ \w+  \(rule .*: due at .*, on .*Z\)",
        lines[0],
    )
    assert re.fullmatch(r"    secret contoso-docs-site in https://.*", lines[1])
    assert re.fullmatch(
        r"~ ci-build  contoso  .*left -> 30d  old PAT valid for another \d+ \w+  \(rule ci: under 7d\)", lines[2]
    )
    assert lines[4:] == ["Plan: 2 to rotate. This was a dry run: no changes were made."]
    document = _read(managed("rotate", "docs-site", "ci-*", "--dry-run", "--json"))
    assert document["dry_run"] is True
    assert [(item["name"], item["reason"]) for item in document["rotated"]] == [
        ("docs-site", "not_due"),
        ("ci-build", "under_threshold"),
    ]
    assert document["rotated"][1]["rule"] == "ci"
    assert document["rotated"][1]["secret_name"] == "contoso-ci-build"
    assert document["rotated"][1]["revoke_after"] < document["rotated"][1]["new_expires_at"]
    assert _count_sent(sandbox) == 0


def test_dry_rotate_says_what_the_rotation_would_be_refused_for(sandbox: Sandbox, managed: Rotator) -> None:
    policy = sandbox.addresses.policy_path
    text = policy.read_text(encoding="utf-8")
    assert "deny_scopes: [app_token]" in text
    policy.write_text(text.replace("[app_token]", "[app_token, vso.packaging]"), encoding="utf-8")
    document = _read(managed("rotate", "npm-feed", "docs-site", "--dry-run", "--json"), 3)
    assert [item["name"] for item in document["rotated"]] == ["docs-site"]
    [blocked] = document["blocked"]
    assert (blocked["name"], blocked["error"]["code"]) == ("npm-feed", "blocked")
    real = managed("rotate", "npm-feed")
    assert blocked["error"]["message"] in real.stderr
    assert managed("rotate", "npm-feed", "--dry-run").returncode == real.returncode == 1
    assert managed("rotate", "nmp-feed", "--dry-run").returncode == 2
    assert managed("rotate", "docs-site").returncode == 0
    overlapping = managed("rotate", "docs-site", "--dry-run")
    assert (overlapping.returncode, overlapping.stderr) == (1, managed("rotate", "docs-site").stderr)
    assert managed("logout", "build-bot", "--yes").returncode == 0
    assert _read(managed("rotate", "ci-build", "--dry-run", "--json"), 10)["rotated"] == []


def test_revoke_goes_on_with_the_others_when_one_cannot_be_revoked(sandbox: Sandbox, managed: Rotator) -> None:
    assert managed("rotate", "npm-feed", "docs-site").returncode == 0
    refused = managed("revoke", "*-feed", "ci-build", "docs-site", "--previous")
    assert refused.returncode == 2
    assert "revoking the old PATs of npm-feed, docs-site breaks consumers that still cache them" in refused.stderr
    assert "`rotator revoke '*-feed' ci-build docs-site --previous --yes`" in refused.stderr
    assert _count_sent(sandbox) == 2
    document = _read(managed("revoke", "*-feed", "ci-build", "docs-site", "--previous", "--yes", "--json"), 3)
    assert [(item["name"], item["which"], item["confirmed"]) for item in document["revoked"]] == [
        ("npm-feed", "previous", True),
        ("docs-site", "previous", True),
    ]
    [failed] = document["failed"]
    assert (failed["name"], "no old PAT" in failed["error"]["message"]) == ("ci-build", True)
    assert all(sandbox.world.pats[item["authorization_id"]].revoked for item in document["revoked"])
    again = managed("revoke", "npm-feed", "docs-site", "--previous", "--yes")
    assert (again.returncode, again.stdout) == (1, "")
    assert [line.split(" has ")[0] for line in again.stderr.splitlines() if line.startswith("error: ")] == [
        "error: npm-feed",
        "error: docs-site",
    ]


def test_revoke_of_several_in_use_says_each_and_what_comes_next_once(managed: Rotator) -> None:
    for options in (["--yes"], ["--dry-run"], ["--previous", "--yes"]):
        mistyped = managed("revoke", "npm-feed", "ghost", "docs-*", *options)
        assert (mistyped.returncode, mistyped.stdout) == (2, "")
        assert mistyped.stderr.startswith('error: there is no managed PAT named "ghost"')
    done = managed("revoke", "npm-feed", "docs-*", "--yes")
    assert done.returncode == 0
    first, second, last = done.stdout.splitlines()
    assert first.startswith("revoked  npm-feed: the PAT in use (")
    assert second.startswith("revoked  docs-site: the PAT in use (")
    assert last == "Next: `rotator rotate NAME` makes a new one, `rotator inventory forget NAME` drops it."
    assert managed("logout", "build-bot", "--yes").returncode == 0
    assert managed("revoke", "ci-build", "docs-site", "--yes").returncode == 10


def test_dry_revoke_says_what_would_be_revoked_and_refused_and_revokes_nothing(
    sandbox: Sandbox, managed: Rotator
) -> None:
    """Its exit code is that of the command, which finds the same."""
    assert managed("rotate", "npm-feed").returncode == 0
    before, sent = managed("audit", "list", "--json").stdout, _count_sent(sandbox)
    shown = managed("revoke", "npm-feed", "docs-site", "--dry-run")
    assert shown.returncode == 3
    assert shown.stdout.splitlines()[0].startswith("would be revoked  docs-site: the PAT in use (")
    assert shown.stdout.splitlines()[1:] == ["A dry run: nothing was revoked."]
    assert shown.stderr.startswith("error: npm-feed has an unfinished rotation (overlapping)")
    document = _read(managed("revoke", "npm-feed", "docs-site", "--previous", "--dry-run", "--json"), 3)
    assert (document["dry_run"], [item["name"] for item in document["failed"]]) == (True, ["docs-site"])
    [revoked] = document["revoked"]
    assert (revoked["which"], revoked["confirmed"]) == ("previous", False)
    assert managed("revoke", "nmp-feed", "--dry-run").returncode == 2
    assert (managed("audit", "list", "--json").stdout, _count_sent(sandbox)) == (before, sent)
    done = _read(managed("revoke", "npm-feed", "docs-site", "--previous", "--yes", "--json"), 3)
    assert done == {**document, "dry_run": False, "run_id": done["run_id"], "revoked": [{**revoked, "confirmed": True}]}


def test_dry_forget_says_what_would_be_forgotten_and_refused_and_forgets_nothing(managed: Rotator) -> None:
    assert managed("rotate", "npm-feed").returncode == 0
    before = managed("inventory", "list", "--json").stdout
    shown = managed("inventory", "forget", "npm-feed", "docs-*", "--dry-run")
    assert shown.returncode == 3
    assert [line[:28] for line in shown.stdout.splitlines()] == [
        "would be forgotten  docs-sit",
        "A dry run: nothing was chang",
    ]
    assert shown.stderr.startswith("error: npm-feed has an unfinished rotation (overlapping)")
    document = _read(managed("inventory", "forget", "npm-feed", "docs-*", "--dry-run", "--json"), 3)
    assert (document["dry_run"], [pat["name"] for pat in document["pats"]]) == (True, ["docs-site"])
    assert managed("inventory", "forget", "npm-feed", "--dry-run").returncode == 2
    assert managed("inventory", "list", "--json").stdout == before
    done = _read(managed("inventory", "forget", "npm-feed", "docs-*", "--yes", "--json"), 3)
    assert done == {**document, "dry_run": False}


@pytest.mark.parametrize("command", ["scan", "status", "plan", "inventory list"])
def test_look_at_many_pats_is_narrowed_sorted_and_cut_as_asked(managed: Rotator, command: str) -> None:
    """By glob, account, organization, state and expiry; as a table, names, CSV or JSON."""
    words = command.split()

    def name(*options: str) -> list[str]:
        said = managed(*words, *options, "-o", "name")
        assert said.returncode == 0, said.stderr
        return said.stdout.split()

    every = name("--sort", "name")
    assert {"ci-build", "docs-site", "npm-feed"} <= set(every)
    assert every == sorted(every)
    assert name("[cn]*-[bf]*", "--sort", "name") == ["ci-build", "npm-feed"]
    assert name("--sort", "expires", "--limit", "1")[0] not in ("docs-site", "old-admin")
    assert "docs-site" not in name("--expires-within", "10d")
    assert set(name("--account", "build-*", "--organization", "contoso")) == set(every)
    assert name("nothing*") == []
    states = {"scan": "managed", "status": "due", "plan": "rotate", "inventory list": "active"}
    assert "npm-feed" in name("--state", states[command])
    wide, table = managed(*words, "npm-feed", "-o", "wide").stdout, managed(*words, "npm-feed").stdout
    assert len(wide.split()) >= len(table.split())
    header, row = managed(*words, "npm-feed", "-o", "csv").stdout.splitlines()
    assert "npm-feed" in row
    assert "organization" in header.split(",")
    assert "npm-feed" in managed(*words, "npm-feed", "-o", "json").stdout
    wrong = managed(*words, "npm-fed")
    assert (wrong.returncode, 'did you mean "npm-feed"?' in wrong.stderr) == (2, True)


def test_dry_run_refuses_what_the_rotation_refuses_and_each_pat_in_its_overlap_is_named(managed: Rotator) -> None:
    assert managed("rotate", "npm-feed", "ci-build").returncode == 0
    for words in (["--dry-run"], []):
        document = _read(managed("rotate", "npm-feed", "docs-site", *words, "--json"), code=3)
        assert [(one["name"], one["error"]["code"]) for one in document["failed"]] == [("npm-feed", "overlap_not_over")]
        assert [one["name"] for one in document["rotated"]] == ["docs-site"]
    for words in (["--dry-run"], []):
        both = managed("rotate", "npm-feed", "ci-build", *words)
        assert (both.returncode, both.stdout) == (1, "")
        assert [line.split()[1] for line in both.stderr.splitlines()[::2]] == ["npm-feed", "ci-build"]
