"""Bring existing PATs under management."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial

from rotator.domain.events.inventory import PatAdopted, PatTakenOver
from rotator.domain.events.revocations import PatRevoked
from rotator.domain.events.rotations import RotationBlocked
from rotator.domain.limit import find_longest
from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.next_step import Limits
from rotator.domain.outside import find_id
from rotator.domain.policy import Rule, RuleAction
from rotator.domain.refusal import Refusal, RefusalKind
from rotator.engine.accounting import Keeper, KeeperKind, Keepers, load_keepers
from rotator.engine.auditing import record
from rotator.engine.beginning import begin_run
from rotator.engine.choices import Choice, Choices
from rotator.engine.confirming import Managed, confirm, find_managed, look_again
from rotator.engine.context import RunContext
from rotator.engine.explaining import explain_decision
from rotator.engine.listing import Listing, ServerView
from rotator.engine.moments import find_earliest
from rotator.engine.newcomers import load_forgotten, refuse_past
from rotator.engine.proposing import (
    Listed,
    Proposal,
    Taken,
    look_at_secrets,
    make_proposals,
    refuse_served,
    refuse_unclear,
)
from rotator.engine.requested import find_requested
from rotator.engine.revoking import record_dropped
from rotator.errors import ClaimHeldError, NotManagedError, RotatorError, UsageError
from rotator.ports.database import UnitOfWork

_LOOKS = 3
"""At all lists, before everything that they show is adopted, or what is named by its display name."""
_MOST_REVOKED = 10_000
"""While a person reads what an adoption would write."""


@dataclass(frozen=True)
class AdoptionPlan:
    """What an adoption would write; nothing is written until `adopt` is given it. `managed` are managed already.

    `listed` are the PATs that the server showed, by id. `heard` is the number of the newest audit event before it was
    asked; None if another look decided that nobody accounts for them.
    """

    proposals: tuple[Proposal, ...]
    refusals: tuple[Refusal, ...]
    errors: tuple[RotatorError, ...] = ()
    managed: tuple[Managed, ...] = ()
    listed: Mapping[str, Listed] = field(default_factory=dict)
    heard: int | None = None

    @property
    def confirmations(self) -> tuple[Managed, ...]:
        """Return what is managed already and gets a confirmed version."""
        return tuple(item for item in self.managed if item.confirms is not None)


def propose(
    run: RunContext,
    references: list[str],
    *,
    everything: bool,
    choice: Choice | None = None,
    choices: Mapping[str, Choice] | None = None,
    matching: Sequence[str] = (),
) -> AdoptionPlan:
    """Find the PATs that are asked for: by authorization id, by display name, or all that a rule covers.

    Of all, `matching` leaves those whose display name is one of these or fits one as a glob. A `choice` goes with one
    reference only, `choices` go with one id each. What each secret holds is looked at, and nothing is changed.
    """
    view = ServerView(run)
    with run.services.database.read() as reading:
        heard = reading.audit.load_newest_number()
        chosen_for = Choices(choice or Choice(), choices or {}, load_forgotten(reading))
    named = {found for text in references if (found := find_id(text))}
    listings, errors = _fetch_listings(run, view, _LOOKS if everything or len(named) < len(references) else 1)
    listed = {pat.authorization_id: (listing, pat) for listing in reversed(listings) for pat in reversed(listing.pats)}
    with run.services.database.read() as reading:
        keepers = load_keepers(reading, listed, find_earliest(run, reading))
        records, open_rotations = reading.inventory.load_all(), reading.journal.load_open()
        limits = reading.limits.load()
    refusals: list[Refusal] = []
    free = {found: item for found, item in listed.items() if not _is_tracked(keepers.find_by_id(found))}
    managed: list[Managed] = []
    if everything:
        every = reversed(free.values())
        chosen = [item for item in every if not matching or any(fits(item[1].display_name, one) for one in matching)]
    else:
        again = partial(_adopt_again, run, view, records, chosen_for, managed, refusals)
        chosen = _choose(references, listed, free, keepers, refusals, again, is_whole=not errors)
    covered = _find_rules(run, chosen, refusals, None if everything else references)
    unkept = _drop_kept(covered, keepers, refusals, by_id=not everything)
    taken = {record.name for record in records} | {rotation.name for rotation in open_rotations}
    places = {record.place: record.name for record in records}
    proposals = make_proposals(unkept, Taken(taken, places), chosen_for, refusals, everything=everything)
    sights = look_at_secrets(run, refuse_served(run, proposals, records, refusals), chosen_for, refusals)
    seen = refuse_unclear(sights, _find_incomplete(listings), named, refusals)
    judged = tuple(replace(item, denied=_find_denial(run, item.record, limits)) for item in seen)
    return AdoptionPlan(judged, tuple(refusals), tuple(errors), tuple(managed), listed, heard)


def fits(display_name: str, pattern: str) -> bool:
    """Whether a display name is the pattern, or fits it as a glob."""
    return display_name == pattern or fnmatchcase(display_name, pattern)


def _fetch_listings(run: RunContext, view: ServerView, looks: int) -> tuple[list[Listing], list[RotatorError]]:
    """Ask for each list so many times: one may hide a namesake, and nothing says which of two consumers use.

    Where one of them was not had, none of that account and organization counts.
    """
    listings: list[Listing] = []
    errors: list[RotatorError] = []
    for account in run.services.accounts:
        for organization in account.organizations:
            try:
                first = view.fetch_listing(account.name, organization)
                others = [view.fetch_again(account.name, organization) for _ in range(looks - 1)]
            except RotatorError as error:
                errors.append(error)
            else:
                listings += first, *others
    return listings, errors


def _find_denial(run: RunContext, record: ManagedPat, limits: Limits) -> Failure | None:
    pat, now = record.as_ending(), run.services.clock.now()
    return explain_decision(run.policy.decide(pat, now=now, longest=find_longest(limits, pat, now)), record)


def _find_incomplete(listings: list[Listing]) -> set[tuple[str, str]]:
    """Return the accounts and organizations each of whose lists has an entry that none of them could read."""
    read = {pat.authorization_id for listing in listings for pat in listing.pats}
    clear = {(listing.account, listing.organization) for listing in listings if read.issuperset(listing.unreadable)}
    return {(listing.account, listing.organization) for listing in listings} - clear


def adopt(run: RunContext, plan: AdoptionPlan, *, by_rule: bool = False) -> AdoptionPlan:
    """Write every proposal, in one transaction with one event each; return what was written.

    A PAT that a record or a rotation accounts for by now is refused and not written; `by_rule` also one that was ever
    managed.
    """
    now = run.services.clock.now()
    ids = [item.record.authorization_id for item in plan.proposals]
    written: list[Proposal] = []
    refusals = list(plan.refusals)
    begin_run(run)
    with run.services.database.begin() as work:
        busy = _find_busy(run, work, plan.proposals) | _find_revoked(work, plan.heard)
        keepers = load_keepers(work, ids, find_earliest(run, work))
        busy |= _refuse_requested(run, work, ids)
        busy |= refuse_past(work, ids) if by_rule else {}
        for proposal in sorted(plan.proposals, key=lambda item: item.record.name):
            pat = proposal.record
            kept = _refuse_kept(proposal.listed, keepers, by_id=not by_rule)
            refusal = kept or busy.get(pat.authorization_id)
            if refusal is None:
                try:
                    work.inventory.add(pat)
                except UsageError as error:
                    refusal = Refusal(RefusalKind.CHANGED, pat.authorization_id, failure=Failure.of(error))
            if refusal is not None:
                refusals.append(refusal)
                continue
            written.append(proposal)
        pending = [(item.record, keepers.find_pending(item.record.authorization_id)) for item in written]
        dropped = [(pat, item) for pat, item in pending if item and work.revocations.end(item.authorization_id)]
        for proposal in written:
            _record_adopted(run, work, proposal, now)
        for pat, item in dropped:
            record_dropped(work, run, item, pat.name, now)
    managed = [item for item in plan.managed if _confirm(run, item, refusals)]
    return replace(plan, proposals=tuple(written), refusals=tuple(refusals), managed=tuple(managed))


def _confirm(run: RunContext, item: Managed, refusals: list[Refusal]) -> bool:
    try:
        confirm(run, item)
    except (ClaimHeldError, NotManagedError, UsageError) as error:
        refusals.append(Refusal(RefusalKind.CHANGED, item.record.authorization_id, failure=Failure.of(error)))
        return False
    return True


def _record_adopted(run: RunContext, work: UnitOfWork, proposal: Proposal, now: datetime) -> None:
    pat = proposal.record
    event = make_taken_over(proposal) if pat.taken_over else _make_adopted(proposal)
    record(work, run, pat.name, event, now)
    if pat.last_failure is not None:
        blocked = RotationBlocked(code=pat.last_failure.code, message=pat.last_failure.message)
        record(work, run, pat.name, blocked, now)


def make_taken_over(proposal: Proposal) -> PatTakenOver:
    """Return the event that tells of a PAT that a rule took over."""
    pat = proposal.record
    return PatTakenOver(
        account=pat.account,
        organization=pat.organization,
        authorization_id=pat.authorization_id,
        vault=pat.vault,
        secret_name=pat.secret_name,
        rule=proposal.rule.name,
        secret_holds=proposal.holding,
        scope=pat.scope,
        all_organizations=pat.all_organizations,
    )


def _make_adopted(proposal: Proposal) -> PatAdopted:
    pat = proposal.record
    return PatAdopted(
        account=pat.account,
        organization=pat.organization,
        authorization_id=pat.authorization_id,
        vault=pat.vault,
        secret_name=pat.secret_name,
        rule=proposal.rule.name,
        secret_holds=proposal.holding,
        confirmed_version=pat.confirmed_version,
        scope=pat.scope,
        all_organizations=pat.all_organizations,
    )


def _is_tracked(keeper: Keeper | None) -> bool:
    return keeper is not None and keeper.is_in_use


def _find_busy(run: RunContext, work: UnitOfWork, proposals: Iterable[Proposal]) -> dict[str, Refusal]:
    """Refuse, by id, what may be revoked just now, because a run works on the ManagedPat that the PAT came from.

    Where no run does, that is claimed for the length of this transaction: none begins meanwhile, and what was begun
    before is there to be read.
    """
    sources: dict[str, list[str]] = {}
    ids = [item.record.authorization_id for item in proposals]
    keepers = load_keepers(work, ids, find_earliest(run, work))
    for proposal in proposals:
        for name in _list_sources(proposal.listed, keepers):
            sources.setdefault(name, []).append(proposal.record.authorization_id)
    busy: dict[str, Refusal] = {}
    for name in sorted(work.inventory.find_names(sources)):
        try:
            claim = work.claims.claim(name, run.claimant, now=work.now(), span=run.services.timing.lease)
            work.claims.release(claim)
        except ClaimHeldError:
            busy |= {found: Refusal(RefusalKind.BEING_REVOKED, found, name) for found in sources[name]}
    return busy


def _list_sources(listed: Listed, keepers: Keepers) -> set[str]:
    """Return the ManagedPats under whose claim a listed PAT may be revoked although nothing forbids to adopt it."""
    listing, pat = listed
    pending = keepers.find_pending(pat.authorization_id)
    keeper = keepers.find(pat, listing.account, listing.organization, listing.identity.organization_id)
    names = {pending.name} if pending is not None and not pending.is_detached else set()
    is_possible = keeper is not None and keeper.is_managed and keeper.kind is KeeperKind.POSSIBLE_MINT
    return names | ({keeper.name} if keeper is not None and is_possible else set())


def _find_revoked(work: UnitOfWork, heard: int | None) -> dict[str, Refusal]:
    """Refuse what was revoked since it was listed, and is seen gone: nothing accounts for it any more."""
    events = () if heard is None else work.audit.load_named((PatRevoked.type.name,), heard, _MOST_REVOKED)
    revoked = {str(event.entry.details["authorization_id"]): event.entry.subject for event in events}
    return {found: Refusal(RefusalKind.BEING_REVOKED, found, name) for found, name in revoked.items()}


def _refuse_requested(run: RunContext, work: UnitOfWork, ids: Iterable[str]) -> dict[str, Refusal]:
    """Refuse, by id, what cannot be adopted because a request to revoke it may still be under way."""
    requested = find_requested(run, work, ids)
    return {found: Refusal(RefusalKind.BEING_REVOKED, found, name) for found, name in requested.items()}


_KEPT = {
    KeeperKind.RECORD: RefusalKind.MANAGED,
    KeeperKind.ROTATION: RefusalKind.ROTATING,
    KeeperKind.FAILED_ROTATION: RefusalKind.LEFT_BEHIND,
    KeeperKind.COMPLETED_ROTATION: RefusalKind.KEPT,
    KeeperKind.SENT_MINT: RefusalKind.SENT_MINT,
    KeeperKind.POSSIBLE_MINT: RefusalKind.POSSIBLE_MINT,
}


def _refuse_kept(listed: Listed, keepers: Keepers, *, by_id: bool) -> Refusal | None:
    """Why a PAT cannot be adopted because something accounts for it already; None when nothing does.

    A PAT that looks like a lost mint is refused unless a person names it (`by_id`), and so says that it is not. What
    a rotation of a forgotten ManagedPat left behind may be adopted, so that it can come back.
    """
    listing, pat = listed
    keeper = keepers.find(pat, listing.account, listing.organization, listing.identity.organization_id)
    pending = keepers.find_pending(pat.authorization_id)
    if pending is not None and not pending.is_detached and not by_id:
        return Refusal(RefusalKind.REVOCATION_PENDING, pat.authorization_id, pending.name)
    if keeper is None or not keeper.binds:
        return None
    kind = _KEPT[keeper.kind]
    if kind is RefusalKind.POSSIBLE_MINT and keeper.is_open:
        kind = RefusalKind.SENT_MINT
    if kind is RefusalKind.POSSIBLE_MINT and by_id:
        return None
    return Refusal(kind, pat.authorization_id, name=keeper.name)


def _choose(
    references: list[str],
    listed: dict[str, Listed],
    free: dict[str, Listed],
    keepers: Keepers,
    refusals: list[Refusal],
    adopt_again: Callable[[str], bool],
    *,
    is_whole: bool,
) -> list[Listed]:
    """Return what each reference means. `is_whole`: every list was had."""
    chosen: dict[str, Listed] = {}
    for reference in (find_id(text) or text for text in references):
        found = [item for item in free.values() if reference in (item[1].authorization_id, item[1].display_name)]
        if len(found) == 1:
            chosen[found[0][1].authorization_id] = found[0]
        elif found:
            ids = tuple(pat.authorization_id for _, pat in found)
            places = tuple(listing.organization for listing, _ in found)
            refusals.append(Refusal(RefusalKind.AMBIGUOUS, reference, ids=ids, organizations=places))
        elif not adopt_again(reference):
            kept = _refuse_kept(listed[reference], keepers, by_id=True) if reference in listed else None
            unknown = RefusalKind.UNKNOWN if is_whole else RefusalKind.UNSEEN
            refusals.append(kept or Refusal(unknown, reference))
    return list(chosen.values())


def _adopt_again(
    run: RunContext,
    view: ServerView,
    records: Iterable[ManagedPat],
    choices: Choices,
    managed: list[Managed],
    refusals: list[Refusal],
    reference: str,
) -> bool:
    """Adopting what is managed already is fine. Return whether the reference is such a PAT."""
    record = find_managed(records, reference)
    if record is None:
        return False
    found = look_again(run, view, record, choices.find(record.authorization_id))
    if isinstance(found, Refusal):
        refusals.append(found)
    else:
        managed.append(found)
    return True


def _find_rules(
    run: RunContext, chosen: list[Listed], refusals: list[Refusal], references: list[str] | None
) -> list[tuple[Listed, Rule]]:
    """Return the PATs that a rule covers; refuse the others, as they were asked for, unless all were."""
    covered = []
    for listing, pat in chosen:
        rule = run.policy.find_rule(
            account=listing.account,
            organization=listing.organization,
            display_name=pat.display_name,
            scopes=pat.scopes,
        )
        if rule is not None and rule.action is not RuleAction.IGNORE:
            covered.append(((listing, pat), rule))
        elif references is not None:
            kind = RefusalKind.NO_RULE if rule is None else RefusalKind.IGNORED
            asked = pat.authorization_id if pat.authorization_id in references else pat.display_name
            refusals.append(Refusal(kind, asked, rule=rule.name if rule is not None else ""))
    return covered


def _drop_kept(
    covered: list[tuple[Listed, Rule]], keepers: Keepers, refusals: list[Refusal], *, by_id: bool
) -> list[tuple[Listed, Rule]]:
    unkept = []
    for listed, rule in covered:
        refusal = _refuse_kept(listed, keepers, by_id=by_id)
        if refusal is None:
            unkept.append((listed, rule))
        else:
            refusals.append(refusal)
    return unkept
