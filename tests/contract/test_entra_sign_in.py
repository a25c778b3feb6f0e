"""The sign-ins against the sandbox's Entra, through the real MSAL, with requests as the person."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from rotator.adapters.bearer import AZURE_DEVOPS_SCOPE, VAULT_SCOPES
from rotator.adapters.entra.credential import AccountCredential
from rotator.adapters.entra.entra_account import EntraAccount
from rotator.adapters.entra.file_lock import FileLock
from rotator.adapters.entra.sign_in import EntraSignIn
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.stop import ProcessStop
from rotator.domain.secret_value import SecretValue
from rotator.errors import (
    ConfigError,
    DeniedError,
    RotatorError,
    SignInRequiredError,
    StoppedError,
    TransientError,
    UsageError,
)
from rotator.ports.sign_in import DevicePrompt, SignInStatus
from rotator.sandbox.faults import Fault
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, CLIENT_ID, OTHER_USERNAME, TENANT_ID, USERNAME
from tests.support.signing_in import Stage, spell_out
from tests.support.stop import StoppingFaults, make_stop_in_wait

KEY_VAULT_SCOPE = "https://vault.azure.net/.default"
ROOT = Path(__file__).parents[2]
SECRET = "an-app-secret~0123456789"
LONG = timedelta(seconds=20)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Sandbox(tmp_path / "sandbox", seed_demo=False) as sandbox:
        stage = Stage(sandbox, tmp_path)
        yield stage
        stage.close()


def make_certificate() -> tuple[str, str]:
    """A private key with its certificate, and the certificate alone, in PEM."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rotator")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode() + pem, pem


def make_client(stage: Stage, kind: str, tenant: str) -> EntraAccount:
    """An account whose app registration is public, or confidential with a secret or a certificate."""
    known = stage.make_account(tenant=tenant)
    if kind == "secret":
        stage.configure_app(public=False, secret=SECRET)
        return replace(known, client_secret=lambda: SecretValue(SECRET))
    if kind == "certificate":
        bundle, certificate = make_certificate()
        stage.configure_app(public=False, certificate=certificate)
        return replace(known, client_certificate=lambda: SecretValue(bundle))
    return known


def sign_in_by(way: str, stage: Stage, username: str = USERNAME, sign_in: EntraSignIn | None = None) -> SignInStatus:
    """Sign in to the account by `device code` or `browser`."""
    sign_in = sign_in or stage.sign_in
    if way == "browser":
        return sign_in.login_with_browser(ACCOUNT, stage.browse(username), LONG)
    return sign_in.login_with_device_code(ACCOUNT, stage.approve(username))


# ---- signing in


@pytest.mark.parametrize("way", ["device code", "browser"])
@pytest.mark.parametrize("tenant", [TENANT_ID, "organizations", "contoso.com"])
@pytest.mark.parametrize("kind", ["public", "secret", "certificate"])
def test_login_signs_in_and_refreshes_when_approved(stage: Stage, kind: str, tenant: str, way: str) -> None:
    stage.configure_app(multi_tenant=True)
    sign_in = stage.make_sign_in(make_client(stage, kind, tenant))
    status = sign_in_by(way, stage, sign_in=sign_in)
    assert status.username == USERNAME
    assert status.access_expires_at is not None
    stage.world.record.clear()
    first = sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    assert stage.world.record.all() == [], "the token of the sign-in itself is used"
    assert stage.world.access_tokens[first.value.reveal()].resource == "azure_devops"
    vault = sign_in.fetch_bearer(ACCOUNT, KEY_VAULT_SCOPE)
    assert stage.world.access_tokens[vault.value.reveal()].resource == "key_vault"
    stage.world.clock.advance(timedelta(minutes=56))
    second = sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    assert stage.world.access_tokens[second.value.reveal()].username == USERNAME
    assert not second.value.same_as(first.value)
    assert len(stage.token_calls("refresh_token")) == 2


def test_login_with_browser_uses_pkce_and_state_when_it_starts(stage: Stage) -> None:
    seen: list[str] = []

    def open_url(url: str) -> None:
        seen.append(url)
        stage.browse()(url)

    stage.sign_in.login_with_browser(ACCOUNT, open_url, LONG)
    query = parse_qs(urlsplit(seen[0]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["login_hint"] == [USERNAME]
    assert len(query["state"][0]) > 30
    assert query["redirect_uri"][0].startswith("http://localhost:")
    assert b"code_verifier=" in stage.token_calls("authorization_code")[0].body


def test_login_with_browser_ignores_what_is_not_its_answer_when_the_browser_wanders(stage: Stage) -> None:
    refused: list[int] = []

    def open_url(url: str) -> None:
        here = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        refused.append(stage.person.get(f"{here}/favicon.ico").status_code)
        refused.append(stage.person.get(here, params={"code": "stolen", "state": "guessed"}).status_code)
        refused.append(stage.person.post(here, data={"code": "stolen"}).status_code)
        refused.append(stage.person.post(here, data="x" * 70_000).status_code)
        refused.append(stage.person.get(f"{here}/elsewhere", params={"error": "<script>"}).status_code)
        stage.browse()(url)

    assert stage.sign_in.login_with_browser(ACCOUNT, open_url, LONG).username == USERNAME
    assert refused == [400] * 5


def test_login_with_browser_takes_the_answer_by_get_when_redirected(stage: Stage) -> None:
    pages: list[requests.Response] = []

    def open_url(url: str) -> None:
        asked = parse_qs(urlsplit(url).query)
        form = {name: values[0] for name, values in asked.items() if name != "response_mode"}
        form |= {"username": USERNAME, "action": "approve"}
        pages.append(stage.person.post(url.partition("?")[0], data=form))

    assert stage.sign_in.login_with_browser(ACCOUNT, open_url, LONG).username == USERNAME
    assert pages[0].status_code == 200
    assert "terminal" in pages[0].text


def test_login_with_browser_gives_up_when_nobody_comes(stage: Stage) -> None:
    with pytest.raises(SignInRequiredError) as refused:
        stage.sign_in.login_with_browser(ACCOUNT, lambda _: None, timedelta(milliseconds=50))
    assert refused.value.code == "browser_timeout"
    assert f"rotator login {ACCOUNT}" in refused.value.fix


def test_login_with_browser_says_so_when_the_human_refuses(stage: Stage) -> None:
    with pytest.raises(SignInRequiredError) as refused:
        stage.sign_in.login_with_browser(ACCOUNT, stage.browse(action="deny"), LONG)
    assert refused.value.code == "sign_in_declined"


def test_login_with_device_code_shows_all_that_a_person_needs_when_it_starts(stage: Stage) -> None:
    prompts: list[DevicePrompt] = []

    def show(prompt: DevicePrompt) -> None:
        prompts.append(prompt)
        stage.approve()(prompt)

    stage.sign_in.login_with_device_code(ACCOUNT, show)
    assert prompts[0].verification_uri.startswith(stage.sandbox.addresses.entra_url)
    assert prompts[0].user_code in prompts[0].message
    assert timedelta(minutes=14) < prompts[0].expires_at - stage.clock.now() <= timedelta(minutes=15)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("entra", "status", status=503, path="/token", times=2),
        Fault("entra", "lost_before", path="/token"),
        Fault("entra", "html", path="/token"),
        Fault("entra", "rate_limited", path="/token", seconds=7),
    ],
    ids=lambda fault: fault.kind,
)
def test_login_with_device_code_goes_on_with_the_same_code_when_a_poll_fails(stage: Stage, fault: Fault) -> None:
    stage.world.faults.add(fault)
    prompts: list[DevicePrompt] = []

    def show(prompt: DevicePrompt) -> None:
        prompts.append(prompt)
        stage.approve()(prompt)

    assert stage.sign_in.login_with_device_code(ACCOUNT, show).username == USERNAME
    assert len(prompts) == 1
    assert stage.world.faults.pending() == 0


def test_login_with_device_code_waits_when_the_person_is_slow(stage: Stage) -> None:
    prompts: list[DevicePrompt] = []
    person = threading.Thread(target=lambda: stage.approve()(prompts[0]))

    def show(prompt: DevicePrompt) -> None:
        prompts.append(prompt)
        stage.world.faults.add(Fault("entra", "latency", path="/token", seconds=0.05, times=None))
        person.start()

    assert stage.sign_in.login_with_device_code(ACCOUNT, show).username == USERNAME
    person.join()


def test_login_with_device_code_gives_up_when_entra_stays_away(stage: Stage) -> None:
    stage.world.faults.add(Fault("entra", "status", status=503, path="/token", times=None))
    with pytest.raises(TransientError) as failed:
        stage.login()
    assert failed.value.code == "entra_busy"
    assert 2 < len(stage.token_calls()) < 20


@pytest.mark.parametrize(
    ("show", "code"), [("nobody", "device_code_expired"), ("deny", "sign_in_declined")], ids=["nobody", "deny"]
)
def test_login_with_device_code_says_so_when_not_approved(stage: Stage, show: str, code: str) -> None:
    decide: Callable[[DevicePrompt], None] = (lambda _: None) if show == "nobody" else stage.approve(action="deny")
    with pytest.raises(SignInRequiredError) as refused:
        stage.sign_in.login_with_device_code(ACCOUNT, decide)
    assert refused.value.code == code
    assert f"rotator login {ACCOUNT}" in refused.value.fix


def test_login_with_device_code_polls_no_more_when_the_stop_comes_in_the_pause(stage: Stage) -> None:
    sign_in = stage.make_sign_in(stop=make_stop_in_wait())
    with pytest.raises(StoppedError):
        sign_in.login_with_device_code(ACCOUNT, stage.approve())
    assert stage.token_calls() == []


def test_refresh_asks_nobody_when_stopped(stage: Stage) -> None:
    stage.login()
    stage.world.clock.advance(timedelta(hours=2))
    stop = ProcessStop()
    sign_in, before = stage.make_sign_in(stop=stop), len(stage.token_calls())
    stop.set()
    with pytest.raises(StoppedError):
        sign_in.refresh(ACCOUNT)
    assert len(stage.token_calls()) == before


@pytest.mark.parametrize("is_finishing", [False, True])
def test_refresh_sends_no_token_after_the_stop_unless_a_value_exists_only_in_memory(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, is_finishing: bool
) -> None:
    """The stop comes while Entra is asked for its addresses, which is the first of two requests."""
    stage.login()
    stage.world.clock.advance(timedelta(hours=2))
    stop, before = ProcessStop(), len(stage.token_calls())
    monkeypatch.setattr(stage.world, "faults", StoppingFaults(stop))
    stage.world.faults.add(Fault("entra", "latency", path="openid-configuration"))
    sign_in = stage.make_sign_in(stop=stop)

    with stop.finishing(timedelta(minutes=1)) if is_finishing else pytest.raises(StoppedError):
        sign_in.refresh(ACCOUNT)

    assert stop.is_set
    assert len(stage.token_calls()) == before + is_finishing


@pytest.mark.parametrize("way", ["device code", "browser"])
def test_login_keeps_nothing_when_another_user_signs_in(stage: Stage, way: str) -> None:
    with pytest.raises(SignInRequiredError) as refused:
        sign_in_by(way, stage, OTHER_USERNAME)
    assert refused.value.code == "wrong_user"
    assert OTHER_USERNAME in refused.value.message
    assert USERNAME in refused.value.message
    assert f"rotator login {ACCOUNT}" in refused.value.fix
    assert not stage.cache_path.exists()


def test_login_refuses_when_the_token_is_an_applications_own(stage: Stage) -> None:
    answer = {"token_type": "Bearer", "expires_in": 3599, "access_token": "app-only-CANARY"}
    stage.world.faults.add(Fault("entra", "status", status=200, body=answer, path="/token"))
    with pytest.raises(SignInRequiredError) as refused:
        stage.login()
    assert refused.value.code == "service_principal"
    assert "service principals" in refused.value.message
    assert "CANARY" not in spell_out(refused.value)
    assert not stage.cache_path.exists()


def test_login_leaves_the_other_users_account_alone_when_that_user_signs_in_by_mistake(stage: Stage) -> None:
    other = stage.make_account("other", OTHER_USERNAME)
    sign_in = stage.make_sign_in(stage.make_account(), other)
    stage.login("other", OTHER_USERNAME, sign_in)
    before = sign_in.fetch_bearer("other", AZURE_DEVOPS_SCOPE)
    with pytest.raises(SignInRequiredError):
        stage.login(ACCOUNT, OTHER_USERNAME, sign_in)
    assert sign_in.status(ACCOUNT).username is None
    assert sign_in.fetch_bearer("other", AZURE_DEVOPS_SCOPE).value.same_as(before.value)
    assert stage.login(ACCOUNT, USERNAME, sign_in).username == USERNAME
    assert sign_in.logout(ACCOUNT) is True
    assert sign_in.status("other").username == OTHER_USERNAME


def test_login_accepts_the_user_when_the_settings_spell_the_name_in_another_case(stage: Stage) -> None:
    sign_in = stage.make_sign_in(stage.make_account(username=USERNAME.upper()))
    assert stage.login(sign_in=sign_in).username == USERNAME.upper()
    assert sign_in.refresh(ACCOUNT).access_expires_at is not None


# ---- staying signed in


def test_refresh_makes_no_call_when_five_minutes_are_left(stage: Stage) -> None:
    stage.login()
    stage.world.clock.advance(timedelta(minutes=54, seconds=50))
    stage.world.record.clear()
    stage.sign_in.refresh(ACCOUNT)
    assert stage.world.record.all() == []
    stage.world.clock.advance(timedelta(seconds=15))
    status = stage.sign_in.refresh(ACCOUNT)
    assert len(stage.token_calls("refresh_token")) == 1
    assert status.access_expires_at is not None
    assert status.access_expires_at - stage.clock.now() > timedelta(minutes=59)
    assert status.refreshed_at is not None
    assert abs(status.refreshed_at - stage.clock.now()) < timedelta(seconds=30)


def test_refresh_lasts_when_used_weekly_for_a_year(stage: Stage) -> None:
    stage.login()
    for _ in range(52):
        stage.world.clock.advance(timedelta(days=7))
        assert stage.make_sign_in().refresh(ACCOUNT).username == USERNAME


def test_refresh_asks_once_when_twenty_threads_need_a_token(stage: Stage) -> None:
    stage.login()
    stage.world.clock.advance(timedelta(hours=2))
    stage.world.record.clear()
    with ThreadPoolExecutor(20) as pool:
        bearers = list(pool.map(lambda _: stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE), range(20)))
    assert len(stage.token_calls()) == 1
    assert len({bearer.value.reveal() for bearer in bearers}) == 1


REFRESH = """
import sys
from pathlib import Path
from rotator.adapters.clock import SystemClock
from rotator.adapters.entra.entra_account import EntraAccount
from rotator.adapters.entra.sign_in import EntraSignIn
from rotator.adapters.entra.file_store import FileTokenCacheStore
from rotator.adapters.entra.token_cache import EncryptedTokenCache
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.stop import ProcessStop
from rotator.domain.account import Account
from rotator.domain.secret_value import SecretValue
path, key, url, ca, name, username, tenant, client_id = sys.argv[1:]
cache = EncryptedTokenCache(FileTokenCacheStore(Path(path)), SecretValue(key))
known = EntraAccount(Account(name, username, tenant, ()), client_id)
http = HttpOptions(ca_bundle=Path(ca))
sign_in = EntraSignIn([known], url, False, lambda _: cache, http, SystemClock(), ProcessStop())
print("ready", flush=True)
sys.stdin.readline()
assert sign_in.refresh(name).username == username
"""


def test_refresh_asks_once_when_four_processes_need_a_token(stage: Stage) -> None:
    stage.configure(access_token_lifetime_seconds=60)
    stage.login()
    stage.configure(access_token_lifetime_seconds=3599)
    addresses = stage.sandbox.addresses
    arguments = [str(stage.cache_path), stage.key, addresses.entra_url, str(addresses.ca_path)]
    command = [sys.executable, "-c", REFRESH, *arguments, ACCOUNT, USERNAME, TENANT_ID, CLIENT_ID]
    runs = [
        subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)
    ]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
    stage.world.record.clear()
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.flush()
    for run in runs:
        run.communicate()
    assert [run.returncode for run in runs] == [0] * 4
    assert len(stage.token_calls()) == 1


def test_fetch_bearer_forwards_the_challenge_when_given_claims(stage: Stage) -> None:
    stage.login()
    before = stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    claims = '{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}'
    after = stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE, claims=claims)
    calls = stage.token_calls("refresh_token")
    assert len(calls) == 1
    assert parse_qs(calls[0].body.decode())["claims"] == [claims]
    assert not after.value.same_as(before.value)


def test_refused_token_is_replaced_and_not_again_within_five_minutes(stage: Stage) -> None:
    """A service may refuse every token for a reason of its own."""
    stage.login()
    refused = stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    for minutes, renewed, is_same in ((0, 1, False), (0, 1, True), (3, 1, True), (3, 2, False)):
        stage.world.clock.advance(timedelta(minutes=minutes))
        given = stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE, refused=refused.value)
        assert len(stage.token_calls("refresh_token")) == renewed
        assert given.value.same_as(refused.value) is is_same
        refused = given


def test_ended_sign_in_shows_in_spite_of_a_cached_token_when_it_is_renewed(stage: Stage) -> None:
    """Also when a service refuses that token."""
    stage.login()
    cached = stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    stage.world.clock.advance(timedelta(minutes=1))
    stage.configure_user(revoked=True)
    assert stage.sign_in.refresh(ACCOUNT).username is not None
    for renew in (
        lambda: stage.sign_in.refresh(ACCOUNT, renews=True),
        lambda: stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE, refused=cached.value),
    ):
        with pytest.raises(SignInRequiredError) as failed:
            renew()
        assert failed.value.code == "sign_in_revoked"


def test_refused_sign_in_is_not_asked_for_more_until_a_refresh_succeeds_or_somebody_signs_in(stage: Stage) -> None:
    """As by a probe that reads a vault with the account's own token."""
    stage.login()
    heals: tuple[Callable[[], object], ...] = (lambda: stage.sign_in.refresh(ACCOUNT, renews=True), stage.login)
    for heal in heals:
        stage.configure_user(revoked=True)
        with pytest.raises(SignInRequiredError):
            stage.sign_in.refresh(ACCOUNT, renews=True)
        stage.world.record.clear()
        stage.world.clock.advance(timedelta(minutes=56))
        with pytest.raises(SignInRequiredError) as failed:
            stage.sign_in.fetch_bearer(ACCOUNT, KEY_VAULT_SCOPE)
        assert (failed.value.code, stage.world.record.all()) == ("sign_in_revoked", [])
        stage.configure_user(revoked=False)
        heal()
        stage.sign_in.fetch_bearer(ACCOUNT, KEY_VAULT_SCOPE)


def test_refused_sign_in_is_asked_for_once_when_several_threads_wait_for_each_other(stage: Stage) -> None:
    """As the jobs of a daemon: whoever waited for the lock learns that its holder was refused."""
    stage.login()
    stage.configure_user(revoked=True)
    stage.world.record.clear()
    with ThreadPoolExecutor(4) as pool:
        with stage.sign_in._locks[ACCOUNT]:
            asked = [pool.submit(stage.sign_in.refresh, ACCOUNT, renews=True) for _ in range(4)]
            while count_waiting() < len(asked):
                pass
        refused = [call.exception() for call in asked]
    assert [error.code for error in refused if isinstance(error, SignInRequiredError)] == ["sign_in_revoked"] * 4
    assert len(stage.token_calls()) == 1


def count_waiting() -> int:
    """How many other threads are at the door of the lock."""
    frames = [frame for number, frame in sys._current_frames().items() if number != threading.get_ident()]
    return sum(frame.f_code is FileLock.__enter__.__code__ for frame in frames)


OUTAGES = [
    Fault("entra", "status", status=503, times=None),
    Fault("entra", "lost_before", times=None),
    Fault("entra", "html", times=None),
    Fault("entra", "rate_limited", times=None),
    Fault("entra", "truncated", path="/token", times=None),
    Fault("entra", "malformed", path="/token", times=None),
    Fault("entra", "status", status=200, body=b"[]", path="openid", times=None),
    Fault("entra", "status", status=200, body={"issuer": "somebody"}, path="openid", times=None),
    Fault("entra", "status", status=404, body={"code": "nothing"}, path="openid", times=None),
    Fault("entra", "html", status=302, path="openid", times=None),
]


@pytest.mark.parametrize("fault", OUTAGES, ids=lambda fault: f"{fault.kind}-{fault.path}")
def test_fetch_bearer_uses_the_cached_token_when_entra_fails_and_it_is_still_valid(stage: Stage, fault: Fault) -> None:
    stage.login()
    cached = stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    stage.world.clock.advance(timedelta(minutes=57))
    stage.world.faults.add(fault)
    assert stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE).value.same_as(cached.value)
    assert stage.sign_in.refresh(ACCOUNT).access_expires_at == cached.expires_at
    refreshed = stage.sign_in.refresh(ACCOUNT, renews=True)
    assert (refreshed.access_expires_at, refreshed.is_renewed) == (cached.expires_at, False)
    with pytest.raises(RotatorError):
        stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE, claims="{}")
    stage.world.clock.advance(timedelta(minutes=3))
    with pytest.raises(TransientError) as failed:
        stage.sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    assert "127.0.0.1" in failed.value.message
    assert failed.value.service == "entra"
    assert failed.value.fix
    shown = spell_out(failed.value)
    assert not [secret for secret in stage.secrets() if secret in shown]
    stage.world.faults.clear()
    assert stage.sign_in.refresh(ACCOUNT).username == USERNAME
    assert stage.sign_in.refresh(ACCOUNT, renews=True).is_renewed


def test_fetch_bearer_says_how_long_to_wait_when_entra_throttles(stage: Stage) -> None:
    stage.login()
    stage.world.faults.add(Fault("entra", "rate_limited", path="/token", seconds=11))
    with pytest.raises(TransientError) as failed:
        stage.sign_in.fetch_bearer(ACCOUNT, KEY_VAULT_SCOPE)
    assert (failed.value.status, failed.value.retry_after) == (429, 11.0)


# ---- being refused


def test_refresh_asks_to_sign_in_when_nobody_is(stage: Stage) -> None:
    with pytest.raises(SignInRequiredError) as refused:
        stage.sign_in.refresh(ACCOUNT)
    assert (refused.value.code, refused.value.exit_code) == ("not_signed_in", 10)
    assert refused.value.account == ACCOUNT
    assert f"rotator login {ACCOUNT}" in refused.value.fix
    assert stage.world.record.all() == []


REFUSALS = {
    50076: "mfa_required",
    50079: "mfa_setup_required",
    50078: "mfa_required",
    53003: "conditional_access",
    70043: "sign_in_frequency",
    700082: "sign_in_idle",
    70008: "sign_in_idle",
    50173: "sign_in_revoked",
    50057: "user_disabled",
    65001: "consent_missing",
    987654: "sign_in_expired",
}


@pytest.mark.parametrize(("number", "code"), REFUSALS.items())
def test_refresh_says_who_must_do_what_when_entra_refuses(stage: Stage, number: int, code: str) -> None:
    stage.login()
    stage.world.clock.advance(timedelta(hours=2))
    stage.configure_user(refresh_error=number)
    with pytest.raises(SignInRequiredError) as refused:
        stage.sign_in.refresh(ACCOUNT)
    assert refused.value.code == code
    assert f"AADSTS{number}" in refused.value.message
    assert refused.value.account == ACCOUNT
    assert f"rotator login {ACCOUNT}" in refused.value.fix
    shown = spell_out(refused.value)
    assert not [secret for secret in stage.secrets() if secret in shown]
    # A refusal is not remembered: once the cause is gone, the next attempt works.
    stage.configure_user(refresh_error=None)
    assert stage.sign_in.refresh(ACCOUNT).username == USERNAME


@pytest.mark.parametrize("number", [90006, 90012, 90024, 90033, 90055])
def test_refresh_may_be_repeated_when_entra_is_busy(stage: Stage, number: int) -> None:
    stage.login()
    stage.world.clock.advance(timedelta(hours=2))
    stage.configure_user(refresh_error=number)
    with pytest.raises(TransientError) as failed:
        stage.sign_in.refresh(ACCOUNT)
    assert failed.value.code == "entra_busy"
    assert str(number) in failed.value.message


def test_refresh_tells_what_to_ask_an_admin_when_consent_is_missing(stage: Stage) -> None:
    stage.login()
    stage.configure_app(consented=False)
    for scope, service in ((AZURE_DEVOPS_SCOPE, "Azure DevOps"), (KEY_VAULT_SCOPE, "Azure Key Vault")):
        stage.world.clock.advance(timedelta(hours=2))
        with pytest.raises(SignInRequiredError) as refused:
            stage.sign_in.fetch_bearer(ACCOUNT, scope)
        fix = refused.value.fix
        assert refused.value.code == "consent_missing"
        assert f"delegated {service} permission user_impersonation" in fix
        assert CLIENT_ID in fix
        assert TENANT_ID in fix
        assert f"{stage.sandbox.addresses.entra_url}/{TENANT_ID}/adminconsent?client_id={CLIENT_ID}" in fix


@pytest.mark.parametrize(
    ("settings", "wait", "code"),
    [
        ({}, timedelta(days=91), "sign_in_idle"),
        ({"revoked": True}, timedelta(hours=2), "sign_in_revoked"),
        ({"sign_in_frequency_seconds": 3600}, timedelta(hours=2), "sign_in_frequency"),
        ({"enabled": False}, timedelta(hours=2), "user_disabled"),
        ({"conditional_access_blocked": True}, timedelta(hours=2), "conditional_access"),
        ({"mfa_required": True}, timedelta(hours=2), "mfa_required"),
        ({"mfa_enrollment_required": True}, timedelta(hours=2), "mfa_setup_required"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_refresh_names_the_cause_when_the_tenant_ends_the_sign_in(
    stage: Stage, settings: dict[str, object], wait: timedelta, code: str
) -> None:
    stage.login()
    stage.configure_user(**settings)
    stage.world.clock.advance(wait)
    with pytest.raises(SignInRequiredError) as refused:
        stage.sign_in.refresh(ACCOUNT)
    assert refused.value.code == code


def test_login_offers_the_browser_when_device_codes_are_blocked(stage: Stage) -> None:
    stage.world.tenants[TENANT_ID].device_code_allowed = False
    with pytest.raises(SignInRequiredError) as refused:
        stage.login()
    assert refused.value.code == "device_code_blocked"
    assert f"rotator login {ACCOUNT} --browser" in refused.value.fix
    assert stage.sign_in.login_with_browser(ACCOUNT, stage.browse(), LONG).username == USERNAME


def test_login_offers_the_browser_when_a_second_factor_is_needed(stage: Stage) -> None:
    stage.configure_user(mfa_required=True)
    with pytest.raises(SignInRequiredError) as refused:
        stage.login()
    assert refused.value.code == "mfa_required"
    assert f"rotator login {ACCOUNT} --browser" in refused.value.fix
    assert stage.sign_in.login_with_browser(ACCOUNT, stage.browse(), LONG).username == USERNAME


@pytest.mark.parametrize("way", ["device code", "browser"])
def test_login_tells_what_to_ask_an_admin_when_consent_is_missing(stage: Stage, way: str) -> None:
    stage.configure_app(consented=False)
    with pytest.raises(SignInRequiredError) as refused:
        sign_in_by(way, stage)
    assert refused.value.code == "consent_missing"
    assert "user_impersonation" in refused.value.fix


def test_login_names_the_settings_when_application_or_tenant_is_unknown(stage: Stage) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    for known, code in (
        (stage.make_account(client_id=nobody), "client_unknown"),
        (stage.make_account(tenant=nobody), "tenant_unknown"),
    ):
        with pytest.raises(SignInRequiredError) as refused:
            stage.login(sign_in=stage.make_sign_in(known))
        assert refused.value.code == code
        assert nobody in refused.value.message
        assert "settings" in refused.value.fix


@pytest.mark.parametrize(
    ("app", "secret", "code"),
    [
        ({"public": False, "secret": SECRET, "secret_expired": True}, SECRET, "client_secret_expired"),
        ({"public": False, "secret": SECRET}, "wrong-" + SECRET, "client_invalid"),
        ({"public": False, "secret": SECRET}, None, "client_credential_missing"),
        ({"public": True}, SECRET, "client_credential_unwanted"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_login_names_the_credential_when_the_application_cannot_prove_itself(
    stage: Stage, app: dict[str, object], secret: str | None, code: str
) -> None:
    stage.configure_app(**app)
    known = stage.make_account()
    if secret is not None:
        known = replace(known, client_secret=lambda: SecretValue(secret))
    with pytest.raises(SignInRequiredError) as refused:
        stage.login(sign_in=stage.make_sign_in(known))
    assert refused.value.code == code
    assert CLIENT_ID in refused.value.message
    assert SECRET not in spell_out(refused.value)


def break_certificate(label: str) -> str:
    """A private key with its certificate, one of them with its middle missing, as when it was pasted."""
    head, begin, rest = make_certificate()[0].partition(f"-----BEGIN {label}-----\n")
    return f"{head}{begin}{rest[65:]}"


def make_elliptic_key() -> str:
    """A key of a kind that Entra takes no assertion of, with some certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return pem.decode() + make_certificate()[1]


@pytest.mark.parametrize(
    "pem", [break_certificate("PRIVATE KEY"), break_certificate("CERTIFICATE"), make_elliptic_key()]
)
def test_login_names_the_certificate_when_it_cannot_be_used(stage: Stage, pem: str) -> None:
    known = replace(stage.make_account(), client_certificate=lambda: SecretValue(pem))
    with pytest.raises(ConfigError, match="client_certificate cannot be used") as refused:
        stage.login(sign_in=stage.make_sign_in(known))
    assert pem.splitlines()[3] not in spell_out(refused.value)


@pytest.mark.parametrize("pem", ["", "no pem", make_certificate()[1]])
def test_login_names_the_certificate_when_it_is_incomplete(stage: Stage, pem: str) -> None:
    known = replace(stage.make_account(), client_certificate=lambda: SecretValue(pem))
    with pytest.raises(ConfigError, match="client_certificate"):
        stage.login(sign_in=stage.make_sign_in(known))


def test_refresh_says_why_when_the_token_cache_was_damaged(stage: Stage) -> None:
    stage.login()
    stage.sign_in.fetch_bearer(ACCOUNT, KEY_VAULT_SCOPE)
    previous = stage.cache_path.with_name(stage.cache_path.name + ".previous")
    stage.cache_path.write_bytes(b"")
    assert stage.make_sign_in().refresh(ACCOUNT).username == USERNAME
    assert stage.events == ["token_cache_recovered"]
    previous.write_bytes(b"rubbish")
    stage.cache_path.write_bytes(b"rubbish")
    sign_in = stage.make_sign_in()
    with pytest.raises(SignInRequiredError) as refused:
        sign_in.refresh(ACCOUNT)
    assert refused.value.code == "not_signed_in"
    assert str(stage.cache_path) in refused.value.message
    assert f"rotator login {ACCOUNT}" in refused.value.fix
    damage = sign_in.find_damage()
    assert damage is not None
    assert (damage.path, damage.reason in refused.value.message) == (str(stage.cache_path), True)
    fresh = stage.make_sign_in()
    assert stage.login(sign_in=fresh).username == USERNAME
    assert fresh.find_damage() is None


def test_tokens_that_cannot_be_saved_are_used_from_memory_and_saved_later(stage: Stage) -> None:
    """The disk is full for a while: Entra is not asked for the same again, and a process that begins then goes on."""
    stage.login()
    in_the_way = stage.cache_path.with_name(f"{stage.cache_path.name}.previous.new")
    in_the_way.mkdir()
    stage.world.clock.advance(timedelta(hours=2))
    sign_in = stage.make_sign_in()
    first = sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    stage.world.record.clear()
    assert sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE).value.same_as(first.value)
    assert stage.world.record.all("entra") == []
    unsaved = sign_in.find_unsaved()
    assert unsaved is not None
    assert (unsaved.path, unsaved.reason) == (str(stage.cache_path), "Is a directory")
    assert stage.events == ["token_cache_unsaved"]
    other = sign_in.fetch_bearer(ACCOUNT, KEY_VAULT_SCOPE)
    in_the_way.rmdir()
    sign_in.refresh(ACCOUNT, renews=True)
    assert (sign_in.find_unsaved(), stage.events) == (None, ["token_cache_unsaved", "token_cache_saved"])
    assert stage.make_sign_in().fetch_bearer(ACCOUNT, KEY_VAULT_SCOPE).value.same_as(other.value)


def test_refresh_writes_the_token_cache_once(stage: Stage) -> None:
    """Whatever moment a process is killed at, the access token and the refresh token that are kept came together."""
    stage.login()
    before = read_cache(stage, "")
    stage.world.clock.advance(timedelta(hours=2))
    stage.sign_in.refresh(ACCOUNT)
    assert read_cache(stage, ".previous") == before
    assert read_cache(stage, "")["RefreshToken"] != before["RefreshToken"]


def read_cache(stage: Stage, end: str) -> dict[str, dict[str, object]]:
    """Decrypt the file whose name ends so."""
    path = stage.cache_path.with_name(f"{stage.cache_path.name}{end}")
    content: dict[str, dict[str, object]] = json.loads(Fernet(stage.key).decrypt(path.read_bytes()))
    return content


def test_tokens_in_memory_give_way_when_a_person_signs_in_or_out_elsewhere(stage: Stage) -> None:
    stage.login()
    in_the_way = stage.cache_path.with_name(f"{stage.cache_path.name}.previous.new")
    in_the_way.mkdir()
    stage.world.clock.advance(timedelta(hours=2))
    sign_in = stage.make_sign_in()
    kept = sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    in_the_way.rmdir()
    stage.world.clock.advance(timedelta(minutes=1))
    stage.login(sign_in=stage.make_sign_in())
    newer = sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    assert not newer.value.same_as(kept.value)
    assert stage.make_sign_in().logout(ACCOUNT)
    with pytest.raises(SignInRequiredError):
        sign_in.fetch_bearer(ACCOUNT, AZURE_DEVOPS_SCOPE)
    in_the_way.mkdir()
    with pytest.raises(RotatorError, match="cannot be written"):
        stage.login(sign_in=stage.make_sign_in())
    in_the_way.rmdir()


# ---- not reaching Entra


def test_refresh_names_host_and_setting_when_the_certificate_is_not_trusted(stage: Stage) -> None:
    stage.login()
    stage.world.clock.advance(timedelta(hours=2))
    with pytest.raises(TransientError) as failed:
        stage.make_sign_in(http=HttpOptions()).refresh(ACCOUNT)
    assert failed.value.code == "tls_untrusted"
    assert "127.0.0.1" in failed.value.message
    assert "http.ca_bundle" in failed.value.fix


def test_refresh_names_host_and_setting_when_the_connection_is_refused(stage: Stage) -> None:
    stage.login()
    stage.world.clock.advance(timedelta(hours=2))
    stage.sandbox.stop()
    with pytest.raises(TransientError) as failed:
        stage.sign_in.refresh(ACCOUNT)
    assert failed.value.code == "connection_refused"
    assert stage.sandbox.addresses.entra_url.removeprefix("https://") in failed.value.message
    assert "entra.authority" in failed.value.fix


def test_refresh_ends_when_entra_hangs(stage: Stage) -> None:
    stage.login()
    stage.world.clock.advance(timedelta(hours=2))
    stage.world.faults.add(Fault("entra", "hang", path="/token"))
    quick = replace(stage.http, read_timeout=timedelta(milliseconds=200))
    with pytest.raises(TransientError) as failed:
        stage.make_sign_in(http=quick).refresh(ACCOUNT)
    assert failed.value.code == "read_timeout"
    shown = spell_out(failed.value)
    assert not [secret for secret in stage.secrets() if secret in shown]


@pytest.mark.parametrize("authority", ["http://localhost", "https://", "nonsense", "https://nowhere.invalid"])
def test_login_names_the_setting_when_the_authority_is_no_address(stage: Stage, authority: str) -> None:
    with pytest.raises(TransientError) as failed:
        stage.login(sign_in=stage.make_sign_in(authority=authority))
    assert "entra.authority" in failed.value.fix


# ---- signing out, and what is never shown


def test_logout_leaves_no_token_when_it_returns(stage: Stage) -> None:
    stage.login()
    stage.sign_in.fetch_bearer(ACCOUNT, KEY_VAULT_SCOPE)
    assert stage.sign_in.logout(ACCOUNT) is True
    assert stage.sign_in.logout(ACCOUNT) is False
    assert stage.sign_in.status(ACCOUNT).username is None
    stage.cache_path.write_bytes(b"")  # not even the generation before knows them
    fresh = stage.make_sign_in()
    assert fresh.status(ACCOUNT).username is None
    with pytest.raises(SignInRequiredError):
        fresh.fetch_bearer(ACCOUNT, KEY_VAULT_SCOPE)


def test_status_asks_nobody_when_called(stage: Stage) -> None:
    stage.login()
    stage.sandbox.stop()
    status = stage.make_sign_in().status(ACCOUNT)
    assert (status.account, status.username) == (ACCOUNT, USERNAME)
    stage.world.clock.advance(timedelta(hours=2))
    status = stage.make_sign_in().status(ACCOUNT)
    assert status.username == USERNAME
    assert status.access_expires_at is None
    assert status.refreshed_at is not None


def test_sign_in_names_the_known_accounts_when_asked_for_another(stage: Stage) -> None:
    with pytest.raises(UsageError, match=f"'nobody'.*{ACCOUNT}"):
        stage.sign_in.refresh("nobody")


def test_log_shows_no_secret_when_everything_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    bundle, certificate = make_certificate()
    stage.configure_app(certificate=certificate)
    known = replace(stage.make_account(), client_certificate=lambda: SecretValue(bundle))
    sign_in = stage.make_sign_in(known)
    seen: set[str] = set()
    with caplog.at_level(logging.DEBUG):
        sign_in.login_with_device_code(ACCOUNT, stage.approve())
        sign_in.login_with_browser(ACCOUNT, stage.browse(), LONG)
        seen |= stage.secrets()
        stage.world.clock.advance(timedelta(hours=2))
        sign_in.refresh(ACCOUNT)
        stage.world.clock.advance(timedelta(hours=2))
        stage.world.faults.add(Fault("entra", "malformed", path="/token"))
        with pytest.raises(TransientError):
            sign_in.refresh(ACCOUNT)
        stage.configure_user(refresh_error=50173)
        with pytest.raises(SignInRequiredError):
            sign_in.refresh(ACCOUNT)
        sign_in.logout(ACCOUNT)
    seen |= stage.secrets()
    for call in stage.token_calls():
        for name in ("client_assertion", "code_verifier", "code", "device_code", "refresh_token"):
            seen.update(parse_qs(call.body.decode()).get(name, []))
    assert len(seen) > 12
    assert "msal" in {record.name.partition(".")[0] for record in caplog.records}
    assert not [secret for secret in seen if secret in caplog.text]


@pytest.mark.parametrize("scope", sorted(VAULT_SCOPES))
def test_account_credential_gives_the_vault_token_when_asked_by_the_sdk(stage: Stage, scope: str) -> None:
    stage.login()
    credential = AccountCredential(stage.sign_in, ACCOUNT)
    token = credential.get_token(scope, enable_cae=True, tenant_id=TENANT_ID)
    assert stage.world.access_tokens[token.token].resource == "key_vault"
    assert timedelta(0) < datetime.fromtimestamp(token.expires_on, UTC) - stage.clock.now() <= timedelta(hours=1)
    assert credential.get_token_info(scope).token == token.token
    assert credential.get_token_info(scope, options={"claims": "{}"}).token != token.token


@pytest.mark.parametrize(
    "scopes", [(AZURE_DEVOPS_SCOPE,), ("https://evil.example/.default",), (), (KEY_VAULT_SCOPE, AZURE_DEVOPS_SCOPE)]
)
def test_account_credential_refuses_when_the_server_asks_for_another_service(
    stage: Stage, scopes: tuple[str, ...]
) -> None:
    stage.login()
    with pytest.raises(DeniedError) as refused:
        AccountCredential(stage.sign_in, ACCOUNT).get_token(*scopes)
    assert refused.value.code == "challenge_refused"
