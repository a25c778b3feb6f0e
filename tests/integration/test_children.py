"""The programs that rotator starts: canaries in its environment, none in theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.adapters.key_vault.credentials import CredentialKind, make_credential
from rotator.adapters.stop import ProcessStop
from rotator.errors import DeniedError, StoppedError
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, CLIENT_ID, TENANT_ID, USER_ID
from tests.support.stop import make_stop
from tests.support.vault import SandboxVault, run_vault

CANARIES = {
    "ROTATOR_TOKEN_CACHE_KEY": "canary-key",
    "ROTATOR_DATABASE": "canary-database",
    "AZURE_CLIENT_SECRET": "canary-client-secret",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD": "canary-certificate",
    "AZURE_FEDERATED_TOKEN_FILE": "canary-token-file",
    "IDENTITY_HEADER": "canary-identity",
    "NOTIFY_SOCKET": "/canary-notify",
    "CREDENTIALS_DIRECTORY": "/canary-credentials",
    "PGPASSWORD": "canary-password",
    "SOMETHING_OF_SOMEBODY": "canary-something",
}
NEEDED = {"LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "no_proxy": "localhost"}
PATIENCE = 60.0


def write_program(path: Path, body: str) -> Path:
    """A program that first writes its environment, as JSON, beside itself."""
    dump = path.with_name("environment.json")
    path.write_text(
        f"#!{sys.executable}\nimport json, os, pathlib, sys, time\n"
        f"fresh = pathlib.Path({str(dump)!r} + '.new')\n"
        f"fresh.write_text(json.dumps(dict(os.environ)))\nfresh.rename({str(dump)!r})\n{body}\n"
    )
    path.chmod(0o755)
    return path


def check_environment(folder: Path) -> Mapping[str, str]:
    """What the program was given; it holds no canary, by name or value, and what every program needs."""
    given: Mapping[str, str] = json.loads((folder / "environment.json").read_text())
    assert CANARIES.keys() & given.keys() == set()
    assert [value for value in given.values() if "canary" in value] == []
    assert {name: given.get(name) for name in NEEDED} == NEEDED
    return given


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**CANARIES, **NEEDED}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxVault]:
    with run_vault(tmp_path_factory.mktemp("sandbox")) as running:
        running.start_over("contoso-ci")
        yield running


def fetch_with_cli(vault: SandboxVault, kind: CredentialKind) -> object:
    entra = vault.sandbox.addresses.entra_url
    store = vault.make_store(
        credential=make_credential(
            kind, authority=entra, instance_discovery=False, http=vault.http, stop=make_stop(vault.clock)
        )
    )
    try:
        return store.fetch_latest(vault.location)
    finally:
        store.close()


def answer_with_token(vault: SandboxVault) -> str:
    """What the Azure CLI does: print a token that the vault accepts."""
    token = vault.world.issue_access_token(vault.world.users[USER_ID], "key_vault", CLIENT_ID)
    expires_on = int((token.expires_at + timedelta(hours=1)).timestamp())
    answer = {"accessToken": token.value, "expires_on": expires_on}
    return (
        f"assert sys.argv[1:] == ['account', 'get-access-token', '--output', 'json', '--resource', "
        f"'https://vault.azure.net', '--tenant', {TENANT_ID!r}], sys.argv\nprint({json.dumps(answer)!r})"
    )


@pytest.mark.usefixtures("canaries")
@pytest.mark.parametrize("kind", ["azure_cli", "default"])
def test_azure_cli_sees_no_secret_when_it_is_asked_for_a_token(
    vault: SandboxVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: CredentialKind
) -> None:
    monkeypatch.delenv("IDENTITY_HEADER")
    monkeypatch.setenv("AZURE_CONFIG_DIR", "/of-the-cli")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    write_program(tmp_path / "az", answer_with_token(vault))
    assert fetch_with_cli(vault, kind) is None
    assert check_environment(tmp_path)["AZURE_CONFIG_DIR"] == "/of-the-cli"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sys.exit('ERROR: Please run az login to set up an account.')", "az login"),
        ("print('not json')", "something else than a token"),
        ('print(\'{"accessToken": {"a": 1}, "expires_on": "soon"}\')', "something else than a token"),
        ('print(\'{"accessToken": "canary-token"}\')', "something else than a token"),
        (r"""print('{"accessToken": "canary\\ud800", "expires_on": "4102444800"}')""", "something else than a token"),
    ],
)
def test_azure_cli_is_blamed_when_it_gives_no_token(
    vault: SandboxVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    write_program(tmp_path / "az", body)
    with pytest.raises(DeniedError) as caught:
        fetch_with_cli(vault, "azure_cli")
    assert caught.value.code == "vault_credential_refused"
    assert said in caught.value.message
    assert "canary" not in caught.value.message


def test_azure_cli_has_answered_when_a_program_that_it_leaves_behind_holds_its_output(
    vault: SandboxVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the CLI does that sends its telemetry in the background."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    left = "import subprocess\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'])\n"
    write_program(tmp_path / "az", f"{left}sys.exit('ERROR: Please run az login')")
    with pytest.raises(DeniedError, match="Please run az login"):
        fetch_with_cli(vault, "azure_cli")
    write_program(tmp_path / "az", left + answer_with_token(vault))
    assert fetch_with_cli(vault, "azure_cli") is None


@pytest.mark.parametrize("kind", ["azure_cli", "default"])
def test_azure_cli_is_ended_when_the_stop_comes_while_it_runs(
    vault: SandboxVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: CredentialKind
) -> None:
    """It may wait for a network that is not there, and a stop waits for nobody."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    write_program(tmp_path / "az", "time.sleep(600)")
    entra, stop = vault.sandbox.addresses.entra_url, ProcessStop()
    http = replace(vault.http, connect_timeout=timedelta(seconds=0.2))
    credential = make_credential(kind, authority=entra, instance_discovery=False, http=http, stop=stop)
    setter = threading.Thread(target=set_when_there_is, args=(tmp_path / "environment.json", stop))
    setter.start()
    with pytest.raises(StoppedError):
        credential.get_token("https://vault.azure.net/.default")
    setter.join()


def set_when_there_is(path: Path, stop: ProcessStop) -> None:
    """Set the stop as soon as there is such a file."""
    while not path.exists():
        threading.Event().wait(0.05)
    stop.set()


@pytest.mark.parametrize(
    "words",
    [
        "--password hunter2-canary",
        "password: hunter2-canary",
        "the password hunter2-canary is it",
        "Password=canary-x",
    ],
)
def test_azure_cli_is_not_quoted_when_it_repeats_a_password(
    vault: SandboxVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    write_program(tmp_path / "az", f"sys.exit('ERROR: az login {words} failed')")
    with pytest.raises(DeniedError) as caught:
        fetch_with_cli(vault, "azure_cli")
    assert "canary" not in caught.value.message
    assert "failed" in caught.value.message


def test_azure_cli_is_blamed_when_it_is_not_installed(
    vault: SandboxVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeniedError, match="not installed"):
        fetch_with_cli(vault, "azure_cli")


@pytest.mark.usefixtures("canaries")
def test_browser_sees_no_secret_when_a_login_opens_it(tmp_path: Path) -> None:
    browser = write_program(tmp_path / "browser", "assert sys.argv[1].startswith('https://127.0.0.1')")
    with Sandbox(tmp_path / "sandbox") as sandbox:
        settings = Path(sandbox.addresses.ca_path).with_name("rotator.yaml")
        environment = {**os.environ, "ROTATOR_CONFIG": str(settings), "BROWSER": f"{browser} %s", "DISPLAY": ":7"}
        command = [sys.executable, "-m", "rotator", "login", ACCOUNT, "--browser"]
        upgrade = [sys.executable, "-m", "rotator", "db", "upgrade"]
        subprocess.run(upgrade, env=environment, check=True, capture_output=True)
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                until = time.monotonic() + PATIENCE
                while not (tmp_path / "environment.json").exists() and process.poll() is None:
                    assert time.monotonic() < until
                    os.sched_yield()
            finally:
                process.terminate()
            assert process.stdout is not None
            output = process.stdout.read()
        assert (tmp_path / "environment.json").exists(), output
    assert check_environment(tmp_path)["DISPLAY"] == ":7"
