"""Prometheus and Alertmanager as Debian packages them, on loopback: they watch the pages of a daemon."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.monitoring import RULES
from tests.support.pages import find_free_port
from tests.support.programs import need

_PATIENCE = 60


class Prometheus:
    """A running one that scrapes a daemon and follows the rules as they are shipped."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self._process, self._address = process, address

    def wait_until(self, is_so: Callable[[], bool], explain: Callable[[], object]) -> None:
        """Return when that is so; AssertionError, with what `explain` says, when it takes too long."""
        for _ in range(5 * _PATIENCE):
            if is_so():
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)
                raise AssertionError("Prometheus ended")
        raise AssertionError(f"it took too long: {explain()}")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression now; AssertionError if it fails or warns."""
        return list(self._ask("query", query=expression)["result"])

    def query_range(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression over the last minute, as a graph asks for them."""
        now = float(self._ask("query", query="time()")["result"][1])
        return list(self._ask("query_range", query=expression, start=now - 60, end=now, step=1)["result"])

    def list_rules(self) -> list[dict[str, Any]]:
        """Return every rule with its state and its health."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def list_firing(self) -> set[str]:
        """Return the names of the rules that fire."""
        return {rule["name"] for rule in self.list_rules() if rule["state"] == "firing"}

    def _ask(self, what: str, **fields: object) -> dict[str, Any]:
        url = f"http://{self._address}/api/v1/{what}?{urllib.parse.urlencode(fields)}"
        try:
            with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{fields}: {error.read().decode()}") from None
        assert "warnings" not in document, (fields, document["warnings"])
        data: dict[str, Any] = document["data"]
        return data


@contextmanager
def run_prometheus(folder: Path, target: str, alertmanager: str) -> Iterator[Prometheus]:
    """Run one that scrapes the daemon at `target` twice, as if it were two replicas, and tells an Alertmanager.

    One scrape keeps the label `job` of rotator's metrics, the other calls it `exported_job`, as with a textfile.
    """
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(RULES)],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [
            _make_scrape("rotator", target, "a", honor_labels=True),
            _make_scrape("node", target, "b", honor_labels=False),
        ],
    }
    options = [f"--storage.tsdb.path={folder / 'prometheus'}"]
    with _run(need("prometheus", "prometheus"), folder / "prometheus.yml", config, options) as running:
        yield Prometheus(*running)


@contextmanager
def run_alertmanager(folder: Path, url: str, ca: Path) -> Iterator[str]:
    """Run one that sends each group of alerts to a webhook at once, and give its address."""
    config = {
        "route": {"receiver": "webhook", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"},
        "receivers": [
            {
                "name": "webhook",
                "webhook_configs": [{"url": url, "http_config": {"tls_config": {"ca_file": str(ca)}}}],
            }
        ],
    }
    options = [f"--storage.path={folder / 'alertmanager'}", "--cluster.listen-address="]
    program = need("prometheus-alertmanager", "prometheus-alertmanager")
    with _run(program, folder / "alertmanager.yml", config, options) as (_, address):
        yield address


def _make_scrape(job: str, target: str, instance: str, *, honor_labels: bool) -> dict[str, Any]:
    targets = [{"targets": [target], "labels": {"instance": instance}}]
    return {"job_name": job, "honor_labels": honor_labels, "static_configs": targets}


@contextmanager
def _run(
    program: str, path: Path, config: dict[str, Any], options: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a program of Prometheus, and give it and its address when it is ready; it is ended afterwards."""
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    address, log = f"127.0.0.1:{find_free_port()}", path.with_suffix(".log")
    command = [program, f"--config.file={path}", f"--web.listen-address={address}", *options]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        _await_ready(process, address, log)
        yield process, address
    finally:
        process.kill()
        process.wait(_PATIENCE)


def _await_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    for _ in range(5 * _PATIENCE):
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(f"http://{address}/-/ready"):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
            break
    raise AssertionError(log.read_text(encoding="utf-8"))
