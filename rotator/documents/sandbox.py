"""`rotator sandbox`: the stand-ins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from rotator.documents.document import SCHEMA_VERSION, Document


class SandboxReadyDocument(Document):
    """The one line of `rotator sandbox up`, when all servers answer. The sandbox makes it."""

    entra_url: Annotated[str, "Address of the stand-in for Microsoft Entra."]
    azure_devops_url: Annotated[str, "Address of the stand-in for Azure DevOps."]
    key_vault_url: Annotated[str, "Address of the stand-in for Key Vault."]
    ca_path: Annotated[str, "File with the certificate authority of the servers."]
    config_path: Annotated[str, "Settings file for these servers."]
    policy_path: Annotated[str, "Policy file beside it."]
    device_login_url: Annotated[str, "Page on which a person enters a device code."]
    account: Annotated[str, "Account in the settings."]
    username: Annotated[str, "User to sign in as."]
    organization: Annotated[str, "Organization that has PATs."]


class DemoDocument(Document):
    """What the demo showed."""

    rotated: Annotated[list[str], "Names of the PATs that were rotated."]
    verified: Annotated[bool, "Whether all went as told: true, or the demo fails."]


def make_demo_document(rotated: Iterable[str]) -> DemoDocument:
    """Say that the demo went as described."""
    return {"schema_version": SCHEMA_VERSION, "rotated": list(rotated), "verified": True}
