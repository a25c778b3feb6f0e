"""The two sign-ins with a person: by device code, and by authorization code in a browser."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

from rotator.sandbox import entra_errors as refused
from rotator.sandbox.entra_clients import SHARED_TENANTS, find_app
from rotator.sandbox.entra_errors import EntraRefusalError, Refusal
from rotator.sandbox.entra_pages import (
    render_authorize_page,
    render_device_page,
    render_form_post,
    render_message,
)
from rotator.sandbox.entra_state import (
    AUTHORIZATION_CODE_LIFETIME,
    DEVICE_CODE_LIFETIME,
    AuthorizationCode,
    DeviceCode,
    EntraState,
    SignIn,
    make_user_code,
)
from rotator.sandbox.entra_tokens import parse_scopes
from rotator.sandbox.messages import Response
from rotator.sandbox.world import User, World

_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_CARRIED = (
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "login_hint",
)


class Interactive:
    """Serves the pages. The caller of each method holds the World's lock."""

    def __init__(self, world: World, state: EntraState) -> None:
        self._world = world
        self._state = state

    def start_device_code(self, tenant: str, form: Mapping[str, str], base_url: str) -> dict[str, object]:
        """Make a device code; `verification_uri` is the page below. Raise EntraRefusalError for a refused request."""
        app = find_app(self._world, tenant, form.get("client_id"))
        scope = " ".join(parse_scopes(form.get("scope", "")))
        device = DeviceCode(
            device_code="DAQABIQEAAAB" + secrets.token_urlsafe(120),
            user_code=make_user_code(),
            client_id=app.client_id,
            tenant=tenant,
            scope=scope,
            expires_at=self._world.clock.now() + DEVICE_CODE_LIFETIME,
        )
        self._state.device_codes[device.device_code] = device
        page = f"{base_url}/common/oauth2/deviceauth"
        return {
            "user_code": device.user_code,
            "device_code": device.device_code,
            "verification_uri": page,
            "expires_in": int(DEVICE_CODE_LIFETIME / timedelta(seconds=1)),
            "interval": self._state.device_code_interval,
            "message": f"To sign in, open {page} in a browser and enter the code {device.user_code}.",
        }

    def show_device_page(self, query: Mapping[str, str]) -> Response:
        """Show the form; `?user_code=` or `?otc=` fills in the code."""
        code = query.get("user_code") or query.get("otc") or ""
        return Response.of_html(200, render_device_page(code, self._world.users.values()))

    def decide_device_code(self, form: Mapping[str, str]) -> Response:
        """Approve or deny. Form fields: user_code, username, action=approve|deny, second_factor=yes if one was used."""
        wanted = re.sub(r"[\s-]", "", form.get("user_code", "")).upper()
        device = next((entry for entry in self._state.device_codes.values() if entry.user_code == wanted), None)
        if device is None or device.sign_in is not None or device.declined:
            return _page(400, "That code does not work", "It is mistyped or already used. Check the program.")
        if self._world.clock.now() >= device.expires_at:
            return _page(400, "That code has expired", "Start the sign-in again to get a new code.")
        user = self._world.user_named(form.get("username", ""))
        if user is None or device.tenant not in (user.tenant_id, *SHARED_TENANTS):
            return _page(400, "Unknown user", "No user of this name may sign in here.")
        action = form.get("action")
        if action == "deny":
            device.declined = True
            return _page(200, "Denied", "The program will not be signed in. You can close this page.")
        if action != "approve":
            return _page(400, "Neither approved nor denied", "Use one of the two buttons.")
        tenant = self._world.tenants.get(user.tenant_id)
        if tenant is not None and not tenant.device_code_allowed:
            device.blocked = True
            return _refusal_page(403, refused.DEVICE_CODE_BLOCKED)
        device.sign_in = self._make_sign_in(user, form.get("second_factor") == "yes", None)
        return _page(200, "You are signed in", "The program can now act for you. You can close this page.")

    def show_authorize_page(self, tenant: str, query: Mapping[str, str]) -> Response:
        """Show the form of a browser sign-in, or refuse a request that must not get one."""
        problem = self._check_authorize_request(tenant, query)
        if problem is not None:
            return problem
        hidden = {name: query[name] for name in _CARRIED if name in query}
        users = [user for user in self._world.users.values() if tenant in (user.tenant_id, *SHARED_TENANTS)]
        return Response.of_html(200, render_authorize_page(query["client_id"], query["scope"], users, hidden))

    def decide_authorization(self, tenant: str, asked: Mapping[str, str]) -> Response:
        """Decide by the request's parameters and the form's: username, action=approve|deny, second_factor=no."""
        problem = self._check_authorize_request(tenant, asked)
        if problem is not None:
            return problem
        if asked.get("action") == "deny":
            return self._send_refusal(asked, refused.ACCESS_DENIED)
        user = self._world.user_named(asked.get("username", ""))
        if asked.get("action") != "approve" or user is None:
            return _page(400, "Unknown user", "No user of this name may sign in here.")
        if not user.enabled:
            return _refusal_page(403, refused.USER_DISABLED)
        if user.conditional_access_blocked:
            return _refusal_page(403, refused.ACCESS_BLOCKED)
        if not self._world.apps[asked["client_id"]].consented:
            return self._send_refusal(asked, refused.CONSENT_MISSING)
        code = AuthorizationCode(
            code="1.AX" + secrets.token_urlsafe(160),
            client_id=asked["client_id"],
            tenant=tenant,
            scope=asked["scope"],
            redirect_uri=asked["redirect_uri"],
            challenge=asked.get("code_challenge"),
            sign_in=self._make_sign_in(user, asked.get("second_factor") != "no", asked.get("nonce")),
            expires_at=self._world.clock.now() + AUTHORIZATION_CODE_LIFETIME,
        )
        self._state.authorization_codes[code.code] = code
        return _send_answer(asked, {"code": code.code, "session_state": secrets.token_hex(16)})

    def _make_sign_in(self, user: User, second_factor: bool, nonce: str | None) -> SignIn:
        return SignIn(user.object_id, self._world.clock.now(), second_factor, nonce)

    def _check_authorize_request(self, tenant: str, asked: Mapping[str, str]) -> Response | None:
        """Answer a request that must not get a code: with a page if its redirect address cannot be trusted."""
        try:
            find_app(self._world, tenant, asked.get("client_id"))
        except EntraRefusalError as error:
            return _refusal_page(400, error.refusal)
        if not _is_loopback(asked.get("redirect_uri", "")):
            return _refusal_page(400, refused.REDIRECT_UNKNOWN)
        if asked.get("response_type") != "code":
            return self._send_refusal(asked, refused.RESPONSE_TYPE_UNSUPPORTED)
        if "code_challenge" in asked and asked.get("code_challenge_method") != "S256":
            return self._send_refusal(asked, refused.CHALLENGE_METHOD_WRONG)
        try:
            parse_scopes(asked.get("scope", ""))
        except EntraRefusalError as error:
            return self._send_refusal(asked, error.refusal)
        return None

    def _send_refusal(self, asked: Mapping[str, str], refusal: Refusal) -> Response:
        description = f"AADSTS{refusal.number}: {refusal.sentence}"
        answer = {"error": refusal.error, "error_description": description}
        if refusal.suberror is not None:
            answer["error_subcode"] = refusal.suberror
        return _send_answer(asked, answer)


def _send_answer(asked: Mapping[str, str], answer: dict[str, str]) -> Response:
    """Send the code or the error to the redirect address: in its query, or by a form that posts itself."""
    if "state" in asked:
        answer["state"] = asked["state"]
    if asked.get("response_mode") == "form_post":
        return Response.of_html(200, render_form_post(asked["redirect_uri"], answer))
    mark = "&" if urlsplit(asked["redirect_uri"]).query else "?"
    return Response(302, b"", {"Location": f"{asked['redirect_uri']}{mark}{urlencode(answer)}"})


def _is_loopback(redirect_uri: str) -> bool:
    parts = urlsplit(redirect_uri)
    return parts.scheme == "http" and parts.hostname in _LOOPBACK_HOSTS


def _page(status: int, title: str, sentence: str) -> Response:
    return Response.of_html(status, render_message(title, sentence))


def _refusal_page(status: int, refusal: Refusal) -> Response:
    return _page(status, "You cannot sign in", f"AADSTS{refusal.number}: {refusal.sentence}")
