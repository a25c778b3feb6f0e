"""A pause of everything by the installed command: what it says, what it holds back, and how it ends."""

from __future__ import annotations

import json
from datetime import timedelta

from rotator.sandbox.azure_devops_replies import to_ticks
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ORGANIZATION, USER_ID
from tests.support.installed_command import Rotator
from tests.support.published import check_printed


def test_pause_of_everything_says_what_will_expire_and_lasts_until_everything_is_resumed(signed_in: Rotator) -> None:
    assert signed_in("inventory", "adopt", "npm-feed", "docs-site").returncode == 0
    paused = signed_in("inventory", "pause", "--all", "--reason", "audit week")
    assert paused.stderr == ""
    first, never, heading, soonest, *_ = paused.stdout.splitlines()
    assert (paused.returncode, first) == (
        0, "paused  everything: until `rotator inventory resume --all` no run rotates or revokes."
    )  # fmt: skip
    assert never.startswith("The pause also holds for a PAT that is about to expire.")
    assert heading == "2 PATs expire within 30 days:"
    assert soonest.startswith("    npm-feed expires 20")
    assert signed_in("once").stdout.splitlines() == [
        "Nothing was done.",
        "1 PAT waits because everything is paused: see `rotator status`.",
    ]
    status = signed_in("status").stdout
    assert status.startswith("Everything is paused since 20")
    assert signed_in("status", "--check").returncode == 4
    assert " (audit week), until `rotator inventory resume --all`" in status.splitlines()[0]
    again = signed_in("inventory", "pause", "--all", "--reason", "another")
    assert again.stdout.splitlines()[1].startswith("The reason was not recorded.")
    document = json.loads((printed := signed_in("inventory", "pause", "--all", "--json")).stdout)
    check_printed(printed.args, document)
    assert (document["changed"], [pat["name"] for pat in document["pats"]]) == (False, ["npm-feed", "docs-site"])
    resumed = signed_in("inventory", "resume", "--all")
    assert (resumed.returncode, resumed.stdout.startswith("resumed  everything;")) == (0, True)
    assert signed_in("once").stdout.startswith("rotated  npm-feed")
    events = json.loads(signed_in("audit", "list", "--event", "all_paused", "--json").stdout)["events"]
    assert [event["details"]["reason"] for event in events] == ["audit week"]


def test_pause_wants_names_or_all_and_not_both(signed_in: Rotator) -> None:
    for arguments in ((), ("npm-feed", "--all")):
        for command in ("pause", "resume"):
            assert signed_in("inventory", command, *arguments).returncode == 2


def test_commands_name_a_few_of_very_many_pats_and_count_the_others(sandbox: Sandbox, signed_in: Rotator) -> None:
    """Nobody asked for a list: what one sentence says of 42 PATs has no line for each."""
    now = sandbox.world.clock.now()
    user, home = sandbox.world.users[USER_ID], (sandbox.world.organizations[ORGANIZATION],)
    names = [f"team{number:02}" for number in range(40)]
    for name in names:
        ends = to_ticks(now) + timedelta(days=9)
        sandbox.world.add_pat(user, name, "vso.build", home, ends - timedelta(days=30), ends)
    adopted = signed_in("inventory", "adopt", *names, "npm-feed", "docs-site", "--yes").stdout.splitlines()
    assert adopted[-1].startswith("42 PATs adopted")
    assert len(adopted) < 20
    done, *others = signed_in("inventory", "pause", "team*").stdout.splitlines()
    assert (done.startswith("paused  40 PATs: team00, team01, "), others) == (True, [])
    assert len(signed_in("inventory", "resume", "team*", "-v").stdout.splitlines()) == 40
    paused = signed_in("inventory", "pause", "--all").stdout.splitlines()
    assert paused[2] == "42 PATs expire within 30 days:"
    assert paused[-1] == "    and 32 more: `rotator status --expires-within 30d` lists them"
    assert len(paused) == 3 + 10 + 1
    head, *lines = signed_in("plan").stdout.splitlines()
    assert head == "Everything is paused: 41 PATs wait until `rotator inventory resume --all`."
    assert lines[0].startswith(". 41 PATs  wait  (everything is paused; continues after ")
    assert len(lines) == 2
    for words, said in (
        (("rotate", "team*", "--dry-run"), "~ 40 PATs  rotate  (rule everything-else, secrets in https://"),
        (("revoke", "team*", "--dry-run"), "would be revoked  40 PATs in use: team00, team01, "),
    ):
        done, last = signed_in(*words).stdout.splitlines()
        assert done.startswith(said), done
        assert "dry run" in last
    assert signed_in("revoke", "team*", "--dry-run", "-v").stdout.count("would be revoked  team") == 40
    assert signed_in("inventory", "adopt", "team*", "--yes", "--quiet").stdout == ""
