"""Keeps a path that is a secret out of the log: at its debug level urllib3 writes down what it asks for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Hiding(threading.local):
    """Whether this thread sends a request whose path is a secret."""

    is_on = False


_hiding = _Hiding()


class _PathFilter(logging.Filter):
    """Keeps out of the log what the library says of a request whose path is a secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged."""
        return not _hiding.is_on


_filter = _PathFilter()


@contextmanager
def hide_paths(is_wanted: bool) -> Iterator[None]:
    """Keep the library from logging what this thread sends inside, if that is wanted."""
    before, _hiding.is_on = _hiding.is_on, is_wanted
    logging.getLogger("urllib3.connectionpool").addFilter(_filter)  # adding it again changes nothing
    try:
        yield
    finally:
        _hiding.is_on = before
