"""The token cache of one conversation: MSAL's own, in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

import msal

from rotator.adapters.entra.cache_shape import Content


class MemoryTokenCache(msal.SerializableTokenCache):  # type: ignore[misc]
    """MSAL's cache in memory. `now` gives seconds since the epoch."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._now = now

    def add(self, event: Mapping[str, object], **_: object) -> None:
        """What MSAL calls with each new set of tokens."""
        # MSAL writes `data` to its debug log, codes and client assertions included, and would file the token of a
        # device code sign-in under that code, where no later look-up finds it. Nothing in it is needed.
        super().add({**event, "data": {}}, now=self._now())

    def entries(self) -> Content:
        """Return a copy of everything."""
        content: Content = json.loads(self.serialize())
        return content
