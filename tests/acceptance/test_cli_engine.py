"""The commands of everyday work, installed and run as subprocesses on the sandbox."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import sqlite3
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from rotator.sandbox.faults import Fault
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import VAULT
from rotator.sandbox.world import Secret, SecretVersion
from tests.support.installed_command import COMMAND, PATIENCE, Rotator, config_of
from tests.support.published import check_printed

Document = dict[str, Any]
DUE = ("ci-build", "npm-feed", "release-notes")
STATUS_KEYS = {
    "name",
    "account",
    "organization",
    "authorization_id",
    "display_name",
    "scopes",
    "state",
    "valid_from",
    "expires_at",
    "rotate_after",
    "revoke_after",
    "next_at",
    "next_action",
    "vault",
    "secret_name",
    "last_error",
}
REPORT_LISTS = {
    "adopted",
    "created",
    "rotated",
    "retired",
    "recovered",
    "abandoned",
    "failed",
    "blocked",
    "held",
    "postponed",
    "settling",
}


def _read(result: subprocess.CompletedProcess[str], code: int = 0) -> Document:
    """The one JSON document of a command that ended as expected."""
    assert result.returncode == code, result.stdout + result.stderr
    document: Document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    check_printed(result.args, document)
    return document


def _names(entries: list[Document]) -> set[str]:
    return {entry["name"] for entry in entries}


def _set_overlap(sandbox: Sandbox, overlap: str) -> None:
    path = sandbox.addresses.policy_path
    text = path.read_text(encoding="utf-8")
    assert "overlap: 5s" in text
    path.write_text(text.replace("overlap: 5s", f"overlap: {overlap}"), encoding="utf-8")


def _adopt(rotator: Rotator, *references: str) -> None:
    adopted = rotator("inventory", "adopt", *references)
    assert adopted.returncode == 0, adopted.stdout + adopted.stderr


def _alive(sandbox: Sandbox, display_name: str) -> int:
    with sandbox.world.lock:
        return sum(pat.display_name == display_name and not pat.revoked for pat in sandbox.world.pats.values())


def _count_mints(sandbox: Sandbox) -> int:
    return len(sandbox.world.record.all("azure_devops", "POST"))


def _secret_names(sandbox: Sandbox) -> set[str]:
    with sandbox.world.lock:
        return {name for vault in sandbox.world.vaults.values() for name in vault.secrets}


def test_whole_story_ends_with_one_living_pat_each_when_the_overlap_is_over(
    sandbox: Sandbox, signed_in: Rotator
) -> None:
    _set_overlap(sandbox, "1s")
    adopted = _read(signed_in("inventory", "adopt", "--all", "--json"))
    assert {*DUE, "docs-site", "deploy-manual"} <= _names(adopted["adopted"])
    planned = _read(signed_in("plan", "--json", "--detailed-exitcode"), 20)
    assert {a["name"] for a in planned["actions"] if a["action"] == "rotate"} >= set(DUE)
    assert all(action["reason"] for action in planned["actions"])
    assert _count_mints(sandbox) == 0

    first = signed_in("once", "--json")
    report = json.loads(first.stdout)
    assert report.keys() == REPORT_LISTS | {"schema_version", "run_id", "dry_run"}
    assert _names(report["rotated"]) == set(DUE)
    retired: set[str] = set()
    for _ in range(20):  # each run takes a while; the overlap of a second is over soon
        retired |= _names(_read(signed_in("once", "--json"))["retired"])
        if retired == set(DUE):
            break
    assert retired == set(DUE)
    assert {name: _alive(sandbox, name) for name in DUE} == dict.fromkeys(DUE, 1)
    assert {f"contoso-{name}" for name in DUE} <= _secret_names(sandbox)
    assert signed_in("audit", "verify").returncode == 0


def test_once_is_silent_and_changes_nothing_when_nothing_is_due(sandbox: Sandbox, signed_in: Rotator) -> None:
    _adopt(signed_in, "docs-site")
    result = signed_in("once")
    assert (result.returncode, result.stdout, result.stderr) == (0, "Nothing to do.\n", "")
    assert signed_in("once", "--quiet").stdout == ""
    plan = signed_in("plan", "--detailed-exitcode")
    assert (plan.returncode, plan.stdout) == (
        0,
        "Plan: nothing to rotate, 1 with nothing to do. No changes were made.\n",
    )
    assert _count_mints(sandbox) == 0


def test_once_shows_and_does_nothing_when_dry(sandbox: Sandbox, signed_in: Rotator) -> None:
    _adopt(signed_in, *DUE)
    document = _read(signed_in("once", "--dry-run", "--json"))
    assert document["dry_run"] is True
    assert _names(document["rotated"]) == set(DUE)
    text = signed_in("once", "--dry-run")
    assert text.stdout.endswith("Plan: 3 to rotate. This was a dry run: no changes were made.\n")
    assert _count_mints(sandbox) == 0


def test_plan_line_tells_what_and_why_when_one_is_due(signed_in: Rotator) -> None:
    _adopt(signed_in, "npm-feed")
    first, last = signed_in("plan").stdout.splitlines()
    line = r"~ npm-feed  contoso  vso\.packaging  3d left -> 30d  old PAT valid for another \d+ \w+  \(rule .*\)"
    assert re.fullmatch(line, first), first
    assert first.endswith("(rule everything-else: under 33% of 30d)")
    assert last == "Plan: 1 to rotate. No changes were made."


def test_status_has_exactly_the_documented_keys_when_asked_for_json(
    signed_in: Rotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _adopt(signed_in, *DUE)
    assert signed_in("once").returncode == 0
    document = _read(signed_in("status", "--json"))
    assert document.keys() == {"schema_version", "generated_at", "pats", "pending_revocations", "accounts", "runs"}
    assert all(pat.keys() == STATUS_KEYS for pat in document["pats"])
    states = {pat["name"]: pat["state"] for pat in document["pats"]}
    assert {states[name] for name in DUE} <= {"overlapping", "ok"}
    assert states["old-admin"] == "untracked"
    [one] = _read(signed_in("status", "npm-feed", "--json"))["pats"]
    assert one["expires_at"].endswith("Z")
    assert one["vault"]
    assert _read(signed_in("status", "--state", "failed", "--json"))["pats"] == []
    table = signed_in("status").stdout
    assert max(map(len, table.splitlines()[:8])) <= 80
    assert signed_in("status", "ghost").returncode == 2


def test_once_goes_on_with_the_others_when_one_is_refused(sandbox: Sandbox, signed_in: Rotator) -> None:
    refusal = {"patToken": None, "patTokenError": "patLifespanPolicyViolation"}
    sandbox.world.faults.add(Fault("azure_devops", "status", method="POST", status=200, body=refusal))
    _adopt(signed_in, *DUE)
    report = _read(signed_in("once", "--json"), 3)
    [refused] = report["blocked"]
    name = refused["name"]
    assert _names(report["rotated"]) == set(DUE) - {name}
    assert refused["error"].keys() == {"code", "message", "fix", "runbook"}
    assert refused["error"]["fix"]
    assert {"cause": "in_trouble", "subjects": [name]} in _read(signed_in("status", "--check", "--json"), 4)["check"]
    [told] = _read(signed_in("status", name, "--json"))["pats"]
    assert (told["state"], told["last_error"]) == ("blocked", refused["error"])
    assert _alive(sandbox, name) == 1


def test_commands_ask_for_a_sign_in_when_nobody_is_signed_in(rotator: Rotator) -> None:
    assert rotator("db", "upgrade").returncode == 0
    scan, once = rotator("scan"), rotator("once")
    assert (scan.returncode, once.returncode) == (10, 10)
    assert "rotator login build-bot" in scan.stderr
    assert "rotator login build-bot" in once.stderr
    document = _read(rotator("once", "--json"), 10)
    assert document["failed"][0]["error"]["fix"]
    adopted = _read(rotator("inventory", "adopt", "--all", "--json"), 10)
    assert adopted["errors"][0]["code"] == document["failed"][0]["error"]["code"]


def test_commands_name_the_next_step_when_the_inventory_is_empty(rotator: Rotator) -> None:
    assert rotator("db", "upgrade").returncode == 0
    for command in (("plan",), ("status",), ("inventory", "list")):
        result = rotator(*command)
        assert result.returncode == 0
        assert "rotator inventory adopt --all" in result.stdout


def test_once_skips_when_paused_and_goes_on_when_resumed(sandbox: Sandbox, signed_in: Rotator) -> None:
    _adopt(signed_in, "npm-feed")
    pat = "A" * 76 + "AZDO" + "1234"
    assert signed_in("inventory", "pause", "npm-feed", "--reason", f"it leaked: {pat}").returncode == 0
    paused = _read(signed_in("audit", "list", "--event", "pat_paused", "--json"))["events"][0]["details"]["reason"]
    assert paused.startswith("it leaked: ")
    assert pat not in paused
    assert _read(signed_in("once", "--json"))["rotated"] == []
    assert _read(signed_in("status", "npm-feed", "--json"))["pats"][0]["state"] == "paused"
    assert _count_mints(sandbox) == 0
    assert signed_in("inventory", "resume", "npm-feed").returncode == 0
    assert _names(_read(signed_in("once", "--json"))["rotated"]) == {"npm-feed"}


def test_all_organization_pat_is_blocked_with_reason_and_fix_when_adopted(sandbox: Sandbox, signed_in: Rotator) -> None:
    adopted = signed_in("inventory", "adopt", "nightly-everywhere", "old-admin")
    assert adopted.returncode == 0
    assert "all organizations" in adopted.stdout
    assert "fix: Create one PAT per organization" in adopted.stdout
    signed_in("once")
    report = json.loads(signed_in("once", "--json").stdout)
    assert _names(report["blocked"]) == {"nightly-everywhere", "old-admin"}
    assert all(entry["error"]["message"] and entry["error"]["fix"] for entry in report["blocked"])
    assert signed_in("once").stdout.splitlines() == [
        "Nothing was done.",
        "2 PATs wait for a person (2 blocked): see `rotator status`.",
    ]
    lines = signed_in("plan").stdout.splitlines()
    assert [line[0] for line in lines if line[0] != " "] == ["x", "x", "P"]
    assert lines[-1] == "Plan: nothing to rotate, 2 blocked. No changes were made."
    assert signed_in("status", "--check").returncode == 4
    assert _count_mints(sandbox) == 0


def test_rotate_is_refused_and_previous_can_be_revoked_when_in_overlap(sandbox: Sandbox, signed_in: Rotator) -> None:
    _set_overlap(sandbox, "24h")
    _adopt(signed_in, "docs-site")
    rotated = signed_in("rotate", "docs-site")
    assert rotated.returncode == 0
    assert "the old PAT stays valid until " in rotated.stdout
    assert "Z (in 24 h)" in rotated.stdout
    assert _alive(sandbox, "docs-site") == 2
    again = signed_in("rotate", "docs-site")
    assert again.returncode == 1
    assert "rotator revoke docs-site --previous" in again.stderr
    assert _read(signed_in("once", "--json"))["retired"] == []
    document = _read(signed_in("revoke", "docs-site", "--previous", "--yes", "--json"))
    [revoked] = document["revoked"]
    assert (revoked["name"], revoked["which"], document["failed"]) == ("docs-site", "previous", [])
    assert sandbox.world.pats[revoked["authorization_id"]].revoked
    assert _alive(sandbox, "docs-site") == 1
    assert signed_in("revoke", "docs-site", "--previous", "--yes").returncode == 2


def test_revoke_of_the_current_pat_is_refused_when_nobody_confirms(sandbox: Sandbox, signed_in: Rotator) -> None:
    _adopt(signed_in, "npm-feed")
    refused = signed_in("revoke", "npm-feed")
    assert refused.returncode == 2
    assert "fix: Confirm with `rotator revoke npm-feed --yes`." in refused.stderr
    assert _alive(sandbox, "npm-feed") == 1
    assert signed_in("revoke", "npm-feed", "--yes").returncode == 0
    assert _alive(sandbox, "npm-feed") == 0
    assert signed_in("revoke", "ghost", "--yes").returncode == 2


def test_revoke_says_that_the_pat_may_be_valid_when_its_request_got_no_answer(
    sandbox: Sandbox, signed_in: Rotator
) -> None:
    """No run decides that: a person asked for it, and asks again."""
    _adopt(signed_in, "npm-feed")
    sandbox.world.faults.add(Fault("azure_devops", "lost_before", method="DELETE", path="/tokens/pats"))
    unanswered = signed_in("revoke", "npm-feed", "--yes")
    assert unanswered.returncode == 1
    assert "run `rotator revoke npm-feed` again" in unanswered.stderr
    assert "Nothing to do" not in unanswered.stdout + unanswered.stderr
    assert _alive(sandbox, "npm-feed") == 1
    assert signed_in("revoke", "npm-feed", "--yes").returncode == 0
    assert _alive(sandbox, "npm-feed") == 0


def test_scan_tells_managed_from_untracked_when_some_are_adopted(
    signed_in: Rotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _adopt(signed_in, "npm-feed")
    piped = [re.split(r" {2,}", line)[0] for line in signed_in("scan").stdout.splitlines()]
    assert piped[0] == "DISPLAY NAME"
    assert set(piped[1:8]) == {pat["display_name"] for pat in _read(signed_in("scan", "--json"))["pats"]}
    monkeypatch.setenv("COLUMNS", "80")
    text = signed_in("scan")
    told = (
        r"7 PATs: 1 with full access, 1 for all organizations \(stop(s|ped) working 2026-12-01\)"  # by the host's clock
    )
    assert re.search(told, text.stdout)
    assert max(map(len, text.stdout.splitlines()[:-3])) <= 80
    document = _read(signed_in("scan", "--json"))
    states = {pat["display_name"]: pat["state"] for pat in document["pats"]}
    assert states["npm-feed"] == "managed"
    assert set(states.values()) == {"managed", "untracked"}
    assert document["errors"] == []


def test_adopt_writes_nothing_when_dry_or_refused(signed_in: Rotator) -> None:
    dry = _read(signed_in("inventory", "adopt", "npm-feed", "--dry-run", "--json"))
    assert dry["dry_run"] is True
    [record] = dry["adopted"]
    assert (record["name"], record["secret_name"], record["rule"]) == (
        "npm-feed",
        "contoso-npm-feed",
        "everything-else",
    )
    assert _read(signed_in("inventory", "list", "--json"))["pats"] == []
    refused = signed_in("inventory", "adopt", "ghost")
    assert refused.returncode == 2
    assert "Nothing to adopt" not in refused.stdout
    assert signed_in("inventory", "adopt").returncode == 2
    assert signed_in("inventory", "adopt", "npm-feed", "--all").returncode == 2
    partly = _read(signed_in("inventory", "adopt", "npm-feed", "ghost", "--json"), 3)
    assert partly["refused"][0]["reference"] == "ghost"
    assert _names(_read(signed_in("inventory", "list", "--json"))["pats"]) == {"npm-feed"}
    shown = _read(signed_in("inventory", "show", "npm-feed", "--json"))
    assert shown["pat"]["authorization_id"] == record["authorization_id"]
    assert signed_in("inventory", "forget", "npm-feed", "--yes").returncode == 0
    assert signed_in("inventory", "show", "npm-feed").returncode == 2


def test_adopt_reads_names_and_secrets_when_they_stand_in_a_file(signed_in: Rotator, tmp_path: Path) -> None:
    pats = {pat["display_name"]: pat["authorization_id"] for pat in _read(signed_in("scan", "--json"))["pats"]}
    file = tmp_path / "pats.csv"
    file.write_text(f"id,name,secret\n{pats['npm-feed']},feed,feed-token\nno-id,x,y\n", encoding="utf-8")
    bad = signed_in("inventory", "adopt", "--from", str(file))
    assert bad.returncode == 2
    assert "pats.csv:3: " in bad.stderr
    unknown = "0d5b1c2e-6a0f-4a57-9c5e-000000000000"
    file.write_text(f"id,name,secret\n{pats['npm-feed']},feed,feed-token\n{unknown},x,y\n", encoding="utf-8")
    for words in (("--as", "x"), ("--all",), ("npm-feed",), ("--replace-foreign",)):
        assert signed_in("inventory", "adopt", "--from", str(file), *words).returncode == 2
    dry = _read(signed_in("inventory", "adopt", "--from", str(file), "--dry-run", "--json"), 3)
    assert [refusal["line"] for refusal in dry["refused"]] == [3]
    assert "x line 3: " in signed_in("inventory", "adopt", "--from", str(file)).stdout
    shown = _read(signed_in("inventory", "show", "feed", "--json"))["pat"]
    assert (shown["authorization_id"], shown["secret_name"]) == (pats["npm-feed"], "feed-token")
    assert signed_in("inventory", "adopt", "--from", str(file)).returncode == 3


def test_refused_secret_of_a_file_is_confirmed_in_the_file(
    sandbox: Sandbox, signed_in: Rotator, tmp_path: Path
) -> None:
    """The options of the command line would adopt the PAT onto another secret than the file names."""
    pats = {pat["display_name"]: pat["authorization_id"] for pat in _read(signed_in("scan", "--json"))["pats"]}
    file, line = tmp_path / "pats.csv", f"{pats['npm-feed']},feed,feed-token"
    _write_secret(sandbox, "feed-token", "something else", {})
    file.write_text(f"id,name,secret\n{line}\n", encoding="utf-8")
    refused = signed_in("inventory", "adopt", "--from", str(file)).stdout
    assert "set replace_foreign to true in line 2 of the file" in " ".join(refused.split())
    file.write_text(f"id,name,secret,replace_foreign\n{line},true\n", encoding="utf-8")
    again = _read(signed_in("inventory", "adopt", "--from", str(file), "--json"))
    assert [pat["secret_name"] for pat in again["adopted"]] == ["feed-token"]


def test_pat_has_another_name_when_it_was_renamed(signed_in: Rotator) -> None:
    _adopt(signed_in, "npm-feed", "docs-site")
    assert signed_in("inventory", "rename", "npm-feed", "docs-site").returncode == 2
    renamed = _read(signed_in("inventory", "rename", "npm-feed", "feed", "--reason", "ticket 7", "--json"))
    assert (renamed["change"], renamed["old_name"], renamed["pats"][0]["name"]) == ("renamed", "npm-feed", "feed")
    assert renamed["pats"][0]["secret_name"] == "contoso-npm-feed"
    assert _names(_read(signed_in("once", "--json"))["rotated"]) == {"feed"}


def test_forget_promises_no_way_back_when_the_pat_is_revoked(signed_in: Rotator) -> None:
    _adopt(signed_in, "npm-feed", "docs-site")
    assert signed_in("revoke", "npm-feed", "--yes").returncode == 0
    said = signed_in("inventory", "forget", "npm-feed", "docs-site", "--yes").stdout.splitlines()
    assert said == [
        "forgotten  npm-feed. Its PAT is revoked: nothing brings it back.",
        "forgotten  docs-site. `rotator inventory adopt` brings it back, with its name and its secret.",
    ]


def _write_secret(sandbox: Sandbox, name: str, value: str, tags: dict[str, str]) -> str:
    """A version that somebody else writes; its id."""
    with sandbox.world.lock:
        versions = sandbox.world.vaults[VAULT].secrets.setdefault(name, Secret(name)).versions
        now = sandbox.world.clock.now()
        versions.append(SecretVersion(f"{len(versions) + 1:032x}", value, tags, None, True, now, now))
        return versions[-1].version


def test_secret_that_holds_something_else_is_written_over_only_when_a_person_confirmed_it(
    sandbox: Sandbox, signed_in: Rotator
) -> None:
    connection, tags = "Server=tcp:db.contoso.com;Password=not-ours", {"owner": "team-build"}
    seen = _write_secret(sandbox, "contoso-npm-feed", connection, tags)
    refused = _read(signed_in("inventory", "adopt", "npm-feed", "--json"), 1)
    assert "does not look like a PAT" in refused["refused"][0]["reason"]
    assert "--replace-foreign" in refused["refused"][0]["fix"]
    assert connection not in json.dumps(refused)
    assert signed_in("inventory", "adopt", "--all", "--replace-foreign").returncode == 2

    dry = _read(signed_in("inventory", "adopt", "npm-feed", "--replace-foreign", "--dry-run", "--json"))
    assert dry["adopted"][0]["secret_holds"] == "something_else"
    adopted = signed_in("inventory", "adopt", "npm-feed", "--replace-foreign")
    assert "it holds a value that does not look like a PAT" in adopted.stdout
    shown = _read(signed_in("inventory", "show", "npm-feed", "--json"))["pat"]
    assert shown["confirmed_version"] == seen

    _write_secret(sandbox, "contoso-npm-feed", connection, tags)
    blocked = _read(signed_in("once", "--json"), 1)["blocked"]
    assert [entry["error"]["code"] for entry in blocked] == ["secret_unconfirmed"]
    assert _alive(sandbox, "npm-feed") == 1

    again = _read(signed_in("inventory", "adopt", "npm-feed", "--replace-foreign", "--json"))
    assert (again["adopted"], again["managed"][0]["confirmed"]) == ([], True)
    assert _names(_read(signed_in("once", "--json"))["rotated"]) == {"npm-feed"}
    with sandbox.world.lock:
        newest = sandbox.world.vaults[VAULT].secrets["contoso-npm-feed"].versions[-1]
    assert newest.tags.items() >= tags.items()


def test_secret_that_changes_between_adopting_and_the_first_rotation_waits_for_a_person(
    sandbox: Sandbox, signed_in: Rotator
) -> None:
    """Planted as anybody can: with a control call."""
    _adopt(signed_in, "npm-feed")
    fault = {"service": "key_vault", "kind": "overtaken", "path": "contoso-npm-feed", "body": "a connection string"}
    address, trusted = f"{sandbox.addresses.key_vault_url}/_sandbox/faults", str(sandbox.addresses.ca_path)
    planted = requests.post(address, json=fault, verify=trusted, timeout=PATIENCE)
    assert planted.json() == {"pending": 1}
    blocked = _read(signed_in("once", "--json"), 1)["blocked"]
    assert [entry["error"]["code"] for entry in blocked] == ["secret_unconfirmed"]
    assert (_alive(sandbox, "npm-feed"), _count_mints(sandbox)) == (1, 0)
    with sandbox.world.lock:
        versions = sandbox.world.vaults[VAULT].secrets["contoso-npm-feed"].versions
        assert [version.value for version in versions] == ["a connection string"]

    again = _read(signed_in("inventory", "adopt", "npm-feed", "--replace-foreign", "--json"))
    assert again["managed"][0]["confirmed"] is True
    assert _names(_read(signed_in("once", "--json"))["rotated"]) == {"npm-feed"}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_event SET subject = 'somebody' WHERE sequence = 2",
        "UPDATE audit_event SET details = 'no JSON' WHERE sequence = 2",
        "UPDATE audit_event SET details = '[1]' WHERE sequence = 2",
    ],
)
def test_audit_names_the_first_bad_event_when_one_was_altered(
    sandbox: Sandbox, signed_in: Rotator, change: str
) -> None:
    _adopt(signed_in, "npm-feed")
    good = _read(signed_in("audit", "verify", "--json"))
    assert good["valid"] is True
    assert good["events"] >= 3
    with sqlite3.connect(sandbox.addresses.config_path.with_name("rotator.db")) as database:
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{trigger}"')
        database.execute(change)
    database.close()
    bad = signed_in("audit", "verify")
    assert bad.returncode == 1
    assert "audit event 2 was altered" in bad.stderr
    document = _read(signed_in("audit", "verify", "--json"), 1)
    assert (document["valid"], document["error"]["sequence"]) == (False, 2)


def test_audit_is_listed_and_exported_when_filtered(signed_in: Rotator, tmp_path: Path) -> None:
    _adopt(signed_in, "npm-feed", "docs-site")
    events = _read(signed_in("audit", "list", "--event", "pat_adopted", "--since", "1h", "--json"))["events"]
    assert {event["subject"] for event in events} == {"npm-feed", "docs-site"}
    assert _read(signed_in("audit", "list", "--name", "npm-feed", "--json"))["events"][0]["event"] == "pat_adopted"
    assert _read(signed_in("audit", "list", "--run", events[0]["run_id"], "--limit", "1", "--json"))["events"]
    assert _read(signed_in("audit", "list", "--since", "2999-01-01", "--json"))["events"] == []
    assert signed_in("audit", "list", "--since", "soon").returncode == 2
    table = signed_in("audit", "list", env={"COLUMNS": "80"})
    assert max(map(len, table.stdout.splitlines())) <= 80
    shown = signed_in("audit", "show", str(events[0]["sequence"]))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert events[0]["hash"] in shown.stdout
    for number in ("9999", "0", str(2**63 - 1), str(2**63)):
        assert signed_in("audit", "show", number).returncode == 2
    assert _read(signed_in("audit", "list", "--limit", str(2**63 - 1), "--json"))["events"]

    target = tmp_path / "audit.jsonl"
    target.touch(mode=0o644)
    kept = signed_in("audit", "export", "--output", str(target))
    assert (kept.returncode, target.read_text(encoding="utf-8")) == (2, "")
    assert "overwrite it with --force" in kept.stderr
    assert signed_in("audit", "export", "--output", str(target), "--force").returncode == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    written = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [line["sequence"] for line in written] == list(range(1, len(written) + 1))
    rows = list(csv.DictReader(signed_in("audit", "export", "--format", "csv").stdout.splitlines()))
    assert [row["hash"] for row in rows] == [line["hash"] for line in written]
    assert signed_in("audit", "export", "--output", str(tmp_path / "no" / "where")).returncode == 2


def test_no_secret_is_shown_or_kept_when_pats_are_rotated(sandbox: Sandbox, signed_in: Rotator) -> None:
    _set_overlap(sandbox, "0s")
    said = ""
    for command in (
        ("-vv", "inventory", "adopt", *DUE),
        ("-vv", "once"),
        ("-vv", "rotate", "npm-feed", "--json"),
        ("status", "--json"),
        ("scan", "--json"),
        ("inventory", "show", "npm-feed"),
        ("audit", "export"),
    ):
        result = signed_in(*command)
        assert result.returncode == 0, result.stdout + result.stderr
        said += result.stdout + result.stderr
    world, folder = sandbox.world, sandbox.addresses.config_path.parent
    kept = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    secrets = [pat.value for pat in world.pats.values()]
    secrets += [base64.b64encode(f":{value}".encode()).decode() for value in secrets]
    secrets += [*world.access_tokens, *world.refresh_tokens]
    assert len(secrets) > 15
    assert not [secret for secret in secrets if secret in said]
    assert not [secret for secret in secrets if secret.encode() in kept]


def test_each_pat_is_rotated_once_when_two_runs_start_together(sandbox: Sandbox, signed_in: Rotator) -> None:
    _adopt(signed_in, *DUE)
    runs = [
        subprocess.Popen(
            [COMMAND, "once", "--json"],
            env={**os.environ, "ROTATOR_CONFIG": config_of(sandbox)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    reports = []
    for run in runs:
        output, errors = run.communicate(timeout=PATIENCE)
        assert run.returncode in (0, 11), output + errors
        reports.append(json.loads(output))
    rotated = [entry["name"] for report in reports for entry in report["rotated"]]
    assert sorted(rotated) == sorted(DUE)
    assert _count_mints(sandbox) == len(DUE)
    with sandbox.world.lock:
        versions = [len(s.versions) for vault in sandbox.world.vaults.values() for s in vault.secrets.values()]
    assert versions == [1, 1, 1]


@pytest.mark.parametrize(
    "command",
    [
        ("scan",),
        ("plan",),
        ("once",),
        ("rotate",),
        ("revoke",),
        ("status",),
        ("inventory", "adopt"),
        ("inventory", "forget"),
        ("audit", "list"),
        ("audit", "verify"),
        ("audit", "export"),
    ],
)
def test_help_ends_with_examples_when_asked_for(command: tuple[str, ...], rotator: Rotator) -> None:
    result = rotator(*command, "--help")
    assert result.returncode == 0
    assert f"rotator {' '.join(command)}" in result.stdout.partition("Examples:")[2]
