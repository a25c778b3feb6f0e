"""The sample rules and the dashboard, as their readers see them."""

from __future__ import annotations

import json
from typing import Any

import yaml

from tests.support.source_tree import ROOT

FOLDER = ROOT / "systemd" / "monitoring"
RULES = FOLDER / "rotator.rules.yaml"
DASHBOARD = FOLDER / "rotator.dashboard.json"


def list_rules() -> list[dict[str, Any]]:
    """Every alerting rule."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def list_panels() -> list[dict[str, Any]]:
    """Every panel that shows something."""
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [panel for panel in panels if panel["type"] != "row"]


def list_expressions() -> list[str]:
    """Every expression of both."""
    shown = [target["expr"] for panel in list_panels() for target in panel["targets"]]
    return [*shown, *(str(rule["expr"]) for rule in list_rules())]
