"""`rotator scan --organization-wide` and `rotator admin revoke` by the command, on a sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from rotator.sandbox.seeds import ORGANIZATION, OTHER_USER_ID, OTHER_USERNAME, USER_ID, USERNAME
from rotator.sandbox.world import Pat
from tests.support.killing import NAME, Stage
from tests.support.published import check_printed

pytestmark = pytest.mark.timeout(600)

SCAN = ("scan", "--organization-wide")
ADMIN = ("admin", "revoke")
WHERE = ("--account", "build-bot", "--organization", ORGANIZATION)


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """One managed PAT; its account administers the organization."""
    prepared.reset(lease="1h")
    prepared.world.organizations[ORGANIZATION].token_admins = {USER_ID}
    yield prepared
    prepared.world.organizations[ORGANIZATION].token_admins = set()
    prepared.world.users[OTHER_USER_ID].deleted = False
    prepared.check_secrecy()
    prepared.end()


def add_foreign(stage: Stage) -> Pat:
    """A PAT with full access, for a year, of a user who has left."""
    owner, now = stage.world.users[OTHER_USER_ID], stage.world.clock.now()
    owner.deleted = True
    home = stage.world.organizations[ORGANIZATION]
    pat = stage.world.add_pat(owner, "left-over", "app_token", (home,), now, now + timedelta(days=365))
    stage.by_people.add(pat.authorization_id)
    return pat


def ask(stage: Stage, *words: str, code: int = 0) -> dict[str, Any]:
    run = stage.start(*words, "--json")
    assert run.wait() == code, run.read()
    document: dict[str, Any] = json.loads(run.output.read_text(encoding="utf-8"))
    check_printed(words, document)
    return document


def say(stage: Stage, *words: str, code: int = 0) -> str:
    run = stage.start(*words)
    assert run.wait() == code, run.read()
    return " ".join(run.read().split())


def test_all_users_pats_are_shown_and_one_is_revoked(stage: Stage) -> None:
    foreign = add_foreign(stage)
    found = ask(stage, *SCAN)
    [other] = [pat for pat in found["pats"] if pat["authorization_id"] == foreign.authorization_id]
    assert other["user"] == OTHER_USERNAME
    marks = ("state", "full_access", "long_lived", "all_organizations", "ownerless", "last_used_at")
    assert tuple(other[mark] for mark in marks) == ("untracked", True, True, False, True, None)
    [own] = [pat for pat in found["pats"] if pat["name"] == NAME]
    assert (own["state"], own["user"]) == ("managed", USERNAME)
    assert found["summary"]["users"] == 3
    assert {user["look"] for user in found["users"] if not user["service"]} == {"ok"}
    said = say(stage, *SCAN, "--account", OTHER_USERNAME)
    assert "untracked, full access, long-lived, no living owner" in said
    assert "Azure DevOps does not tell when a PAT was last used" in said
    assert "2 ok, 1 skipped; 1 is the identity of a service" in said
    revoke = (*ADMIN, foreign.authorization_id, *WHERE)
    assert "the audit log needs a reason" in say(stage, *revoke, "--yes", code=2)
    assert "there is no terminal to ask on" in say(stage, *revoke, "--reason", "left", code=2)
    assert ask(stage, *revoke, "--dry-run")["dry_run"] is True
    shown = say(stage, *revoke, "--dry-run")
    assert f'"left-over" of {OTHER_USERNAME}: app_token expires ' in shown
    unknown = (*ADMIN, "00000000-0000-4000-8000-000000000000", *WHERE, "--dry-run")
    assert "no user of contoso has a PAT 00000000" in say(stage, *unknown, code=2)
    stage.world.organizations[ORGANIZATION].token_admins = set()
    assert "Not checked, whose PAT it is" in say(stage, *unknown)
    stage.world.organizations[ORGANIZATION].token_admins = {USER_ID}
    assert not foreign.revoked
    nothing = ask(stage, "audit", "list", "--name", foreign.authorization_id, code=2)
    assert nothing["error"]["code"] == "unknown_name"
    assert "It may take up to an hour" in say(stage, *revoke, "--reason", "left", "--yes")
    assert foreign.revoked
    events = ask(stage, "audit", "list", "--name", foreign.authorization_id)["events"]
    assert [event["event"] for event in events] == ["admin_revocation_started", "admin_revocation_requested"]
    again = ask(stage, *revoke, "--reason", "left", "--yes")
    assert (again["authorization_id"], again["may_take_seconds"]) == (foreign.authorization_id, 3600)


def test_managed_pat_is_refused(stage: Stage) -> None:
    [current] = [pat["authorization_id"] for pat in ask(stage, "status")["pats"] if pat["name"] == NAME]
    said = ask(stage, *ADMIN, current, *WHERE, "--reason", "x", "--yes", code=2)
    assert f"is the current PAT of {NAME}" in said["error"]["message"]
    assert f"is the current PAT of {NAME}" in say(stage, *ADMIN, current, *WHERE, "--dry-run", code=2)
    assert not stage.world.pats[current].revoked


def test_account_that_is_no_administrator_is_told_for_each_user(stage: Stage) -> None:
    stage.world.organizations[ORGANIZATION].token_admins = set()
    found = ask(stage, *SCAN, code=1)
    assert found["pats"] == []
    looks = {user["user"]: (user["look"], user["pats"]) for user in found["users"] if not user["service"]}
    assert looks == {USERNAME: ("denied", None), OTHER_USERNAME: ("denied", None)}
    said = say(stage, *SCAN, code=1)
    assert "Project Collection Administrator" in said
    assert "No PATs could be listed." in said
