"""The Containerfile and the Kubernetes examples: linted, hardened, in step with the settings and with each other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from rotator.settings.load import load_policy, load_settings
from rotator.settings.sections.daemon import DaemonSettings
from tests.support.source_tree import ROOT

CONTAINERFILE = (ROOT / "Containerfile").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "docs" / "examples" / "kubernetes").glob("*.yaml"))
PORT = 9464
BIN = Path(sys.executable).parent


def read(path: Path) -> dict[str, Any]:
    """The documents of an example, by kind. Kubernetes reads 0440 as octal, and so does this reader."""
    return {document["kind"]: document for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))}


def find_pod(documents: dict[str, Any]) -> dict[str, Any]:
    """What the Deployment or the CronJob makes pods of."""
    job = documents.get("CronJob")
    template = documents["Deployment"]["spec"] if job is None else job["spec"]["jobTemplate"]["spec"]
    pod: dict[str, Any] = template["template"]["spec"]
    return pod


def read_instructions() -> list[tuple[str, str]]:
    """The instructions of the Containerfile, continued lines joined."""
    text = CONTAINERFILE.replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def test_linter_has_nothing_against_the_containerfile() -> None:
    answer = subprocess.run([BIN / "hadolint", ROOT / "Containerfile"], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_validator_accepts_the_example(path: Path) -> None:
    command: list[str | Path] = [BIN / "kubernetes-validate", "--strict", path]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_container_runs_as_a_user_without_rights_and_takes_only_the_product_along() -> None:
    instructions = read_instructions()
    assert [value for name, value in instructions if name == "USER"] == ["10001:10001"]
    copied = [value.split()[:-1] for name, value in instructions if name == "COPY"]
    sources = {
        source for each in copied for source in each if not source.startswith("--from") and source != "/opt/rotator"
    }
    assert sources == {"requirements.txt", "pyproject.toml", "README.md", "LICENSE", "rotator", "migrations", "config"}
    assert not re.search(r"(?i)password|secret=|token=", CONTAINERFILE.split("FROM", 1)[1])
    assert ("ENTRYPOINT", '["rotator"]') in instructions


@pytest.fixture
def health() -> Iterator[list[int]]:
    """A listener at the daemon's port; the list holds the status with which it answers /healthz."""
    answers: list[int] = [200]

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answers[0] if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        answers.append(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield answers
        server.shutdown()


@pytest.mark.parametrize(("status", "is_well"), [(200, True), (503, False)])
def test_health_check_asks_healthz_and_no_proxy(health: list[int], status: int, is_well: bool) -> None:
    health[0] = status
    [check] = [value for name, value in read_instructions() if name == "HEALTHCHECK"]
    _, *command = json.loads(check.partition("CMD ")[2])
    assert f"127.0.0.1:{PORT}" in command[-1]
    command[-1] = command[-1].replace(str(PORT), str(health[1]))
    environment = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, check=False)
    assert (done.returncode == 0) is is_well, done.stderr


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_settings_of_the_example_load(path: Path, tmp_path: Path) -> None:
    documents = read(path)
    for name, text in documents["ConfigMap"]["data"].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    settings = load_settings(tmp_path / "rotator.yaml")
    assert load_policy(settings.policy).rules
    mounts = {mount["mountPath"] for mount in find_pod(documents)["containers"][0]["volumeMounts"]}
    is_daemon = "Deployment" in documents
    assert settings.token_cache.store == ("database" if is_daemon else "file")
    assert (str(settings.token_cache.path.parent) in mounts) is not is_daemon
    assert ("PersistentVolumeClaim" in documents) is not is_daemon
    assert settings.listen == (f"0.0.0.0:{PORT}" if is_daemon else None)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_pod_is_hardened_and_its_secrets_are_files_for_its_group_alone(path: Path) -> None:
    documents = read(path)
    pod = find_pod(documents)
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"] == 10001
    [upgrade] = pod["initContainers"]
    assert upgrade["args"] == ["db", "upgrade"]
    hardened = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    for key, value in (
        ("securityContext", hardened),
        ("image", upgrade["image"]),
        ("volumeMounts", upgrade["volumeMounts"]),
    ):
        assert container[key] == upgrade[key] == value
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["secrets"]["secret"]["defaultMode"] == 0o440
    assert "env" not in container
    assert pod["terminationGracePeriodSeconds"] > DaemonSettings().stop_within.total_seconds()
    assert "Secret" not in documents


def test_probes_ask_the_daemons_own_pages() -> None:
    documents = read(ROOT / "docs" / "examples" / "kubernetes" / "daemon.yaml")
    [container] = find_pod(documents)["containers"]
    assert documents["Deployment"]["spec"]["replicas"] == 3
    pages = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert pages == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert container["ports"] == [{"name": "http", "containerPort": PORT}]
