"""The refusals of the Entra stand-in: `error`, `suberror`, AADSTS number, HTTP status and message.

The numbers, and the `error` and status of each, are those that the service was seen to send. The messages are
our own: a client must branch on `error` and `suberror`, never on text.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime

from rotator.sandbox.messages import Request, Response


@dataclass(frozen=True)
class Refusal:
    """One kind of refusal. `claims` is a claims challenge that the client sends back when it asks again."""

    error: str
    number: int
    sentence: str
    suberror: str | None = None
    status: int = 400
    claims: str | None = None


class EntraRefusalError(Exception):
    """A refused token, device code or authorize request; the service turns it into a reply."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"AADSTS{refusal.number}: {refusal.sentence}")
        self.refusal = refusal


def make_claims_challenge() -> str:
    """Make the claims that ask for a stronger sign-in, as JSON text; each tenant has its own policy id."""
    policy_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, "policy.sandbox"))
    return json.dumps({"access_token": {"capolids": {"essential": True, "values": [policy_id]}}})


def make_error_answer(refusal: Refusal, request: Request, now: datetime) -> Response:
    """Make the reply to a refusal, with its trace and correlation ids."""
    trace_id = str(uuid.uuid4())
    correlation_id = request.headers.get("client-request-id") or str(uuid.uuid4())
    timestamp = now.strftime("%Y-%m-%d %H:%M:%SZ")
    description = (
        f"AADSTS{refusal.number}: {refusal.sentence} Trace ID: {trace_id} "
        f"Correlation ID: {correlation_id} Timestamp: {timestamp}"
    )
    body: dict[str, object] = {
        "error": refusal.error,
        "error_description": description,
        "error_codes": [refusal.number],
        "timestamp": timestamp,
        "trace_id": trace_id,
        "correlation_id": correlation_id,
        "error_uri": f"{request.base_url}/error?code={refusal.number}",
    }
    if refusal.suberror is not None:
        body["suberror"] = refusal.suberror
    if refusal.claims is not None:
        body["claims"] = refusal.claims
    headers = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache", "x-ms-request-id": trace_id}
    if refusal.status == 503:
        headers["Retry-After"] = "1"
    return Response.of_json(refusal.status, body, headers)


TRANSIENT = Refusal("temporarily_unavailable", 90033, "The service is busy; try again in a moment.", status=503)
PENDING = Refusal("authorization_pending", 70016, "Nobody has approved or denied this code yet.")
POLLED_TOO_FAST = Refusal("slow_down", 70016, "The client polls faster than the interval that it was given.")
DEVICE_CODE_EXPIRED = Refusal("expired_token", 70020, "The device code was not used in time and has expired.")
DECLINED = Refusal("authorization_declined", 65004, "The user refused this sign-in.")
DEVICE_CODE_UNKNOWN = Refusal("bad_verification_code", 70018, "The device code is unknown.")
CODE_EXPIRED = Refusal("invalid_grant", 70008, "The authorization code has expired; sign in again.", "bad_token")
CODE_REDEEMED = Refusal("invalid_grant", 54005, "The authorization code has already been redeemed.")
CODE_UNKNOWN = Refusal("invalid_grant", 9002313, "The authorization code or refresh token is malformed.")
VERIFIER_WRONG = Refusal("invalid_grant", 501481, "The code_verifier does not match the code_challenge.")
VERIFIER_MISSING = Refusal("invalid_grant", 50148, "The code was requested with PKCE: code_verifier is missing.")
REDIRECT_CHANGED = Refusal("invalid_grant", 500112, "The redirect_uri is not the one that the code was issued for.")
TOKEN_OF_ANOTHER_CLIENT = Refusal(
    "invalid_grant", 700005, "The grant was issued to another application.", "client_mismatch"
)
REFRESH_EXPIRED = Refusal("invalid_grant", 70008, "The refresh token was replaced and has expired.", "bad_token")
IDLE_TOO_LONG = Refusal(
    "invalid_grant", 700082, "The refresh token has expired because nobody used it for 90 days.", "bad_token"
)
REVOKED = Refusal(
    "invalid_grant",
    50173,
    "The sign-in was revoked, perhaps by a password change: sign in again.",
    "bad_token",
)
SIGN_IN_TOO_OLD = Refusal(
    "invalid_grant", 70043, "A sign-in frequency policy ended this sign-in: sign in again.", "token_expired"
)
USER_DISABLED = Refusal("invalid_grant", 50057, "The account of this user is disabled.")
USER_OF_ANOTHER_TENANT = Refusal("invalid_grant", 50020, "This user does not exist in the tenant that was asked.")
MFA_NEEDED = Refusal(
    "invalid_grant",
    50076,
    "A policy asks this user for a second factor.",
    "basic_action",
    claims=make_claims_challenge(),
)
MFA_ENROLLMENT_NEEDED = Refusal(
    "interaction_required",
    50079,
    "This user must register a second factor first.",
    "basic_action",
    claims=make_claims_challenge(),
)
ACCESS_BLOCKED = Refusal(
    "invalid_grant",
    53003,
    "A Conditional Access policy does not allow this sign-in.",
    "message_only",
    claims=make_claims_challenge(),
)
DEVICE_CODE_BLOCKED = Refusal(
    "invalid_grant",
    53003,
    "A Conditional Access policy does not allow sign-in by device code.",
    "message_only",
    claims=make_claims_challenge(),
)
CONSENT_MISSING = Refusal(
    "invalid_grant",
    65001,
    "Neither this user nor an administrator has consented to the application.",
    "consent_required",
)
CLIENT_UNKNOWN = Refusal("unauthorized_client", 700016, "The tenant has no application with this client id.")
SECRET_WRONG = Refusal("invalid_client", 7000215, "The client secret is not a secret of this app.", status=401)
SECRET_EXPIRED = Refusal("invalid_client", 7000222, "The client secret of this app has expired.", status=401)
SECRET_MISSING = Refusal(
    "invalid_client", 7000218, "This application must send client_assertion or client_secret.", status=401
)
SECRET_UNWANTED = Refusal(
    "invalid_client",
    700025,
    "A public client must send neither client_assertion nor client_secret.",
    status=401,
)
ASSERTION_WRONG = Refusal(
    "invalid_client", 700027, "The client assertion is not signed by a certificate of this app.", status=401
)
ASSERTION_NOT_IN_TIME = Refusal(
    "invalid_client", 700024, "The client assertion is not within its valid time.", status=401
)
TENANT_UNKNOWN = Refusal("invalid_request", 90002, "There is no tenant with this name or id.")
TENANT_NEEDED = Refusal("invalid_request", 90130, "An application signs in to one tenant, not to a shared endpoint.")
PARAMETER_MISSING = Refusal("invalid_request", 900144, "A parameter that the request must have is missing.")
GRANT_UNSUPPORTED = Refusal("unsupported_grant_type", 70003, "The app asked for an unknown grant type.")
SCOPE_INVALID = Refusal("invalid_scope", 70011, "The scope is empty, unknown, or mixes several resources.")
RESPONSE_TYPE_UNSUPPORTED = Refusal("unsupported_response_type", 700054, "Only response_type=code is offered.")
REDIRECT_UNKNOWN = Refusal("invalid_request", 50011, "The redirect_uri is not registered for the application.")
CHALLENGE_METHOD_WRONG = Refusal("invalid_request", 501491, "The code_challenge_method must be S256.")
USER_UNKNOWN = Refusal("invalid_grant", 50034, "There is no user with this name in the directory.")
ACCESS_DENIED = Refusal("access_denied", 65004, "The user did not agree to the request.")


def find_refusal(number: int) -> Refusal:
    """Return the refusal with this AADSTS number, or a plain `invalid_grant` if there is no message for it."""
    for value in globals().values():
        if isinstance(value, Refusal) and value.number == number:
            return value
    return Refusal("invalid_grant", number, "The sign-in is refused.")
