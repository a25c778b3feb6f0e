"""The audit log that Azure DevOps keeps itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from rotator.domain.service_log import ServiceLogRead


class ServiceLog(Protocol):
    """The audit logs of organizations, read with an account's sign-in."""

    def fetch(
        self, account: str, organization: str, since: datetime, until: datetime, tell: Callable[[int], None]
    ) -> ServiceLogRead:
        """Return what the log of an organization says of PATs in a period: all pages, or an error, never a part.

        `tell` is called after each page with the number of entries so far. DeniedError when the user may not read the
        log; SignInRequiredError, RejectedError and TransientError as in PatService.
        """
