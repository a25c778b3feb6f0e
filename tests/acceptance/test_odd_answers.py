"""Odd answers of the services to runs of the whole program, in this process: what it makes of each."""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy

from rotator.adapters.database.schema import lifetime_limit
from rotator.adapters.logs import reset_logging
from rotator.cli.main import main
from rotator.sandbox.faults import Fault
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ORGANIZATION, USER_ID, VAULT
from rotator.sandbox.world import Secret, SecretVersion
from tests.support.installed_command import Rotator, config_of

pytestmark = pytest.mark.timeout(600)

Document = dict[str, Any]
DAY = timedelta(days=1)
NAME = "npm-feed"
LISTS = r"/tokens/pats\?(?!.*authorizationId)"
"""Requests for lists, as faults name them, and not those for one PAT."""
JSON = {"Content-Type": "application/json"}


class Program:
    """Runs commands in this process, signed in, with `npm-feed` adopted."""

    def __init__(self, sandbox: Sandbox, capture: pytest.CaptureFixture[str]) -> None:
        self.sandbox, self.world = sandbox, sandbox.world
        self._capture = capture
        self.run("inventory", "adopt", NAME)

    def run(self, *words: str, code: int = 0) -> Document:
        """Run a command to its expected end; its document."""
        document: Document = json.loads(self.say(*words, "--json", code=code))
        return document

    def say(self, *words: str, code: int = 0) -> str:
        """Run a command to its expected end; what it printed."""
        ended = main(["--config", config_of(self.sandbox), *words])
        said = self._capture.readouterr()
        assert ended == code, said.out + said.err
        return said.out

    def plant(self, service: str, method: str, path: str, status: int, body: object, times: int | None = None) -> None:
        """Let such requests be answered so."""
        fault = Fault(service, "status", method, path, times, status=status, body=body, headers=JSON)
        self.world.faults.add(fault)

    def find_row(self, name: str = NAME) -> Document:
        """What `rotator status` says of a ManagedPat."""
        found: Document = next(row for row in self.run("status")["pats"] if row["name"] == name)
        return found

    def list_asked_lifetimes(self) -> list[float]:
        """How many days each mint asked for, the oldest first."""
        now = self.world.clock.now()
        sent = [json.loads(request.body) for request in self.world.record.all("azure_devops", "POST")]
        return [round((datetime.fromisoformat(each["validTo"]) - now) / DAY) for each in sent]


@pytest.fixture
def program(sandbox: Sandbox, signed_in: Rotator, capsys: pytest.CaptureFixture[str]) -> Iterator[Program]:
    """The program on the sandbox; what the command line changes of this process is undone."""
    hook, handler = sys.excepthook, signal.getsignal(signal.SIGTERM)
    yield Program(sandbox, capsys)
    sys.excepthook = hook
    signal.signal(signal.SIGTERM, handler)
    reset_logging()


def age_limits(sandbox: Sandbox, hours: float) -> None:
    """Let what was learned about lifetimes be that much older."""
    engine = sqlalchemy.create_engine(f"sqlite:///{sandbox.addresses.config_path.with_name('rotator.db')}")
    with engine.begin() as work:
        [learned_at] = work.execute(sqlalchemy.select(lifetime_limit.c.learned_at)).scalars()
        work.execute(lifetime_limit.update().values(learned_at=learned_at - timedelta(hours=hours)))
    engine.dispose()


def names_in(entries: list[Document]) -> list[str]:
    """The names of the ManagedPats in one list of a report."""
    return [entry["name"] for entry in entries]


def test_sound_pats_are_rotated_and_the_damage_is_told_once_when_lists_hold_odd_entries(program: Program) -> None:
    program.world.faults.add(Fault("azure_devops", "odd", "GET", times=None))
    report = program.run("once")
    assert (names_in(report["rotated"]), report["failed"], report["blocked"]) == ([NAME], [], [])
    assert program.run("once")["failed"] == []
    told = [event for event in program.run("audit", "list")["events"] if event["event"] == "listing_damaged"]
    assert len(told) == 1
    names = [pat["display_name"] for pat in program.run("scan")["pats"]]
    assert {"half \ufffd", "tab\ufffdnew\ufffdline\ufffdend"} <= set(names)


def test_nobody_is_called_revoked_when_the_first_page_says_that_it_is_the_last(program: Program) -> None:
    """Seen again, they are as they were."""
    program.run("inventory", "adopt", "docs-site")
    program.plant("azure_devops", "GET", LISTS, 200, {"continuationToken": None, "patTokens": []})
    report = program.run("once", code=1)
    assert report["blocked"] == []
    assert {entry["error"]["code"] for entry in report["failed"]} == {"not_listed"}
    program.world.faults.clear()
    assert program.run("rotate", NAME)["failed"] == []
    assert program.run("once")["failed"] == []
    rows = [program.find_row(name) for name in (NAME, "docs-site")]
    assert [(row["state"], row["last_error"]) for row in rows] == [("overlapping", None), ("ok", None)]


def add_due(program: Program, name: str, left: timedelta) -> None:
    """Adopt a new PAT that ends so soon."""
    world, now = program.world, program.world.clock.now()
    places = (world.organizations[ORGANIZATION],)
    world.add_pat(world.users[USER_ID], name, "vso.build_execute", places, now + left - 30 * DAY, now + left)
    program.run("inventory", "adopt", name)


def test_short_lifetime_is_taken_and_asked_for_until_an_expiry_is_near(program: Program) -> None:
    """8 days are granted, and the rules are content with them. `npm-feed` and `release-notes` are near their expiry."""
    program.world.organizations[ORGANIZATION].max_lifetime = 8 * DAY
    assert names_in(program.run("once")["rotated"]) == [NAME]
    expires_at = datetime.fromisoformat(program.find_row()["expires_at"])
    assert timedelta(days=7) < expires_at - program.world.clock.now() <= timedelta(days=8)
    program.run("inventory", "adopt", "ci-build")
    assert names_in(program.run("once")["rotated"]) == ["ci-build"]
    age_limits(program.sandbox, hours=8)
    add_due(program, "ci-nightly", 5 * DAY)
    assert names_in(program.run("once")["rotated"]) == ["ci-nightly"]
    program.run("inventory", "adopt", "release-notes")
    assert names_in(program.run("once")["rotated"]) == ["release-notes"]
    assert program.list_asked_lifetimes() == [30, 8, 8, 30]


def test_lifetime_too_short_for_the_rule_is_taken_when_hours_are_left_and_not_when_days_are(program: Program) -> None:
    """8 days are granted, and the rule wants a new PAT 9 days before the end."""
    policy = program.sandbox.addresses.policy_path
    policy.write_text(policy.read_text().replace("rotate_before: 7d", "rotate_before: 9d"))
    program.world.organizations[ORGANIZATION].max_lifetime = 8 * DAY
    program.run("inventory", "forget", NAME, "--yes")
    add_due(program, "ci-with-days", 5 * DAY)
    [blocked] = program.run("once", code=1)["blocked"]
    assert (blocked["name"], blocked["error"]["code"]) == ("ci-with-days", "lifetime_clamped")
    add_due(program, "ci-with-hours", timedelta(hours=5))
    assert names_in(program.run("once")["rotated"]) == ["ci-with-hours"]
    left = datetime.fromisoformat(program.find_row("ci-with-hours")["expires_at"]) - program.world.clock.now()
    assert timedelta(days=7) < left <= timedelta(days=8)
    assert program.find_row("ci-with-days")["state"] == "blocked"


def test_new_pat_is_kept_when_it_is_refused_for_its_first_seconds(program: Program) -> None:
    """The first request asks who is signed in."""
    path = "connectionData"
    program.world.faults.add(Fault("azure_devops", "status", "GET", path, 3, skip=1, status=401))
    assert names_in(program.run("once")["rotated"]) == [NAME]
    probes = [sent for sent in program.world.record.all("azure_devops", "GET") if path in sent.path]
    assert [sent.auth for sent in probes].count("Basic") == 4
    assert len(program.list_asked_lifetimes()) == 1


def test_next_run_asks_nothing_when_a_mint_was_throttled(program: Program) -> None:
    """The account is held back for every process: asking once more would be refused too, and make the wait longer."""
    program.world.faults.add(Fault("azure_devops", "rate_limited", "POST", "/tokens/pats", None, seconds=900))
    program.say("once", code=1)
    program.world.faults.clear()
    [failed] = program.run("once", code=1)["failed"]
    assert failed["error"]["code"] == "throttled"


def test_run_says_what_waits_when_a_mint_was_throttled(program: Program) -> None:
    program.world.faults.add(Fault("azure_devops", "rate_limited", "POST", "/tokens/pats", None, seconds=900))
    assert "Nothing" not in program.say("once", code=1)
    program.world.faults.clear()
    with sqlite3.connect(program.sandbox.addresses.config_path.with_name("rotator.db")) as database:
        assert database.execute("DELETE FROM throttle_hold").rowcount == 1  # as if its 15 minutes were over
    said = program.say("once").splitlines()
    assert said == ["Nothing was done.", "1 PAT waits to be tried again: see `rotator status`."]


def test_nothing_is_minted_when_the_secret_was_disabled_and_deleted(program: Program) -> None:
    now = program.world.clock.now()
    version = SecretVersion("0" * 32, "theirs", {}, None, False, now, now)
    with program.world.lock:
        secret = Secret(f"{ORGANIZATION}-{NAME}", [version], deleted_at=now)
        program.world.vaults[VAULT].secrets[secret.name] = secret
    [blocked] = program.run("once", code=1)["blocked"]
    assert blocked["error"]["code"] == "secret_soft_deleted"
    assert "deleted (and was disabled before)" in blocked["error"]["message"]
    assert "recover" in blocked["error"]["fix"]
    assert program.list_asked_lifetimes() == []


def test_value_is_stored_when_a_secret_of_that_name_was_being_deleted(program: Program) -> None:
    reason = {"code": "ObjectIsBeingDeleted"}
    refusal = {"code": "Conflict", "message": f"Secret {NAME} is currently being deleted.", "innererror": reason}
    program.plant("key_vault", "PUT", "/secrets/", 409, {"error": refusal}, times=2)
    assert names_in(program.run("once")["rotated"]) == [NAME]
    assert len(program.list_asked_lifetimes()) == 1


def test_user_is_asked_to_sign_in_when_lists_are_refused_to_a_service_principal(program: Program) -> None:
    refusal = {"typeKey": "InvalidAccessException", "message": "Service principals are not allowed to perform this."}
    program.plant("azure_devops", "GET", LISTS, 401, refusal)
    errors = [entry["error"] for entry in program.run("once", code=1)["failed"]]
    assert {error["code"] for error in errors} == {"service_principal"}
    assert all("as a user with `rotator login" in error["fix"] for error in errors)
    assert program.list_asked_lifetimes() == []


def test_secret_that_was_deleted_during_the_overlap_is_called_deleted(program: Program) -> None:
    assert names_in(program.run("once")["rotated"]) == [NAME]
    with program.world.lock:
        program.world.vaults[VAULT].secrets[f"{ORGANIZATION}-{NAME}"].deleted_at = program.world.clock.now()
    error = program.run("revoke", NAME, "--previous", "--yes", code=1)["error"]
    assert "somebody deleted it" in error["message"], error
    assert "recover it in the vault" in error["fix"]
    assert "somebody else" not in error["message"]
    assert [pat.revoked for pat in program.world.pats.values() if pat.display_name == NAME] == [False, False]


def test_pat_that_expired_by_the_services_clock_is_not_called_revoked_by_a_slow_host(program: Program) -> None:
    """The host is slow, no more than clocks may differ. It goes on, and the server no longer lists the PAT."""
    add_due(program, "ci-short", timedelta(seconds=50))
    program.world.clock.advance(timedelta(seconds=55))
    for service in ("azure_devops", "key_vault", "entra"):
        program.world.faults.add(Fault(service, "wrong_date", times=None, seconds=55))
    [failed] = program.run("once", code=3)["failed"]
    assert (failed["name"], "revoked outside" in failed["error"]["message"]) == ("ci-short", False)
    told = {event["event"] for event in program.run("audit", "list")["events"]}
    assert "pat_vanished" not in told
