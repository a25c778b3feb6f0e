"""A policy of one rule for tests; make variants with `dataclasses.replace`."""

from __future__ import annotations

from datetime import timedelta

from rotator.domain.policy import Guardrails, Match, Policy, Rule, RuleAction
from rotator.domain.threshold import Threshold

RULE = Rule(
    name="ci",
    match=Match(),
    action=RuleAction.ROTATE,
    rotate_before=Threshold(share=0.25),
    lifetime=None,
    overlap=timedelta(hours=24),
    vault="https://contoso-kv.vault.azure.net",
    secret_name="{organization}-{name}",
)


def make_policy(*rules: Rule, guardrails: Guardrails | None = None) -> Policy:
    """Make a policy of these rules in this order; without any, it covers nothing."""
    return Policy(rules, guardrails or Guardrails(), "0" * 64)
