"""What a vault may ask a token for. The scope comes from the server's challenge, and the server may be anybody's."""

from __future__ import annotations

from rotator.adapters.bearer import VAULT_SCOPES
from rotator.adapters.redaction import redact_text
from rotator.domain.outside import make_harmless
from rotator.errors import DeniedError, FailureKind

_LONGEST_SCOPE = 100


def check_scopes(scopes: tuple[str, ...], owner: str) -> str:
    """Return the one scope, which is Key Vault's. DeniedError for any other: no token leaves for it."""
    scope = " ".join(scopes)
    if scope not in VAULT_SCOPES:
        asked = make_harmless(redact_text(scope))[:_LONGEST_SCOPE] or "nothing"
        raise DeniedError(
            f"the vault asked {owner} for a token for {asked}, not for Key Vault",
            kind=FailureKind.DENIED,
            service="key_vault",
            operation="authenticate",
            code="challenge_refused",
            fix="Check the vault's address in the policy: no vault in Azure's clouds asks for this.",
        )
    return scope
