"""The log lines of a command that its report may tell in words: nothing is said twice."""

from __future__ import annotations

import threading
from collections.abc import Collection

from rotator.domain.events import hooks, inventory, places, revocations, rotations, service_log
from rotator.domain.events.event import Event
from rotator.engine.report import OutcomeKind, OutcomeReason, RunReport
from rotator.ports.progress import Progress

_SAID = (
    places.SignInLapsed,
    places.AccountDown,
    places.OrganizationDown,
    places.VaultDown,
    places.ClockDoubted,
    rotations.MintUnanswered,
    rotations.MintAnswerDoubted,
    rotations.RotationAbandoned,
    rotations.RotationFailed,
    rotations.RotationBlocked,
    rotations.RotationFrozen,
    rotations.PatVanished,
    revocations.RevocationFailed,
    hooks.HookFailed,
    inventory.AllPaused,
    service_log.LeakReported,
    service_log.OutsideChangeFound,
    service_log.OwnChangesUnlisted,
)
"""What a report tells of its subject: a failure with the reason and the fix, or what a person asked for."""

_COUNTED = (rotations.ExpiryForeseen, rotations.RotationBlocked)
"""What the sum of a run counts: PATs that wait for a person."""


class HeldLog:
    """The port Progress: holds back what the report may tell, until it is known whether it does."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._held: list[tuple[Event, str]] | None = []
        self._lock = threading.Lock()

    def __call__(self, event: Event, subject: str, /) -> None:
        """See the port."""
        with self._lock:
            if self._held is not None and isinstance(event, _SAID + _COUNTED):
                self._held.append((event, subject))
                return
        self._progress(event, subject)

    def release(
        self,
        report: RunReport | None = None,
        *,
        told: Collection[str] = (),
        is_skewed: bool = False,
        is_counted: bool = False,
    ) -> None:
        """Log what was held back, but for what the report tells. From now on nothing is held back.

        `told`: the subjects whose failure was shown before. `is_skewed`: the error that ends the run says that a clock
        is wrong. `is_counted`: a person reads the sum that counts who waits for one.
        """
        failures = () if report is None else report.of_kind(OutcomeKind.FAILED, OutcomeKind.BLOCKED)
        said = set(told) | {subject for outcome in failures for subject in (outcome.name, outcome.place)}
        kinds: tuple[type[Event], ...] = (places.ClockDoubted,) if is_skewed else ()
        if any(outcome.reason is OutcomeReason.HOOK_FAILED for outcome in failures):
            kinds += (hooks.HookFailed,)
        if is_counted:
            kinds += _COUNTED
        with self._lock:
            held, self._held = self._held or [], None
        for event, subject in held:
            is_said = isinstance(event, _SAID) and subject in said
            if not is_said and not isinstance(event, kinds):
                self._progress(event, subject)
