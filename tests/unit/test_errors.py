"""The error tree: what its docstring draws is what there is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import pytest

from rotator import errors
from rotator.domain import monitoring_errors
from rotator.errors import RotatorError

MODULES = (errors, monitoring_errors)
RAISABLE = {
    name
    for module in MODULES
    for name, kind in vars(module).items()
    if inspect.isclass(kind) and issubclass(kind, BaseException)
}
APART = {"StoppedError"}
"""No failure and no Exception, so no RotatorError either."""
CLASSES: dict[str, type[RotatorError]] = {
    name: kind
    for module in MODULES
    for name, kind in vars(module).items()
    if inspect.isclass(kind) and issubclass(kind, RotatorError)
}
REMOTE = {"service": "azure_devops", "operation": "mint_pat"}
NEEDED: dict[str, dict[str, object]] = {
    "ConfigError": {"problems": ["a", "b"]},
    "SignInRequiredError": {"account": "build-bot"},
    "AuditChainError": {"sequence": 3, "expected": "a", "found": "b"},
    **{name: dict(REMOTE) for name, kind in CLASSES.items() if issubclass(kind, errors.RemoteError)},
}


def make_error(name: str, **more: object) -> RotatorError:
    """An error of that class with what it needs."""
    given = NEEDED.get(name, {}) | more
    positional = [] if "problems" in given else ["it failed"]
    make: Callable[..., RotatorError] = CLASSES[name]
    return make(*positional, **given)


def draw_tree() -> dict[str, tuple[str, int | None]]:
    """Parent and exit code of every class, as the docstring draws them by indentation."""
    drawn: dict[str, tuple[str, int | None]] = {}
    path: list[tuple[int, str]] = []
    for line in "\n".join(inspect.getdoc(module) or "" for module in MODULES).splitlines():
        match = re.fullmatch(r"( +)(\w+Error)\b(.*?)(?:exit (\d+))?", line)
        if match is None:
            continue
        indent, name, _, code = match.groups()
        path = [(depth, parent) for depth, parent in path if depth < len(indent)]
        drawn[name] = (path[-1][1] if path else "Exception", int(code) if code else None)
        path.append((len(indent), name))
    return drawn


def test_docstring_draws_every_class_under_its_parent() -> None:
    assert set(CLASSES) == RAISABLE - APART
    assert {name: parent for name, (parent, _) in draw_tree().items() if name not in APART} == {
        name: kind.__base__.__name__ for name, kind in CLASSES.items() if kind.__base__
    }


def test_stop_passes_through_whatever_isolates_failures() -> None:
    assert "StoppedError" in draw_tree()
    assert errors.StoppedError.__base__ is BaseException


def test_docstring_names_the_exit_codes_when_they_are_not_those_of_the_parent() -> None:
    drawn = draw_tree()
    for name, kind in CLASSES.items():
        parent, code = drawn[name]
        inherited = getattr(CLASSES.get(parent), "exit_code", 1)
        assert kind.exit_code == (inherited if code is None else code), name


def test_exit_codes_are_those_of_the_commands() -> None:
    special = {name: kind.exit_code for name, kind in CLASSES.items() if kind.exit_code != 1}
    assert special == {
        "ConfigError": 2,
        "UsageError": 2,
        "NotManagedError": 2,
        "SignInRequiredError": 10,
        "DatabaseLockedError": 11,
        "ClaimHeldError": 11,
        "ClaimLostError": 11,
    }


def test_codes_are_single_words_that_differ_when_classes_do() -> None:
    codes = [kind.code for kind in CLASSES.values()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("name", CLASSES)
def test_error_says_what_and_what_to_do_when_made(name: str) -> None:
    error = make_error(name, fix="Sign in again.")
    assert (error.code, error.fix) == (CLASSES[name].code, "Sign in again.")
    assert str(error) == error.message
    assert error.message == ("a\nb" if name == "ConfigError" else "it failed")
    assert make_error(name).fix == ""


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"ConfigError", "AuditChainError"}))
def test_error_takes_a_code_of_its_own_when_given(name: str) -> None:
    assert make_error(name, code="tf400813").code == "tf400813"
    assert make_error(name).code == CLASSES[name].code != "tf400813"


@pytest.mark.parametrize("name", [name for name, kind in CLASSES.items() if issubclass(kind, errors.RemoteError)])
def test_remote_error_keeps_where_it_came_from(name: str) -> None:
    error = make_error(name, status=429, request_id="r-1")
    assert isinstance(error, errors.RemoteError)
    assert (error.service, error.operation, error.status, error.request_id) == (*REMOTE.values(), 429, "r-1")
    bare = make_error(name)
    assert isinstance(bare, errors.RemoteError)
    assert (bare.status, bare.request_id) == (None, None)


def test_errors_keep_what_their_caller_acts_on() -> None:
    assert errors.TransientError("x", service="s", operation="o", retry_after=1.5).retry_after == 1.5
    assert errors.TransientError("x", service="s", operation="o").retry_after is None
    assert errors.SignInRequiredError("x", account="build-bot").account == "build-bot"
    assert errors.ConfigError(["a", "b"]).problems == ["a", "b"]
    broken = errors.AuditChainError("x", sequence=3, expected="a", found="b")
    assert (broken.sequence, broken.expected, broken.found) == (3, "a", "b")
