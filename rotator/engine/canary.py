"""A canary: a PAT that is minted to see what an organization allows, tried, and revoked at once.

It is a rotation like that of a creation, by the same steps, so the same recovery finds it wherever it was interrupted.
It is given up where a creation would store the value: that never leaves memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from rotator.domain.checkup import CheckResult, Remark, fail, praise, warn
from rotator.domain.managed_pat import ManagedPat, make_scopes
from rotator.domain.policy import Match, Policy, Rule, RuleAction, check_scopes
from rotator.domain.rotation import Rotation, make_kept_lifetime
from rotator.domain.threshold import Threshold
from rotator.domain.words import say_duration
from rotator.engine.abandoning import abandon
from rotator.engine.beginning import begin_run
from rotator.engine.canary_record import begin_canary, end_canary, make_canary
from rotator.engine.claiming import ClaimedPat, claimed
from rotator.engine.context import RunContext, RunMode
from rotator.engine.creating import check_place
from rotator.engine.explaining import explain_obstacle
from rotator.engine.minting import CLOCK_TOLERANCE, begin_mint, mint_clone
from rotator.engine.preflight import Source, describe_wanted, plan_rotation
from rotator.engine.report import OutcomeFields, OutcomeKind, OutcomeReason, PatOutcome, RunReport
from rotator.engine.run import Run
from rotator.engine.verifying import verify_clone
from rotator.errors import DatabaseError, FailureKind, PlanRefusedError, RotationError, RotatorError, StoppedError
from rotator.ports.database import Reading

LEAST_SCOPE = "vso.profile"
"""What it may do unless a person asks for more: read its user's own profile."""

_OTHERWISE = timedelta(days=30)
"""Its lifetime where the policy names none and nothing is managed there."""
_OVER = RotationError(
    "it was only minted to see what the organization allows",
    code="canary_over",
    fix="Nothing to do: it is revoked.",
    kind=FailureKind.EXPLAINED_LOSS,
)
_RECOVERED = "Nothing to do: the next run finds out, and revokes it if it was created. `rotator once` does it now."


@dataclass
class _Seen:
    """What became of a canary: its rotation, whether it signed in, and what went wrong."""

    rotation: Rotation | None = None
    has_signed_in: bool = False
    error: RotatorError | None = None


def plan_canary(run: RunContext, account: str, organization: str, scopes: tuple[str, ...]) -> ManagedPat:
    """Return the record of a canary that lives as long as the policy lets any PAT live there. Nothing is asked.

    UsageError when the settings have no such place, PlanRefusedError when the policy forbids one of the scopes.
    """
    check_place(run, account, organization)
    obstacle = check_scopes(make_scopes(" ".join(scopes)), run.policy.guardrails)
    if obstacle is not None:
        told = explain_obstacle(obstacle)
        raise PlanRefusedError(told.message, code=told.code, fix=told.fix)
    with run.services.database.read() as reading:
        lifetime = find_longest_asked(reading, run.policy, account, organization)
    return make_canary(run, (account, organization), scopes, lifetime)


def find_longest_asked(reading: Reading, policy: Policy, account: str, organization: str) -> timedelta:
    """Return the longest lifetime that a rotation in an organization may ask for, whatever it was granted before."""
    fitting = [
        rule
        for rule in policy.rules
        if rule.action is RuleAction.ROTATE and rule.match.may_be_met(account, organization)
    ]
    asked = [rule.lifetime for rule in fitting if rule.lifetime is not None]
    for pat in reading.inventory.load_all():
        rule = policy.rule_for(pat)
        can_be_rotated = not (pat.is_canary or pat.all_organizations or check_scopes(pat.scopes, policy.guardrails))
        if rule in fitting and (pat.account, pat.organization) == (account, organization) and can_be_rotated:
            asked.append(policy.clone_lifetime(pat, rule, None))
    most = policy.guardrails.max_lifetime
    longest = max(asked, default=most or _OTHERWISE)
    return longest if most is None else min(longest, most)


def send_canary(run: RunContext, pat: ManagedPat, results: list[CheckResult]) -> RunReport:
    """Mint the canary, try it, revoke it and prove it gone; add to `results` what was seen.

    What keeps it from being begun is raised. From then on it is journaled, and what is interrupted, a later run ends.
    """
    this, seen = Run(replace(run, mode=RunMode.BY_HAND)), _Seen()
    with this.until_stopped():
        begin_run(run)
        this.guard_clocks([])
        listing = this.view.fetch_listing(pat.account, pat.organization)
        with claimed(this.run, pat.name, begin_canary(this.run, pat)) as held:
            rule = _make_rule(pat.lifetime)
            source = Source(describe_wanted(held, listing), rule, pat.lifetime, listing)
            _mint_and_revoke(held, this, source, seen)
        this.confirm_revocations([pat.name])
        with claimed(this.run, pat.name) as held:
            is_over = end_canary(held)
        subject = f"{pat.account}/{pat.organization}"
        results += [CheckResult(name, remark) for name, remark in _describe(subject, pat, seen, is_over=is_over)]
        kind = OutcomeKind.ABANDONED if is_over else OutcomeKind.SETTLING
        revoked_id = seen.rotation.new_authorization_id if seen.rotation is not None else None
        fields = OutcomeFields(reason=OutcomeReason.INTERRUPTED, revoked_id=revoked_id)
        this.report.add(PatOutcome.of(kind, pat, **fields))
    return this.report


def _make_rule(lifetime: timedelta) -> Rule:
    """Make the rule of a canary: no rule of the policy covers it, and nothing of it is stored."""
    never = Threshold(duration=timedelta(0))
    return Rule("canary", Match(), RuleAction.ROTATE, never, lifetime, timedelta(0), "", "")


def _mint_and_revoke(held: ClaimedPat, this: Run, source: Source, seen: _Seen) -> None:
    try:
        plan_rotation(held, source)
        begin_mint(held, source)
        with held.holding_value():
            value = mint_clone(held, source)
            verify_clone(held, this.view, value)
            del value
            seen.has_signed_in = True
            abandon(held, _OVER)
    except (DatabaseError, StoppedError):
        raise  # what was done is not known here: the journal tells the next run
    except RotatorError as error:
        seen.error = error
    seen.rotation = held.rotation


def _describe(subject: str, pat: ManagedPat, seen: _Seen, *, is_over: bool) -> Iterator[tuple[str, Remark]]:
    rotation, error = seen.rotation, seen.error
    if rotation is None or rotation.new_valid_to is None or rotation.planned_valid_to is None:
        if error is not None:
            yield "canary_mint", fail(subject, error.message, error.fix)
        if not is_over:
            yield "canary_revocation", warn(subject, "nobody knows yet whether it was created", _RECOVERED)
        return
    yield "canary_mint", _describe_mint(subject, pat, rotation)
    if seen.has_signed_in:
        yield "canary_sign_in", praise(subject, "it signed in as the account's user")
    elif error is not None:
        yield "canary_sign_in", fail(subject, error.message, error.fix)
    if is_over:
        yield "canary_revocation", praise(subject, "revoked, and Azure DevOps calls it revoked")
    elif seen.has_signed_in and error is not None:
        yield "canary_revocation", fail(subject, error.message, f"{error.fix} The next run tries again.")
    else:
        said = f"{rotation.new_authorization_id} was to be revoked, and that is not proven yet"
        again = "Nothing to do: each run looks again, and revokes it again while it lives. `rotator status` shows it."
        yield "canary_revocation", warn(subject, said, again)


def _describe_mint(subject: str, pat: ManagedPat, rotation: Rotation) -> Remark:
    asked, granted = rotation.planned_valid_to, rotation.new_valid_to
    wanted = f"{say_duration(pat.lifetime)} with {' '.join(pat.scopes)}"
    if asked is None or granted is None or granted >= asked - CLOCK_TOLERANCE:
        return praise(subject, f"a PAT for {wanted} was created as asked")
    short = make_kept_lifetime(granted - (rotation.new_valid_from or rotation.created_at))
    return warn(
        subject,
        f"a PAT for {wanted} was asked for, and Azure DevOps made it {say_duration(short)}",
        f"Set `lifetime` in the policy, or `guardrails.max_lifetime`, to at most {say_duration(short)}; or ask an "
        "Azure DevOps Administrator of the Entra tenant about 'Enforce maximum personal access token lifespan'.",
    )
