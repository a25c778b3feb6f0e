"""Before a mint: everything that it depends on is read and checked, and the intent is journaled (`planned`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Unpack

from rotator.domain.events.rotations import (
    RotationAbandoned,
    RotationPlanned,
)
from rotator.domain.managed_pat import Failure, Hold, ManagedPat, Pat
from rotator.domain.marker import make_marked_name, strip_mark
from rotator.domain.policy import Decision, Rule, Verdict, check_clonable
from rotator.domain.rotation import (
    Rotation,
    RotationChanges,
    RotationState,
    make_offset_range,
)
from rotator.domain.timetable import HeldBack
from rotator.engine.absence import check_listed, check_refused
from rotator.engine.claiming import ClaimedPat
from rotator.engine.context import RunContext, RunMode
from rotator.engine.explaining import explain_obstacle, explain_uncovered
from rotator.engine.intents import enter_unknown, make_intent_tags
from rotator.engine.listing import Listing, ServerView, asking
from rotator.engine.provenance import (
    Writer,
    find_known_writer,
    make_occupied,
)
from rotator.engine.reading import fetch_known_history, find_newer, look_past_disabled
from rotator.engine.replacing import make_unconfirmed
from rotator.errors import (
    ClaimLostError,
    ForeignWriteError,
    NotListedError,
    PatGoneError,
    PlanRefusedError,
    RevokedByHandError,
    RotatorError,
)
from rotator.ports.secret_store import SecretVersion


@dataclass(frozen=True)
class Source:
    """What a clone is made from: the old PAT as the server describes it now, and the listing that shows it.

    With the display name and the scopes that a person wanted, where that is why it is made.
    """

    pat: Pat
    rule: Rule
    lifetime: timedelta
    listing: Listing
    takes_short: bool = False
    """Whether a clone is taken whose lifetime is shorter than the rule asks for."""
    is_leak: bool = False
    """Whether the old PAT vanished before its time: nothing of it is left to overlap with."""
    despite: HeldBack | None = None
    """What this rotation does not wait for."""
    due_at: datetime | None = None
    """From when on the policy asked for this rotation; None: it did not."""
    owner_works: bool = True
    """Whether the account that the old PAT belongs to can do anything, so that it can revoke it later."""


def inspect_source(held: ClaimedPat, view: ServerView, decision: Decision) -> Source:
    """Look at everything that a mint depends on and that can be read without changing anything.

    PlanRefusedError when the old PAT cannot be cloned or was revoked (a run by hand allows the latter).
    """
    pat, run = held.pat, held.run
    rule, lifetime = decision.rule, decision.lifetime
    if rule is None or lifetime is None:
        uncovered = explain_uncovered(decision)
        raise PlanRefusedError(uncovered.message, code=uncovered.code, fix=uncovered.fix)
    listing = view.fetch_listing(pat.next_account if decision.is_wanted else pat.account, pat.organization)
    owner_works = listing.account == pat.account or view.can_work(pat.account, pat.organization)
    if listing.account != pat.account:
        current = _inspect_moved(held, listing, owner_works=owner_works)
    else:
        current = _inspect_current(held, view, listing, decision) if pat.has_pat else describe_wanted(held, listing)
    if decision.is_wanted:
        wanted = pat.as_wanted()
        current = replace(
            current,
            display_name=current.display_name if pat.wanted_display_name is None else wanted.display_name,
            scope=current.scope if pat.wanted_scope is None else wanted.scope,
        )
    obstacle = check_clonable(current, run.policy.guardrails, listing.identity.organization_id)
    if obstacle is not None:
        told = explain_obstacle(obstacle, pat)
        raise PlanRefusedError(told.message, code=told.code, fix=told.fix, kind=told.kind)
    is_leak = decision.is_leak and not _is_by_hand(held)
    despite = held.find_held_back()
    due_at = _find_due(run, pat, decision)
    return Source(current, rule, lifetime, listing, decision.takes_short, is_leak, despite, due_at, owner_works)


def _find_due(run: RunContext, pat: ManagedPat, decision: Decision) -> datetime | None:
    """Return from when on the policy asked to replace the PAT in use: in its windows. None: it does not, or not yet."""
    asks = decision.verdict in (Verdict.DUE, Verdict.ALERT) and not decision.is_wanted and not decision.is_leak
    due = decision.rotate_after
    return run.policy.find_turn(pat, due, due) or due if asks and pat.has_pat and due is not None else None


def _inspect_current(held: ClaimedPat, view: ServerView, listing: Listing, decision: Decision) -> Pat:
    """Return the old PAT as the server describes it; where it was revoked, by hand as the inventory describes it.

    So where its rule replaces one that vanished, once the value that consumers read is refused.
    """
    pat, is_by_hand = held.pat, _is_by_hand(held)
    current = held.services.pats.fetch_pat(pat.account, pat.organization, pat.authorization_id)
    is_listed = listing.find(pat.authorization_id) is not None
    is_there = current is not None and (is_listed or current.valid_to <= held.services.clock.now())
    if decision.is_leak and not is_by_hand:
        _check_vanished(held, view)
    elif current is not None and is_there:
        return current
    elif not is_by_hand:
        return check_listed(held, view)
    return current or describe_wanted(held, listing)


def _inspect_moved(held: ClaimedPat, listing: Listing, *, owner_works: bool) -> Pat:
    """Return the old PAT as the account that it moves from shows it; as the inventory describes it where it cannot.

    That account may be gone, with its PATs: nothing depends on it.
    """
    pat, current = held.pat, None
    if owner_works:
        with asking(pat.account, pat.organization):
            current = held.services.pats.fetch_pat(pat.account, pat.organization, pat.authorization_id)
    described = describe_wanted(held, listing)
    return current or (replace(described, target_accounts=None) if pat.all_organizations else described)


def _check_vanished(held: ClaimedPat, view: ServerView) -> None:
    """Raise NotListedError unless the old PAT is gone by a look of its own, and what consumers read is refused."""
    try:
        check_listed(held, view)
    except RevokedByHandError:
        raise
    except PatGoneError as gone:
        check_refused(held, gone)
    else:
        raise NotListedError("the server lists it again", fix="Nothing to do: a later run looks again.")


def _is_by_hand(held: ClaimedPat) -> bool:
    return held.run.mode is RunMode.BY_HAND


def plan_rotation(held: ClaimedPat, source: Source) -> None:
    """Journal the intent."""
    pat, rule, run = held.pat, source.rule, held.run
    now, rotation_id = run.services.clock.now(), run.services.entropy.make_id()
    name, key = strip_mark(source.pat.display_name), run.services.marker_key
    display_name = name if key is None else make_marked_name(name, rotation_id, key)
    rotation = Rotation(
        id=rotation_id,
        name=pat.name,
        account=source.listing.account,
        predecessor_account=None if source.listing.account == pat.account else pat.account,
        organization=pat.organization,
        display_name=display_name,
        marked=key is not None,
        scope=source.pat.scope,
        predecessor_id=pat.authorization_id,
        predecessor_valid_to=source.pat.valid_to,
        rule=rule.name,
        vault=pat.vault,
        secret_name=pat.secret_name,
        overlap=timedelta(0) if source.is_leak else rule.overlap,
        disable_previous=rule.disable_previous,
        # What only counts as gone is not revoked, whatever becomes of this run or of the database.
        keeps_predecessor=pat.taken_over or source.is_leak or pat.hold is Hold.REVOKED_BY_HAND,
        created_at=now,
        updated_at=now,
        planned_valid_to=_plan_expiry(held, source, display_name, now),
    )
    held.begin(
        rotation,
        RotationPlanned(
            predecessor_id=rotation.predecessor_id or None,
            due_at=source.due_at,
            rule=rule.name,
            vault=rotation.vault,
            secret_name=rotation.secret_name,
            despite=None if source.despite is None else source.despite.by.value,
        ),
    )


def begin_rotation(held: ClaimedPat, source: Source) -> Mapping[str, str]:
    """Journal the intent, then prove that the vault would accept the value, before anything is minted.

    Return the tags of the version that will be replaced; none when there is no secret yet.
    """
    pat, run = held.pat, held.run
    plan_rotation(held, source)
    try:
        versions = fetch_known_history(held)
        _check_unmarked(held, versions)
        enter_unknown(held, versions, source.listing.pats, source.listing.account)
        secrets, intent = run.services.secrets, make_intent_tags(held, versions)
        seen = look_past_disabled(
            secrets, pat, lambda: secrets.prove_writable(held.location, intent, permit=held.check_claim)
        )
        newest = find_newer(seen, versions)
        check_history(run, pat, newest)
    except ClaimLostError:
        raise
    except RotatorError as error:
        close_unminted(held, error)
        raise
    return newest.tags if newest is not None else {}


def _check_unmarked(held: ClaimedPat, versions: tuple[SecretVersion, ...]) -> None:
    """Before the first rotation: refuse what may not be replaced before the proof of writing marks it."""
    is_first = held.pat.secret_version is None and held.pat.hold is not Hold.FOREIGN_WRITE
    if is_first and versions and versions[0].enabled:
        check_history(held.run, held.pat, versions[0])


def check_history(run: RunContext, pat: ManagedPat, newest: SecretVersion | None) -> None:
    """Refuse to write over a version that our journal cannot explain: a restored database, or another writer.

    A person may confirm another writer's version, and may overrule another writer in a secret that was ours; not a
    database that is behind the vault. Until then a secret that was frozen for it stays as it is, even when none of our
    own writes was ever confirmed. The first PAT of a ManagedPat writes over nothing but what is ours.
    """
    is_foreign = find_known_writer(run, pat, newest) is Writer.FOREIGN
    if newest is None or not is_foreign or newest.version == pat.confirmed_version:
        return
    if not pat.has_pat:
        raise make_occupied(pat)
    if pat.secret_version is None and pat.hold is not Hold.FOREIGN_WRITE:
        raise make_unconfirmed(pat)
    if run.mode is not RunMode.BY_HAND:
        raise ForeignWriteError(
            f"secret {pat.secret_name} in {pat.vault} was written by somebody else since the last "
            "rotation; nothing was minted",
            fix=f"Find out who writes this secret, stop that, then `rotator rotate {pat.name}`.",
        )


def _plan_expiry(held: ClaimedPat, source: Source, display_name: str, now: datetime) -> datetime:
    """Return a whole second that no PAT of that display name has and no other rotation of ours has asked for."""
    pat, entropy = held.pat, held.services.entropy
    with held.services.database.read() as reading:
        others = (*reading.journal.load_sent_mints(now), *reading.journal.load_for(pat.name))
        alike = [r for r in others if (r.organization, r.display_name) == (pat.organization, display_name)]
        taken = {*reading.journal.load_planned(pat.organization, display_name), *(r.planned_valid_to for r in alike)}
    taken |= {listed.valid_to for listed in source.listing.pats if listed.display_name == display_name}
    low, high = make_offset_range(source.lifetime)
    planned = (now + source.lifetime).replace(microsecond=0) - timedelta(seconds=entropy.pick(low, high))
    while planned in taken:
        planned -= timedelta(seconds=1)
    return planned


def close_unminted(
    held: ClaimedPat, error: RotatorError, *, pat: ManagedPat | None = None, **changes: Unpack[RotationChanges]
) -> None:
    """Close a rotation for which certainly no PAT was minted, and replace the record if `pat` is given."""
    changes["failure"] = Failure.of(error)
    held.note_answer(error.answer_ids)
    held.step(RotationState.ABANDONED, RotationAbandoned(code=error.code), pat=pat, **changes)


def describe_wanted(held: ClaimedPat, listing: Listing) -> Pat:
    """Return the PAT of a record as the inventory describes it; where there is none yet, as it is to be."""
    pat = held.pat
    targets = (listing.identity.organization_id or "",)
    return Pat(pat.authorization_id, pat.display_name, pat.scope, targets, pat.valid_from, pat.valid_to)
