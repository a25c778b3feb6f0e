"""Hooks for tests: one that is told what to answer."""

from __future__ import annotations

from collections.abc import Callable

from rotator.domain.hook import HookEvent, HookTerms
from rotator.domain.monitoring_errors import HookError


class ScriptedHook:
    """The port Hook: keeps what it is called with. `errors` are raised by the next calls, None lets one pass.

    `fails` says of which events it fails always. `meet` is called before and after it did its work.
    """

    def __init__(
        self, name: str = "restart", events: tuple[str, ...] = ("secret_stored",), *, required: bool = False
    ) -> None:
        self.terms = HookTerms(name, events, required)
        self.done: list[tuple[str, HookEvent]] = []
        self.errors: list[HookError | None] = []
        self.fails: Callable[[HookEvent], HookError | None] = lambda _: None
        self.unusable: HookError | None = None
        self.meet: Callable[[str], None] = lambda _: None
        self.tries = 0

    def check(self) -> None:
        """See the port."""
        if self.unusable is not None:
            raise self.unusable

    def call(self, event: HookEvent, delivery_id: str) -> str:
        """See the port."""
        self.check()
        self.tries += 1
        self.meet("before")
        error = (self.errors.pop(0) if self.errors else None) or self.fails(event)
        if error is not None:
            raise error
        self.done.append((delivery_id, event))
        self.meet("after")
        return "restarted"

    @property
    def ids(self) -> list[str]:
        """The ids of what it did, each time it did it."""
        return [delivery_id for delivery_id, _ in self.done]

    @property
    def heard(self) -> list[tuple[str, str]]:
        """What it did something about: the event, and its subject."""
        return [(event.event, event.subject) for _, event in self.done]
