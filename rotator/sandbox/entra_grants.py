"""The token endpoint: device code, authorization code with PKCE, refresh token, client credentials."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import timedelta

from rotator.sandbox import entra_errors as refused
from rotator.sandbox.entra_clients import SHARED_TENANTS, check_client, find_app
from rotator.sandbox.entra_errors import EntraRefusalError
from rotator.sandbox.entra_state import (
    AuthorizationCode,
    DeviceCode,
    EntraState,
    SignIn,
)
from rotator.sandbox.entra_tokens import (
    PROTOCOL_SCOPES,
    TokenRequest,
    make_app_answer,
    make_user_answer,
    parse_scopes,
)
from rotator.sandbox.world import App, RefreshToken, World

DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Grants:
    """Answers token requests, or raises EntraRefusalError. The caller holds the World's lock."""

    def __init__(self, world: World, state: EntraState) -> None:
        self._world = world
        self._state = state

    def redeem(self, tenant: str, form: Mapping[str, str], base_url: str) -> dict[str, object]:
        """Answer one request to `/{tenant}/oauth2/v2.0/token`."""
        if self._state.transient_failures > 0:
            self._state.transient_failures -= 1
            raise EntraRefusalError(refused.TRANSIENT)
        app = find_app(self._world, tenant, form.get("client_id"))
        grant = form.get("grant_type")
        endpoint = f"{base_url}/{tenant}/oauth2/v2.0/token"
        check_client(app, form, endpoint, must_authenticate=grant == "client_credentials")
        if grant == DEVICE_CODE_GRANT:
            return self._redeem_device_code(tenant, app, form, base_url)
        if grant == "authorization_code":
            return self._redeem_authorization_code(tenant, app, form, base_url)
        if grant == "refresh_token":
            return self._redeem_refresh_token(tenant, app, form, base_url)
        if grant == "client_credentials":
            return self._redeem_client_credentials(tenant, app, form, base_url)
        raise EntraRefusalError(refused.GRANT_UNSUPPORTED if grant else refused.PARAMETER_MISSING)

    def _redeem_device_code(self, tenant: str, app: App, form: Mapping[str, str], base_url: str) -> dict[str, object]:
        device = self._state.device_codes.get(form.get("device_code", ""))
        if device is None or device.client_id != app.client_id:
            raise EntraRefusalError(refused.DEVICE_CODE_UNKNOWN)
        sign_in = self._check_device_code(device)
        self._check_user(app, tenant, sign_in)
        del self._state.device_codes[device.device_code]
        asked = TokenRequest(app, parse_scopes(device.scope), base_url, "client_info" in form)
        return make_user_answer(self._world, self._state, asked, sign_in)

    def _check_device_code(self, device: DeviceCode) -> SignIn:
        """Return the sign-in behind the code, or raise the refusal that says why there is none."""
        now, polled_before = self._world.clock.now(), device.last_polled_at
        device.last_polled_at = now
        if now >= device.expires_at:
            raise EntraRefusalError(refused.DEVICE_CODE_EXPIRED)
        if device.declined:
            raise EntraRefusalError(refused.DECLINED)
        if device.blocked:
            raise EntraRefusalError(refused.DEVICE_CODE_BLOCKED)
        if device.sign_in is None:
            # Half the interval: a client that keeps to it must never be refused because its timer is inexact.
            least = timedelta(seconds=self._state.device_code_interval) / 2
            too_fast = polled_before is not None and now - polled_before < least
            raise EntraRefusalError(refused.POLLED_TOO_FAST if too_fast else refused.PENDING)
        return device.sign_in

    def _redeem_authorization_code(
        self, tenant: str, app: App, form: Mapping[str, str], base_url: str
    ) -> dict[str, object]:
        code = self._state.authorization_codes.get(form.get("code", ""))
        if code is None:
            raise EntraRefusalError(refused.CODE_UNKNOWN)
        self._check_code(code, app, form)
        code.redeemed = True
        self._check_user(app, tenant, code.sign_in)
        # A client may ask for a part of what it signed in for; if it names no scope, it gets all of it.
        scopes = parse_scopes(form.get("scope") or code.scope)
        asked = TokenRequest(app, scopes, base_url, "client_info" in form)
        return make_user_answer(self._world, self._state, asked, code.sign_in)

    def _check_code(self, code: AuthorizationCode, app: App, form: Mapping[str, str]) -> None:
        if code.client_id != app.client_id:
            raise EntraRefusalError(refused.TOKEN_OF_ANOTHER_CLIENT)
        if code.redeemed:
            raise EntraRefusalError(refused.CODE_REDEEMED)
        if self._world.clock.now() >= code.expires_at:
            raise EntraRefusalError(refused.CODE_EXPIRED)
        if form.get("redirect_uri") != code.redirect_uri:
            raise EntraRefusalError(refused.REDIRECT_CHANGED)
        if code.challenge is not None:
            verifier = form.get("code_verifier")
            if not verifier:
                raise EntraRefusalError(refused.VERIFIER_MISSING)
            if not hmac.compare_digest(make_challenge(verifier).encode(), code.challenge.encode()):
                raise EntraRefusalError(refused.VERIFIER_WRONG)

    def _redeem_refresh_token(self, tenant: str, app: App, form: Mapping[str, str], base_url: str) -> dict[str, object]:
        token = self._world.refresh_tokens.get(form.get("refresh_token", ""))
        if token is None:
            raise EntraRefusalError(refused.CODE_UNKNOWN)
        sign_in = self._check_refresh_token(token, app)
        self._check_user(app, tenant, sign_in)
        scopes = parse_scopes(form.get("scope") or "openid profile offline_access")
        # Each use gives a new refresh token, whether or not the scope repeats offline_access.
        asked = TokenRequest(app, tuple(dict.fromkeys((*scopes, "offline_access"))), base_url, "client_info" in form)
        answer = make_user_answer(self._world, self._state, asked, sign_in)
        if token.value not in self._state.replaced_tokens:
            self._state.replaced_tokens.add(token.value)
            token.expires_at = min(token.expires_at, self._world.clock.now() + self._state.replaced_token_grace)
        return answer

    def _check_refresh_token(self, token: RefreshToken, app: App) -> SignIn:
        if token.client_id != app.client_id:
            raise EntraRefusalError(refused.TOKEN_OF_ANOTHER_CLIENT)
        user = self._world.users[token.subject_id]
        sign_in = self._state.sign_ins.get(token.value) or SignIn(user.object_id, token.issued_at, False)
        now = self._world.clock.now()
        revoked_at = user.sign_ins_revoked_at
        if token.revoked or (revoked_at is not None and sign_in.at <= revoked_at):
            raise EntraRefusalError(refused.REVOKED)
        if now >= token.expires_at:
            replaced = token.value in self._state.replaced_tokens
            raise EntraRefusalError(refused.REFRESH_EXPIRED if replaced else refused.IDLE_TOO_LONG)
        if user.refresh_error is not None:
            raise EntraRefusalError(refused.find_refusal(user.refresh_error))
        frequency = self._state.user(user.object_id).sign_in_frequency
        if frequency is not None and now - sign_in.at > frequency:
            raise EntraRefusalError(refused.SIGN_IN_TOO_OLD)
        return sign_in

    def _redeem_client_credentials(
        self, tenant: str, app: App, form: Mapping[str, str], base_url: str
    ) -> dict[str, object]:
        if tenant in SHARED_TENANTS:
            raise EntraRefusalError(refused.TENANT_NEEDED)
        scopes = parse_scopes(form.get("scope", ""))
        if len(scopes) != 1 or scopes[0] in PROTOCOL_SCOPES or not scopes[0].endswith("/.default"):
            raise EntraRefusalError(refused.SCOPE_INVALID)
        asked = TokenRequest(app, scopes, base_url, wants_client_info=False)
        return make_app_answer(self._world, self._state, asked)

    def _check_user(self, app: App, tenant: str, sign_in: SignIn) -> None:
        """Check what is checked again before each token: the account, the consent and the tenant's policies."""
        user = self._world.users[sign_in.user_id]
        if tenant not in (user.tenant_id, *SHARED_TENANTS):
            raise EntraRefusalError(refused.USER_OF_ANOTHER_TENANT)
        if not user.enabled:
            raise EntraRefusalError(refused.USER_DISABLED)
        if not app.consented:
            raise EntraRefusalError(refused.CONSENT_MISSING)
        if user.conditional_access_blocked:
            raise EntraRefusalError(refused.ACCESS_BLOCKED)
        if self._state.user(user.object_id).mfa_enrollment_required:
            raise EntraRefusalError(refused.MFA_ENROLLMENT_NEEDED)
        if user.mfa_required and not sign_in.second_factor:
            raise EntraRefusalError(refused.MFA_NEEDED)


def make_challenge(verifier: str) -> str:
    """Make the S256 code challenge of a PKCE verifier."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
