"""What Entra's refusals mean, in sentences: what failed, why, and who must do what.

The kind of error follows from `error` and `suberror`; the AADSTS number only chooses better words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rotator.adapters.bearer import VAULT_SCOPES
from rotator.adapters.redaction import redact_text
from rotator.domain.outside import make_harmless
from rotator.errors import SignInRequiredError, TransientError

Answer = Mapping[str, object]

_LONGEST_CODE = 60
_LONGEST_NAME = 113
_LONGEST_SENTENCE = 600

_TRANSIENT_ERRORS = frozenset({"temporarily_unavailable", "server_error"})
_NUMBERS = range(1_000, 100_000_000)
"""Four to eight digits: no gateway's own code is taken for Entra's."""
_TRANSIENT_NUMBERS = frozenset({90006, 90012, 90024, 90033, 90055})


@dataclass(frozen=True)
class Asked:
    """Whose request was refused and what it was for: what the sentences name.

    `authority` is the address without the tenant; `operation` is `refresh_token`, `device_code` or `browser`.
    """

    account: str
    username: str
    client_id: str
    tenant: str
    authority: str
    scope: str
    operation: str

    @property
    def is_login(self) -> bool:
        """Whether a person waits for it: then only that person can try again."""
        return self.operation != "refresh_token"

    @property
    def try_later(self) -> str:
        """The fix when Entra cannot be asked now."""
        if self.is_login:
            return f"Wait a minute, then run `rotator login {self.account}`."
        return "This usually passes by itself; if it lasts, see the service health of Microsoft Entra."

    def words(self) -> dict[str, str]:
        """Return the values for the placeholders in the table."""
        service = "Azure Key Vault" if self.scope in VAULT_SCOPES else "Azure DevOps"
        return {
            **vars(self),
            "service": service,
            "login": f"`rotator login {self.account}`",
            "browser_login": f"`rotator login {self.account} --browser`",
            "consent_url": f"{self.authority}/{self.tenant}/adminconsent?client_id={self.client_id}",
        }


@dataclass(frozen=True)
class Meaning:
    """A row of the table: our code, why (after "account NAME: "), and the fix; both with placeholders, no full stop."""

    code: str
    why: str
    fix: str


_CONSENT = Meaning(
    "consent_missing",
    "nobody has consented that application {client_id} may use {service} for users of tenant {tenant}",
    "Ask an administrator of tenant {tenant} to give application {client_id} the delegated {service} permission "
    "user_impersonation and to consent to it at {consent_url} , then run {login}",
)
_MFA = Meaning(
    "mfa_required",
    "Entra asks {username} for a second factor (MFA)",
    "{username} must sign in again with the second factor: run {login}",
)
_MFA_SETUP = Meaning(
    "mfa_setup_required",
    "{username} has to set up a second factor (MFA) first",
    "{username} must sign in to https://aka.ms/mfasetup once and set it up, then run {login}",
)
_ACCESS = Meaning(
    "conditional_access",
    "a Conditional Access policy of tenant {tenant} does not allow this sign-in",
    "Ask an administrator of tenant {tenant} which Conditional Access policy applies (the sign-in log of {username} "
    "names it) and to exempt {username} or this host from it, then run {login}",
)
_REVOKED = Meaning(
    "sign_in_revoked",
    "the sign-in of {username} was revoked, for example by a password change",
    "{username} must sign in again: run {login}",
)
_IDLE = Meaning(
    "sign_in_idle",
    "the sign-in of {username} has expired: it was not used for too long (usually 90 days)",
    "{username} must sign in again: run {login} (and run rotator at least weekly, so that the sign-in stays in use)",
)
_EXPIRED = Meaning(
    "sign_in_expired", "the sign-in of {username} has expired", "{username} must sign in again: run {login}"
)
_DECLINED = Meaning(
    "sign_in_declined",
    "the person declined the sign-in on the sign-in page",
    "Run {login} (and approve the request on the page)",
)
_CODE = Meaning(
    "device_code_expired",
    "the device code was not entered in time, or was already used",
    "Run {login} (and enter the new code within 15 minutes)",
)
_CODE_BLOCKED = Meaning(
    "device_code_blocked",
    "a policy of tenant {tenant} does not let {username} sign in by device code",
    "{username} must sign in with a browser: run {browser_login} (or ask an administrator of tenant {tenant} to allow "
    "device code sign-in)",
)
_CLIENT_INVALID = Meaning(
    "client_invalid",
    "Entra does not accept the credential of application {client_id}",
    "Put a valid secret or certificate of application {client_id} into client_secret or client_certificate of "
    "account {account}; use the secret's value, not its id",
)
_CLIENT_UNKNOWN = Meaning(
    "client_unknown",
    "tenant {tenant} has no application {client_id}",
    "Correct client_id or tenant of account {account} in the settings",
)

_DECISIVE: dict[str, Meaning] = {
    "authorization_declined": _DECLINED,
    "expired_token": _CODE,
    "code_expired": _CODE,
    "consent_required": _CONSENT,
}
"""Words that leave nothing open: a number beside them, which may be any, changes nothing."""
_BY_NUMBER: dict[int, Meaning] = {
    **dict.fromkeys((65001, 90094, 90095), _CONSENT),
    **dict.fromkeys((50074, 50076, 50078, 50158), _MFA),
    **dict.fromkeys((50072, 50079), _MFA_SETUP),
    **dict.fromkeys((53000, 53001, 53002, 53003, 53004, 530003), _ACCESS),
    **dict.fromkeys((50133, 50173), _REVOKED),
    **dict.fromkeys((70008, 700082, 700084), _IDLE),
    **dict.fromkeys((70019, 70020, 70018), _CODE),
    65004: _DECLINED,
    70043: Meaning(
        "sign_in_frequency",
        "a sign-in frequency policy of tenant {tenant} ended the sign-in of {username}",
        "{username} must sign in again: run {login} (and ask an administrator of tenant {tenant} for a longer sign-in "
        "frequency, or this will come back)",
    ),
    50057: Meaning(
        "user_disabled",
        "the user {username} is disabled",
        "Ask an administrator of tenant {tenant} to enable {username}, then run {login}",
    ),
    50055: Meaning(
        "password_expired",
        "the password of {username} has expired",
        "{username} must change the password, then run {login}",
    ),
    50105: Meaning(
        "user_not_assigned",
        "{username} is not assigned to application {client_id}",
        "Ask an administrator of tenant {tenant} to assign {username} to application {client_id}, then run {login}",
    ),
    50020: Meaning(
        "user_unknown",
        "the user does not exist in tenant {tenant}",
        "Correct tenant or username of account {account}, or have the user invited, then run {login}",
    ),
    50034: Meaning(
        "user_unknown",
        "tenant {tenant} has no user {username}: it was deleted, or its name is another one",
        "If {username} has left, move each of its PATs to the account of somebody else: `rotator inventory move NAME "
        "--account OTHER`. If the name has changed, correct username of account {account}, then run {login}",
    ),
    7000222: Meaning(
        "client_secret_expired",
        "the client secret of application {client_id} has expired",
        "Ask an owner of application {client_id} for a new client secret and put it where client_secret of account "
        "{account} points",
    ),
    7000215: _CLIENT_INVALID,
    700027: _CLIENT_INVALID,
    700024: Meaning(
        "client_assertion_time",
        "the certificate's assertion is not valid at this time: the clock of this host is wrong",
        "Set the clock of this host (NTP)",
    ),
    7000218: Meaning(
        "client_credential_missing",
        "application {client_id} is a confidential client, but the settings give it no credential",
        "Set client_secret or client_certificate of account {account}, or allow public client flows in the app "
        "registration",
    ),
    700025: Meaning(
        "client_credential_unwanted",
        "application {client_id} is a public client and must not send a credential",
        "Remove client_secret and client_certificate of account {account} from the settings",
    ),
    700016: _CLIENT_UNKNOWN,
    90002: Meaning(
        "tenant_unknown", "there is no tenant {tenant}", "Correct tenant of account {account} in the settings"
    ),
    50011: Meaning(
        "redirect_unregistered",
        "application {client_id} has no redirect address http://localhost",
        "Add http://localhost under 'Mobile and desktop applications' in the app registration {client_id}, "
        "then run {login}",
    ),
    500011: Meaning(
        "service_unknown",
        "tenant {tenant} does not know {service}",
        "Connect {service} to tenant {tenant}, or correct tenant of account {account}",
    ),
}
_BY_SUBERROR: dict[str, Meaning] = {
    "consent_required": _CONSENT,
    "basic_action": _MFA,
    "additional_action": _MFA,
    "message_only": _ACCESS,
    "user_password_expired": _REVOKED,
    "bad_token": _EXPIRED,
    "token_expired": _EXPIRED,
    "client_mismatch": _EXPIRED,
    "device_authentication_failed": _ACCESS,
    "protection_policy_required": _ACCESS,
}
_BY_ERROR: dict[str, Meaning] = {
    "access_denied": _DECLINED,
    "bad_verification_code": _CODE,
    "invalid_client": _CLIENT_INVALID,
    "unauthorized_client": _CLIENT_UNKNOWN,
    "invalid_instance": Meaning(
        "authority_unknown",
        "Microsoft does not know the authority {authority}",
        "Correct entra.authority, or set entra.instance_discovery to false if the address is right",
    ),
    "invalid_grant": _EXPIRED,
}
_OTHERS = frozenset(
    {
        *("interaction_required", "login_required", "account_selection_required", "invalid_request", "invalid_scope"),
        *("invalid_resource", "invalid_tenant", "unsupported_grant_type", "unsupported_response_type"),
    }
)
"""Further errors of sign-in services."""
_UNKNOWN = Meaning(
    "sign_in_refused",
    "Entra refused the sign-in of {username}: {said}",
    "Run {login} (if it is refused again, show this line to an administrator of tenant {tenant})",
)


def make_refusal(answer: Answer, asked: Asked) -> SignInRequiredError | TransientError:
    """Return the error for an answer with `error` in it. It repeats only numbers and ids of the answer, and Entra's own
    sentence where we have none.
    """
    error, number = str(answer.get("error", "")), find_number(answer)
    trace = f"AADSTS{number}" if number else make_harmless(redact_text(error))[:_LONGEST_CODE] or "no error code"
    if correlation := answer.get("correlation_id"):
        trace += f", correlation id {make_harmless(redact_text(str(correlation)))[:40]}"
    if error in _TRANSIENT_ERRORS or (number in _TRANSIENT_NUMBERS and error not in _DECISIVE):
        return TransientError(
            f"Entra is busy for the moment ({trace})",
            service="entra",
            operation=asked.operation,
            code="entra_busy",
            fix=asked.try_later,
        )
    if number is None and not _is_known(answer, error):
        return TransientError(
            f"{asked.authority} sent an unexpected response",
            service="entra",
            operation=asked.operation,
            code="entra_unexpected",
            fix="Check entra.authority in the settings, and whether a proxy stands between this host and Entra.",
        )
    meaning = _find_meaning(answer, error, number, asked)
    words = {**asked.words(), "said": _say(answer)}
    return SignInRequiredError(
        f"{meaning.why.format(**words)} ({trace})",
        account=asked.account,
        code=meaning.code,
        fix=f"{meaning.fix.format(**words)}.",
    )


def make_not_signed_in(asked: Asked, damage: str | None) -> SignInRequiredError:
    """Return the error when nobody is signed in; `damage` says why if the token cache was lost."""
    why = f": {damage}" if damage else ""
    return SignInRequiredError(
        f"nobody is signed in{why}",
        account=asked.account,
        code="not_signed_in",
        fix=f"{asked.username} must sign in: run `rotator login {asked.account}`.",
    )


def make_wrong_user(asked: Asked, found: str) -> SignInRequiredError:
    """Return the error when somebody other than the user in the settings signed in."""
    return SignInRequiredError(
        f"{make_harmless(redact_text(found))[:_LONGEST_NAME]} signed in, but the account is "
        f"for {asked.username}; nothing was kept",
        account=asked.account,
        code="wrong_user",
        fix=f"Run `rotator login {asked.account}` (and choose {asked.username} on the sign-in page), "
        f"or correct username of account {asked.account} in the settings.",
    )


def make_no_refresh_token(asked: Asked) -> SignInRequiredError:
    """Return the error for a sign-in without a refresh token: in an hour it would be over."""
    words = asked.words()
    return SignInRequiredError(
        f"Entra sent no refresh token, so nothing was kept: the sign-in of {asked.username} could not be kept fresh",
        account=asked.account,
        code="no_refresh_token",
        fix="Ask an administrator of tenant {tenant} whether application {client_id} may have offline_access, and "
        "which policy keeps refresh tokens from it, then run {login}.".format(**words),
    )


def make_not_a_user(asked: Asked) -> SignInRequiredError:
    """Return the error for a token that is an application's own."""
    return SignInRequiredError(
        "Entra answered for an application, not for a user; service principals and managed identities cannot own PATs",
        account=asked.account,
        code="service_principal",
        fix=f"{asked.username} must sign in as a person: run `rotator login {asked.account}`.",
    )


def find_number(answer: Answer) -> int | None:
    """Return the AADSTS number of an answer, from `error_codes` or, where a redirect has none, from its text."""
    codes = answer.get("error_codes")
    if isinstance(codes, list) and codes and isinstance(codes[0], int) and codes[0] in _NUMBERS:
        return codes[0]
    found = re.search(r"AADSTS(\d{4,8})", str(answer.get("error_description", "")))
    return int(found.group(1)) if found else None


def _is_known(answer: Answer, error: str) -> bool:
    """Whether Entra can have said this: whoever stands in between has errors in JSON as well, and ends no sign-in."""
    return error in _DECISIVE or error in _BY_ERROR or error in _OTHERS or _find_suberror(answer) in _BY_SUBERROR


def _find_suberror(answer: Answer) -> str:
    return str(answer.get("suberror") or answer.get("error_subcode") or "")


def _find_meaning(answer: Answer, error: str, number: int | None, asked: Asked) -> Meaning:
    if error in _DECISIVE:
        return _DECISIVE[error]
    found = _BY_NUMBER.get(number or 0) or _BY_SUBERROR.get(_find_suberror(answer))
    if found is None and error == "invalid_grant" and asked.operation != "refresh_token":
        return _UNKNOWN
    found = found or _BY_ERROR.get(error) or _UNKNOWN
    if asked.operation == "device_code" and found in (_ACCESS, _MFA):
        # Policies often forbid only this way, and the second factor of a device code sign-in may not count.
        return _CODE_BLOCKED if found is _ACCESS else _MFA_BY_BROWSER
    if asked.operation != "refresh_token" and found is _IDLE:
        return _CODE
    return found


_MFA_BY_BROWSER = Meaning(_MFA.code, _MFA.why, "{username} must sign in with a browser: run {browser_login}")


def _say(answer: Answer) -> str:
    """Entra's sentence without its ids and times."""
    text = str(answer.get("error_description") or answer.get("error") or "no reason given")
    # Redacted before it is cut: half a secret has no shape.
    return make_harmless(redact_text(re.split(r"\s*Trace ID:", " ".join(text.split()))[0]))[:_LONGEST_SENTENCE]
