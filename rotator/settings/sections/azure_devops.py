"""`azure_devops`: the services that PATs belong to."""

from __future__ import annotations

from pydantic import Field, StrictInt

from rotator.settings.fields import Section, ServiceUrl, Text


class AzureDevOpsSettings(Section):
    """The Azure DevOps services."""

    identity_url: ServiceUrl = Field(
        default="https://vssps.dev.azure.com", description="The service that creates and revokes PATs."
    )
    core_url: ServiceUrl = Field(
        default="https://dev.azure.com", description="The service that a new PAT must sign in to before it is stored."
    )
    audit_url: ServiceUrl = Field(
        default="https://auditservice.dev.azure.com",
        description="The service that keeps Azure DevOps' own audit log. Only `rotator audit reconcile` and the job "
        "`audit_reconcile` ask it.",
    )
    api_version: Text = Field(default="7.1-preview.1", description="The version of the PAT API.")
    max_parallel: StrictInt = Field(default=8, ge=1, le=64, description="How many PATs are processed at the same time.")
