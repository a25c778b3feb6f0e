"""Take PATs that exist on the server under management."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rotator.domain.events.inventory import PatAdopted
from rotator.domain.events.rotations import RotationBlocked
from rotator.domain.managed_pat import ManagedPat, Pat, make_managed, make_name
from rotator.domain.outside import find_id
from rotator.domain.policy import Rule, RuleAction, check_target
from rotator.engine.auditing import record, record_policy
from rotator.engine.context import RunContext
from rotator.engine.listing import Listing, ServerView
from rotator.engine.records import load_known
from rotator.errors import RotatorError


@dataclass(frozen=True)
class Proposal:
    """One PAT that would be adopted: the record as it would be written, and the rule that covers it."""

    record: ManagedPat
    rule: Rule


@dataclass(frozen=True)
class Refusal:
    """One PAT that was asked for and cannot be adopted."""

    reference: str
    reason: str
    fix: str = ""


@dataclass(frozen=True)
class AdoptionPlan:
    """What an adoption would write; nothing is written until `adopt` is given it."""

    proposals: tuple[Proposal, ...]
    refusals: tuple[Refusal, ...]
    errors: tuple[RotatorError, ...] = ()


def propose(run: RunContext, references: list[str], *, everything: bool) -> AdoptionPlan:
    """Find the PATs that are asked for: by authorization id, by display name, or all that a rule covers."""
    view, known = ServerView(run), load_known(run)
    listings: list[Listing] = []
    errors: list[RotatorError] = []
    for account in run.services.accounts:
        for organization in account.organizations:
            try:
                listings.append(view.fetch_listing(account.name, organization))
            except RotatorError as error:
                errors.append(error)
    tracked = known.tracked_ids
    candidates = {
        pat.authorization_id: (listing, pat)
        for listing in reversed(listings)
        for pat in reversed(listing.pats)
        if pat.authorization_id not in tracked
    }
    refusals: list[Refusal] = []
    if everything:
        chosen = list(reversed(candidates.values()))
    else:
        chosen = _choose(references, candidates, {p.authorization_id: p.name for p in known.pats}, refusals)
    proposals = _propose(run, chosen, known.pats, refusals, quietly=everything)
    return AdoptionPlan(tuple(proposals), tuple(refusals), tuple(errors))


def adopt(run: RunContext, plan: AdoptionPlan) -> None:
    """Write every proposal, in one transaction with one `pat_adopted` event each."""
    now = run.services.clock.now()
    record_policy(run)
    with run.services.database.begin() as work:
        for added in sorted((proposal.record for proposal in plan.proposals), key=lambda pat: pat.name):
            work.inventory.add(added)
        for proposal in plan.proposals:
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


def _choose(
    references: list[str],
    candidates: dict[str, tuple[Listing, Pat]],
    managed: dict[str, str],
    refusals: list[Refusal],
) -> list[tuple[Listing, Pat]]:
    chosen: dict[str, tuple[Listing, Pat]] = {}
    for reference in (find_id(text) or text for text in references):
        found = [item for item in candidates.values() if reference in (item[1].authorization_id, item[1].display_name)]
        if len(found) == 1:
            chosen[found[0][1].authorization_id] = found[0]
        elif found:
            ids = ", ".join(f"{pat.authorization_id} ({listing.organization})" for listing, pat in found)
            reason = f'{len(found)} PATs are called "{reference}": {ids}'
            refusals.append(Refusal(reference, reason, "Name the one you mean by its authorization id."))
        elif reference in managed:
            refusals.append(Refusal(reference, f"it is managed already, as {managed[reference]}"))
        else:
            refusals.append(
                Refusal(
                    reference,
                    "no untracked active PAT has this authorization id or display name",
                    "See `rotator scan` for what there is.",
                )
            )
    return list(chosen.values())


def _propose(
    run: RunContext,
    chosen: list[tuple[Listing, Pat]],
    records: tuple[ManagedPat, ...],
    refusals: list[Refusal],
    *,
    quietly: bool,
) -> list[Proposal]:
    names = {record.name for record in records}
    places = {record.place: record.name for record in records}
    proposals = []
    for listing, pat in chosen:
        rule = run.policy.find_rule(
            account=listing.account,
            organization=listing.organization,
            display_name=pat.display_name,
            scopes=pat.scopes,
        )
        if rule is None or rule.action is RuleAction.IGNORE:
            if not quietly:
                reason = "no rule in the policy covers it" if rule is None else f"rule {rule.name} says ignore"
                refusals.append(Refusal(pat.display_name, reason, "Change the policy so that a rule covers it."))
            continue
        record = _make_record(run, listing, pat, rule, frozenset(names))
        if record.place in places:
            reason = f"secret {record.secret_name} in {record.vault} belongs to {places[record.place]} already"
            refusals.append(
                Refusal(pat.authorization_id, reason, f"Make secret_name of rule {rule.name} distinct, with {{name}}.")
            )
            continue
        names.add(record.name)
        places[record.place] = record.name
        proposals.append(Proposal(record, rule))
    return proposals


def _make_record(run: RunContext, listing: Listing, pat: Pat, rule: Rule, taken: frozenset[str]) -> ManagedPat:
    name = make_name(pat.display_name, listing.organization, taken)
    record = make_managed(
        pat,
        name=name,
        account=listing.account,
        organization=listing.organization,
        vault=rule.vault,
        secret_name=rule.make_secret_name(organization=listing.organization, name=name, account=listing.account),
    )
    # A denied scope is judged by the policy at every plan: lifting the guardrail is enough.
    obstacle = check_target(pat, listing.identity.organization_id)
    return record if obstacle is None else replace(record, blocked=True, last_failure=obstacle.explain())
