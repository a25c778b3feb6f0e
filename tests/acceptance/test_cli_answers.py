"""What the commands answer to a person: one answer for one thing, whichever command is asked, and only what is true."""

from __future__ import annotations

import json
import re

import pytest

from rotator.sandbox.faults import Fault
from rotator.sandbox.running import Sandbox
from tests.support.installed_command import Rotator


def _set_overlap(sandbox: Sandbox, overlap: str) -> None:
    policy = sandbox.addresses.policy_path
    policy.write_text(re.sub(r"overlap: \w+", f"overlap: {overlap}", policy.read_text(encoding="utf-8")), "utf-8")


@pytest.fixture
def managed(sandbox: Sandbox, signed_in: Rotator) -> Rotator:
    """Give the command with all PATs of the policy under management."""
    adopted = signed_in("inventory", "adopt", "--all")
    assert adopted.returncode == 0, adopted.stderr
    return signed_in


def test_second_rotation_says_that_a_run_revokes_the_old_pat_once_the_overlap_is_over(
    sandbox: Sandbox, signed_in: Rotator
) -> None:
    _set_overlap(sandbox, "1s")
    assert signed_in("inventory", "adopt", "docs-site").returncode == 0
    assert signed_in("rotate", "docs-site").returncode == 0
    for _ in range(20):  # each command takes a while; by every clock, of whole seconds, the overlap is over soon
        again = signed_in("rotate", "docs-site")
        if "is not revoked yet" in again.stderr:
            break
    assert "revoke old at the next run" in signed_in("status").stdout
    assert again.returncode == 1
    assert again.stderr.splitlines() == [
        "error: docs-site was already rotated, and its old PAT is not revoked yet [overlap_not_over]",
        "fix: The overlap is over: `rotator once` revokes the old PAT. Then rotate again.",
    ]
    assert signed_in("once").returncode == 0
    assert signed_in("rotate", "docs-site").returncode == 0


def test_name_that_nothing_has_gets_the_same_answer_of_every_command(managed: Rotator) -> None:
    near = 'named "npm-fead", did you mean "npm-feed"? [unknown_name]'
    for words in (
        "rotate npm-fead",
        "revoke npm-fead --previous",
        "inventory pause npm-fead",
        "inventory show npm-fead",
    ):
        assert f"error: there is no managed PAT {near}" in managed(*words.split()).stderr, words
    assert f"error: there is no PAT {near}" in managed("status", "npm-fead").stderr
    assert 'named "build-bt", did you mean "build-bot"? [unknown_name]' in managed("login", "build-bt").stderr
    adopted = managed("inventory", "adopt", "npm-fead")
    assert adopted.returncode == 2
    assert adopted.stderr.startswith("error: npm-fead: no untracked active PAT has this authorization id or ")
    assert 'display name, did you mean "npm-feed"? [unknown]\nfix: `rotator scan -o wide` lists' in adopted.stderr


def test_error_has_a_code_when_the_command_line_names_what_is_not_there(managed: Rotator) -> None:
    """Programs tell it from a wrong option by that."""
    place = ("--account", "build-bot", "--organization")
    for words, code in (
        (("inventory", "adopt", "zzz*"), "unknown"),
        (("inventory", "pause", "x*"), "unknown_name"),
        (("rotate", "x*"), "unknown_name"),
        (("revoke", "docs-site", "--previous", "--yes"), "no_overlap"),
        (("audit", "show", "999"), "unknown_name"),
        (("notify", "test", "nobody"), "unknown_name"),
        (("hooks", "test", "nothing"), "unknown_name"),
        (("create", "new", *place, "nowhere", "--scope", "vso.code", "--lifetime", "9d"), "unknown_name"),
        (
            ("create", "new", "--account", "x", *place[2:], "contoso", "--scope", "vso.code", "--lifetime", "9d"),
            "unknown_name",
        ),
        (
            ("admin", "revoke", "c79011e5-700f-4f80-ad17-f98f6ad23f01", *place, "nowhere", "--reason", "x", "--yes"),
            "unknown_name",
        ),
    ):
        refused = managed(*words)
        assert (refused.returncode, f" [{code}]" in refused.stderr) == (2, True), f"{words}: {refused.stderr}"


def test_adoption_is_shown_by_name_and_says_whose_secret_is_not_looked_at(signed_in: Rotator) -> None:
    shown = signed_in("inventory", "adopt", "--all", "--dry-run").stdout
    names = re.findall(r"^\+ (\S+)", shown, re.MULTILINE)
    assert len(names) > 3
    assert len(set(names)) == len(names)
    by_hand = re.search(r"^build-bot/contoso, rule hands-off \((.*)\), secrets in \S+\n\+ deploy-manual ", shown, re.M)
    assert by_hand is not None
    assert by_hand[1] == "a person replaces these, so no run writes their secrets"
    assert shown.count("a person replaces these") == 1
    more = signed_in("inventory", "adopt", "--all", "--dry-run", "-v").stdout
    assert more.count("not looked at: its rule only alerts, so no run writes it") == 1


def test_adoption_of_all_says_what_no_run_rotates_and_how_to_end_that(signed_in: Rotator) -> None:
    """A secret that no rotation will make is not said to come."""
    *_, absent, watched, last = signed_in("inventory", "adopt", "--all", "--dry-run").stdout.splitlines()
    shown = json.loads(signed_in("inventory", "adopt", "--all", "--dry-run", "--json").stdout)["adopted"]
    blocked = [pat["name"] for pat in shown if pat["blocked"]]
    makes = [pat for pat in shown if pat["secret_holds"] == "absent" and not pat["blocked"]]
    assert "old-admin" in blocked
    assert absent.startswith(f"{len(makes)} secrets do not exist yet; ")
    assert watched.startswith(
        f"No run rotates {len(blocked) + 1} of these PATs ({len(blocked)} blocked, 1 to replace by "
    )
    assert watched.endswith("`rotator inventory forget NAME` ends that for one.")
    assert last == f"{len(shown)} PATs would be adopted. A dry run: nothing was written."


def test_adoption_of_a_glob_is_that_of_all_whose_display_names_fit(signed_in: Rotator) -> None:
    """Names are another thing: what is named is adopted although `--all` would leave it."""
    shown = signed_in("inventory", "adopt", "[nr]*-feed", "release*", "--dry-run", "--json")
    assert {pat["name"] for pat in json.loads(shown.stdout)["adopted"]} == {"npm-feed", "release-notes"}
    for words, said in (
        (("nosuch*",), 'error: no PAT has a display name that fits "nosuch*"'),
        (("npm*", "docs-site"), "error: give names and ids, or globs, not both"),
        (("npm*", "--replace-foreign"), "error: --replace-foreign does not go with --all or a glob"),
        (("npm*", "--as", "x"), "error: --as and --secret go with one PAT"),
    ):
        refused = signed_in("inventory", "adopt", *words)
        assert (refused.returncode, refused.stderr.startswith(said)) == (2, True), refused.stderr
    assert "1 PAT adopted." in signed_in("inventory", "adopt", "npm*").stdout
    assert signed_in("inventory", "adopt", "npm*").stdout.startswith("Nothing to adopt.")


def test_command_on_one_pat_says_so_of_a_glob(managed: Rotator) -> None:
    """And how to find the names that fit."""
    for words in (
        ("inventory", "show", "npm*"),
        ("inventory", "rename", "npm*", "feed"),
        ("inventory", "move", "npm*", "--account", "build-bot"),
        ("update", "npm*", "--lifetime", "20d"),
    ):
        refused = managed(*words)
        assert refused.returncode == 2
        assert refused.stderr.splitlines() == [
            'error: "npm*" is a glob, and this command takes one name',
            "fix: `rotator status 'npm*' -o name` lists the names that fit.",
        ]


def test_record_says_that_the_log_has_older_events_than_it_shows(managed: Rotator) -> None:
    assert "`rotator audit list --name docs-site` shows all" not in managed("inventory", "show", "docs-site").stdout
    for words in ("rotate", "inventory pause", "inventory resume", "inventory pause"):
        assert managed(*words.split(), "docs-site").returncode == 0
    lines = managed("inventory", "show", "docs-site").stdout.splitlines()
    assert lines[-11] == "The newest 10 events; `rotator audit list --name docs-site` shows all:"


def test_status_says_what_resumes_a_pat_that_was_paused_by_name(managed: Rotator) -> None:
    assert managed("inventory", "pause", "npm-feed").returncode == 0
    paused = managed("inventory", "pause", "--all")
    heading = r"^\d PATs expire within 30 days:\n    \S+ expires "
    assert re.search(heading, paused.stdout, re.MULTILINE), paused.stdout
    rows = {line.split()[0]: line for line in managed("status").stdout.splitlines() if line}
    assert rows["npm-feed"].endswith("after resume npm-feed")
    assert rows["docs-site"].endswith("after resume --all")
    assert managed("inventory", "resume", "--all").returncode == 0
    assert managed("revoke", "npm-feed", "--yes").returncode == 0
    rows = {line.split()[0]: line for line in managed("status").stdout.splitlines() if line}
    assert rows["npm-feed"].endswith(" -")  # there is nothing to resume


def test_resume_says_what_was_not_paused(managed: Rotator) -> None:
    assert managed("inventory", "pause", "npm-feed").returncode == 0
    done = managed("inventory", "resume", "npm-feed", "docs-site")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "resumed  npm-feed. `rotator plan` shows when it is due.",
        "docs-site: not paused by name, so there was nothing to resume.",
    ]


def test_status_and_once_count_alike_who_waits_for_a_person(managed: Rotator) -> None:
    assert managed("inventory", "pause", "ci-build", "npm-feed", "release-notes").returncode == 0
    done = managed("once").stdout.splitlines()
    assert done[-1] == "3 PATs wait for a person (1 to replace by hand, 2 blocked): see `rotator status`."
    assert managed("status").stdout.splitlines()[-1].endswith("; 3 wait for a person")


def test_status_and_plan_count_alike(managed: Rotator) -> None:
    assert managed("inventory", "pause", "docs-site").returncode == 0
    planned, shown = managed("plan").stdout.splitlines()[-1], managed("status").stdout.splitlines()[-1]
    rotated = re.search(r"(\d) to rotate, 1 to replace by hand, \d blocked, 1 paused", planned)
    assert rotated is not None, planned
    assert f"{int(rotated[1]) + 1} due (1 of them to replace by hand)" in shown


def test_plugin_counts_a_pat_as_a_problem_or_as_a_warning_and_not_as_both(managed: Rotator) -> None:
    line = managed("status", "--nagios", "--within", "30d").stdout
    assert "deploy-manual" in line
    assert "warnings=0;" in line


def test_accounts_are_shown_with_a_note_in_words_before_there_is_a_database(rotator: Rotator) -> None:
    shown = rotator("accounts")
    assert shown.returncode == 0
    assert shown.stderr.startswith("The stored history of the sign-ins cannot be read: ")
    assert "`rotator db upgrade`" in shown.stderr


def test_table_within_a_width_has_no_blanks_at_the_end_of_a_line(
    managed: Rotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for width in ("200", "60"):
        monkeypatch.setenv("COLUMNS", width)
        for command in (("status",), ("scan",), ("inventory", "list")):
            lines = managed(*command).stdout.splitlines()
            assert len(lines) > 5
            assert [line for line in lines if line != line.rstrip()] == [], command


def test_everything_that_is_wrong_is_said_with_the_fix_below_it_and_names_the_account(
    rotator: Rotator,
) -> None:
    assert rotator("db", "upgrade").returncode == 0
    refused = rotator("inventory", "adopt", "--all")
    assert refused.returncode == 10
    first, second = refused.stderr.splitlines()[:2]
    assert first.startswith("error: account build-bot: nobody is signed in")
    assert second.startswith("fix: ")


def test_time_that_is_none_is_refused_with_both_ways_to_write_one(signed_in: Rotator) -> None:
    refused = signed_in("audit", "list", "--since", "yesterday")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        "fix: Write a time span such as 2d or 12h, or a UTC time: 2026-12-01 or 2026-12-01T09:00Z."
    )


def test_runbook_has_the_cause_of_a_pat_that_the_policy_forbids_to_rotate(rotator: Rotator) -> None:
    assert "cause blocked: The policy forbids rotating it" in rotator("runbook", "rotation_blocked").stdout


def test_status_promises_no_other_try_where_a_run_only_clears_the_failure(sandbox: Sandbox, managed: Rotator) -> None:
    sandbox.world.faults.add(Fault("azure_devops", "rate_limited", method="POST", path="/tokens/pats", times=None))
    assert managed("rotate", "docs-site", "npm-feed").returncode == 1
    rows = {line.split()[0]: line for line in managed("status").stdout.splitlines() if line}
    assert re.search(r"failed .* check again in \d+ min$", rows["docs-site"]), rows  # it is not due
    assert re.search(r"failed .* try again in \d+ min$", rows["npm-feed"]), rows
