"""What the token administrators of organizations may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rotator.adapters.azure_devops.token_admin import AzureDevOpsTokenAdmin
    from rotator.wiring.installation import Installation


def make_token_admin(installation: Installation) -> AzureDevOpsTokenAdmin:
    """Return what does it; the caller closes it."""
    from rotator.adapters.azure_devops.throttle import SharedHolds
    from rotator.adapters.azure_devops.token_admin import AzureDevOpsTokenAdmin

    return AzureDevOpsTokenAdmin(
        installation.settings.azure_devops.identity_url,
        installation.entra_sign_in,
        installation.make_http("azure_devops"),
        installation.clock,
        installation.boot_clock,
        installation.stop,
        shared=SharedHolds(installation.database, installation.boot_clock),
    )
