"""A running daemon on the stage of `killing`, and its log."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from tests.support.installed_command import PATIENCE
from tests.support.killing import Run, Stage


class RunningDaemon:
    """A daemon that was started on a stage."""

    def __init__(self, stage: Stage, run: Run) -> None:
        self.stage, self.run = stage, run

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.run.process.send_signal(number)

    def read_log(self) -> list[dict[str, Any]]:
        """Return its log, whose every line is JSON; a line that is being written is left out."""
        text = self.run.errors.read_text(encoding="utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def list_events(self) -> list[str]:
        """Return the names of the events in its log."""
        return [line["event"] for line in self.read_log()]

    def wait_until(self, is_so: Callable[[], bool], patience: int = PATIENCE) -> None:
        """Return when that is so; AssertionError when the daemon ends before, or takes longer, in seconds."""
        for _ in range(5 * patience):
            if is_so():
                return
            try:
                self.run.process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"the daemon ended\n{self.run.read()}")
        raise AssertionError(f"it took too long\n{self.run.read()}")

    def wait_for(self, event: str, count: int = 1) -> None:
        """Return when its log has that many of these events."""
        self.wait_until(lambda: self.list_events().count(event) >= count)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it, and return its exit code."""
        self.send(number)
        return self.run.wait()


def start_daemon(
    stage: Stage, environment: Mapping[str, str] | None = None, *, through: Sequence[str] = (), **settings: str
) -> RunningDaemon:
    """Start one with these settings of `daemon:`, and return when it has started."""
    write_settings(stage, **settings)
    running = RunningDaemon(stage, stage.start_installed("daemon", environment=environment, through=through))
    running.wait_for("daemon_started")
    return running


def write_settings(stage: Stage, **settings: str) -> None:
    """Write the section `daemon:` of the settings."""
    write_section(stage, "daemon", settings)


def write_section(stage: Stage, name: str, section: object) -> None:
    """Write a section of the settings, in place of the one before."""
    path = stage.sandbox.addresses.config_path
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**document, name: section}), encoding="utf-8")


def reach_database(stage: Stage, url: str) -> dict[str, str]:
    """Copy the settings, with another way to the same database; return the environment that names the copy."""
    settings = stage.sandbox.addresses.config_path
    behind = settings.with_name("behind.yaml")
    behind.write_text(settings.read_text(encoding="utf-8").replace(stage.database.url(), url), encoding="utf-8")
    return {"ROTATOR_CONFIG": str(behind)}


def set_overlap(stage: Stage, overlap: str) -> None:
    """Give every rule of the policy this overlap."""
    path = stage.sandbox.addresses.policy_path
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["defaults"]["overlap"] = overlap
    for rule in document["rules"]:
        rule.pop("overlap", None)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
