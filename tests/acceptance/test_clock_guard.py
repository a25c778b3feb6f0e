"""The installed command against services whose clocks say that this host's is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from rotator.sandbox.faults import Fault
from rotator.sandbox.running import Sandbox
from tests.support.installed_command import Rotator
from tests.support.published import load_validator

SERVICES = ("azure_devops", "entra", "key_vault")
TWO_DAYS = 2 * 86400.0


def _count_changes(sandbox: Sandbox) -> int:
    """How many PATs were asked for or revoked."""
    record = sandbox.world.record
    return sum(len(record.all("azure_devops", method)) for method in ("POST", "DELETE"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [TWO_DAYS, -TWO_DAYS], ids=["slow", "fast"])
def test_once_mints_nothing_and_exits_1_when_the_services_dates_are_two_days_off(
    sandbox: Sandbox, signed_in: Rotator, seconds: float
) -> None:
    assert signed_in("inventory", "adopt", "npm-feed").returncode == 0
    for service in SERVICES:
        sandbox.world.faults.add(Fault(service, "wrong_date", times=None, seconds=seconds))
    for words in (("once",), ("rotate", "npm-feed"), ("revoke", "npm-feed", "--yes"), ("recover",)):
        ended = signed_in(*words, "--json")
        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert json.loads(ended.stdout)["error"]["code"] == "clock_skew"
    assert _count_changes(sandbox) == 0
    assert "NTP" in json.loads(ended.stdout)["error"]["fix"]
    sandbox.world.faults.clear()
    assert signed_in("once").returncode == 0
    assert _count_changes(sandbox) > 0


def test_once_and_rotate_list_what_they_rotated_by_the_services_time_when_the_clock_ended_them(
    sandbox: Sandbox, signed_in: Rotator
) -> None:
    """Whoever reads the JSON sees the new PAT there, not only in the sentence of the error."""
    assert signed_in("inventory", "adopt", "npm-feed").returncode == 0
    (record,) = json.loads(signed_in("inventory", "list", "--json").stdout)["pats"]
    until_last_hours = datetime.fromisoformat(record["expires_at"]) - datetime.now(UTC) - timedelta(hours=3)
    for service in SERVICES:
        sandbox.world.faults.add(Fault(service, "wrong_date", times=None, seconds=until_last_hours.total_seconds()))
    ended = signed_in("once", "--json")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    document = json.loads(ended.stdout)
    assert not list(load_validator("report").iter_errors(document))
    assert document["error"]["code"] == "clock_skew"
    assert [entry["name"] for entry in document["rotated"]] == ["npm-feed"]
    assert document["rotated"][0]["authorization_id"] != record["authorization_id"]


def test_once_goes_on_when_one_service_alone_has_a_wrong_date(sandbox: Sandbox, signed_in: Rotator) -> None:
    assert signed_in("inventory", "adopt", "npm-feed").returncode == 0
    sandbox.world.faults.add(Fault("key_vault", "wrong_date", times=None, seconds=TWO_DAYS))
    ended = signed_in("once", "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [entry["name"] for entry in json.loads(ended.stdout)["rotated"]] == ["npm-feed"]
