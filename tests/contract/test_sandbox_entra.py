"""The Entra stand-in answers as Entra does: real msal works with it, its bodies fit our schemas."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl, urlsplit

import jsonschema
import jwt
import msal
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from rotator.sandbox.entra_grants import make_challenge
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import CLIENT_ID, OTHER_USERNAME, TENANT_ID, USER_ID, USERNAME
from rotator.sandbox.world import App, User

SCHEMAS = Path(__file__).parent / "sandbox_schemas"
AZURE_DEVOPS = ["499b84ac-1321-427f-aa17-267ca6975798/.default"]
KEY_VAULT = ["https://vault.azure.net/.default"]
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
REDIRECT = "http://localhost:49152"
VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123456789"
Document = dict[str, object]


class Desk:
    """A test's desk: the sandbox, a session that trusts it, and the person who approves."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.url = sandbox.addresses.entra_url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(sandbox.addresses.ca_path)

    @property
    def user(self) -> User:
        return self.sandbox.world.users[USER_ID]

    @property
    def app(self) -> App:
        return self.sandbox.world.apps[CLIENT_ID]

    def public_client(self, tenant: str = TENANT_ID) -> msal.PublicClientApplication:
        return msal.PublicClientApplication(
            CLIENT_ID,
            authority=f"{self.url}/{tenant}",
            instance_discovery=False,
            http_client=self.session,
        )

    def confidential_client(self, credential: object) -> msal.ConfidentialClientApplication:
        return msal.ConfidentialClientApplication(
            CLIENT_ID,
            authority=f"{self.url}/{TENANT_ID}",
            client_credential=credential,
            instance_discovery=False,
            http_client=self.session,
        )

    def start_device_code(self, tenant: str = TENANT_ID) -> Document:
        form = {"client_id": CLIENT_ID, "scope": "openid profile offline_access " + AZURE_DEVOPS[0]}
        answer = self.session.post(f"{self.url}/{tenant}/oauth2/v2.0/devicecode", data=form)
        assert answer.status_code == 200
        return cast(Document, answer.json())

    def decide(self, flow: Mapping[str, object], action: str = "approve", **fields: str) -> requests.Response:
        form = {"user_code": str(flow["user_code"]), "username": USERNAME, "action": action, **fields}
        return self.session.post(str(flow["verification_uri"]), data=form)

    def ask_token(self, form: Mapping[str, str], tenant: str = TENANT_ID) -> requests.Response:
        fields = {"client_id": CLIENT_ID, "client_info": "1", **form}
        return self.session.post(f"{self.url}/{tenant}/oauth2/v2.0/token", data=fields)

    def poll(self, flow: Mapping[str, object]) -> requests.Response:
        return self.ask_token({"grant_type": DEVICE_GRANT, "device_code": str(flow["device_code"])})

    def refresh(self, refresh_token: object, scope: str = AZURE_DEVOPS[0]) -> requests.Response:
        scope = f"openid profile offline_access {scope}"
        return self.ask_token({"grant_type": "refresh_token", "refresh_token": str(refresh_token), "scope": scope})

    def sign_in(self) -> Document:
        flow = self.start_device_code()
        self.decide(flow)
        return check(self.poll(flow), 200, "entra_user_token")

    def authorize(self, **changes: str) -> requests.Response:
        parameters = {
            "client_id": CLIENT_ID,
            "response_type": "code",
            "redirect_uri": REDIRECT,
            "scope": "openid profile offline_access " + AZURE_DEVOPS[0],
            "state": "some-state",
            "code_challenge": make_challenge(VERIFIER),
            "code_challenge_method": "S256",
        }
        form = {"username": USERNAME, "action": "approve", **changes}
        url = f"{self.url}/{TENANT_ID}/oauth2/v2.0/authorize"
        return self.session.post(url, params=parameters, data=form, allow_redirects=False)

    def redeem(self, code: str, **changes: str) -> requests.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
            "scope": "openid profile offline_access " + AZURE_DEVOPS[0],
        }
        return self.ask_token({**form, **changes})

    def advance(self, by: timedelta) -> None:
        self.sandbox.world.clock.advance(by)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Sandbox(tmp_path, seed_demo=False) as sandbox:
        made = Desk(sandbox)
        with made.session:
            yield made


def check(answer: requests.Response, status: int, schema: str) -> Document:
    """The body of an answer that has this status and fits this schema."""
    assert answer.status_code == status, answer.text
    body = cast(Document, answer.json())
    jsonschema.validate(body, json.loads((SCHEMAS / f"{schema}.json").read_text()))
    return body


def check_refusal(answer: requests.Response, status: int, error: str, number: int) -> Document:
    body = check(answer, status, "entra_error")
    assert (body["error"], body["error_codes"]) == (error, [number])
    assert str(body["error_description"]).startswith(f"AADSTS{number}: ")
    return body


def read_redirect(answer: requests.Response) -> dict[str, str]:
    assert answer.status_code == 302, answer.text
    location = answer.headers["Location"]
    assert location.startswith(REDIRECT + "?")
    return dict(parse_qsl(urlsplit(location).query))


def read_form(page: str) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    return {name: unescape(value) for name, value in found}


def make_certificate() -> tuple[str, str, str]:
    """A key and a self-signed certificate, both PEM, and the certificate's SHA-1 thumbprint."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rotator")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    now = datetime.now(UTC)
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    content = certificate.public_bytes(serialization.Encoding.DER)
    thumbprint = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    return private.decode(), certificate.public_bytes(pem).decode(), thumbprint


# Discovery


@pytest.mark.parametrize("tenant", [TENANT_ID, "contoso.com", "organizations", "common"])
def test_discovery_names_every_endpoint_when_the_tenant_is_known(desk: Desk, tenant: str) -> None:
    document = desk.session.get(f"{desk.url}/{tenant}/v2.0/.well-known/openid-configuration").json()
    for name in ("authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "jwks_uri"):
        assert document[name].startswith(f"{desk.url}/")
    issuer_tenant = "{tenantid}" if tenant in ("organizations", "common") else TENANT_ID
    assert document["issuer"] == f"{desk.url}/{issuer_tenant}/v2.0"


def test_discovery_is_refused_when_the_tenant_is_unknown(desk: Desk) -> None:
    answer = desk.session.get(f"{desk.url}/nowhere.example/v2.0/.well-known/openid-configuration")
    check_refusal(answer, 400, "invalid_request", 90002)


def test_msal_accepts_the_authority_when_instance_discovery_asks_the_sandbox(desk: Desk) -> None:
    client = msal.PublicClientApplication(
        CLIENT_ID,
        authority=f"{desk.url}/{TENANT_ID}",
        http_client=desk.session,
        instance_discovery=f"{desk.url}/common/discovery/instance",
    )
    assert "user_code" in client.initiate_device_flow(AZURE_DEVOPS)


# Device code


@pytest.mark.parametrize("tenant", [TENANT_ID, "organizations"])
def test_msal_signs_in_and_refreshes_when_a_human_approves_the_device_code(desk: Desk, tenant: str) -> None:
    client = desk.public_client(tenant)
    flow = client.initiate_device_flow(AZURE_DEVOPS)
    assert desk.decide(flow).status_code == 200
    answer = client.acquire_token_by_device_flow(flow)
    assert answer["id_token_claims"]["preferred_username"] == USERNAME
    (account,) = client.get_accounts()
    assert account["home_account_id"] == f"{USER_ID}.{TENANT_ID}"

    silent = client.acquire_token_silent_with_error(KEY_VAULT, account)
    assert silent is not None
    tokens = desk.sandbox.world.access_tokens
    assert tokens[answer["access_token"]].resource == "azure_devops"
    assert tokens[silent["access_token"]].resource == "key_vault"
    assert tokens[silent["access_token"]].username == USERNAME


def test_id_token_verifies_with_the_published_keys_when_signed_in(desk: Desk) -> None:
    id_token = str(desk.sign_in()["id_token"])
    keys = jwt.PyJWKSet.from_dict(desk.session.get(f"{desk.url}/{TENANT_ID}/discovery/v2.0/keys").json())
    key = keys[jwt.get_unverified_header(id_token)["kid"]]
    claims = jwt.decode(id_token, key, algorithms=["RS256"], audience=CLIENT_ID, issuer=f"{desk.url}/{TENANT_ID}/v2.0")
    jsonschema.validate(claims, json.loads((SCHEMAS / "entra_id_token.json").read_text()))
    assert (claims["oid"], claims["tid"]) == (USER_ID, TENANT_ID)


def test_device_code_answer_fits_its_schema_when_asked_for(desk: Desk) -> None:
    flow = desk.start_device_code()
    jsonschema.validate(flow, json.loads((SCHEMAS / "entra_device_code.json").read_text()))
    page = desk.session.get(str(flow["verification_uri"]), params={"otc": str(flow["user_code"])}).text
    assert str(flow["user_code"]) in page
    assert USERNAME in page


def test_device_code_is_pending_then_slowed_down_then_expired_when_nobody_decides(desk: Desk) -> None:
    desk.sandbox.entra.configure({"device_code_interval": 60})
    flow = desk.start_device_code()
    check_refusal(desk.poll(flow), 400, "authorization_pending", 70016)
    check_refusal(desk.poll(flow), 400, "slow_down", 70016)
    desk.advance(timedelta(seconds=60))
    check_refusal(desk.poll(flow), 400, "authorization_pending", 70016)
    desk.advance(timedelta(minutes=15))
    check_refusal(desk.poll(flow), 400, "expired_token", 70020)
    assert desk.decide(flow).status_code == 400


def test_device_code_is_declined_when_the_human_denies(desk: Desk) -> None:
    flow = desk.start_device_code()
    desk.decide(flow, action="deny")
    check_refusal(desk.poll(flow), 400, "authorization_declined", 65004)


def test_device_code_works_once_when_redeemed(desk: Desk) -> None:
    flow = desk.start_device_code()
    desk.decide(flow, user_code=f" {str(flow['user_code']).lower()} ")
    check(desk.poll(flow), 200, "entra_user_token")
    check_refusal(desk.poll(flow), 400, "bad_verification_code", 70018)


def test_device_code_is_blocked_when_the_tenant_forbids_it(desk: Desk) -> None:
    desk.sandbox.entra.configure({"tenants": {"contoso.com": {"device_code_allowed": False}}})
    flow = desk.start_device_code()
    assert "AADSTS53003" in desk.decide(flow).text
    body = check_refusal(desk.poll(flow), 400, "invalid_grant", 53003)
    assert body["suberror"] == "message_only"


def test_device_page_signs_in_another_user_when_the_human_is_someone_else(desk: Desk) -> None:
    flow = desk.start_device_code()
    desk.decide(flow, username=OTHER_USERNAME)
    token = desk.poll(flow).json()["access_token"]
    assert desk.sandbox.world.access_tokens[token].username == OTHER_USERNAME


def test_device_page_escapes_what_it_is_given_when_the_code_holds_markup(desk: Desk) -> None:
    page = desk.session.get(f"{desk.url}/common/oauth2/deviceauth", params={"otc": '"><script>x'}).text
    assert "<script>x" not in page


# Authorization code


@pytest.mark.parametrize("response_mode", ["form_post", "query"])
def test_msal_signs_in_when_a_human_approves_in_the_browser(desk: Desk, response_mode: str) -> None:
    client = desk.public_client()
    mode = cast(None, response_mode)
    with pytest.warns(UserWarning, match="form_post") if response_mode == "query" else nullcontext():
        flow = client.initiate_auth_code_flow(
            AZURE_DEVOPS, redirect_uri=REDIRECT, login_hint=USERNAME, response_mode=mode
        )
    page = desk.session.get(flow["auth_uri"]).text
    assert f'<option value="{USERNAME}" selected>' in page
    # The page's own hidden fields are enough: a browser posts them to the address without its query.
    form = {**read_form(page), "username": USERNAME, "second_factor": "yes", "action": "approve"}
    address = flow["auth_uri"].partition("?")[0]
    answer = desk.session.post(address, data=form, allow_redirects=False)
    if response_mode == "form_post":
        assert f'action="{REDIRECT}"' in answer.text
        response = read_form(answer.text)
    else:
        response = read_redirect(answer)
    result = client.acquire_token_by_auth_code_flow(flow, response)
    assert result["id_token_claims"]["preferred_username"] == USERNAME
    assert result["id_token_claims"]["nonce"]


def test_authorization_code_works_once_when_redeemed(desk: Desk) -> None:
    answer = read_redirect(desk.authorize())
    assert answer["state"] == "some-state"
    check(desk.redeem(answer["code"]), 200, "entra_user_token")
    check_refusal(desk.redeem(answer["code"]), 400, "invalid_grant", 54005)


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"code_verifier": "another" * 8}, 501481),
        ({"code_verifier": ""}, 50148),
        ({"redirect_uri": "http://localhost:1"}, 500112),
        ({"code": "never-issued"}, 9002313),
    ],
)
def test_authorization_code_is_refused_when_its_request_does_not_fit(
    desk: Desk, changes: dict[str, str], number: int
) -> None:
    code = read_redirect(desk.authorize())["code"]
    check_refusal(desk.redeem(**{"code": code, **changes}), 400, "invalid_grant", number)


def test_authorization_code_is_refused_when_it_is_too_old(desk: Desk) -> None:
    code = read_redirect(desk.authorize())["code"]
    desk.advance(timedelta(minutes=10))
    check_refusal(desk.redeem(code), 400, "invalid_grant", 70008)


def test_authorize_redirects_with_the_refusal_when_the_human_denies(desk: Desk) -> None:
    answer = read_redirect(desk.authorize(action="deny"))
    assert (answer["error"], answer["state"]) == ("access_denied", "some-state")
    assert "code" not in answer


def test_authorize_redirects_with_the_refusal_when_consent_is_missing(desk: Desk) -> None:
    desk.app.consented = False
    answer = read_redirect(desk.authorize())
    assert answer["error_description"].startswith("AADSTS65001: ")
    assert answer["error_subcode"] == "consent_required"


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "http://localhost.evil.example:80/"},
        {"client_id": "unknown"},
        {"username": "nobody@contoso.com"},
    ],
)
def test_authorize_shows_a_page_and_no_redirect_when_the_request_cannot_be_trusted(
    desk: Desk, changes: dict[str, str]
) -> None:
    answer = desk.authorize(**changes)
    assert answer.status_code == 400
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": " ".join(AZURE_DEVOPS + KEY_VAULT)}, "invalid_scope"),
    ],
)
def test_authorize_redirects_with_the_error_when_a_parameter_is_wrong(
    desk: Desk, changes: dict[str, str], error: str
) -> None:
    assert read_redirect(desk.authorize(**changes))["error"] == error


# Refresh tokens


def test_refresh_token_rotates_and_the_old_one_works_for_a_day_when_used(desk: Desk) -> None:
    first = desk.sign_in()["refresh_token"]
    second = check(desk.refresh(first), 200, "entra_user_token")["refresh_token"]
    assert second != first
    check(desk.refresh(first), 200, "entra_user_token")
    desk.advance(timedelta(hours=24))
    check_refusal(desk.refresh(first), 400, "invalid_grant", 70008)
    check(desk.refresh(second), 200, "entra_user_token")


def test_refresh_token_works_once_where_that_is_set(desk: Desk) -> None:
    desk.sandbox.entra.configure({"replaced_token_grace_seconds": 0})
    first = desk.sign_in()["refresh_token"]
    second = check(desk.refresh(first), 200, "entra_user_token")["refresh_token"]
    check_refusal(desk.refresh(first), 400, "invalid_grant", 70008)
    check(desk.refresh(second), 200, "entra_user_token")


def test_refresh_token_lives_on_when_it_is_used_within_ninety_days_and_dies_after(desk: Desk) -> None:
    token = desk.sign_in()["refresh_token"]
    for _ in range(3):
        desk.advance(timedelta(days=89))
        token = check(desk.refresh(token), 200, "entra_user_token")["refresh_token"]
    desk.advance(timedelta(days=90))
    check_refusal(desk.refresh(token), 400, "invalid_grant", 700082)


def _disable(desk: Desk) -> None:
    desk.user.enabled = False


def _block(desk: Desk) -> None:
    desk.user.conditional_access_blocked = True


def _need_second_factor(desk: Desk) -> None:
    desk.user.mfa_required = True


def _need_enrollment(desk: Desk) -> None:
    desk.sandbox.entra.configure({"users": {USERNAME: {"mfa_enrollment_required": True}}})


def _revoke(desk: Desk) -> None:
    desk.sandbox.entra.configure({"users": {USERNAME: {"revoked": True}}})


def _withdraw_consent(desk: Desk) -> None:
    desk.app.consented = False


def _limit_frequency(desk: Desk) -> None:
    desk.sandbox.entra.configure({"users": {USERNAME: {"sign_in_frequency_seconds": 3600}}})
    desk.advance(timedelta(hours=2))


def _set_refresh_error(desk: Desk) -> None:
    desk.user.refresh_error = 700082


@pytest.mark.parametrize(
    ("change", "error", "number", "suberror", "has_claims"),
    [
        (_disable, "invalid_grant", 50057, None, False),
        (_block, "invalid_grant", 53003, "message_only", True),
        (_need_second_factor, "invalid_grant", 50076, "basic_action", True),
        (_need_enrollment, "interaction_required", 50079, "basic_action", True),
        (_revoke, "invalid_grant", 50173, "bad_token", False),
        (_withdraw_consent, "invalid_grant", 65001, "consent_required", False),
        (_limit_frequency, "invalid_grant", 70043, "token_expired", False),
        (_set_refresh_error, "invalid_grant", 700082, "bad_token", False),
    ],
)
def test_refresh_is_refused_when_a_human_must_act(
    desk: Desk,
    change: Callable[[Desk], None],
    error: str,
    number: int,
    suberror: str | None,
    has_claims: bool,
) -> None:
    client = desk.public_client()
    flow = client.initiate_device_flow(AZURE_DEVOPS)
    desk.decide(flow)
    token = client.acquire_token_by_device_flow(flow)["refresh_token"]
    change(desk)
    body = check_refusal(desk.refresh(token), 400, error, number)
    assert body.get("suberror") == suberror
    assert ("claims" in body) is has_claims
    silent = client.acquire_token_silent_with_error(KEY_VAULT, client.get_accounts()[0])
    assert silent is not None
    assert (silent["error"], silent["error_codes"]) == (error, [number])


def test_sign_in_works_again_when_a_human_signs_in_after_a_revocation(desk: Desk) -> None:
    desk.sign_in()
    _revoke(desk)
    desk.advance(timedelta(seconds=1))
    check(desk.refresh(desk.sign_in()["refresh_token"]), 200, "entra_user_token")


def test_second_factor_satisfies_the_policy_when_the_browser_was_used_but_not_without(desk: Desk) -> None:
    _need_second_factor(desk)
    flow = desk.start_device_code()
    desk.decide(flow)
    check_refusal(desk.poll(flow), 400, "invalid_grant", 50076)
    code = read_redirect(desk.authorize())["code"]
    token = check(desk.redeem(code), 200, "entra_user_token")["refresh_token"]
    check(desk.refresh(token), 200, "entra_user_token")


def test_token_endpoint_answers_503_when_it_is_told_to_fail_for_a_moment(desk: Desk) -> None:
    token = desk.sign_in()["refresh_token"]
    desk.sandbox.entra.configure({"transient_failures": 1})
    check_refusal(desk.refresh(token), 503, "temporarily_unavailable", 90033)
    check(desk.refresh(token), 200, "entra_user_token")


# Clients


def test_token_endpoint_refuses_when_the_client_is_unknown(desk: Desk) -> None:
    answer = desk.ask_token({"client_id": "no-such-app", "grant_type": "refresh_token", "refresh_token": "x"})
    check_refusal(answer, 400, "unauthorized_client", 700016)


def test_public_client_is_refused_when_it_sends_a_secret(desk: Desk) -> None:
    answer = desk.ask_token({"grant_type": "refresh_token", "refresh_token": "x", "client_secret": "y"})
    check_refusal(answer, 401, "invalid_client", 700025)


def test_service_principal_gets_a_token_when_the_secret_is_right(desk: Desk) -> None:
    secret = secrets.token_urlsafe(20)
    desk.sandbox.entra.configure({"apps": {CLIENT_ID: {"public": False, "secret": secret}}})
    answer = desk.confidential_client(secret).acquire_token_for_client(KEY_VAULT)
    token = desk.sandbox.world.access_tokens[answer["access_token"]]
    assert (token.username, token.subject_id, token.resource) == (None, desk.app.object_id, "key_vault")
    form = {"grant_type": "client_credentials", "client_secret": secret, "scope": KEY_VAULT[0]}
    check(desk.ask_token(form), 200, "entra_app_token")
    check_refusal(desk.ask_token(form, "organizations"), 400, "invalid_request", 90130)


@pytest.mark.parametrize(
    ("form", "expired", "number"),
    [
        ({"client_secret": "wrong"}, False, 7000215),
        ({"client_secret": "right"}, True, 7000222),
        ({}, False, 7000218),
    ],
)
def test_confidential_client_is_refused_when_it_does_not_authenticate(
    desk: Desk, form: dict[str, str], expired: bool, number: int
) -> None:
    settings = {"public": False, "secret": "right", "secret_expired": expired}
    desk.sandbox.entra.configure({"apps": {CLIENT_ID: settings}})
    asked = {"grant_type": "client_credentials", "scope": KEY_VAULT[0], **form}
    check_refusal(desk.ask_token(asked), 401, "invalid_client", number)
    flow = desk.start_device_code()
    desk.decide(flow)
    asked = {"grant_type": DEVICE_GRANT, "device_code": str(flow["device_code"]), **form}
    check_refusal(desk.ask_token(asked), 401, "invalid_client", number)


@pytest.mark.parametrize("with_thumbprint", [True, False])
def test_service_principal_gets_a_token_when_a_registered_certificate_signs(desk: Desk, with_thumbprint: bool) -> None:
    private_key, certificate, thumbprint = make_certificate()
    desk.sandbox.entra.configure({"apps": {CLIENT_ID: {"public": False, "certificate": certificate}}})
    # msal sends x5t (SHA-1) when it is given a thumbprint, and x5t#S256 when it makes its own.
    extra = {"thumbprint": thumbprint} if with_thumbprint else {"public_certificate": certificate}
    client = desk.confidential_client({"private_key": private_key, **extra})
    assert "access_token" in client.acquire_token_for_client(KEY_VAULT)


def test_service_principal_is_refused_when_another_key_signs(desk: Desk) -> None:
    _, registered, thumbprint = make_certificate()
    other_key, other_certificate, _ = make_certificate()
    desk.sandbox.entra.configure({"apps": {CLIENT_ID: {"public": False, "certificate": registered}}})
    for credential in (
        {"private_key": other_key, "thumbprint": thumbprint},
        {"private_key": other_key, "public_certificate": other_certificate},
    ):
        answer = desk.confidential_client(credential).acquire_token_for_client(KEY_VAULT)
        assert (answer["error"], answer["error_codes"]) == ("invalid_client", [700027])


# Settings


@pytest.mark.parametrize(
    "document",
    [
        {"unknown": 1},
        {"transient_failures": "two"},
        {"users": {"nobody@contoso.com": {"enabled": False}}},
        {"users": {USERNAME: {"enabled": "no"}}},
        {"apps": {CLIENT_ID: {"consented": False}}, "tenants": {"contoso.com": {"colour": "red"}}},
    ],
)
def test_settings_are_refused_as_a_whole_when_one_is_bad(desk: Desk, document: Mapping[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        desk.sandbox.entra.configure(document)
    assert desk.app.consented
    assert desk.user.enabled
