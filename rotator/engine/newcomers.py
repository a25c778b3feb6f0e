"""PATs that a rule asks to take over: which are new, and what a run would do with them by our own records."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from rotator.domain.events.inventory import PatForgotten
from rotator.domain.managed_pat import Failure, Pat, make_managed, make_name
from rotator.domain.plan import Action, ActionKind, ActionReason
from rotator.domain.policy import Decision, Policy, Rule, RuleAction, Verdict
from rotator.domain.refusal import Refusal, RefusalKind
from rotator.engine.accounting import get_ids, load_keepers
from rotator.engine.choices import Choice
from rotator.engine.explaining_refusals import explain_refusal
from rotator.engine.records import Known
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Reading
from rotator.ports.inventory import UntrackedPat

_MOST_FORGOTTEN = 1_000_000


def find_adopting_rule(policy: Policy, account: str, organization: str, pat: Pat) -> Rule | None:
    """Return the rule that applies to a PAT, if it asks to take it over."""
    rule = policy.find_rule(
        account=account, organization=organization, display_name=pat.display_name, scopes=pat.scopes
    )
    return rule if rule is not None and rule.adopt and rule.action is not RuleAction.IGNORE else None


def refuse_past(reading: Reading, authorization_ids: Collection[str]) -> dict[str, Refusal]:
    """Refuse, by id, those of these PATs that were ever managed: a rotation names them, or a person forgot them."""
    named = {found for trace in reading.journal.load_traces(authorization_ids) for found in get_ids(trace)}
    forgotten = load_forgotten(reading)
    past = [found for found in authorization_ids if found in named or found in forgotten]
    return {found: Refusal(RefusalKind.MANAGED_BEFORE, found) for found in past}


def load_forgotten(reading: Reading) -> dict[str, Choice]:
    """Return how each PAT that a person forgot was managed, by id: its name, and its secret if the event has it."""
    events = reading.audit.load_after(None, _MOST_FORGOTTEN, AuditFilter(event=PatForgotten.type.name))
    forgotten = {}
    for entry in (event.entry for event in events):
        said = {key: text for key, text in entry.details.items() if isinstance(text, str)}
        if "authorization_id" in said:
            choice = Choice(entry.subject, said.get("secret_name"), vault=said.get("vault"))
            forgotten[said["authorization_id"]] = choice
    return forgotten


def plan_newcomers(reading: Reading, policy: Policy, known: Known, now: datetime) -> list[Action]:
    """Return an action for each PAT that the last look found untracked and that a rule asks to take over.

    A run takes it over, unless it waits for a person. What something accounts for is shown as that.
    """
    rules = [
        (item, rule)
        for item in reading.inventory.load_untracked()
        if (rule := find_adopting_rule(policy, item.account, item.organization, item.pat)) is not None
    ]
    if not rules:
        return []
    taken = {pat.name for pat in known.pats}
    keepers = load_keepers(reading, [item.pat.authorization_id for item, _ in rules], now)
    past = refuse_past(reading, [item.pat.authorization_id for item, _ in rules])
    actions = []
    for item, rule in rules:
        found = item.pat.authorization_id
        if keepers.find_pending(found) is None and keepers.find(item.pat, item.account, item.organization) is None:
            waits = item.waits
            if found in past:
                waits = waits or explain_refusal(past[found])
            actions.append(_plan(item, rule, waits, taken))
    return actions


def _plan(item: UntrackedPat, rule: Rule, waits: Failure | None, taken: set[str]) -> Action:
    account, organization = item.account, item.organization
    name = make_name(item.pat.display_name, organization, frozenset(taken))
    taken.add(name)
    secret_name = rule.make_secret_name(organization=organization, name=name, account=account)
    record = make_managed(
        item.pat.as_ending(),
        name=name,
        account=account,
        organization=organization,
        vault=rule.vault,
        secret_name=secret_name,
    )
    decision = Decision(Verdict.NOT_DUE, rule)
    if waits is not None:
        return Action(ActionKind.BLOCKED, record, ActionReason.ADOPTION_BLOCKED, decision, failure=waits)
    return Action(ActionKind.ADOPT, record, ActionReason.TO_BE_ADOPTED, decision)
