"""The hooks, as the settings describe them: commands and webhooks that are called when something happens."""

from __future__ import annotations

from typing import Protocol

from rotator.domain.hook import HookEvent, HookTerms

HOOK_UNUSABLE = "hook_unusable"
"""The code of what no repeat fixes: the command does not exist, or may not be run."""


class Hook(Protocol):
    """Calls one hook."""

    @property
    def terms(self) -> HookTerms:
        """Its name, and when it is called."""

    def check(self) -> None:
        """Find out, without calling it, whether it can be called at all. HookError `HOOK_UNUSABLE` if not."""

    def call(self, event: HookEvent, delivery_id: str) -> str:
        """Call it, and return what it printed or answered: cut, and without secrets.

        HookError when it failed, or nobody knows whether it did: then it is called again with the same id. It is ended
        when it takes too long, and when the process is to stop: then StoppedError.
        """
