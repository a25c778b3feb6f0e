"""The errors of what tells others: metrics, pings, notifications and hooks. The work itself goes on.

    RotatorError                    as in `errors`
      MonitoringError               what monitoring is to hear could not be written or sent
        DeliveryError               a receiver did not take a notification; is_refusal
          HookError                 a hook failed, or cannot be called; output

What holds for all errors holds for these.
"""

from __future__ import annotations

from typing import Unpack

from rotator.errors import RotatorError, Terms


class MonitoringError(RotatorError):
    """Metrics could not be written, or a ping not be sent. The work itself is not affected."""

    code = "monitoring_failed"


class DeliveryError(MonitoringError):
    """A receiver did not take a notification, or nobody knows whether it did. `is_refusal`: it may take others."""

    code = "delivery_failed"

    def __init__(self, message: str, *, is_refusal: bool = False, **terms: Unpack[Terms]) -> None:
        super().__init__(message, **terms)
        self.is_refusal = is_refusal


class HookError(DeliveryError):
    """A hook failed, or cannot be called. `output` is what it printed, cut and without secrets."""

    code = "hook_failed"

    def __init__(self, message: str, *, is_refusal: bool = False, output: str = "", **terms: Unpack[Terms]) -> None:
        super().__init__(message, is_refusal=is_refusal, **terms)
        self.output = output
