"""A lock on a file, between threads and between processes."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType

from rotator.adapters.disk import choose_fix
from rotator.adapters.ownership import open_lock
from rotator.errors import RotatorError, TransientError

_PAUSE_SECONDS = 0.02


class FileLock:
    """Held by one thread of one process at a time; the thread that holds it may take it again.

    `guarded` is the file that it is for: made by root, the lock's file goes to whoever owns that one, or its folder.
    The kernel releases it when its process dies, so a kill leaves no lock. Entering raises TransientError
    `token_cache_locked` after `patience`: the holder may be frozen, and we must not freeze with it. `pause` waits some
    seconds between two tries, and may raise.
    """

    def __init__(
        self,
        path: Path,
        guarded: Path,
        *,
        patience: timedelta = timedelta(seconds=30),
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path, self._guarded = path, guarded
        self._pause = pause
        self._patience = patience
        self._threads = threading.RLock()
        self._depth = 0
        self._descriptor = -1

    def __enter__(self) -> None:
        deadline = time.monotonic() + self._patience.total_seconds()
        if not self._threads.acquire(timeout=self._patience.total_seconds()):
            raise self._refusal()
        try:
            if self._depth == 0:
                self._descriptor = self._lock_file(deadline)
        except BaseException:
            self._threads.release()
            raise
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            os.close(self._descriptor)
        self._threads.release()

    def _lock_file(self, deadline: float) -> int:
        try:
            descriptor = open_lock(self._path, self._guarded)
        except OSError as error:
            raise RotatorError(
                f"the lock file {self._path} cannot be opened: {error.strerror}",
                code="token_cache_unwritable",
                fix=choose_fix(
                    error,
                    self._path,
                    "Create the folder of token_cache.path and make it writable for the user that runs rotator.",
                ),
            ) from error
        try:
            while not _try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise self._refusal()
                self._pause(_PAUSE_SECONDS)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _refusal(self) -> TransientError:
        return TransientError(
            f"{self._path} has been locked for more than {self._patience.total_seconds():.0f} seconds",
            service="entra",
            operation="lock_token_cache",
            code="token_cache_locked",
            fix="Wait for the other rotator process, or end it if it hangs.",
        )


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
