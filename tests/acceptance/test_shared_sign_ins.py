"""Two hosts with one PostgreSQL database: the installed command, whose sign-ins are in the database."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml
from cryptography.fernet import Fernet

from rotator.sandbox.faults import Fault
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, USERNAME
from tests.support.canaries import CanarySearch, collect_canaries
from tests.support.installed_command import COMMAND, PATIENCE, Rotator, run_forked, sign_in

NAME = "npm-feed"
Host = Callable[..., subprocess.CompletedProcess[str]]


def write_settings(path: Path, **settings: object) -> None:
    """Change top-level settings."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**document, **settings}), encoding="utf-8")


@pytest.fixture
def here(sandbox: Sandbox, rotator: Rotator, postgres_url: str, tmp_path: Path) -> Rotator:
    """The first host, where a person signs in."""
    write_settings(
        sandbox.addresses.config_path,
        database=postgres_url,
        token_cache={"store": "database", "key": {"file": "token-cache.key"}},
    )
    upgraded = rotator("db", "upgrade")
    assert upgraded.returncode == 0, upgraded.stderr
    sign_in(sandbox, tmp_path)
    return rotator


@pytest.fixture
def there_path(sandbox: Sandbox, here: Rotator, tmp_path: Path) -> Path:
    """The settings of the second host: copies in another folder."""
    shutil.copytree(sandbox.addresses.config_path.parent, tmp_path / "there")
    return tmp_path / "there" / sandbox.addresses.config_path.name


@pytest.fixture
def there(there_path: Path, tmp_path: Path) -> Host:
    """The second host."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_forked(*arguments, folder=tmp_path, env={"ROTATOR_CONFIG": str(there_path)})

    return run


def read(ended: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    """The document of a command that ended with this code."""
    assert ended.returncode == code, ended.stdout + ended.stderr
    return json.loads(ended.stdout)


def test_login_on_one_host_is_a_login_on_all(sandbox: Sandbox, here: Rotator, there: Host, there_path: Path) -> None:
    assert there("inventory", "adopt", NAME).returncode == 0
    assert [pat["name"] for pat in read(there("once", "--json"))["rotated"]] == [NAME]
    sandbox.entra.configure({"users": {USERNAME: {"revoked": True}}})
    sandbox.world.access_tokens.clear()
    assert [host("scan").returncode for host in (here, there)] == [10, 10]
    sandbox.entra.configure({"users": {USERNAME: {"revoked": False}}})
    sign_in(sandbox, there_path.parent)
    assert [host("scan").returncode for host in (there, here)] == [0, 0]


def test_sign_in_is_in_the_database_alone_and_a_logout_ends_it_on_all_hosts(
    sandbox: Sandbox, here: Rotator, there: Host, there_path: Path, postgres_url: str
) -> None:
    assert read(there("accounts", "--json"))["accounts"][0]["username"] == USERNAME
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.connect() as connection:
        rows = connection.execute(sqlalchemy.text("SELECT sign_in, content FROM token_cache")).all()
    engine.dispose()
    assert [row.sign_in.partition("|")[0] for row in rows] == [USERNAME]
    assert list(CanarySearch(collect_canaries(sandbox)).find(repr(rows).encode(), "token_cache")) == []
    assert there("logout", ACCOUNT, "--yes").returncode == 0
    assert read(here("accounts", "--json"))["accounts"][0]["signed_in"] is False
    for folder in (sandbox.addresses.config_path.parent, there_path.parent):
        assert list(folder.glob("token-cache.bin*")) == []


def test_host_with_another_key_is_told_so_and_changes_nothing(here: Rotator, there: Host, there_path: Path) -> None:
    there_path.with_name("token-cache.key").write_text(Fernet.generate_key().decode(), encoding="utf-8")
    for command, code in (("accounts", 2), ("once", 1)):
        ended = there(command)
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "token_cache.key cannot decrypt the token cache in the PostgreSQL database" in ended.stderr
        assert "DELETE FROM token_cache" in ended.stderr
    checks = read(there("doctor", "--json"), 1)["checks"]
    assert any("cannot decrypt" in check["message"] for check in checks if check["outcome"] == "fail")
    assert here("scan").returncode == 0


def test_doctor_looks_at_no_file_where_the_database_keeps_the_sign_ins(sandbox: Sandbox, here: Rotator) -> None:
    """One that is left over from before is not the token cache."""
    left = sandbox.addresses.config_path.with_name("token-cache.bin")
    left.touch()
    left.chmod(0o666)
    checks = read(here("doctor", "--json"), 1)["checks"]  # the server of the tests has no fsync
    assert not [check for check in checks if "token-cache.bin" in check["subject"] + check["message"]]
    assert [check["outcome"] for check in checks if check["name"] == "sign_in"] == ["ok"]


def test_sqlite_is_refused_by_every_command_that_needs_a_sign_in(sandbox: Sandbox, rotator: Rotator) -> None:
    write_settings(sandbox.addresses.config_path, token_cache={"store": "database", "key": {"file": "token-cache.key"}})
    assert rotator("db", "upgrade").returncode == 0
    for words in (("config", "check"), ("accounts",), ("once",)):
        ended = rotator(*words)
        assert ended.returncode == 2, ended.stdout + ended.stderr
        assert "token_cache.store: `database` keeps the sign-ins in PostgreSQL" in ended.stderr
        assert "Leave `store` out" in ended.stderr
    checks = read(rotator("doctor", "--json"), 1)["checks"]
    [told] = [check for check in checks if check["subject"] == "token_cache.store"]
    assert (told["name"], told["outcome"]) == ("settings", "fail")


@pytest.fixture
def daemon(there_path: Path, there: Host, tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """A daemon on the second host; gives what tells the names of the events in its log."""
    assert there("inventory", "adopt", NAME).returncode == 0
    write_settings(there_path, daemon={"refresh": "1s", "work": "1s"})
    log = tmp_path / "daemon.log"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [COMMAND, "--config", there_path, "daemon"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
        )

        def list_events() -> list[str]:
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                text = log.read_text(encoding="utf-8")
                return [json.loads(line)["event"] for line in text[: text.rfind("\n") + 1].splitlines()]
            raise AssertionError(log.read_text(encoding="utf-8"))

        yield list_events
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_daemon_goes_on_when_a_person_signs_in_on_another_host(
    sandbox: Sandbox, here: Rotator, daemon: Callable[[], list[str]], tmp_path: Path
) -> None:
    def wait_for(event: str, count: int = 1) -> None:
        for _ in range(5 * PATIENCE):
            if daemon().count(event) >= count:
                return
        raise AssertionError(daemon())

    wait_for("secret_stored")
    sandbox.entra.configure({"users": {USERNAME: {"revoked": True}}})
    sandbox.world.access_tokens.clear()
    wait_for("sign_in_lapsed")
    sandbox.entra.configure({"users": {USERNAME: {"revoked": False}}})
    sign_in(sandbox, tmp_path)
    assert here("inventory", "adopt", "ci-build").returncode == 0
    wait_for("secret_stored", 2)


def test_hosts_wait_together_when_the_service_asks_one_of_them_to(sandbox: Sandbox, here: Rotator, there: Host) -> None:
    """By the record of what was sent: the second host asks nothing of the account, and says for how long it waits."""
    sandbox.world.faults.add(Fault("azure_devops", "rate_limited", "GET", "/tokens/pats", None, seconds=900))
    assert "TF400733" in here("scan").stderr
    sandbox.world.faults.clear()
    asked = count_listings(sandbox)
    assert asked > 0
    refused = there("scan")
    assert "it asked rotator to wait another" in refused.stderr
    assert count_listings(sandbox) == asked


def count_listings(sandbox: Sandbox) -> int:
    """How often Azure DevOps was asked for a list."""
    return sum("/tokens/pats" in entry.path for entry in sandbox.world.record.all("azure_devops"))
