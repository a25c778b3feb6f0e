"""The sandbox on the wire: TLS, each fault as a client meets it, a quick and quiet end."""

from __future__ import annotations

import gc
import json
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import requests
import yaml

from rotator.sandbox import seeds
from rotator.sandbox.running import Sandbox, run_sandbox

VERSION = {"api-version": "7.1-preview.1"}
WISH = {"displayName": "x", "scope": "vso.code", "validTo": "2099-01-01T00:00:00Z", "allOrgs": False}


class Client:
    """Requests to the PAT resource of a sandbox, with a good bearer."""

    def __init__(self, sandbox: Sandbox, session: requests.Session) -> None:
        user = sandbox.world.users[seeds.USER_ID]
        token = sandbox.world.issue_access_token(user, "azure_devops", seeds.CLIENT_ID)
        self.sandbox, self.session, self.bearer = sandbox, session, token.value
        self.root = sandbox.addresses.azure_devops_url

    def send(self, method: str = "GET", timeout: float = 10, body: object = None) -> requests.Response:
        """One request."""
        return self.session.request(
            method,
            f"{self.root}/contoso/_apis/tokens/pats",
            params=VERSION,
            headers={"Authorization": f"Bearer {self.bearer}"},
            json=body,
            timeout=timeout,
            allow_redirects=False,
        )

    def plant(self, kind: str, method: str | None = None, **fields: object) -> None:
        """A fault at Azure DevOps, by control call."""
        document = {"service": "azure_devops", "kind": kind, "method": method, **fields}
        answer = self.session.post(f"{self.root}/_sandbox/faults", json=document, timeout=10)
        assert answer.status_code == 200

    def names(self) -> list[str]:
        """Display names of all PATs in the world."""
        return [pat.display_name for pat in self.sandbox.world.pats.values()]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client of a sandbox without demo PATs."""
    with Sandbox(tmp_path, seed_demo=False) as sandbox, requests.Session() as session:
        session.trust_env = False
        session.verify = str(sandbox.addresses.ca_path)
        yield Client(sandbox, session)


def test_certificate_satisfies_a_strict_verifier_when_named_by_address_or_name(client: Client) -> None:
    context = ssl.create_default_context(cafile=client.sandbox.addresses.ca_path)
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    port = int(client.root.rpartition(":")[2])
    for name in ("127.0.0.1", "localhost"):
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        with context.wrap_socket(plain, server_hostname=name) as connection:
            assert connection.version() == "TLSv1.3"


def test_reply_is_lost_and_nothing_done_when_lost_before(client: Client) -> None:
    client.plant("lost_before", "POST")
    with pytest.raises(requests.ConnectionError):
        client.send("POST", body=WISH)
    assert client.names() == []
    assert client.send("POST", body=WISH).status_code == 200


def test_reply_is_lost_but_the_effect_done_when_lost_after(client: Client) -> None:
    client.plant("lost_after", "POST")
    with pytest.raises(requests.ConnectionError):
        client.send("POST", body=WISH)
    assert client.names() == ["x"]


def test_effect_lands_later_when_late(client: Client) -> None:
    client.plant("late", "POST", after_requests=2)
    with pytest.raises(requests.ConnectionError):
        client.send("POST", body=WISH)
    assert client.names() == []
    assert client.send().json()["patTokens"] == []
    assert client.send().json()["patTokens"] == []
    assert client.names() == ["x"]


def test_effect_lands_on_demand_when_late_without_a_count(client: Client) -> None:
    client.plant("late", "POST")
    with pytest.raises(requests.ConnectionError):
        client.send("POST", body=WISH)
    assert client.session.post(f"{client.root}/_sandbox/late", timeout=10).json() == {"applied": 1}
    assert client.names() == ["x"]


@pytest.mark.parametrize(("effect", "names"), [(True, ["x"]), (False, [])])
def test_status_answers_for_the_service_when_planted(client: Client, effect: bool, names: list[str]) -> None:
    client.plant("status", "POST", status=503, headers={"Retry-After": "7"}, body={"a": 1}, effect=effect)
    answer = client.send("POST", body=WISH)
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()) == (503, "7", {"a": 1})
    assert client.names() == names


def send_until_released(client: Client) -> list[requests.Response]:
    """Send a request that the sandbox holds back until it is told to go on, and return its answer, if it has one."""
    answers: list[requests.Response] = []

    def send() -> None:
        with suppress(requests.ConnectionError):
            answers.append(client.send())

    thread = threading.Thread(target=send)
    thread.start()
    # A release frees only those that hang already, so it is repeated until the request has arrived.
    with requests.Session() as other:
        other.verify = client.session.verify
        while thread.is_alive():
            other.post(f"{client.root}/_sandbox/release", timeout=10)
            thread.join(0.01)
    return answers


def test_latency_delays_the_answer_when_planted(client: Client) -> None:
    client.plant("latency", seconds=3600, times=2)
    with pytest.raises(requests.ReadTimeout):
        client.send(timeout=0.2)
    assert [answer.status_code for answer in send_until_released(client)] == [200]


def test_body_is_cut_when_truncated_and_broken_when_malformed(client: Client) -> None:
    client.plant("truncated")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        client.send()
    client.plant("malformed")
    answer = client.send()
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)


@pytest.mark.parametrize("status", [203, 302])
def test_sign_in_page_comes_when_html_is_planted(client: Client, status: int) -> None:
    client.plant("html", status=status)
    answer = client.send()
    assert answer.status_code == status
    assert "Sign In" in answer.text


def test_rate_headers_come_on_429_and_on_200_when_planted(client: Client) -> None:
    client.plant("rate_limited", seconds=9)
    blocked = client.send()
    assert blocked.status_code == 429
    assert blocked.json()["message"].startswith("TF400733")
    client.plant("retry_after", seconds=4)
    slowed = client.send()
    assert (slowed.status_code, slowed.json()) == (200, {"continuationToken": "", "patTokens": []})
    assert [answer.headers["Retry-After"] for answer in (blocked, slowed)] == ["9", "4"]
    for name in ("Resource", "Delay", "Limit", "Remaining", "Reset"):
        assert f"X-RateLimit-{name}" in blocked.headers
        assert f"X-RateLimit-{name}" in slowed.headers


def test_connection_data_is_anonymous_when_planted(client: Client) -> None:
    client.plant("anonymous", path="connectionData")
    url = f"{client.root}/contoso/_apis/connectionData"
    answer = client.session.get(url, auth=("", "x" * 84), timeout=10)
    assert answer.status_code == 200
    assert answer.json()["authenticatedUser"]["providerDisplayName"] == "Anonymous"


def test_request_hangs_until_released_when_planted(client: Client) -> None:
    client.plant("hang", "POST", effect=True)
    with pytest.raises(requests.ReadTimeout):
        client.send("POST", timeout=0.2, body=WISH)
    assert client.names() == ["x"]
    client.plant("hang")
    assert send_until_released(client) == []


def test_stop_ends_every_thread_quietly_when_requests_hang_and_clients_vanish(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = set(threading.enumerate())
    with Sandbox(tmp_path) as sandbox, requests.Session() as session:
        session.verify = str(sandbox.addresses.ca_path)
        client = Client(sandbox, session)
        client.send()
        with pytest.raises(requests.exceptions.SSLError), requests.Session() as stranger:
            stranger.get(client.root, timeout=10)
        client.plant("hang", times=2)
        for _ in range(2):
            with pytest.raises(requests.ReadTimeout):
                client.send(timeout=0.1)
        sandbox.stop()
        assert set(threading.enumerate()) == before  # those that it waits for in vain would still be there
        with pytest.raises(requests.ConnectionError):
            client.send()
    gc.collect()  # an unclosed socket would warn here, and warnings are errors
    assert capfd.readouterr() == ("", "")


def test_record_holds_every_request_and_no_control_call_when_asked(client: Client) -> None:
    client.send("POST", body=WISH)
    client.plant("lost_before")
    with pytest.raises(requests.ConnectionError):
        client.send()
    shown = client.session.get(f"{client.root}/_sandbox/requests", timeout=10)
    entries = shown.json()["requests"]
    assert [(entry["method"], entry["status"], entry["fault"]) for entry in entries] == [
        ("POST", 200, None),
        ("GET", None, "lost_before"),
    ]
    assert {entry["auth"] for entry in entries} == {"Bearer"}
    assert client.bearer not in shown.text
    recorded = client.sandbox.world.record.all(service="azure_devops", method="POST")[0]
    assert recorded.headers["authorization"] == f"Bearer {client.bearer}"
    assert json.loads(recorded.body) == WISH


def test_control_changes_the_world_when_told(client: Client) -> None:
    root = f"{client.root}/_sandbox"
    before = client.sandbox.world.clock.now()
    assert client.session.post(f"{root}/clock", json={"advance_seconds": 3600}, timeout=10).status_code == 200
    assert client.sandbox.world.clock.now() - before >= timedelta(hours=1)
    settings = {
        "organizations": {"contoso": {"max_lifetime": 86400, "creation_scopes": ["vso.packaging"]}},
        "vaults": {"contoso-kv": {"denied_operations": ["set"]}},
        "users": {seeds.OTHER_USERNAME: {"enabled": False}},
        "key_vault": {"retry_after_seconds": 2},
    }
    assert client.session.post(f"{root}/world", json=settings, timeout=10).status_code == 200
    world = client.sandbox.world
    assert world.organizations["contoso"].max_lifetime == timedelta(days=1)
    assert world.organizations["contoso"].creation_scopes == ("vso.packaging",)
    assert world.vaults["contoso-kv"].denied_operations == {"set"}
    assert not world.users[seeds.OTHER_USER_ID].enabled
    assert client.sandbox.key_vault.state.retry_after_seconds == 2


def test_control_creates_and_revokes_pats_when_told(client: Client) -> None:
    root = f"{client.root}/_sandbox"
    wish = {
        "username": seeds.USERNAME,
        "display_name": "y",
        "scope": "vso.code",
        "organizations": ["contoso"],
    }
    made = client.session.post(f"{root}/pats", json=wish, timeout=10).json()
    url = f"{client.root}/contoso/_apis/connectionData"
    assert client.session.get(url, auth=("", made["value"]), timeout=10).status_code == 200
    client.session.post(f"{root}/pats/{made['authorization_id']}/revoke", timeout=10)
    assert client.session.get(url, auth=("", made["value"]), timeout=10).status_code == 401
    shown = client.session.get(f"{root}/world", timeout=10)
    assert [pat["status"] for pat in shown.json()["pats"]] == ["revoked"]
    assert made["value"] not in shown.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", {"service": "entra", "kind": "boom"}),
        ("faults", []),
        ("clock", {"advance_seconds": -1}),
        ("clock", {}),
        ("world", {"organizations": {"nobody": {"members": []}}}),
        ("world", {"organizations": {"contoso": {"id": "x"}}}),
        ("world", {"organizations": {"contoso": {"max_lifetime": 1}}, "weather": "rain"}),
        ("pats", {"username": "nobody"}),
    ],
)
def test_control_refuses_and_changes_nothing_when_call_is_malformed(client: Client, path: str, body: object) -> None:
    answer = client.session.post(f"{client.root}/_sandbox/{path}", json=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert client.sandbox.world.faults.pending() == 0
    assert client.sandbox.world.organizations["contoso"].max_lifetime is None


def test_run_sandbox_writes_what_a_client_needs_when_ready(tmp_path: Path) -> None:
    stop, ready = threading.Event(), threading.Event()
    addresses: dict[str, object] = {}

    def note(document: dict[str, object]) -> None:
        addresses.update(document)
        ready.set()

    thread = threading.Thread(target=run_sandbox, args=(tmp_path / "new", note, stop))
    thread.start()
    try:
        assert ready.wait(10)
        settings = yaml.safe_load(Path(str(addresses["config_path"])).read_text())
        policy = yaml.safe_load(Path(str(addresses["policy_path"])).read_text())
        assert settings["entra"]["authority"] == addresses["entra_url"]
        assert settings["azure_devops"]["identity_url"] == addresses["azure_devops_url"]
        assert policy["defaults"]["vault"] == addresses["key_vault_url"]
        assert policy["defaults"]["secret_name"] == "{organization}-{name}"
        for private in ("token-cache.key", "server.pem"):
            assert stat.S_IMODE((tmp_path / "new" / private).stat().st_mode) == 0o600
        json.dumps(addresses)
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def test_vaults_have_an_address_each_when_a_second_is_started(client: Client) -> None:
    url = client.sandbox.start_vault("second-kv")
    world = client.sandbox.world
    assert world.vault_at(url).name == "second-kv"
    assert world.vault_at(client.sandbox.addresses.key_vault_url).name == seeds.VAULT
