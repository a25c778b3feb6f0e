"""The audit logs that Azure DevOps keeps itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rotator.adapters.azure_devops.service_log import AzureDevOpsServiceLog
    from rotator.wiring.installation import Installation


def make_service_log(installation: Installation) -> AzureDevOpsServiceLog:
    """Return what reads them; the caller closes it."""
    from rotator.adapters.azure_devops.service_log import AzureDevOpsServiceLog
    from rotator.adapters.azure_devops.throttle import SharedHolds

    return AzureDevOpsServiceLog(
        installation.settings.azure_devops.audit_url,
        installation.entra_sign_in,
        installation.make_http("azure_devops"),
        installation.clock,
        installation.boot_clock,
        installation.stop,
        shared=SharedHolds(installation.database, installation.boot_clock),
    )
