"""`key_vault`: how the vaults are reached."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool

from rotator.settings.fields import PUBLIC_AUTHORITY, Section, ServiceUrl


class KeyVaultSettings(Section):
    """How the vaults are reached. Which vault a PAT goes to is the policy's matter."""

    credential: Literal["default", "environment", "managed_identity", "workload_identity", "azure_cli", "account"] = (
        Field(
            default="default",
            description="Who writes to the vault: what Azure's libraries find (`default`), one kind of credential, "
            "or the signed-in user of the PAT (`account`).",
        )
    )
    authority: ServiceUrl = Field(
        default=PUBLIC_AUTHORITY, description="The sign-in service for the vault's credential."
    )
    instance_discovery: StrictBool = Field(default=True, description="As in `entra`.")
    verify_challenge_resource: StrictBool = Field(
        default=True,
        description="Refuse a vault whose challenge names another domain. Off for a vault outside of Azure.",
    )
