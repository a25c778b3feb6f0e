"""What a person wants of a PAT's next one, an update or a move, and when it is given up: no PAT may expire for it."""

from __future__ import annotations

from rotator.domain.events.inventory import UpdateDropped
from rotator.domain.limit import find_longest
from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.policy import Verdict
from rotator.domain.rotation import RotationState
from rotator.engine.claiming import ClaimedPat
from rotator.engine.context import RunContext, RunMode
from rotator.engine.holds import find_hold
from rotator.engine.in_force import put_in_force
from rotator.engine.listing import CANNOT_WORK, ServerView
from rotator.errors import RotatorError, SignInRequiredError


def is_refused_update(held: ClaimedPat, error: RotatorError) -> bool:
    """Whether only what a person wanted was refused: the PAT is as well as before, and must not expire for it."""
    is_frozen = held.pat.blocked and held.pat.last_failure == Failure.of(error)
    return held.pat.is_update_wanted and find_hold(error) is None and not is_frozen


def drop_wish(held: ClaimedPat, error: RotatorError) -> None:
    """Give up what was wanted, and say why."""
    held.save(held.pat.as_before(), UpdateDropped(code=error.code, message=error.message))


def drop_move(held: ClaimedPat, pat: ManagedPat, error: RotatorError) -> None:
    """Give up the move that this record showed, as its account cannot work; not one that is being made."""
    is_begun = held.has_open_rotation and held.rotation.state is not RotationState.PLANNED
    if held.pat.wanted_account == pat.wanted_account and not is_begun:
        drop_wish(held, error)


def prove_reachable(run: RunContext, view: ServerView, pat: ManagedPat) -> RotatorError | None:
    """Raise what keeps the account that is to work for this PAT now from working.

    What keeps the one that it is to move to is returned where the move is to be given up for it, and the PAT's own
    account can work.
    """
    try:
        view.prove_reachable(pat.next_account, pat.organization)
    except CANNOT_WORK as error:
        if not _ends_move(run, pat, error) or not view.can_work(pat.account, pat.organization):
            raise
        return error
    return None


def _ends_move(run: RunContext, pat: ManagedPat, error: RotatorError) -> bool:
    """Whether a move is given up: a sign-in is waited for until the PAT is to be rotated by its own rule."""
    if pat.wanted_account is None or run.mode is RunMode.RECOVER:
        return False
    if not isinstance(error, SignInRequiredError):
        return True
    now, before = run.services.clock.now(), pat.as_before()
    with run.services.database.read() as reading:
        policy, longest = put_in_force(reading, run.policy), find_longest(reading.limits.load(), before, now)
    decision = policy.decide(before, now=now, longest=longest)
    return decision.verdict is Verdict.DUE and decision.held_back is None
