"""The sample rules and the dashboard: in step with the metrics, the runbook and each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.monitoring import DASHBOARD, RULES, list_expressions, list_panels, list_rules
from tests.support.source_tree import ROOT

_METRIC = re.compile(r"\brotator_[a-z_]+")
_DOCUMENTED = set(re.findall(r"^\| `(rotator_[a-z_]+)`", (ROOT / "docs" / "monitoring.md").read_text(), re.MULTILINE))


def list_anchors() -> Iterator[str]:
    """Where the runbook can be linked to."""
    for line in (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            yield re.sub(r"[^a-z0-9_-]", "", line.lstrip("# ").lower().replace(" ", "-"))


@pytest.mark.parametrize("expression", list_expressions())
def test_expression_asks_for_metrics_that_exist(expression: str) -> None:
    assert set(_METRIC.findall(expression)) <= _DOCUMENTED


def test_every_metric_is_in_the_dashboard() -> None:
    """But for what another one shows already."""
    asked = {
        metric for panel in list_panels() for target in panel["targets"] for metric in _METRIC.findall(target["expr"])
    }
    assert _DOCUMENTED - asked == {"rotator_api_throttled_total", "rotator_audit_chain_ok"}


@pytest.mark.parametrize("rule", list_rules(), ids=lambda rule: str(rule["alert"]))
def test_rule_links_to_a_place_in_the_runbook(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "docs/runbook.md"
    assert anchor in set(list_anchors())
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}


def test_rules_have_names_of_their_own_and_a_test_each() -> None:
    names = [rule["alert"] for rule in list_rules()]
    assert len(names) == len(set(names))
    tested = RULES.with_suffix(".test.yaml").read_text(encoding="utf-8")
    assert [name for name in names if name not in tested] == []


def test_rules_take_one_figure_of_several_daemons() -> None:
    """Each metric is aggregated, or asked whether it is there at all."""
    for rule in list_rules():
        bare = re.sub(
            r"(?:max|min)(?: by \([a-z, ]+\))?\s*\((?:[^()]|\((?:[^()])*\))*\)|absent\([a-z_]+\)", "", rule["expr"]
        )
        assert not _METRIC.search(bare), rule["alert"]


def test_dashboard_is_whole() -> None:
    """What Grafana needs of each panel; no two panels have one id or one place."""
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert {variable["name"] for variable in document["templating"]["list"]} == {"datasource"}
    panels = list_panels()
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
    assert yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["name"] == "rotator"
