"""One cause is one line of `rotator once`, however many PATs wait for it, and nothing is told twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from rotator.sandbox.faults import Fault
from rotator.sandbox.seeds import ORGANIZATION, USERNAME
from tests.support.installed_command import sign_in
from tests.support.killing import NAME, Stage

pytestmark = pytest.mark.timeout(600)

NAMES = {NAME, "npm-feed", "release-notes"}


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage, with two more PATs that are due, and a sign-in that Entra is asked about each time."""
    prepared.reset(lease="1h")
    for name in sorted(NAMES - {NAME}):
        (pat,) = (pat for pat in prepared.world.pats.values() if pat.display_name == name)
        adopted = prepared.start("inventory", "adopt", pat.authorization_id)
        assert adopted.wait() == 0, adopted.read()
    configure = prepared.sandbox.entra.configure
    configure({"access_token_lifetime_seconds": 200})
    assert prepared.start("logout", "--yes").wait() == 0
    sign_in(prepared.sandbox, prepared.folder)
    yield prepared
    configure({"access_token_lifetime_seconds": 3599, "users": {USERNAME: {"revoked": False}}})
    prepared.world.organizations[ORGANIZATION].members = None
    prepared.end()


def revoke_sign_in(stage: Stage) -> None:
    stage.sandbox.entra.configure({"users": {USERNAME: {"revoked": True}}})


def break_vault(stage: Stage) -> None:
    stage.faults.add(Fault("key_vault", "status", status=503, times=None))


def shut_out(stage: Stage) -> None:
    with stage.world.lock:
        stage.world.organizations[ORGANIZATION].members = set()


@pytest.mark.parametrize(
    ("plant", "code"),
    [(revoke_sign_in, 10), (break_vault, 1), (shut_out, 1)],
)
def test_one_cause_is_one_line(stage: Stage, plant: Callable[[Stage], None], code: int) -> None:
    plant(stage)
    spoken = stage.start("once")
    assert spoken.wait() == code, spoken.read()
    line, *fix = spoken.errors.read_text().splitlines()
    assert line.startswith("failed  ")
    assert "; this run did nothing with 3 PATs: " in line
    assert all(name in line for name in NAMES)
    assert [text.strip().split(": ")[0] for text in fix] in ([], ["fix"])
    assert spoken.output.read_text() == ""


@pytest.mark.parametrize(
    ("plant", "event", "code"),
    [(revoke_sign_in, "sign_in_lapsed", 10), (break_vault, "vault_down", 1), (shut_out, "organization_down", 1)],
)
def test_log_has_one_line_with_the_names_and_json_one_object_for_each(
    stage: Stage, plant: Callable[[Stage], None], event: str, code: int
) -> None:
    plant(stage)
    logged = stage.start("once", "--json")
    assert logged.wait() == code, logged.read()
    [line] = [json.loads(text) for text in logged.errors.read_text().splitlines()]
    assert (line["event"], set(line["pats"].split(", "))) == (event, NAMES)
    failed = json.loads(logged.output.read_text())["failed"]
    assert {pat["name"] for pat in failed if pat["authorization_id"]} == NAMES
