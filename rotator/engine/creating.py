"""Create a PAT under management: a record first, then a rotation without a predecessor, as safe as any other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from rotator.domain.events.inventory import CreationDropped, CreationRefused, CreationStarted
from rotator.domain.limit import find_longest
from rotator.domain.managed_pat import Failure, ManagedPat, make_scopes
from rotator.domain.marker import strip_mark
from rotator.domain.obstacle import Obstacle, ObstacleKind
from rotator.domain.policy import Policy, Rule, RuleAction
from rotator.domain.rotation import RotationState
from rotator.engine.auditing import record
from rotator.engine.beginning import begin_run
from rotator.engine.choices import make_choice
from rotator.engine.claiming import claimed
from rotator.engine.context import RunContext, RunMode
from rotator.engine.explaining import explain_obstacle, explain_wish
from rotator.engine.listing import Listing
from rotator.engine.provenance import Writer, find_known_writer, make_occupied
from rotator.engine.reconciling import Reconciliation
from rotator.engine.report import OutcomeKind, RunReport
from rotator.engine.run import HUMAN_ERRORS, Run
from rotator.errors import NotManagedError, PlanRefusedError, UsageError
from rotator.ports.claims import Claim
from rotator.ports.secret_store import SecretLocation


@dataclass(frozen=True)
class Order:
    """What a person wants to be made. `vault` and `secret_name` are None where the rule that covers it decides."""

    name: str
    account: str
    organization: str
    scopes: tuple[str, ...]
    lifetime: timedelta
    vault: str | None = None
    secret_name: str | None = None


@dataclass(frozen=True)
class Draft:
    """The record that an order would write, and the rule that covers it."""

    record: ManagedPat
    rule: Rule


def make_order(
    name: str,
    account: str,
    organization: str,
    scopes: tuple[str, ...],
    lifetime: timedelta,
    *,
    vault: str | None = None,
    secret_name: str | None = None,
) -> Order:
    """Make an order of what a person gave. UsageError when one can be no name, or no secret of Key Vault."""
    make_choice(name, secret_name)
    return Order(name, account, organization, make_scopes(" ".join(scopes)), lifetime, vault, secret_name)


def propose(run: RunContext, order: Order) -> Draft:
    """Check everything that can be checked without changing anything.

    UsageError when the order itself is wrong, PlanRefusedError or ForeignWriteError when policy, inventory, server or
    vault are against it; and whatever a service raises that cannot be looked at.
    """
    return _propose(Run(run), order)


def create(run: RunContext, order: Order) -> RunReport:
    """Write the record, then make its PAT. What is refused leaves no record; what was interrupted, a later run ends.

    The record also stays while the revocation of its PAT is pending. Raise as `propose` does, and keep in the audit log
    that it was refused.
    """
    this = Run(replace(run, mode=RunMode.BY_HAND))
    with this.until_stopped():
        begin_run(run)
        try:
            draft = _propose(this, order)
        except HUMAN_ERRORS as error:
            with run.services.database.begin() as work:
                refused = CreationRefused(code=error.code, message=error.message)
                record(work, run, order.name, refused, run.services.clock.now())
            raise
        this.guard_clocks([])
        this.begun[order.name] = _begin(run, draft)
        this.work_on([order.name], Reconciliation())
        this.confirm_revocations([order.name])
        for outcome in this.report.of_kind(OutcomeKind.BLOCKED):
            if outcome.failure is not None:
                _drop(run, order.name, outcome.failure)
    return this.report


def _propose(this: Run, order: Order) -> Draft:
    run = this.run
    check_place(run, order.account, order.organization)
    rule = _find_rule(run.policy, order)
    vault = _choose_vault(run.policy, rule, order)
    now = run.services.clock.now()
    secret_name = rule.make_secret_name(organization=order.organization, name=order.name, account=order.account)
    pat = ManagedPat(
        name=order.name,
        account=order.account,
        organization=order.organization,
        authorization_id="",
        display_name=order.name,
        scope=" ".join(order.scopes),
        valid_from=now,
        valid_to=now + order.lifetime,
        vault=vault,
        secret_name=order.secret_name or secret_name,
    )
    with run.services.database.read() as reading:
        longest = find_longest(reading.limits.load(), pat, now)
        others = reading.inventory.load_all()
        rotating = {rotation.name for rotation in reading.journal.load_open()}
    failure = explain_wish(run.policy.decide(pat, now=now, longest=longest))
    if failure is not None:
        raise PlanRefusedError(failure.message, code=failure.code, fix=failure.fix, kind=failure.kind)
    _check_free(pat, others, rotating)
    check_display_name(pat.display_name, this.view.fetch_listing(pat.account, pat.organization))
    _check_secret(run, pat)
    return Draft(pat, rule)


def check_place(run: RunContext, account: str, organization: str) -> None:
    """Raise UsageError unless the settings name that account, with that organization."""
    accounts = {known.name: known for known in run.services.accounts}
    if account not in accounts:
        raise UsageError(
            f'the settings name no account "{account}"',
            code=NotManagedError.code,
            fix=f"Use one of: {', '.join(sorted(accounts))}.",
        )
    organizations = accounts[account].organizations
    if organization not in organizations:
        raise UsageError(
            f'account {account} has no organization "{organization}" in the settings, only {", ".join(organizations)}',
            code=NotManagedError.code,
            fix=f"Name it in the organizations of {account} in rotator.yaml, or choose an account that has it.",
        )


def _find_rule(policy: Policy, order: Order) -> Rule:
    rule = policy.find_rule(
        account=order.account, organization=order.organization, display_name=order.name, scopes=order.scopes
    )
    if rule is None or rule.action is RuleAction.IGNORE:
        said = "no rule in the policy covers it" if rule is None else f"rule {rule.name} says ignore"
        raise PlanRefusedError(said, code="uncovered", fix="Change the policy so that a rule covers it.")
    check_lifetime(policy, order.lifetime)
    return rule


def check_lifetime(policy: Policy, lifetime: timedelta) -> None:
    """Raise PlanRefusedError when a person asks for a longer life than the guardrails allow."""
    longest = policy.guardrails.max_lifetime
    if longest is not None and lifetime > longest:
        told = explain_obstacle(Obstacle(ObstacleKind.LIFETIME_TOO_LONG, lifetime=longest))
        raise PlanRefusedError(told.message, code=told.code, fix=told.fix)


def _choose_vault(policy: Policy, rule: Rule, order: Order) -> str:
    """Return the vault: one that the policy names, so that no value goes where nobody expects one."""
    if order.vault is None and rule.vault:
        return rule.vault
    allowed = {known.vault.rstrip("/").lower(): known.vault for known in policy.rules if known.vault}
    vault = allowed.get((order.vault or "").rstrip("/").lower())
    if vault is None:
        raise PlanRefusedError(
            f"the policy names no vault {order.vault}" if order.vault else f"rule {rule.name} names no vault",
            code="vault_not_allowed",
            fix=f"Use --vault with one of: {', '.join(sorted(set(allowed.values())))}; or name it in the policy.",
        )
    return vault


def _check_free(pat: ManagedPat, others: tuple[ManagedPat, ...], rotating: set[str]) -> None:
    for other in others:
        if other.name == pat.name:
            known = f"`rotator inventory show {pat.name}` shows it; choose another name."
            begun = "`rotator once` continues it"
            begun += "." if pat.name in rotating else f", `rotator inventory forget {pat.name}` gives it up."
            said = "is taken by a managed PAT" if other.has_pat else "is being created already"
            raise PlanRefusedError(f"{pat.name} {said}", code="name_taken", fix=known if other.has_pat else begun)
        if other.place == pat.place:
            raise PlanRefusedError(
                f"secret {pat.secret_name} in {pat.vault} belongs to {other.name}",
                code="secret_taken",
                fix="Choose another secret with --secret.",
            )
    if pat.name in rotating:
        raise PlanRefusedError(
            f"a rotation of an earlier {pat.name} is not finished",
            code="name_taken",
            fix="Run `rotator once` first, or choose another name.",
        )


def check_display_name(display_name: str, listing: Listing, *, besides: str = "", moves: str = "") -> None:
    """Raise PlanRefusedError when the server has a PAT of that display name in that organization, other than `besides`.

    People could not tell the two apart. `moves`: the ManagedPat that is to move there with its display name.
    """
    for pat in listing.pats:
        if strip_mark(pat.display_name) == display_name and pat.authorization_id != besides:
            raise PlanRefusedError(
                f'{listing.organization} has a PAT called "{display_name}" already: {pat.authorization_id}',
                code="display_name_taken",
                fix=f"Give {moves} another name first: `rotator update {moves} --display-name OTHER`."
                if moves
                else f"Choose another name, or `rotator inventory adopt {pat.authorization_id}`.",
            )


def _check_secret(run: RunContext, pat: ManagedPat) -> None:
    """Raise when the secret holds anything that is not ours."""
    versions = run.services.secrets.fetch_versions(SecretLocation.of(pat))
    newest = versions[0] if versions else None
    if find_known_writer(run, pat, newest) is Writer.FOREIGN:
        raise make_occupied(pat)


def _begin(run: RunContext, draft: Draft) -> Claim:
    """Write the record, claimed from the start: no other run begins what this one is about to do."""
    pat = draft.record
    started = CreationStarted(
        account=pat.account,
        organization=pat.organization,
        scope=pat.scope,
        valid_to=pat.valid_to,
        vault=pat.vault,
        secret_name=pat.secret_name,
        rule=draft.rule.name,
    )
    with run.services.database.begin() as work:
        work.inventory.add(pat)
        claim = work.claims.claim(pat.name, run.claimant, now=work.now(), span=run.services.timing.lease)
        record(work, run, pat.name, started, run.services.clock.now())
    return claim


def _drop(run: RunContext, name: str, failure: Failure) -> None:
    """Take the record of a refused creation out again, unless a PAT of it may live."""
    with claimed(run, name) as held:
        rotations = held.load(lambda reading: reading.journal.load_for(name))
        is_over = all(rotation.state is RotationState.ABANDONED for rotation in rotations[:1])
        pending = held.load(lambda reading: reading.revocations.load_for([name]))
        is_asked = any(item.belongs_to(held.pat) for item in pending)
        if is_over and not is_asked and not held.pat.has_pat:
            held.remove(CreationDropped(code=failure.code, message=failure.message))
