"""PATs that are adopted again: managed already, and a look at what their secrets hold confirms what may be replaced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rotator.domain.events.inventory import SecretConfirmed
from rotator.domain.events.rotations import FailureCleared
from rotator.domain.managed_pat import Failure, Hold, ManagedPat
from rotator.domain.refusal import Refusal, RefusalKind
from rotator.domain.sight import Holding, Sight
from rotator.engine.choices import Choice
from rotator.engine.claiming import check_asked, claimed
from rotator.engine.context import RunContext
from rotator.engine.listing import ServerView
from rotator.engine.replacing import look_at_secret
from rotator.errors import FailureKind, RotatorError


@dataclass(frozen=True)
class Managed:
    """A PAT that was asked for and is managed already. `confirms` is the version that a person confirms by that."""

    record: ManagedPat
    sight: Sight
    confirms: str | None = None


def find_managed(records: Iterable[ManagedPat], reference: str) -> ManagedPat | None:
    """Return the one record that has this authorization id, handle or display name."""
    found = [pat for pat in records if reference in (pat.authorization_id, pat.name, pat.display_name)]
    by_id = [pat for pat in found if pat.authorization_id == reference]
    chosen = by_id or found
    return chosen[0] if len(chosen) == 1 else None


def look_again(run: RunContext, view: ServerView, pat: ManagedPat, choice: Choice) -> Managed | Refusal:
    """Look at the secret of a record. Nothing in a secret that was ours is confirmed without `replace_foreign`."""
    identifier = pat.authorization_id
    if choice.name not in (None, pat.name):
        return Refusal(RefusalKind.MANAGED, identifier, pat.name)
    if not choice.is_about(pat.account, pat.organization):
        return Refusal(RefusalKind.MISPLACED, identifier, organizations=(f"{pat.account}/{pat.organization}",))
    wanted = replace(pat, vault=choice.vault or pat.vault, secret_name=choice.secret_name or pat.secret_name)
    if wanted.place != pat.place:
        return Refusal(RefusalKind.ELSEWHERE, identifier, pat.name, vault=pat.vault, secret_name=pat.secret_name)
    try:
        sight = look_at_secret(run, pat, view.fetch_identity(pat.account, pat.organization))
    except RotatorError as error:
        return Refusal(RefusalKind.UNREADABLE, identifier, failure=Failure.of(error))
    was_ours = pat.secret_version is not None or pat.hold is Hold.FOREIGN_WRITE
    refusal = None if was_ours else refuse_sight(pat, sight, choice)
    if refusal is not None:
        return refusal
    may_confirm = sight.needs_confirmation and (choice.replace_foreign or not was_ours)
    is_news = sight.version != pat.confirmed_version or _is_in_the_way(pat)
    return Managed(pat, sight, sight.version if may_confirm and is_news else None)


def refuse_sight(pat: ManagedPat, sight: Sight, choice: Choice) -> Refusal | None:
    """Say why the first rotation may not write over what a secret holds; None when it may."""
    if sight.holding is not Holding.SOMETHING_ELSE or choice.replace_foreign:
        return None
    return Refusal(
        RefusalKind.SOMETHING_ELSE,
        pat.authorization_id,
        pat.name,
        vault=pat.vault,
        secret_name=pat.secret_name,
        sight=sight,
    )


def confirm(run: RunContext, managed: Managed) -> None:
    """Write that the version which was seen may be replaced; what failed only because of it is over.

    ClaimHeldError when a run works on it, NotManagedError when it was forgotten meanwhile, UsageError when the name is
    another record's by now.
    """
    if managed.confirms is None:
        return
    with claimed(run, managed.record.name) as held:
        check_asked(held, managed.record)
        seen = SecretConfirmed(secret_holds=managed.sight.holding.value, confirmed_version=managed.confirms)
        pat = replace(held.pat, confirmed_version=managed.confirms)
        if not _is_in_the_way(pat):
            held.save(pat, seen)
            return
        hold = None if pat.hold is Hold.FOREIGN_WRITE else pat.hold
        held.save(replace(pat.healed(), hold=hold), seen, FailureCleared())


def _is_in_the_way(pat: ManagedPat) -> bool:
    """Whether what the secret holds is why its last rotation could not be."""
    failure = pat.last_failure
    return pat.hold is Hold.FOREIGN_WRITE or (failure is not None and failure.kind is FailureKind.UNCONFIRMED)
