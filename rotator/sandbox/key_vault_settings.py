"""What a control document may set in the Key Vault stand-in, besides the fields of the World's vaults.

```
{"throttled_requests": 2,          the next authorized requests get 429
 "retry_after_seconds": 1,         what their Retry-After says
 "rbac_vaults": ["contoso-kv"],    vaults whose refusals are ForbiddenByRbac
 "authority_url": "https://...",   what the challenge names
 "resource": "https://..."}        what the challenge wants a token for
```
Every key is optional.
"""

from __future__ import annotations

from collections.abc import Mapping

from rotator.sandbox.key_vault_access import KeyVaultState
from rotator.sandbox.world import World


def configure_key_vault(world: World, state: KeyVaultState, document: Mapping[str, object]) -> None:
    """Apply all of a control document, or raise ValueError and apply nothing if a part is wrong."""
    changes: dict[str, object] = {}
    for name, value in document.items():
        if name in ("throttled_requests", "retry_after_seconds"):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"{name}: expected a whole number, not negative")
            changes[name] = value
        elif name in ("authority_url", "resource"):
            if not isinstance(value, str):
                raise ValueError(f"{name}: expected a text")
            changes[name] = value.rstrip("/")
        elif name == "rbac_vaults":
            if not isinstance(value, list | tuple) or not set(value) <= world.vaults.keys():
                raise ValueError(f"{name}: expected a list of vault names")
            changes[name] = set(value)
        else:
            raise ValueError(f"unknown setting {name!r}")
    for name, value in changes.items():
        setattr(state, name, value)
