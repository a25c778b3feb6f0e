"""`key_vault`: how the vaults are accessed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool

from rotator.settings.fields import PUBLIC_AUTHORITY, Section, ServiceUrl


class KeyVaultSettings(Section):
    """How the vaults are accessed. The policy says which vault a PAT is stored in."""

    credential: Literal["default", "environment", "managed_identity", "workload_identity", "azure_cli", "account"] = (
        Field(
            default="default",
            description="The identity that accesses the vaults: whatever Azure's libraries find (`default`), one kind "
            "of credential, or the user whose PAT it is (`account`).",
        )
    )
    authority: ServiceUrl = Field(default=PUBLIC_AUTHORITY, description="The sign-in service for that identity.")
    instance_discovery: StrictBool = Field(
        default=True, description="As in `entra`: set to `false` for a private authority."
    )
    verify_challenge_resource: StrictBool = Field(
        default=True,
        description="Refuse a vault that asks for a token of another domain. Set to `false` for one outside Azure.",
    )
