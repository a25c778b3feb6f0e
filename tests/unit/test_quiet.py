"""Quiet: one cause is one line, on stderr and in the log, however many PATs wait for it; and nothing is told twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

from rotator.adapters.logs import configure_logging, make_progress, reset_logging
from rotator.cli.held_log import HeldLog
from rotator.cli.output.report import render_failures
from rotator.documents.report import make_report_document
from rotator.domain.events.rotations import RotationBlocked
from rotator.domain.policy import Guardrails
from rotator.engine.report import RunReport
from rotator.engine.run import run_once
from rotator.errors import DeniedError, SignInRequiredError
from tests.support.engine import ACCOUNT, ORGANIZATION, OVERLAP, VAULT, EngineWorld, make_world
from tests.support.engine_scenarios import make_busy
from tests.support.policies import RULE, make_policy

COUNT = 100
POLICY = make_policy(replace(RULE, overlap=OVERLAP), guardrails=Guardrails(max_rotations_per_hour=10 * COUNT))
BOUNDS = ("rotation_planned", "rotation_abandoned")
NAMES = [f"feed-{number:03}" for number in range(COUNT)]


def end_sign_in(world: EngineWorld) -> None:
    """Entra refuses the account's sign-in."""
    refusal = SignInRequiredError("the sign-in was revoked", account=ACCOUNT, fix=f"Run `rotator login {ACCOUNT}`.")
    world.sign_in.refusals[ACCOUNT] = refusal


def break_vault(world: EngineWorld) -> None:
    """The vault answers nothing."""
    for operation in ("prove_writable", "fetch_versions", "fetch_latest"):
        world.secrets.fail(operation, make_busy(operation, "key_vault"), times=10 * COUNT)


def break_organization(world: EngineWorld) -> None:
    """Azure DevOps answers nothing about the organization."""
    for operation in ("fetch_pats", "fetch_pat"):
        world.pats.fail(operation, make_busy(operation), times=10 * COUNT)


def shut_out(world: EngineWorld) -> None:
    """The account is no member of the organization any more."""
    denied = DeniedError("not a member", service="azure_devops", operation="list_pats", status=403, fix="Ask.")
    world.pats.fail("fetch_pats", denied, times=10 * COUNT)


CASES: dict[str, tuple[Callable[[EngineWorld], None], str]] = {
    "sign_in_lapsed": (end_sign_in, ACCOUNT),
    "vault_down": (break_vault, VAULT),
    "organization_down": (break_organization, f"{ACCOUNT}/{ORGANIZATION}"),
    "organization_down of a stranger": (shut_out, f"{ACCOUNT}/{ORGANIZATION}"),
}


@contextmanager
def logging(level: str = "warning") -> Iterator[StringIO]:
    """Log at the level of a command, as JSON, or at another one."""
    stream = StringIO()
    configure_logging(stream=stream, level=level, as_json=True)
    try:
        yield stream
    finally:
        reset_logging()


def run(world: EngineWorld, log: Callable[..., None]) -> RunReport:
    """One run that logs there."""
    return world.watch(lambda: run_once(replace(world.make_run(), progress=log)))


def read(stream: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("case", CASES)
def test_one_cause_is_one_line_with_all_that_wait_for_it(case: str) -> None:
    plant, place = CASES[case]
    world = make_world(*NAMES, policy=POLICY)
    plant(world)
    with logging() as stream:
        report = run(world, make_progress())
        [line] = read(stream)
    assert (line["event"], line["pats"].split(", ")) == (case.split()[0], NAMES)
    said, *fix = render_failures(report)
    assert said.startswith(f"failed  {place}: ")
    assert f"; this run did nothing with {COUNT} PATs: feed-000, " in said
    assert said.endswith(f" and {COUNT - 10} more")
    assert [line[:9] for line in fix] in ([], ["    fix: "])
    document = make_report_document(report)
    assert [pat["name"] for pat in document["failed"] if pat["authorization_id"]] == NAMES


@pytest.mark.parametrize("case", CASES)
def test_what_lasts_is_no_news_to_the_log_and_one_line_of_each_run(case: str) -> None:
    plant, _ = CASES[case]
    world = make_world("one", "two", "three")
    plant(world)
    run(world, make_progress())
    for _ in range(3):
        world.advance(hours=2)
        with logging() as stream:
            report = run(world, make_progress())
            assert read(stream) == []
        assert len([line for line in render_failures(report) if not line.startswith("    fix: ")]) == 1


def test_log_of_a_daemon_tells_the_end_of_each_rotation_that_it_tells_the_beginning_of() -> None:
    world = make_world("one", "two", "three")
    break_vault(world)
    run(world, make_progress())
    world.advance(hours=2)
    with logging("info") as stream:
        run(world, make_progress())
        lines = read(stream)
    assert [line["event"] for line in lines if line["event"] == "vault_down"] == []
    begun, ended = ([line["name"] for line in lines if line["event"] == event] for event in BOUNDS)
    assert sorted(begun) == sorted(ended) == ["one", "three", "two"]
    assert {line["level"] for line in lines if line["event"] == BOUNDS[1]} == {"info"}


@pytest.mark.parametrize("case", CASES)
def test_what_the_report_says_in_words_is_not_logged_as_well(case: str) -> None:
    plant, _ = CASES[case]
    world = make_world("one", "two")
    plant(world)
    with logging() as stream:
        log = HeldLog(make_progress())
        log.release(run(world, log))
        assert read(stream) == []


def test_what_no_report_tells_is_logged() -> None:
    world = make_world("one", "two", "gone")
    world.policy = replace(world.policy, rules=())
    with logging() as stream:
        log = HeldLog(make_progress())
        report = run(world, log)
        log.release(report)
        lines = read(stream)
    assert list(render_failures(report)) == []
    assert {(line["event"], line["name"]) for line in lines} == {
        ("rotation_blocked", name) for name in ("one", "two", "gone")
    }


def test_what_was_shown_before_is_not_logged_as_well() -> None:
    """As an adoption shows what blocks a PAT before anybody agrees to it."""
    with logging() as stream:
        log = HeldLog(make_progress())
        for name in ("shown", "other"):
            log(RotationBlocked(code="all_organizations", message="it is valid for all"), name)
        log.release(told={"shown"})
        assert [line["name"] for line in read(stream)] == ["other"]


def test_two_failures_of_their_own_are_two_lines_with_their_names() -> None:
    world = make_world("one", "two", "three")
    world.pats.fail("mint", make_busy("mint"), times=2)
    with logging() as stream:
        report = run(world, make_progress())
        lines = read(stream)
    failed = sorted(line["name"] for line in lines if line["event"] == "rotation_failed")
    said = sorted(line.split()[1] for line in render_failures(report) if line.startswith("failed"))
    assert (len(failed), said) == (2, failed)


def test_log_has_every_line_that_was_held_back_when_the_run_ends_in_an_error() -> None:
    world = make_world("one")
    end_sign_in(world)
    with logging() as stream:
        log = HeldLog(make_progress())
        run(world, log)
        assert read(stream) == []
        log.release()
        assert [line["event"] for line in read(stream)] == ["sign_in_lapsed"]
