"""Bring existing PATs under management."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from rotator.domain.events.inventory import PatAdopted
from rotator.domain.events.rotations import RotationBlocked
from rotator.domain.managed_pat import (
    NAME_PATTERN,
    SECRET_NAME_PATTERN,
    Failure,
    ManagedPat,
    Pat,
    make_managed,
    make_name,
)
from rotator.domain.outside import find_id
from rotator.domain.policy import Rule, RuleAction, check_target
from rotator.domain.refusal import Refusal, RefusalKind
from rotator.engine.accounting import Keeper, KeeperKind, Keepers, load_keepers
from rotator.engine.auditing import record, record_policy
from rotator.engine.context import RunContext
from rotator.engine.explaining import explain_obstacle
from rotator.engine.listing import Listing, ServerView
from rotator.errors import RotatorError, UsageError
from rotator.ports.database import UnitOfWork

Listed = tuple[Listing, Pat]
"""A PAT, and the listing that shows it."""


@dataclass(frozen=True)
class Proposal:
    """One PAT that would be adopted, as it was listed: the record to be written, and the rule that covers it."""

    record: ManagedPat
    rule: Rule
    listed: Listed


@dataclass(frozen=True)
class AdoptionPlan:
    """What an adoption would write; nothing is written until `adopt` is given it."""

    proposals: tuple[Proposal, ...]
    refusals: tuple[Refusal, ...]
    errors: tuple[RotatorError, ...] = ()


@dataclass(frozen=True)
class Choice:
    """What a person chose for the one PAT that is adopted: its name, its secret, or both. None: as the rule says."""

    name: str | None = None
    secret_name: str | None = None


def make_choice(name: str | None, secret_name: str | None) -> Choice:
    """Make a choice of texts that a person gave. UsageError when one cannot be a name, or a secret of Key Vault."""
    if name is not None and not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f'"{name}" cannot be a name',
            fix="Use at most 100 of a-z, 0-9, dot, hyphen and underscore; begin with a letter or digit.",
        )
    if secret_name is not None and not SECRET_NAME_PATTERN.fullmatch(secret_name):
        raise UsageError(
            f'"{secret_name}" cannot be the name of a secret', fix="Use at most 127 of a-z, A-Z, 0-9 and hyphen."
        )
    return Choice(name, secret_name)


def propose(run: RunContext, references: list[str], *, everything: bool, choice: Choice | None = None) -> AdoptionPlan:
    """Find the PATs that are asked for: by authorization id, by display name, or all that a rule covers.

    A `choice` goes with one reference only.
    """
    view = ServerView(run)
    listings: list[Listing] = []
    errors: list[RotatorError] = []
    for account in run.services.accounts:
        for organization in account.organizations:
            try:
                listings.append(view.fetch_listing(account.name, organization))
            except RotatorError as error:
                errors.append(error)
    listed = {pat.authorization_id: (listing, pat) for listing in reversed(listings) for pat in reversed(listing.pats)}
    with run.services.database.read() as reading:
        keepers = load_keepers(reading, listed, run.services.clock.now())
        records, open_rotations = reading.inventory.load_all(), reading.journal.load_open()
    refusals: list[Refusal] = []
    free = {found: item for found, item in listed.items() if not _is_tracked(keepers.find_by_id(found))}
    chosen = list(reversed(free.values())) if everything else _choose(references, listed, free, keepers, refusals)
    covered = _find_rules(run, chosen, refusals, quietly=everything)
    unkept = _drop_kept(covered, keepers, refusals, by_id=not everything)
    taken = {record.name for record in records} | {rotation.name for rotation in open_rotations}
    places = {record.place: record.name for record in records}
    proposals = _propose(unkept, _Taken(taken, places), choice or Choice(), refusals, everything=everything)
    return AdoptionPlan(tuple(proposals), tuple(refusals), tuple(errors))


def adopt(run: RunContext, plan: AdoptionPlan) -> AdoptionPlan:
    """Write every proposal, in one transaction with one `pat_adopted` event each; return what was written.

    A PAT that a record or a rotation accounts for by now is refused and not written.
    """
    now = run.services.clock.now()
    written: list[Proposal] = []
    refusals = list(plan.refusals)
    record_policy(run)
    with run.services.database.begin() as work:
        keepers = load_keepers(work, [item.record.authorization_id for item in plan.proposals], now)
        for proposal in sorted(plan.proposals, key=lambda item: item.record.name):
            pat = proposal.record
            refusal = _refuse_kept(proposal.listed, keepers, by_id=True)
            if refusal is None:
                try:
                    work.inventory.add(pat)
                except UsageError as error:
                    refusal = Refusal(RefusalKind.CHANGED, pat.authorization_id, failure=Failure.of(error))
            if refusal is not None:
                refusals.append(refusal)
                continue
            written.append(proposal)
        for proposal in written:
            _record_adopted(run, work, proposal, now)
    return replace(plan, proposals=tuple(written), refusals=tuple(refusals))


def _record_adopted(run: RunContext, work: UnitOfWork, proposal: Proposal, now: datetime) -> None:
    pat = proposal.record
    adopted = PatAdopted(
        account=pat.account,
        organization=pat.organization,
        authorization_id=pat.authorization_id,
        vault=pat.vault,
        secret_name=pat.secret_name,
        rule=proposal.rule.name,
    )
    record(work, run, pat.name, adopted, now)
    if pat.last_failure is not None:
        blocked = RotationBlocked(code=pat.last_failure.code, message=pat.last_failure.message)
        record(work, run, pat.name, blocked, now)


def _is_tracked(keeper: Keeper | None) -> bool:
    return keeper is not None and keeper.kind in (KeeperKind.RECORD, KeeperKind.ROTATION)


_KEPT = {
    KeeperKind.RECORD: RefusalKind.MANAGED,
    KeeperKind.ROTATION: RefusalKind.ROTATING,
    KeeperKind.FAILED_ROTATION: RefusalKind.LEFT_BEHIND,
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
) -> list[Listed]:
    chosen: dict[str, Listed] = {}
    for reference in (find_id(text) or text for text in references):
        found = [item for item in free.values() if reference in (item[1].authorization_id, item[1].display_name)]
        if len(found) == 1:
            chosen[found[0][1].authorization_id] = found[0]
        elif found:
            ids = tuple(pat.authorization_id for _, pat in found)
            places = tuple(listing.organization for listing, _ in found)
            refusals.append(Refusal(RefusalKind.AMBIGUOUS, reference, ids=ids, organizations=places))
        else:
            kept = _refuse_kept(listed[reference], keepers, by_id=True) if reference in listed else None
            refusals.append(kept or Refusal(RefusalKind.UNKNOWN, reference))
    return list(chosen.values())


def _find_rules(
    run: RunContext, chosen: list[Listed], refusals: list[Refusal], *, quietly: bool
) -> list[tuple[Listed, Rule]]:
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
        elif not quietly:
            kind = RefusalKind.NO_RULE if rule is None else RefusalKind.IGNORED
            refusals.append(Refusal(kind, pat.display_name, rule=rule.name if rule is not None else ""))
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


@dataclass(frozen=True)
class _Taken:
    """The names that others have, and the secrets, each with the name of its owner."""

    names: set[str]
    places: dict[str, str]


def _propose(
    covered: list[tuple[Listed, Rule]],
    taken: _Taken,
    choice: Choice,
    refusals: list[Refusal],
    *,
    everything: bool,
) -> list[Proposal]:
    proposals = []
    contested = _find_contested(covered) if everything else {}
    for listed, rule in covered:
        pat = listed[1]
        if pat.authorization_id in contested:
            refusals.append(_refuse_contested(pat, contested[pat.authorization_id]))
            continue
        if choice.name in taken.names:
            refusals.append(Refusal(RefusalKind.NAME_TAKEN, pat.authorization_id, name=choice.name or ""))
            continue
        record = _make_record(listed, rule, frozenset(taken.names), choice)
        if record.place in taken.places:
            refusals.append(_refuse_place(record, rule, taken.places[record.place]))
            continue
        taken.names.add(record.name)
        taken.places[record.place] = record.name
        proposals.append(Proposal(record, rule, listed))
    return proposals


def _find_contested(covered: list[tuple[Listed, Rule]]) -> dict[str, set[str]]:
    """For each PAT that would share its name with another, in one organization or one secret: the ids of both."""
    alike: dict[tuple[str, str], set[str]] = {}
    for listed, rule in covered:
        plain = _make_record(listed, rule, frozenset(), Choice())
        for key in ((plain.name, plain.organization), (plain.name, plain.place)):
            alike.setdefault(key, set()).add(plain.authorization_id)
    contested: dict[str, set[str]] = {}
    for ids in alike.values():
        for found in ids if len(ids) > 1 else ():
            contested.setdefault(found, set()).update(ids)
    return contested


def _refuse_contested(pat: Pat, ids: set[str]) -> Refusal:
    identifier = pat.authorization_id
    others = tuple(sorted(ids - {identifier}))
    return Refusal(RefusalKind.SAME_NAME, identifier, display_name=pat.display_name, ids=others)


def _refuse_place(record: ManagedPat, rule: Rule, owner: str) -> Refusal:
    return Refusal(
        RefusalKind.PLACE_TAKEN,
        record.authorization_id,
        name=owner,
        rule=rule.name,
        vault=record.vault,
        secret_name=record.secret_name,
    )


def _make_record(listed: Listed, rule: Rule, taken: frozenset[str], choice: Choice) -> ManagedPat:
    listing, pat = listed
    name = choice.name or make_name(pat.display_name, listing.organization, taken)
    secret = rule.make_secret_name(organization=listing.organization, name=name, account=listing.account)
    record = make_managed(
        pat,
        name=name,
        account=listing.account,
        organization=listing.organization,
        vault=rule.vault,
        secret_name=choice.secret_name or secret,
    )
    # A denied scope is judged by the policy at every plan: lifting the guardrail is enough.
    obstacle = check_target(pat, listing.identity.organization_id)
    return record if obstacle is None else replace(record, blocked=True, last_failure=explain_obstacle(obstacle))
