"""A managed PAT that a listing lacks. One listing proves nothing, and what was said of it ends when it is seen."""

from __future__ import annotations

from dataclasses import replace

from rotator.domain.events.inventory import PatReappeared
from rotator.domain.managed_pat import Hold, Pat
from rotator.engine.claiming import ClaimedPat
from rotator.engine.holds import is_called_missing
from rotator.engine.listing import ServerView
from rotator.engine.planning import is_waiting
from rotator.engine.provenance import check_not_behind
from rotator.errors import NotListedError, PatGoneError


def check_listed(held: ClaimedPat, view: ServerView) -> Pat:
    """Return a PAT that a listing lacked, as a second listing has it.

    PatGoneError when it is proven gone: by its id, or because a look some time ago missed it too. NotListedError
    while nothing is proven. DatabaseBehindError when the vault says that we rotated it ourselves.
    """
    pat = held.pat
    seen = view.look_for(pat.account, pat.organization, pat.authorization_id)
    if seen.pat is not None:
        return seen.pat
    check_not_behind(held)
    was_missed = is_called_missing(pat) and not is_waiting(pat, held.services.clock.now())
    if seen.is_gone or pat.hold is Hold.REVOKED_ELSEWHERE or (was_missed and not seen.is_hidden):
        raise PatGoneError(
            "it was revoked outside rotator: the server no longer lists it as active",
            fix=f"If consumers still need it, `rotator rotate {pat.name}` makes a new one; "
            f"else `rotator inventory forget {pat.name}`.",
        )
    raise NotListedError(
        "the server did not list it as active, which proves nothing yet: it knows the PAT and does not call it revoked",
        fix="Nothing to do: a later run looks again.",
    )


def clear_if_seen(held: ClaimedPat) -> None:
    """Take back what the record says about a PAT that is listed now; another hold stays."""
    pat = held.pat
    if is_called_missing(pat):
        hold = None if pat.hold is Hold.REVOKED_ELSEWHERE else pat.hold
        held.save(replace(pat.healed(), hold=hold), PatReappeared(authorization_id=pat.authorization_id))
