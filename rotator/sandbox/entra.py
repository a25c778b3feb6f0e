"""The stand-in for Microsoft Entra: discovery, sign-in pages and the token endpoint, over a World."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from rotator.sandbox.entra_clients import SHARED_TENANTS, resolve_tenant
from rotator.sandbox.entra_errors import PARAMETER_MISSING, EntraRefusalError, Refusal, make_error_answer
from rotator.sandbox.entra_grants import Grants
from rotator.sandbox.entra_interactive import Interactive
from rotator.sandbox.entra_settings import configure_entra
from rotator.sandbox.entra_state import EntraState
from rotator.sandbox.entra_tokens import make_issuer, make_jwks
from rotator.sandbox.messages import Request, Response
from rotator.sandbox.world import World

_NO_STORE = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache", "P3P": 'CP="sandbox"'}
_INVALID_INSTANCE = Refusal("invalid_instance", 50049, "The authority of this address is not known.")


class EntraService:
    """Answers every request to the Entra address. `state` may be read and changed under the World's lock."""

    def __init__(self, world: World) -> None:
        self.state = EntraState()
        self._world = world
        self._grants = Grants(world, self.state)
        self._interactive = Interactive(world, self.state)

    def configure(self, document: Mapping[str, object]) -> None:
        """Apply the settings of `entra_settings`; if one is wrong, raise ValueError and change nothing."""
        with self._world.lock:
            configure_entra(self._world, self.state, document)

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        with self._world.lock:
            try:
                response = self._route(request)
            except EntraRefusalError as error:
                return make_error_answer(error.refusal, request, self._world.clock.now())
        headers = {"x-ms-request-id": str(uuid.uuid4()), **response.headers}
        return Response(response.status, response.body, headers)

    def _route(self, request: Request) -> Response:
        if request.path == "/common/discovery/instance" and request.method == "GET":
            return self._discover_instance(request)
        if request.path == "/common/oauth2/deviceauth":
            if request.method == "POST":
                return self._interactive.decide_device_code(_parse_form(request))
            return self._interactive.show_device_page(request.query)
        tenant, _, rest = request.path.lstrip("/").partition("/")
        match request.method, rest:
            case "GET", "v2.0/.well-known/openid-configuration":
                return self._discover_tenant(resolve_tenant(self._world, tenant), request.base_url)
            case "GET", "discovery/v2.0/keys":
                return Response.of_json(200, make_jwks(self.state))
            case "POST", "oauth2/v2.0/devicecode":
                tenant_id = resolve_tenant(self._world, tenant)
                form = _parse_form(request)
                return Response.of_json(
                    200, self._interactive.start_device_code(tenant_id, form, request.base_url), _NO_STORE
                )
            case "POST", "oauth2/v2.0/token":
                tenant_id = resolve_tenant(self._world, tenant)
                return Response.of_json(
                    200, self._grants.redeem(tenant_id, _parse_form(request), request.base_url), _NO_STORE
                )
            case "GET", "oauth2/v2.0/authorize":
                return self._interactive.show_authorize_page(resolve_tenant(self._world, tenant), request.query)
            case "POST", "oauth2/v2.0/authorize":
                asked = {**request.query, **_parse_form(request)}
                return self._interactive.decide_authorization(resolve_tenant(self._world, tenant), asked)
            case _:
                return Response.of_html(404, "<h1>404</h1><p>There is no such page.</p>")

    def _discover_instance(self, request: Request) -> Response:
        endpoint = urlsplit(request.query.get("authorization_endpoint", ""))
        # msal leaves the port out of its authority here, so only the host is compared.
        if endpoint.hostname != urlsplit(request.base_url).hostname:
            raise EntraRefusalError(_INVALID_INSTANCE)
        tenant = endpoint.path.lstrip("/").partition("/")[0]
        discovery = f"{request.base_url}/{tenant}/v2.0/.well-known/openid-configuration"
        host = request.base_url.removeprefix("https://")
        return Response.of_json(
            200,
            {
                "tenant_discovery_endpoint": discovery,
                "api-version": "1.1",
                "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
            },
        )

    def _discover_tenant(self, tenant: str, base_url: str) -> Response:
        issuer_tenant = "{tenantid}" if tenant in SHARED_TENANTS else tenant
        root = f"{base_url}/{tenant}"
        return Response.of_json(
            200,
            {
                "issuer": make_issuer(base_url, issuer_tenant),
                "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
                "token_endpoint": f"{root}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{root}/oauth2/v2.0/devicecode",
                "jwks_uri": f"{root}/discovery/v2.0/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "response_modes_supported": ["query", "form_post"],
                "response_types_supported": ["code"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "code_challenge_methods_supported": ["S256"],
            },
        )


def _parse_form(request: Request) -> dict[str, str]:
    try:
        return dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    except UnicodeDecodeError as refused:
        raise EntraRefusalError(PARAMETER_MISSING) from refused
