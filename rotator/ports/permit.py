"""Whether a request that changes something may leave now."""

from __future__ import annotations

from collections.abc import Callable

Permit = Callable[[], None]
"""Raises when nothing may be sent any more, because the claim was lost: then that try sends nothing.

Whoever sends asks before each try, after all that it waited for, and once more when the connection stands.
"""


def unclaimed() -> None:
    """The permit of a request that changes what nobody can claim; whoever gives it says why."""
