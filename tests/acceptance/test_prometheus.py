"""The alerting rules and the dashboard, as they are shipped, in a real Prometheus that scrapes a real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from rotator.sandbox.seeds import USERNAME
from tests.support.daemon import RunningDaemon, start_daemon, write_section
from tests.support.killing import NAME, Stage
from tests.support.monitoring import list_panels, list_rules
from tests.support.pages import Pages
from tests.support.prometheus import Prometheus, run_alertmanager, run_prometheus
from tests.support.receiver_server import WebhookServer

EMPTY_WHEN_WELL = {"Values that do not sign in", "Must sign in"}
"""The panels that are to show nothing while nothing is wrong. Each other has something to show of every daemon."""


class Watched:
    """A daemon, the Prometheus that watches it, and the two webhooks that are told: by rotator, by Alertmanager."""

    def __init__(self, stage: Stage, stack: ExitStack) -> None:
        self.stage, self.pages = stage, Pages()
        self.told, self.alerted = (WebhookServer(stage.folder / "server.pem") for _ in range(2))
        for server in (self.told, self.alerted):
            stack.enter_context(server.running())
        write_section(stage, "listen", self.pages.address)
        write_section(stage, "notify", [{"name": "ops", "kind": "webhook", "url": self.told.url}])
        ca = stage.sandbox.addresses.ca_path
        alertmanager = stack.enter_context(run_alertmanager(stage.folder, self.alerted.url, ca))
        self.prometheus: Prometheus = stack.enter_context(
            run_prometheus(stage.folder, self.pages.address, alertmanager)
        )

    def start(self) -> RunningDaemon:
        """Start the daemon, with every job soon."""
        return start_daemon(self.stage, work="1s", heartbeat="1s", probe="1s", refresh="1s", reconcile="1s")


@pytest.fixture
def watched(prepared: Stage) -> Iterator[Watched]:
    """Reset the stage, with a lease that outlasts the test; sign-ins work again at the end."""
    prepared.reset(lease="1h")
    with ExitStack() as stack:
        stack.callback(prepared.sandbox.entra.configure, {"users": {USERNAME: {"revoked": False}}})
        stack.callback(prepared.end)
        yield Watched(prepared, stack)


def run_panel(prometheus: Prometheus, panel: dict[str, Any]) -> bool:
    """Run every expression of a panel as Grafana does, and return whether each shows something."""
    return all(
        prometheus.query(target["expr"]) if target.get("instant") else prometheus.query_range(target["expr"])
        for target in panel["targets"]
    )


def list_empty(prometheus: Prometheus) -> set[str]:
    """Run every panel, and return the titles of those with nothing to show."""
    return {panel["title"] for panel in list_panels() if not run_panel(prometheus, panel)}


def list_calm(prometheus: Prometheus) -> list[str]:
    """Return the titles of the figures that are green."""
    return [panel["title"] for panel in list_panels() if "green" in find_colours(prometheus, panel)]


def find_colours(prometheus: Prometheus, panel: dict[str, Any]) -> set[str]:
    """Return the colours of what a panel shows, where it has thresholds."""
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
    values = [float(series["value"][1]) for series in prometheus.query(panel["targets"][0]["expr"])]
    return {
        [step["color"] for step in steps if step["value"] is None or step["value"] <= value][-1]
        for value in values
        if steps
    }


def list_unwell(prometheus: Prometheus) -> list[str]:
    """Return the rules that Prometheus could not evaluate yet, or not at all."""
    return [f"{rule['name']}: {rule['health']}" for rule in prometheus.list_rules() if rule["health"] != "ok"]


def test_everything_is_shown_and_nothing_fires_while_all_is_well_and_a_fault_is_delivered(watched: Watched) -> None:
    prometheus, daemon = watched.prometheus, watched.start()
    prometheus.wait_until(lambda: list_empty(prometheus) == EMPTY_WHEN_WELL, lambda: list_empty(prometheus))
    prometheus.wait_until(lambda: not list_unwell(prometheus), lambda: list_unwell(prometheus))
    assert len(prometheus.list_rules()) == len(list_rules())
    for rule in list_rules():
        assert prometheus.query(rule["expr"]) == [], rule["alert"]

    [current] = watched.stage.find_ours()
    with watched.stage.world.lock:
        current.value = watched.stage.world.new_pat_value()
    watched.stage.sandbox.entra.configure({"users": {USERNAME: {"revoked": True}}})
    prometheus.wait_until(lambda: not list_empty(prometheus), lambda: list_empty(prometheus))
    expected = {"RotatorSignInNeeded", "PatDoesNotSignIn"}
    prometheus.wait_until(lambda: prometheus.list_firing() == expected, prometheus.list_firing)
    found = {}
    for document in watched.alerted.wait_for(len(expected)):
        [alert] = document["alerts"]  # once, although two instances tell of it
        found[alert["labels"]["alertname"]] = alert
    assert found.keys() == expected
    sign_in, value = found["RotatorSignInNeeded"], found["PatDoesNotSignIn"]
    assert (sign_in["labels"]["account"], sign_in["labels"]["severity"]) == ("build-bot", "critical")
    assert "rotator login build-bot" in sign_in["annotations"]["description"]
    assert sign_in["annotations"]["runbook_url"] == "docs/runbook.md#sign_in_needed"
    assert (value["labels"]["name"], value["annotations"]["runbook_url"]) == (NAME, "docs/runbook.md#probe_failing")
    assert "Need a person" not in list_calm(prometheus)
    assert "Left behind" in list_calm(prometheus)

    assert daemon.stop() == 0
    prometheus.wait_until(lambda: list_calm(prometheus) == [], lambda: list_calm(prometheus))
