"""`key_vault`: how the vaults are accessed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool, ValidationInfo, field_validator

from rotator.settings.fields import PUBLIC_AUTHORITY, Section, ServiceUrl, Text, is_uuid


class KeyVaultSettings(Section):
    """How the vaults are accessed. The policy says which vault a PAT is stored in."""

    credential: Literal["default", "environment", "managed_identity", "workload_identity", "azure_cli", "account"] = (
        Field(
            default="default",
            description="The identity that accesses the vaults: whatever Azure's libraries find (`default`), one kind "
            "of credential, or the user whose PAT it is (`account`).",
        )
    )
    client_id: Text | None = Field(
        default=None,
        description="The client id of a user-assigned identity, for `managed_identity`, `workload_identity` and "
        "`default`. Without it, the environment variable `AZURE_CLIENT_ID` names one.",
        examples=["0b7f41c9-58d3-4c0e-b6a1-2e9d8c7f6a50"],
    )
    authority: ServiceUrl = Field(default=PUBLIC_AUTHORITY, description="The sign-in service for that identity.")
    instance_discovery: StrictBool = Field(
        default=True, description="As in `entra`: set to `false` for a private authority."
    )
    verify_challenge_resource: StrictBool = Field(
        default=True,
        description="Refuse a vault that asks for a token of another domain. Set to `false` for one outside Azure.",
    )

    @field_validator("client_id")
    @classmethod
    def _check_client_id(cls, value: str | None, info: ValidationInfo) -> str | None:
        credential = info.data.get("credential", "default")
        if value is not None and not is_uuid(value):
            raise ValueError(f'"{value}" must be a client id, such as 0b7f41c9-58d3-4c0e-b6a1-2e9d8c7f6a50')
        if value is not None and credential not in ("default", "managed_identity", "workload_identity"):
            raise ValueError(f"cannot be used with credential: {credential}")
        return value
