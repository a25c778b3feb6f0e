"""From the policy file's model to the domain's Policy, and the conflicts within it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from rotator.domain.hook import HookTerms
from rotator.domain.policy import Guardrails, LeakAction, Match, Policy, Rule, RuleAction
from rotator.domain.rotation import find_shortfall
from rotator.domain.timetable import ChangeFreeze, Timetable, Window
from rotator.domain.words import say_did_you_mean
from rotator.settings.durations import render_duration
from rotator.settings.fields import DAYS
from rotator.settings.policy_model import (
    DEFAULT_NAME_TEMPLATE,
    DEFAULT_OVERLAP,
    DEFAULT_ROTATE_BEFORE,
    KEEP,
    DefaultsSection,
    GuardrailsSection,
    MatchSection,
    PolicyFile,
    RuleKeys,
    RuleSection,
)
from rotator.settings.problem import Location

IMPLICIT_RULE = RuleSection.model_construct(name="defaults", match=MatchSection.model_construct())
"""What a policy without rules consists of. Not validated: that would make each command begin later."""
LONGEST_TEXT = 64 * 1024
"""How many bytes of a policy file go into the audit log, as one event, at most."""

Finding = tuple[Location, str]


@dataclass(frozen=True)
class PolicyParts:
    """The parts of a policy file that are each valid; None stands for one that is not."""

    defaults: DefaultsSection | None
    rules: Sequence[RuleSection | None]
    guardrails: GuardrailsSection | None


def make_policy(file: PolicyFile, content: bytes, hooks: tuple[HookTerms, ...] = ()) -> Policy:
    """The policy with every default filled in. The file must have passed `find_conflicts`; `content` is its bytes."""
    rules = file.rules or (IMPLICIT_RULE,)
    limits = file.guardrails
    guardrails = Guardrails(
        max_lifetime=limits.max_lifetime,
        deny_scopes=limits.deny_scopes,
        max_rotations_per_hour=limits.max_rotations_per_hour,
    )
    digest = hashlib.sha256(content).hexdigest()
    made = tuple(make_rule(rule, file.defaults) for rule in rules)
    return Policy(made, guardrails, digest, hooks, text=_read_text(content))


def _read_text(content: bytes) -> str | None:
    if len(content) > LONGEST_TEXT:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


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
        hooks=keys.hooks or (),
        on_leak=LeakAction(keys.on_leak or "alert"),
        consumer_cache=keys.consumer_cache,
        timetable=_make_timetable(keys),
    )


def _make_timetable(keys: RuleKeys) -> Timetable:
    windows = (
        Window(tuple(DAYS.index(day) for day in each.days), each.begins, each.ends, each.timezone)
        for each in keys.windows or ()
    )
    freezes = (ChangeFreeze(each.begins, each.ends, each.reason) for each in keys.freezes or ())
    return Timetable(tuple(windows), tuple(freezes))


def find_conflicts(parts: PolicyParts) -> Iterator[Finding]:
    """Conflicts between values that are each valid. Parts that are not valid are skipped."""
    yield from _find_unreachable(parts.rules)
    for section, location, defaults in _list_rules(parts):
        yield from _find_rule_conflicts(section, location, defaults, parts.guardrails)


def find_unknown_hooks(parts: PolicyParts, hooks: Sequence[HookTerms]) -> Iterator[Finding]:
    """Names of hooks that the settings do not have."""
    known = [hook.name for hook in hooks]
    sections: list[tuple[RuleKeys | None, Location]] = [(parts.defaults, ("defaults",))]
    sections += [(section, ("rules", index)) for index, section in enumerate(parts.rules)]
    for section, location in sections:
        for index, name in enumerate((section.hooks if section else None) or ()):
            if name not in known:
                hint = say_did_you_mean(name, known) or "; `hooks` in rotator.yaml has no such name"
                yield (*location, "hooks", index), f'unknown hook "{name}"{hint}'


def find_warnings(file: PolicyFile) -> Iterator[Finding]:
    """What is valid but may be unintended. The file must have passed `find_conflicts`."""
    for section, location, defaults in _list_rules(PolicyParts(file.defaults, file.rules, file.guardrails)):
        rule = make_rule(section, defaults)
        if rule.action is not RuleAction.ROTATE:
            continue
        place = _Places(section, location, defaults)
        if not rule.overlap:
            yield (
                place.find("overlap"),
                "overlap 0s: the old PAT is revoked at once, and consumers that have not read the vault again fail",
            )
        yield from _find_narrow(rule, file.guardrails, place)


def _list_rules(parts: PolicyParts) -> Iterator[tuple[RuleSection, Location, DefaultsSection]]:
    """Each valid rule, where it stands, and the defaults; nothing when these are not valid."""
    if parts.defaults is None:
        return
    for index, section in enumerate(parts.rules):
        if section is not None:
            yield section, ("rules", index), parts.defaults
    if not parts.rules:
        yield IMPLICIT_RULE, ("defaults",), parts.defaults


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
    rule, place = make_rule(section, defaults), _Places(section, location, defaults)
    if rule.adopt and rule.action is RuleAction.IGNORE:
        yield (*location, "adopt"), "takes over nothing: the action of this rule is ignore"
    if rule.action is not RuleAction.ROTATE:
        return
    if not rule.vault:
        where = "" if section is IMPLICIT_RULE else f' by rule "{rule.name}"'
        yield (
            (*location, "vault"),
            f"is missing: what is rotated{where} must be written to a vault, "
            "for example vault: https://contoso-kv.vault.azure.net (here or in defaults)",
        )
    if rule.consumer_cache is not None and rule.overlap <= rule.consumer_cache:
        yield (
            place.find("consumer_cache"),
            f"consumer_cache {render_duration(rule.consumer_cache)} is not shorter than overlap "
            f"{render_duration(rule.overlap)}: the old PAT would be revoked while consumers still use it",
        )
    limit = guardrails.max_lifetime if guardrails else None
    if rule.lifetime and limit and rule.lifetime > limit:
        yield (
            place.find("lifetime"),
            f"{render_duration(rule.lifetime)} is more than guardrails.max_lifetime {render_duration(limit)}",
        )
    longest, named = _find_longest(rule, guardrails)
    if longest is not None:
        yield from _find_storms(rule, longest, named, place)


@dataclass(frozen=True)
class _Places:
    """Where the keys of one rule are set."""

    section: RuleSection
    location: Location
    defaults: DefaultsSection

    def find(self, *keys: str) -> Location:
        """Where one of the keys is set: in the rule, else in the defaults, else the rule itself."""
        for holder, start in ((self.section, self.location), (self.defaults, ("defaults",))):
            for key in keys:
                if getattr(holder, key) is not None:
                    return (*start, key)
        return self.location


def _find_longest(rule: Rule, guardrails: GuardrailsSection | None) -> tuple[timedelta | None, str]:
    """The longest lifetime that a new PAT can have, as far as the file says it, and what sets it."""
    if rule.lifetime:
        return rule.lifetime, "the lifetime"
    return guardrails.max_lifetime if guardrails else None, "guardrails.max_lifetime"


def _find_storms(rule: Rule, longest: timedelta, named: str, place: _Places) -> Iterator[Finding]:
    before = rule.rotate_before.duration
    at_threshold, at_overlap = place.find("rotate_before", "lifetime"), place.find("overlap", "lifetime")
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


def _find_narrow(rule: Rule, guardrails: GuardrailsSection, place: _Places) -> Iterator[Finding]:
    """An overlap that has no room: beside the threshold in a new PAT's lifetime, or in what the old PAT has left.

    A new PAT lives a little shorter than its lifetime says: its planned expiry tells one attempt from another.
    """
    longest, named = _find_longest(rule, guardrails)
    before = rule.rotate_before.duration if longest is None else rule.rotate_before.before(longest)
    if before is None:
        return
    lead = before if longest is None else rule.find_lead(longest)
    at, overlap = place.find("overlap", "rotate_before", "lifetime"), f"overlap {render_duration(rule.overlap)}"
    threshold = f"rotate_before {_say_threshold(rule, before)}"
    if longest is not None and lead + rule.overlap > longest - find_shortfall(longest):
        yield (
            at,
            f"{overlap} and {threshold} leave no room in {named} {render_duration(longest)}: "
            "a new PAT would be due again before its overlap is over",
        )
    elif rule.overlap > lead:
        yield at, f"{overlap} is longer than {threshold}: the old PAT may expire before its overlap is over"


def _say_threshold(rule: Rule, before: timedelta) -> str:
    """A share with the duration that it comes to."""
    return (
        render_duration(before) if rule.rotate_before.duration else f"{rule.rotate_before} ({render_duration(before)})"
    )
