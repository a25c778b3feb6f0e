"""Why a PAT waits for a person, by its row of `status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from rotator.domain.cases import REPLACED_BY_HAND, advise_replacement
from rotator.domain.managed_pat import Failure
from rotator.domain.next_step import NextAction
from rotator.engine.status import PatState, PatStatus


class Need(StrEnum):
    """Why a PAT waits for a person, in the words that its count is said with."""

    REPLACEMENT = "to replace by hand"
    SIGN_IN = "without a sign-in"
    EXPIRED = "expired"
    BLOCKED = "blocked"
    LEFT_BEHIND = "left behind"


def find_need(row: PatStatus) -> Need | None:
    """Return why a PAT waits for a person; None for what passes by itself, is tried again, or was paused by one."""
    if row.by_hand and row.next_action is NextAction.REPLACE_BY_HAND:
        return Need.REPLACEMENT
    if row.needs_sign_in:
        return Need.SIGN_IN
    if row.state is PatState.UNTRACKED:
        is_left = row.next_action is NextAction.NONE and row.last_error is not None
        return Need.LEFT_BEHIND if is_left else None
    return {PatState.EXPIRED: Need.EXPIRED, PatState.BLOCKED: Need.BLOCKED}.get(row.state)


def explain_replacement(row: PatStatus) -> Failure:
    """Say how a person replaces a PAT that runs leave to one; the runbook says it too."""
    advice = advise_replacement(has_vault=bool(row.vault)).name_in([row.name])
    meaning, _, how = advice.reasons[REPLACED_BY_HAND].partition(". ")
    return Failure(REPLACED_BY_HAND, f"{meaning[0].lower()}{meaning[1:]}", how)


def count_needs(rows: Iterable[PatStatus]) -> dict[Need, int]:
    """Count the PATs that wait for a person, by why: what `status`, `once` and the digest all say."""
    found = Counter(map(find_need, rows))
    return {need: found[need] for need in Need if found[need]}
