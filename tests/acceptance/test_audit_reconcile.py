"""`rotator audit reconcile` by the installed command, on a sandbox that keeps an audit log as Azure DevOps does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from rotator.sandbox.azure_devops_audit import add_to_log
from rotator.sandbox.faults import Fault
from rotator.sandbox.seeds import CLIENT_ID, ORGANIZATION, USER_ID, USERNAME
from rotator.sandbox.world import Organization
from tests.acceptance.test_leaks import replace_leaks, revoke
from tests.support.daemon import set_overlap, start_daemon
from tests.support.killing import NAME, Stage
from tests.support.moved_clock import MovedWallClock
from tests.support.published import check_printed

pytestmark = pytest.mark.timeout(600)

COMMAND = ("audit", "reconcile", "--json")
BY_HAND = "by-hand"


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage, with an empty log at Azure DevOps, and one rotation: a mint and a revocation of ours."""
    prepared.reset(lease="1h")
    home = prepared.world.organizations[ORGANIZATION]
    fresh = Organization(home.name, home.id)
    prepared.world.organizations[ORGANIZATION] = fresh
    first = prepared.start("once")
    assert first.wait() == 0, first.read()
    assert [entry.document["actionId"] for entry in fresh.audit_log] == ["Token.PatCreateEvent", "Token.PatRevokeEvent"]
    yield prepared
    prepared.check_secrecy()
    prepared.end()


def get_home(stage: Stage) -> Organization:
    return stage.world.organizations[ORGANIZATION]


def reconcile(stage: Stage, *words: str, code: int, clock: MovedWallClock | None = None) -> dict[str, Any]:
    """What the command says of the organization."""
    if clock is None:
        run = stage.start(*COMMAND, *words)
    else:
        run = stage.start_installed(*COMMAND, *words, environment=clock.environment)
    assert run.wait() == code, run.read()
    document = json.loads(run.output.read_text(encoding="utf-8"))
    check_printed(COMMAND, document)
    [found] = document["organizations"]
    assert isinstance(found, dict)
    return found


def mint_by_hand(stage: Stage) -> None:
    """The same user makes a PAT on the page of Azure DevOps, or whoever has that user's session does."""
    token = stage.world.issue_access_token(stage.world.users[USER_ID], "azure_devops", CLIENT_ID)
    body = {"displayName": BY_HAND, "scope": "vso.code", "validTo": "2099-01-01T00:00:00Z", "allOrgs": False}
    answer = requests.post(
        f"{stage.sandbox.addresses.azure_devops_url}/{ORGANIZATION}/_apis/tokens/pats?api-version=7.1-preview.1",
        json=body,
        headers={"Authorization": f"Bearer {token.value}"},
        verify=str(stage.sandbox.addresses.ca_path),
        timeout=10,
    )
    made = answer.json()["patToken"]
    stage.by_people.add(made["authorizationId"])


def add_entry(stage: Stage, action: str, **document: object) -> None:
    add_to_log(stage.world, get_home(stage), stage.world.clock.now(), {"actionId": action, **document})


def read_told(stage: Stage, event: str) -> list[dict[str, Any]]:
    """What our audit log has of an event."""
    run = stage.start("audit", "list", "--event", event, "--json")
    assert run.wait() == 0, run.read()
    found: list[dict[str, Any]] = json.loads(run.output.read_text(encoding="utf-8"))["events"]
    return found


def test_what_rotator_did_is_explained(stage: Stage) -> None:
    found = reconcile(stage, code=0)
    assert (found["explained"], found["pat_entries"], found["findings"], found["lacking"]) == (2, 2, [], [])
    assert (found["error"], found["lost_since"], found["unreadable"]) == (None, None, 0)
    [compared] = read_told(stage, "service_log_compared")
    assert compared["subject"] == f"build-bot/{ORGANIZATION}"
    assert compared["details"]["explained"] == 2
    said = stage.start("audit", "reconcile", "--since", "1d", "--dry-run")
    assert said.wait() == 0
    assert "2 by rotator, 0 expired, 0 of other users, 0 unexplained, 0 missing." in said.output.read_text()
    assert len(read_told(stage, "service_log_compared")) == 1, "a dry run records nothing"


def test_mint_by_hand_of_the_same_user_is_told_once(stage: Stage) -> None:
    """Among other entries, on pages that overlap."""
    for _ in range(300):
        add_entry(stage, "AuditLog.AccessLog")
    get_home(stage).audit_overlap = 7
    mint_by_hand(stage)
    assert reconcile(stage, "--dry-run", code=4)["findings"][0]["told_before"] is False
    for told_before in (False, True):
        found = reconcile(stage, code=4)
        [finding] = found["findings"]
        assert (finding["kind"], finding["display_name"], finding["by"]) == ("minted", BY_HAND, USERNAME)
        assert finding["told_before"] is told_before
        assert (found["explained"], found["pat_entries"], found["lacking"]) == (2, 3, [])
        assert found["read"] == 310
    [told] = read_told(stage, "outside_change_found")
    assert told["details"]["entry_id"] == finding["entry_id"]


def test_entries_of_others_are_not_ours_to_judge(stage: Stage) -> None:
    data = {"DisplayName": NAME, "OwnerName": "Someone Else"}
    add_entry(stage, "Token.PatRevokeEvent", actorUPN="someone.else@contoso.com", data=data)
    found = reconcile(stage, code=0)
    assert (found["others"], found["findings"]) == (1, [])


def test_leak_is_told_with_what_the_value_shows(stage: Stage) -> None:
    """By the service itself: no user is named, or the owner is. The value that consumers read still works."""
    add_entry(stage, "Token.PatPublicDiscoveryEvent", data={"DisplayName": NAME, "OwnerName": "Build Bot"})
    add_entry(stage, "Token.PatSystemRevokeEvent", data={"DisplayName": NAME})
    before = len(stage.world.pats)
    findings = reconcile(stage, code=4)["findings"]
    assert sorted(finding["kind"] for finding in findings) == ["found_in_public", "revoked_by_system"]
    assert [(item["names"], item["value"], item["on_leak"]) for item in findings] == [([NAME], "works", "alert")] * 2
    assert len(read_told(stage, "leak_reported")) == 2
    assert len(stage.world.pats) == before
    shown = stage.start("audit", "reconcile")
    assert shown.wait() == 4
    assert "found in a public place" in shown.output.read_text()


def test_daemon_hears_of_a_leak_and_its_rule_replaces_the_value(stage: Stage) -> None:
    """Long before it would look at the server itself."""
    replace_leaks(stage)
    set_overlap(stage, "12h")
    daemon = start_daemon(stage, work="1h", reconcile="12h", probe="10d", heartbeat="1s", audit_reconcile="1s")
    daemon.wait_until(lambda: "succeeded" in stage.find_job_runs("reconcile"))
    revoke(stage)
    add_entry(stage, "Token.PatSystemRevokeEvent", data={"DisplayName": NAME, "OwnerName": "Build Bot"})
    daemon.wait_until(lambda: "vanished_pat_replaced" in stage.find_events())
    assert daemon.stop() == 0
    assert stage.find_events().count("leak_reported") == 1
    [told] = read_told(stage, "leak_reported")
    assert (told["details"]["value"], told["details"]["on_leak"]) == ("refused", "rotate")
    stage.check_consumers()


def test_log_that_may_not_be_read_is_told_once_and_fails_no_job(stage: Stage) -> None:
    get_home(stage).audit_readers = set()
    for _ in range(2):
        found = reconcile(stage, code=1)
        assert found["error"]["code"] == "service_log_denied"
        assert "View audit log" in found["error"]["fix"]
    daemon = start_daemon(stage, work="1h", reconcile="12h", heartbeat="1s", audit_reconcile="1s")
    daemon.wait_until(lambda: stage.find_job_runs("audit_reconcile").count("succeeded") > 1)
    assert daemon.stop() == 0
    assert len(read_told(stage, "service_log_not_read")) == 1
    assert "job_failed" not in stage.find_events()
    get_home(stage).audit_readers = None
    reconcile(stage, code=0)
    get_home(stage).audit_readers = set()
    reconcile(stage, code=1)
    assert len(read_told(stage, "service_log_not_read")) == 1
    assert len(read_told(stage, "service_log_lost")) == 1, "it worked in between"


def test_gap_of_their_log_is_told_once_it_had_its_time(stage: Stage, tmp_path: Path) -> None:
    clock = MovedWallClock(tmp_path)
    get_home(stage).audit_log.clear()
    young = reconcile(stage, code=0)
    assert (young["lacking"], young["unsettled"], young["read"]) == ([], 2, 0)
    clock.move(timedelta(days=2))
    wrong = reconcile(stage, code=1, clock=clock)
    assert wrong["error"]["code"] == "clock_skew", "as long as the services say another time, nothing is missing"
    for service in ("azure_devops", "entra", "key_vault"):
        stage.faults.add(Fault(service, "wrong_date", times=None, seconds=timedelta(days=2).total_seconds()))
    off = reconcile(stage, code=1, clock=clock)
    assert off["error"]["code"] == "auditing_off"
    add_entry(stage, "AuditLog.AccessLog")
    found = reconcile(stage, code=4, clock=clock)
    assert [(item["kind"], item["name"]) for item in found["lacking"]] == [("minted", NAME), ("revoked", NAME)]
    for item in found["lacking"]:
        shown = stage.start("audit", "show", str(item["sequence"]), "--json")
        assert shown.wait() == 0
        event = json.loads(shown.output.read_text())["event"]["event"]
        assert event == {"minted": "mint_started", "revoked": "revoke_started"}[item["kind"]]
    reconcile(stage, code=4, clock=clock)
    [told] = read_told(stage, "own_changes_unlisted")
    assert told["details"]["changes"] == 2


def test_lost_period_is_stated(stage: Stage) -> None:
    found = reconcile(stage, "--since", "120d", code=0)
    assert found["lost_since"] < found["since"]
    assert stage.start("audit", "reconcile", "--since", "1d", "--until", "2d").wait() == 2
