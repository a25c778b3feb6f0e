"""The files as they are in effect, every default filled in, for `config show`. Secrets are never in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import time, timedelta
from pathlib import Path

from pydantic import BaseModel

from rotator.domain.policy import Policy
from rotator.domain.timetable import ChangeFreeze, Window
from rotator.settings.durations import render_duration
from rotator.settings.fields import DAYS
from rotator.settings.model import Settings
from rotator.settings.secrets import SecretReference, describe


def show_settings(settings: Settings) -> dict[str, object]:
    """The settings as plain values: durations as text, paths absolute, secrets as references or `***`."""
    return {key: _show(getattr(settings, key)) for key in Settings.model_fields}


def make_digest(settings: Settings) -> str:
    """Return the SHA-256 of the settings as `show_settings` shows them: two that differ in a secret have the same."""
    return hashlib.sha256(json.dumps(show_settings(settings), sort_keys=True).encode()).hexdigest()


def show_policy(policy: Policy) -> dict[str, object]:
    """The policy as plain values, each rule complete."""
    rules = [
        {
            "name": rule.name,
            "match": {key: value for key, value in vars(rule.match).items() if value is not None},
            "action": rule.action.value,
            "rotate_before": str(rule.rotate_before),
            "lifetime": "keep" if rule.lifetime is None else render_duration(rule.lifetime),
            "overlap": render_duration(rule.overlap),
            "consumer_cache": None if rule.consumer_cache is None else render_duration(rule.consumer_cache),
            "vault": rule.vault,
            "secret_name": rule.secret_name,
            "disable_previous": rule.disable_previous,
            "on_leak": rule.on_leak.value,
            "hooks": list(rule.hooks),
            "windows": [_show_window(window) for window in rule.timetable.windows],
            "freezes": [_show_freeze(freeze) for freeze in rule.timetable.freezes],
        }
        for rule in policy.rules
    ]
    return {"digest": policy.digest, "rules": rules, "guardrails": _show(vars(policy.guardrails))}


def _show_window(window: Window) -> dict[str, object]:
    return {
        "days": [DAYS[day] for day in window.days],
        "from": f"{window.begins:%H:%M}",
        "to": f"{window.ends:%H:%M}" if window.ends != time() else "24:00",
        "timezone": str(window.zone),
    }


def _show_freeze(freeze: ChangeFreeze) -> dict[str, object]:
    return {"from": freeze.begins.isoformat(), "to": freeze.ends.isoformat(), "reason": freeze.reason}


def _show(value: object) -> object:
    if isinstance(value, SecretReference):
        return describe(value)
    if isinstance(value, BaseModel):
        return {key: _show(getattr(value, key)) for key in type(value).model_fields}
    if isinstance(value, Mapping):
        return {key: _show(inner) for key, inner in value.items()}
    if isinstance(value, timedelta):
        return render_duration(value)
    if isinstance(value, list | tuple):
        return [_show(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
