"""Which organizations and vaults give no answer in time: then a run begins nothing more there, and others go on.

Each question to one that hangs takes a minute, a mint or a write without an answer leaves something to settle.
"""

from __future__ import annotations

import threading

from rotator.domain.managed_pat import ManagedPat
from rotator.engine.claiming import ClaimedPat
from rotator.errors import RemoteError, RotatorError, TransientError

NO_ANSWER = ("connect_timeout", "read_timeout", "total_timeout")


class Silences:
    """The places that gave no answer about one ManagedPat after another, in one run. Safe for threads.

    `most` is for how many in a row: what is at work at the same time fails together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._guard = threading.Lock()
        self._errors: dict[tuple[str, ...], list[RemoteError]] = {}

    def check(self, held: ClaimedPat) -> None:
        """Raise TransientError where nothing is begun any more; what was begun before goes on."""
        if held.has_open_rotation:
            return
        with self._guard:
            silent = [
                found[-1] for place in _list_places(held.pat) if len(found := self._errors.get(place, [])) >= self._most
            ]
        for error in silent:
            raise TransientError(
                f"nothing was begun, because {error.service} gave no answer in time about others before it",
                code=error.code,
                service=error.service,
                operation=error.operation,
                fix="This usually passes by itself: a later run tries again.",
            )

    def note_error(self, pat: ManagedPat, error: RotatorError) -> None:
        """Note what work on a ManagedPat failed with, if that was no answer in time."""
        if not isinstance(error, RemoteError) or error.code not in NO_ANSWER:
            return
        with self._guard:
            for place in _list_places(pat):
                if place[0] == error.service:
                    self._errors.setdefault(place, []).append(error)

    def note_success(self, pat: ManagedPat) -> None:
        """Note that work on a ManagedPat did not fail."""
        with self._guard:
            for place in _list_places(pat):
                self._errors.pop(place, None)


def _list_places(pat: ManagedPat) -> tuple[tuple[str, ...], ...]:
    return ("azure_devops", pat.next_account, pat.organization), ("key_vault", pat.vault)
