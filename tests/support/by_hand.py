"""Commands of people, to be killed: where each begins, what it sends and commits, and what must be true in the end.

The tests kill it before each request, after each that changes something, before each commit and after the last one:
after any other commit comes the next request or commit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.killing import Run, Stage, read_commits
from tests.support.sent import Sent, check_requests, list_points

Document = dict[str, Any]


def do_nothing(stage: Stage) -> None:
    """For commands that need nothing more."""


@dataclass(frozen=True)
class ByHand:
    """A command of a person: `prepare` makes the state that it begins in, once; `arrange` what each test adds to that.

    `finish` follows the kill: runs, the same person who asks again, and the checks.
    """

    name: str
    words: Callable[[Stage], tuple[str, ...]]
    finish: Callable[[Stage, ByHand], None]
    requests: Sequence[Sent] = ()
    commits: Sequence[str] = ()
    prepare: Callable[[Stage], None] = do_nothing
    arrange: Callable[[Stage], None] = do_nothing

    def begin(self, stage: Stage) -> None:
        """Bring the stage to where the command begins."""
        if not stage.remembers(self.name):
            stage.reset()
            self.prepare(stage)
            stage.end()
            stage.remember(self.name)
        stage.reset(to=self.name)
        self.arrange(stage)

    def check_points(self, stage: Stage) -> None:
        """AssertionError unless the command, undisturbed, sends and commits exactly what it is killed at."""
        run = stage.start(*self.words(stage), dying=("never", 0))
        assert run.wait() == 0, run.read()
        assert read_commits(run) == [*self.commits]
        check_requests(stage, self.requests)

    def repeat(self, stage: Stage, *codes: int) -> Run:
        """Give the command again; it must end with 0, or with one of these codes if it was done already."""
        run = stage.start(*self.words(stage))
        assert run.wait() in (0, *codes), run.read()
        return run


def list_kills(commands: Sequence[ByHand]) -> dict[str, tuple[ByHand, Sent, int, bool]]:
    """The requests of all commands, by names."""
    return {
        f"{command.name}-{point}": (command, *values)
        for command in commands
        for point, values in list_points(command.requests).items()
    }


def list_deaths(commands: Sequence[ByHand]) -> dict[str, tuple[ByHand, str, int]]:
    """The commits of all commands, by names."""
    deaths = {}
    for command in commands:
        last = len(command.commits) - 1
        for number, commit in enumerate(command.commits):
            for when in ("before", "after") if number == last else ("before",):
                deaths[f"{command.name}-{number}-{commit}-{when}"] = (command, when, number)
    return deaths


def kill_at_request(stage: Stage, command: ByHand, sent: Sent, skip: int, effect: bool) -> None:
    """Kill the command there, and check everything that must be true afterwards."""
    command.begin(stage)
    stage.hold(sent.service, sent.method, sent.path, skip, effect=effect)
    stage.start_and_hold(*command.words(stage)).kill()
    stage.faults.close()
    command.finish(stage, command)


def kill_at_commit(stage: Stage, command: ByHand, when: str, number: int) -> None:
    """Let the command kill itself there, and check everything that must be true afterwards."""
    command.begin(stage)
    stage.die(when, number, *command.words(stage))
    command.finish(stage, command)


def read(run: Run, *codes: int) -> Document:
    """The one JSON document of a command that has ended with 0, or with one of these codes."""
    assert run.wait() in (0, *codes), run.read()
    document: Document = json.loads(run.output.read_text(encoding="utf-8"))
    return document


def list_records(stage: Stage) -> Mapping[str, Document]:
    """What is in the inventory, by name."""
    return {pat["name"]: pat for pat in read(stage.start("inventory", "list", "--json"))["pats"]}


def run_once(stage: Stage) -> Document:
    """One run of `once`; its report."""
    report = read(stage.start("once", "--json"), 1, 3, 11)
    stage.check_consumers()
    return report


def settle(stage: Stage) -> None:
    """Run `once` until nothing is open, and nothing is to be tried again."""
    for _ in range(12):
        report = run_once(stage)
        if not stage.find_open_states() and not report.get("abandoned") and not report.get("settling"):
            return
    raise AssertionError(f"not at rest: {stage.find_open_states()}, {report}")


def set_overlap(stage: Stage, overlap: str) -> None:
    """Edit the policy as a person does."""
    path = stage.sandbox.addresses.policy_path
    text = path.read_text(encoding="utf-8")
    assert "overlap: 0s" in text
    path.write_text(text.replace("overlap: 0s", f"overlap: {overlap}"), encoding="utf-8")
