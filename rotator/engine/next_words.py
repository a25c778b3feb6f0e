"""What comes next for a PAT, in the words of `rotator status` and of the status page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from rotator.domain.next_step import ACTION_WORDS, BY_HAND, NextAction
from rotator.domain.rotation import RotationState
from rotator.domain.words import say_in
from rotator.engine.status import PatStatus


@dataclass(frozen=True)
class Postponed:
    """What `max_rotations_per_hour` postpones, by name, and how many it allows."""

    names: frozenset[str] = frozenset()
    per_hour: int = 0


NONE_POSTPONED = Postponed()
_AT_WORK = {
    RotationState.MINTING: "a run waits for its new PAT",
    RotationState.MINTED: "a run proves its new PAT",
    RotationState.STORING: "a run waits for its vault",
    RotationState.ABANDONING: "a run revokes its unused new PAT",
    RotationState.RETIRING: "a run revokes its old PAT",
}


def find_postponed(rows: Iterable[PatStatus], places: int, per_hour: int, now: datetime) -> Postponed:
    """Find those of all PATs that are due, and that a run would not begin now: those that expire last.

    `places`: how many rotations may still begin now, of those `per_hour`.
    """
    due = [row for row in rows if row.next_action is NextAction.ROTATE and (row.next_at or now) <= now]
    due.sort(key=lambda row: (row.expires_at, row.name))
    return Postponed(frozenset(row.name for row in due[max(0, places) :]), per_hour)


def say_next(row: PatStatus, now: datetime, postponed: Postponed = NONE_POSTPONED, name: str | None = None) -> str:
    """Say what a run does next with a PAT, and when; `now` is left out where a person has to do it.

    Empty: there is nothing to do. `name`: what to call it, where it is not called by its own.
    """
    if row.name in postponed.names:
        return f"postponed: limit of {postponed.per_hour} an hour"
    if row.at_work is not None and not row.needs_sign_in:
        return _AT_WORK.get(row.at_work, "a run rotates it")
    said = ACTION_WORDS.get(row.next_action)
    if said is None:
        if row.waits_for_resume:
            return f"after resume {row.name if name is None else name}"
        return "after resume --all" if row.waits_for_all else ""
    if row.next_action is NextAction.ROTATE and not row.authorization_id:
        said = "create"
    if row.next_action is NextAction.RETIRE and row.revoke_after is None:
        said = "end overlap"  # its hook has not succeeded, or a person decides about the old PAT
    if row.signed_out and row.next_action is NextAction.REPLACE_BY_HAND:
        said += ", sign in"
    if row.next_at is not None and row.next_at > now:
        if row.next_action is NextAction.SETTLE:
            return f"waits until {row.next_at.astimezone(UTC):%H:%M}Z: a lost request may still take effect"
        return f"{said} {say_in(row.next_at, now)}"
    return said if row.next_action in BY_HAND else f"{said} at the next run"
