"""A server whose certificate is wrong: each client's error names the cause and who must do what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.adapters.database.migrate import current
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.adapters.http_options import HttpOptions
from rotator.domain.secret_value import SecretValue
from rotator.errors import DatabaseError, RotatorError, TransientError
from rotator.ports.secret_store import SecretLocation
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, ORGANIZATION
from tests.support.azure_devops import SandboxAzureDevOps
from tests.support.signing_in import Stage
from tests.support.tls_server import run_tls_server, write_certificate
from tests.support.vault import SandboxVault

Ask = Callable[[Sandbox, str, HttpOptions, Path], None]
KINDS = {
    "expired": ("certificate has expired", "Check the clock of this host. If it is right, whoever runs 127.0.0.1"),
    "early": ("certificate is not yet valid", "Check the clock of this host."),
    "misnamed": ("IP address mismatch", "Correct the address of 127.0.0.1"),
    "unknown": ("self-signed certificate", "Set http.ca_bundle to the CA that signed it"),
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


def ask_azure_devops(sandbox: Sandbox, url: str, http: HttpOptions, folder: Path) -> None:
    azure_devops = SandboxAzureDevOps(sandbox)
    service = azure_devops.make_service(url=url, http=http)
    try:
        service.fetch_identity(ACCOUNT, ORGANIZATION)
    finally:
        service.close()
        azure_devops.service.close()


def ask_key_vault(sandbox: Sandbox, url: str, http: HttpOptions, folder: Path) -> None:
    vault = SandboxVault(sandbox)
    store = vault.make_store(http=http)
    try:
        store.fetch_latest(SecretLocation(url, "contoso-ci", "build-bot"))
    finally:
        store.close()
        vault.store.close()


def ask_entra(sandbox: Sandbox, url: str, http: HttpOptions, folder: Path) -> None:
    stage = Stage(sandbox, folder)
    try:
        stage.make_sign_in(authority=url, http=http).login_with_device_code(ACCOUNT, lambda prompt: None)
    finally:
        stage.close()


@pytest.mark.parametrize("ask", [ask_azure_devops, ask_key_vault, ask_entra])
@pytest.mark.parametrize("kind", KINDS)
def test_error_names_what_is_wrong_with_a_certificate(sandbox: Sandbox, tmp_path: Path, kind: str, ask: Ask) -> None:
    certificate, alone = write_certificate(tmp_path, kind)
    http = HttpOptions(sandbox.addresses.ca_path if kind == "unknown" else alone, read_timeout=timedelta(seconds=5))
    with run_tls_server(certificate) as port, pytest.raises(TransientError) as refused:
        ask(sandbox, f"https://127.0.0.1:{port}", http, tmp_path)
    cause, fix = KINDS[kind]
    assert refused.value.code == "tls_untrusted"
    assert f"the certificate of 127.0.0.1:{port} is not trusted: {cause}" in refused.value.message
    assert fix in refused.value.fix


@pytest.mark.parametrize("kind", KINDS)
def test_error_names_what_is_wrong_with_the_certificate_of_a_proxy(sandbox: Sandbox, tmp_path: Path, kind: str) -> None:
    certificate, alone = write_certificate(tmp_path, kind)
    ca = sandbox.addresses.ca_path if kind == "unknown" else alone
    with run_tls_server(certificate) as port:
        http = HttpOptions(ca, proxy=SecretValue(f"https://rotator:secret@127.0.0.1:{port}"))
        with pytest.raises(TransientError) as refused:
            ask_azure_devops(sandbox, sandbox.addresses.azure_devops_url, http, tmp_path)
    assert refused.value.code == "proxy_failed"
    assert f"its certificate is not trusted: {KINDS[kind][0]}" in refused.value.message
    assert "http.ca_bundle" in refused.value.fix
    assert "renew it" in refused.value.fix


@pytest.mark.parametrize(
    ("kind", "options", "cause", "fix"),
    [
        ("expired", "sslmode=verify-full&sslrootcert={ca}", "certificate verify failed", "has not expired"),
        ("unknown", "sslmode=verify-ca&sslrootcert={other}", "certificate verify failed", "point sslrootcert"),
        ("misnamed", "sslmode=verify-full&sslrootcert={ca}", "does not match host name", "Name the server in"),
        ("unknown", "sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem", "Point sslrootcert"),
        ("unknown", "sslmode=verify-full", "root certificate file", "Point sslrootcert"),
        ("unknown", "sslmode=require&sslcert=/dev/null", "/dev/null", "Point sslcert"),
        ("unknown", "sslmode=require&sslcert={other}", "not private key file", "Point sslkey"),
        ("unknown", "sslmode=nonsense", "invalid sslmode value", "Correct sslmode"),
        ("unknown", "nonsense=x", "invalid connection option", "Correct the options"),
    ],
)
def test_database_names_what_is_wrong_with_a_certificate(
    tmp_path: Path, kind: str, options: str, cause: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    certificate, alone = write_certificate(tmp_path, kind)
    _, other = write_certificate(tmp_path, "other")
    where = options.format(ca=alone, other=other)
    with run_tls_server(certificate, is_postgres=True) as port, pytest.raises(DatabaseError) as refused:
        current(f"postgresql+psycopg://rotator:secret@127.0.0.1:{port}/rotator?{where}")
    assert cause in refused.value.message
    assert fix in refused.value.fix
    assert "the user or its password" not in refused.value.message
    assert "bug" not in refused.value.fix


@pytest.mark.parametrize("name", ["n" * 300, "circle", "x/" * 3000 + "rotator.db"], ids=["name", "circle", "path"])
def test_database_at_a_path_that_no_file_can_have_is_an_error_in_words(tmp_path: Path, name: str) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(RotatorError) as refused, SqlDatabase(f"sqlite:///{tmp_path / name}").read():
        pytest.fail("it was opened")
    assert refused.value.code == "database_unreachable"
    assert "cannot be opened" in refused.value.message
