"""All that is sent to the three services goes through the proxy of the settings, whichever library sends it."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rotator.adapters.bearer import AZURE_DEVOPS_SCOPE
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.key_vault.credentials import CredentialKind, make_credential
from rotator.adapters.proxy import bypasses_proxy
from rotator.domain.secret_value import SecretValue
from rotator.errors import RotatorError, TransientError, UnknownOutcomeError
from rotator.ports.permit import unclaimed
from rotator.sandbox.proxy import PASSWORD, ConnectProxy, run_proxy
from rotator.sandbox.seeds import ACCOUNT, CLIENT_ID, TENANT_ID, USER_ID
from tests.support.azure_devops import SandboxAzureDevOps
from tests.support.identity_service import run_identity_service
from tests.support.raw_server import run_raw_server
from tests.support.signing_in import Stage, spell_out
from tests.support.stop import make_stop
from tests.support.vault import SandboxVault, run_vault

SECRET = "a-client-secret-of-the-sandbox"
IDENTITY = "0b7f41c9-58d3-4c0e-b6a1-2e9d8c7f6a50"


@dataclass
class Behind:
    """A sandbox, a proxy in front of it, and options that name the proxy."""

    vault: SandboxVault
    proxy: ConnectProxy
    http: HttpOptions

    def expect(self, url: str) -> None:
        """Everything so far went to this service, through the proxy."""
        assert set(self.proxy.targets) == {url.removeprefix("https://")}
        self.proxy.targets.clear()


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    with run_proxy() as proxy, run_vault(tmp_path / "sandbox") as vault:
        vault.start_over("contoso-ci")
        yield Behind(vault, proxy, replace(vault.http, proxy=SecretValue(proxy.url)))


@pytest.fixture
def service_principal(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    app = behind.vault.world.apps[CLIENT_ID]
    app.secret, app.public = SECRET, False
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT_ID)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", SECRET)


def test_each_service_is_reached_through_the_proxy(behind: Behind, tmp_path: Path) -> None:
    addresses = behind.vault.sandbox.addresses
    stage = Stage(behind.vault.sandbox, tmp_path)
    sign_in = stage.make_sign_in(http=behind.http)
    sign_in.login_with_device_code(ACCOUNT, stage.approve())
    stage.clock.sleep(3600)
    sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    stage.close()
    behind.expect(addresses.entra_url)
    store = behind.vault.make_store(http=behind.http)
    assert store.fetch_latest(behind.vault.location) is None
    store.close()
    behind.expect(addresses.key_vault_url)
    azure_devops = SandboxAzureDevOps(behind.vault.sandbox)
    service = azure_devops.make_service(http=behind.http)
    service.fetch_identity(ACCOUNT, "contoso")
    service.close()
    azure_devops.service.close()
    behind.expect(addresses.azure_devops_url)
    assert behind.proxy.refused == 0


@pytest.mark.parametrize("kind", ["environment", "default"])
@pytest.mark.usefixtures("service_principal")
def test_hosts_credential_asks_through_the_proxy(behind: Behind, kind: CredentialKind) -> None:
    addresses = behind.vault.sandbox.addresses
    credential = make_credential(
        kind,
        authority=addresses.entra_url,
        instance_discovery=False,
        http=behind.http,
        stop=make_stop(behind.vault.clock),
    )
    store = behind.vault.make_store(credential=credential, http=replace(behind.http, proxy=None))
    assert store.fetch_latest(behind.vault.location) is None
    store.close()
    behind.expect(addresses.entra_url)


@pytest.fixture
def service_account(behind: Behind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a Kubernetes pod is given: a token of its service account, which the application trusts."""
    app = behind.vault.world.apps[CLIENT_ID]
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    thumbprint = b"of-the-cluster's-key"
    app.certificates, app.public = {thumbprint.hex(): public}, False
    endpoint = f"{behind.vault.sandbox.addresses.entra_url}/{TENANT_ID}/oauth2/v2.0/token"
    claims = {"iss": CLIENT_ID, "sub": CLIENT_ID, "aud": endpoint, "exp": int(time.time()) + 600}
    headers = {"x5t": base64.urlsafe_b64encode(thumbprint).decode()}
    path = tmp_path / "service-account-token"
    path.write_text(jwt.encode(claims, key, "RS256", headers))
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT_ID)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(path))


@pytest.mark.parametrize("kind", ["workload_identity", "default"])
@pytest.mark.parametrize("token_proxy", [None, "https://127.0.0.1:9/token"])
@pytest.mark.usefixtures("service_account")
def test_workload_identity_asks_entra_through_the_proxy_whatever_the_cluster_has_for_tokens(
    behind: Behind, monkeypatch: pytest.MonkeyPatch, kind: CredentialKind, token_proxy: str | None
) -> None:
    if token_proxy is not None:
        monkeypatch.setenv("AZURE_KUBERNETES_TOKEN_PROXY", token_proxy)
    addresses = behind.vault.sandbox.addresses
    for no_proxy, is_past in (((), False), (("127.0.0.1",), True)):
        http = replace(behind.http, no_proxy=no_proxy)
        credential = make_credential(
            kind, authority=addresses.entra_url, instance_discovery=False, http=http, stop=make_stop(behind.vault.clock)
        )
        store = behind.vault.make_store(credential=credential, http=replace(behind.http, proxy=None))
        assert store.fetch_latest(behind.vault.location) is None
        store.close()
        if is_past:
            assert behind.proxy.targets == []
        else:
            behind.expect(addresses.entra_url)


def test_request_goes_past_the_proxy_when_the_settings_say_so(behind: Behind) -> None:
    store = behind.vault.make_store(http=replace(behind.http, no_proxy=("127.0.0.0/8",)))
    assert store.fetch_latest(behind.vault.location) is None
    store.close()
    assert behind.proxy.targets == []


@pytest.mark.parametrize(
    ("url", "entry", "past"),
    [
        ("https://contoso-kv.vault.azure.net/secrets", "vault.azure.net", True),
        ("https://contoso-kv.vault.azure.net/secrets", ".VAULT.azure.net", True),
        ("https://contoso-kv.vault.azure.net/secrets", "*.azure.net", True),
        ("https://contoso-kv.vault.azure.net/secrets", "*", True),
        ("https://contoso-kv.vault.azure.net/secrets", "vault.azure.net:443", True),
        ("https://contoso-kv.vault.azure.net/secrets", "vault.azure.net:8443", False),
        ("https://contoso-kv.vault.azure.net/secrets", "ault.azure.net", False),
        ("https://contoso-kv.vault.azure.net.evil.example/", "vault.azure.net", False),
        ("https://10.1.2.3:8443/", "10.0.0.0/8", True),
        ("https://10.1.2.3:8443/", "10.1.2.3", True),
        ("https://11.1.2.3:8443/", "10.0.0.0/8", False),
        ("https://[::1]:8443/", "::1", True),
        ("https://[::1]:8443/", "[::1]", True),
        ("https://[0:0::1]:8443/", "[::1]:8443", True),
        ("https://[::1]:8443/", "[::1]:443", False),
        ("https://[fd00::1]/", "fd00::/8", True),
        ("https://contoso.example/", "", False),
        ("http://169.254.169.254/metadata/identity", "none.example", True),
        ("http://localhost:40342/metadata/identity", "none.example", True),
        ("https://169.254.1.1/", "none.example", True),
    ],
)
def test_no_proxy_matches_hosts_below_networks_and_this_hosts_identity(url: str, entry: str, past: bool) -> None:
    assert bypasses_proxy(url, (entry,)) is past


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ("http://rotator:wrong-password@127.0.0.1:{}", "proxy_refused"),
        ("http://127.0.0.1:{}", "proxy_refused"),
        ("http://rotator:pw-canary@127.0.0.1:9", "proxy_failed"),
    ],
)
def test_proxy_is_named_when_it_does_not_connect(behind: Behind, tmp_path: Path, wrong: str, code: str) -> None:
    http = replace(behind.http, proxy=SecretValue(wrong.format(behind.proxy.server_address[1])))
    store, stage = behind.vault.make_store(http=http), Stage(behind.vault.sandbox, tmp_path)
    azure_devops = SandboxAzureDevOps(behind.vault.sandbox)
    service = azure_devops.make_service(http=http)
    errors: list[RotatorError] = []
    for call in (
        lambda: store.store(
            behind.vault.location, SecretValue("v"), expires_at=stage.clock.now(), tags={}, permit=unclaimed
        ),
        lambda: stage.make_sign_in(http=http).login_with_device_code(ACCOUNT, stage.approve()),
        lambda: service.revoke(ACCOUNT, "contoso", "00000001-1111-4222-8333-444444444444", permit=unclaimed),
    ):
        with pytest.raises(RotatorError) as caught:
            call()
        errors.append(caught.value)
    for opened in (store, stage, service, azure_devops.service):
        opened.close()
    for error in errors:
        assert isinstance(error, TransientError), "nothing was sent, so nothing is unknown"
        assert not isinstance(error, UnknownOutcomeError)
        assert (error.code, "http.proxy" in error.fix) == (code, True)
        assert code == "proxy_refused" or error.message.endswith(": it refused the connection")
        assert "wrong-password" not in spell_out(error)
        assert base64.b64encode(b"rotator:wrong-password").decode() not in spell_out(error)
        assert "pw-canary" not in spell_out(error)
        assert PASSWORD not in spell_out(error)
    assert behind.vault.world.record.all() == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "the proxy did not connect to 127.0.0.1:{}: it did not answer in time"),
        (b"", "the proxy did not connect to 127.0.0.1:{}: it closed the connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the proxy did not connect to 127.0.0.1:{}: its answer is not HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", "the proxy did not connect to 127.0.0.1:{}: its answer is not HTTP"),
    ],
)
def test_proxy_that_says_nothing_of_use_is_named_and_nothing_was_sent(
    behind: Behind, answer: bytes | None, said: str
) -> None:
    with run_raw_server(answer) as url:
        http = replace(behind.http, proxy=SecretValue(url), connect_timeout=timedelta(seconds=0.3))
        azure_devops = SandboxAzureDevOps(behind.vault.sandbox)
        service = azure_devops.make_service(http=http)
        with pytest.raises(TransientError) as caught:
            service.revoke(ACCOUNT, "contoso", "00000001-1111-4222-8333-444444444444", permit=unclaimed)
        service.close()
        azure_devops.service.close()
    address = behind.vault.sandbox.addresses.azure_devops_url
    assert said.format(address.rpartition(":")[2]) in caught.value.message
    assert (caught.value.code, "http.proxy" in caught.value.fix) == ("proxy_refused", True)


# User-assigned identities.


@pytest.mark.parametrize("kind", ["managed_identity", "default"])
@pytest.mark.parametrize(
    ("setting", "variable", "asked"),
    [(IDENTITY, None, IDENTITY), (None, IDENTITY, IDENTITY), (IDENTITY, CLIENT_ID, IDENTITY), (None, None, None)],
)
def test_managed_identity_is_the_one_that_settings_or_environment_name(
    behind: Behind,
    monkeypatch: pytest.MonkeyPatch,
    kind: CredentialKind,
    setting: str | None,
    variable: str | None,
    asked: str | None,
) -> None:
    world = behind.vault.world
    token = world.issue_access_token(world.users[USER_ID], "key_vault", CLIENT_ID)
    with run_identity_service(token.value) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        if variable is not None:
            monkeypatch.setenv("AZURE_CLIENT_ID", variable)
        credential = make_credential(
            kind,
            authority=behind.vault.sandbox.addresses.entra_url,
            instance_discovery=False,
            http=behind.http,
            stop=make_stop(behind.vault.clock),
            client_id=setting,
        )
        store = behind.vault.make_store(credential=credential)
        assert store.fetch_latest(behind.vault.location) is None
        store.close()
    assert set(service.asked) == {asked}
    assert behind.proxy.targets == [], "this host's identity is never asked through a proxy"


# The whole command.


@pytest.mark.parametrize(("no_proxy", "warned"), [("[]", True), ("['*']", False)])
def test_command_warns_once_when_a_proxy_of_the_environment_is_not_used(
    behind: Behind, tmp_path: Path, no_proxy: str, warned: bool
) -> None:
    settings = tmp_path / "sandbox" / "rotator.yaml"
    settings.write_text(settings.read_text().replace("http:\n", f"http:\n  no_proxy: {no_proxy}\n"))
    environment = {"HTTPS_PROXY": "http://u:pw-canary@127.0.0.1:9", "ROTATOR_CONFIG": str(settings)}
    for arguments in (["db", "upgrade"], ["scan"]):
        command = [sys.executable, "-m", "rotator", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.count("HTTPS_PROXY") == warned
    assert "pw-canary" not in done.stderr + done.stdout
