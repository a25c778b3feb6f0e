"""From the policy file's model to the domain's Policy, and the conflicts within it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from rotator.domain.policy import Guardrails, Match, Policy, Rule, RuleAction
from rotator.settings.durations import render_duration
from rotator.settings.policy_model import (
    DEFAULT_NAME_TEMPLATE,
    DEFAULT_OVERLAP,
    DEFAULT_ROTATE_BEFORE,
    KEEP,
    DefaultsSection,
    GuardrailsSection,
    PolicyFile,
    RuleKeys,
    RuleSection,
)
from rotator.settings.problem import Location

IMPLICIT_RULE = RuleSection(name="defaults")
"""What a policy without rules consists of."""

Finding = tuple[Location, str]


@dataclass(frozen=True)
class PolicyParts:
    """The parts of a policy file that are each valid; None stands for one that is not."""

    defaults: DefaultsSection | None
    rules: Sequence[RuleSection | None]
    guardrails: GuardrailsSection | None


def make_policy(file: PolicyFile, digest: str) -> Policy:
    """The policy with every default filled in. The file must have passed `find_conflicts`."""
    rules = file.rules or (IMPLICIT_RULE,)
    limits = file.guardrails
    guardrails = Guardrails(
        max_lifetime=limits.max_lifetime,
        deny_scopes=limits.deny_scopes,
        max_rotations_per_hour=limits.max_rotations_per_hour,
    )
    return Policy(tuple(make_rule(rule, file.defaults) for rule in rules), guardrails, digest)


def make_rule(rule: RuleSection, defaults: RuleKeys) -> Rule:
    """One rule with the file's and the product's defaults in place of what it leaves out."""
    said = {
        key: getattr(holder, key)
        for holder in (defaults, rule)
        for key in RuleKeys.model_fields
        if getattr(holder, key) is not None
    }
    keys = RuleKeys.model_construct(**said)
    match = rule.match
    return Rule(
        name=rule.name,
        match=Match(match.organization, match.account, match.display_name, match.scope),
        action=RuleAction(keys.action or "rotate"),
        rotate_before=keys.rotate_before or DEFAULT_ROTATE_BEFORE,
        lifetime=None if keys.lifetime in (None, KEEP) else keys.lifetime,
        overlap=DEFAULT_OVERLAP if keys.overlap is None else keys.overlap,
        vault=keys.vault or "",
        secret_name=keys.secret_name or DEFAULT_NAME_TEMPLATE,
        disable_previous=bool(keys.disable_previous),
        adopt=isinstance(rule, RuleSection) and rule.adopt,
    )


def find_conflicts(parts: PolicyParts) -> Iterator[Finding]:
    """Conflicts between values that are each valid. Parts that are not valid are skipped."""
    yield from _find_repeated_names(parts.rules)
    yield from _find_unreachable(parts.rules)
    if parts.defaults is None:
        return
    for index, section in enumerate(parts.rules):
        if section is not None:
            yield from _find_rule_conflicts(section, ("rules", index), parts.defaults, parts.guardrails)
    if not parts.rules:
        yield from _find_rule_conflicts(IMPLICIT_RULE, ("defaults",), parts.defaults, parts.guardrails)


def _find_repeated_names(rules: Sequence[RuleSection | None]) -> Iterator[Finding]:
    first_uses: dict[str, int] = {}
    for index, rule in enumerate(rules):
        if rule is None:
            continue
        if rule.name in first_uses:
            yield ("rules", index, "name"), f'"{rule.name}" is already the name of rules[{first_uses[rule.name]}]'
        first_uses.setdefault(rule.name, index)


def _find_unreachable(rules: Sequence[RuleSection | None]) -> Iterator[Finding]:
    catch_all: str | None = None
    for index, rule in enumerate(rules):
        if catch_all is not None:
            yield ("rules", index), f'is never used: rule "{catch_all}" above it matches everything'
        elif rule is not None and rule.match.is_everything:
            catch_all = rule.name


def _find_rule_conflicts(
    section: RuleSection, location: Location, defaults: DefaultsSection, guardrails: GuardrailsSection | None
) -> Iterator[Finding]:
    rule = make_rule(section, defaults)
    if rule.adopt and rule.action is RuleAction.IGNORE:
        yield (*location, "adopt"), "takes over nothing: the action of this rule is ignore"
    if rule.action is not RuleAction.ROTATE:
        return

    def place(*keys: str) -> Location:
        """Where one of the keys is set: in the rule, else in the defaults, else the rule itself."""
        for holder, start in ((section, location), (defaults, ("defaults",))):
            for key in keys:
                if getattr(holder, key) is not None:
                    return (*start, key)
        return location

    if not rule.vault:
        where = "" if section is IMPLICIT_RULE else f' by rule "{rule.name}"'
        yield (
            (*location, "vault"),
            f"is missing: what is rotated{where} must be written to a vault, "
            "for example vault: https://contoso-kv.vault.azure.net (here or in defaults)",
        )
    limit = guardrails.max_lifetime if guardrails else None
    if rule.lifetime and limit and rule.lifetime > limit:
        yield (
            place("lifetime"),
            f"{render_duration(rule.lifetime)} is more than guardrails.max_lifetime {render_duration(limit)}",
        )
    longest, named = (rule.lifetime, "the lifetime") if rule.lifetime else (limit, "guardrails.max_lifetime")
    if longest is not None:
        yield from _find_storms(rule, longest, named, place("rotate_before", "lifetime"), place("overlap", "lifetime"))


def _find_storms(
    rule: Rule, longest: timedelta, named: str, at_threshold: Location, at_overlap: Location
) -> Iterator[Finding]:
    before = rule.rotate_before.duration
    if before is not None and before >= longest:
        yield (
            at_threshold,
            f"rotate_before {render_duration(before)} is not shorter than {named} {render_duration(longest)}: "
            "a new PAT would be due again immediately",
        )
    if rule.overlap >= longest:
        yield (
            at_overlap,
            f"overlap {render_duration(rule.overlap)} is not shorter than {named} {render_duration(longest)}: "
            "the old PAT would outlive the new one",
        )
