"""The permit of the request that a thread is about to send, for the sessions and connections that send it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rotator.errors import InternalError
from rotator.ports.permit import Permit

_HARMLESS = frozenset({"GET", "HEAD"})


class _Given(threading.local):
    """This thread's permit, if it has one."""

    permit: Permit | None = None


_given = _Given()


@contextmanager
def permitted(permit: Permit | None) -> Iterator[None]:
    """Have `permit` asked before each request that this thread sends inside."""
    before, _given.permit = _given.permit, permit
    try:
        yield
    finally:
        _given.permit = before


def ask_permit() -> None:
    """Raise what the permit raises that was given for this thread's request, if one was."""
    if _given.permit is not None:
        _given.permit()


def check_permit_given(method: str | None) -> None:
    """InternalError when no permit was given for a request that may change something: nobody may forget one."""
    if method not in _HARMLESS and _given.permit is None:
        raise InternalError("a request that changes something has no permit; nothing was sent")
