"""Every error code that the source gives, and the exit code of a command that such an error ends."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass
from enum import StrEnum
from types import ModuleType

from rotator.adapters import http_failures
from rotator.adapters.azure_devops import pat_service, service_log, token_admin
from rotator.adapters.azure_devops.call import Call, Trace
from rotator.adapters.azure_devops.pat_errors import PAT_ERRORS, make_pat_error
from rotator.adapters.database import failures
from rotator.adapters.entra import refusals
from rotator.domain.managed_pat import Hold
from rotator.domain.obstacle import ObstacleKind
from rotator.domain.probe import RefusalCause
from rotator.domain.refusal import RefusalKind
from rotator.domain.runbook import CONDITIONS
from rotator.errors import DatabaseError, RotatorError, SignInRequiredError
from tests.support.source_tree import ROOT

VALUES: tuple[type[StrEnum], ...] = (ObstacleKind, RefusalKind, RefusalCause, Hold)
"""What becomes the code of a failure as a value: `explaining`, `probing`, `keeping`."""
EXPLAINED = {RefusalKind.UNFIT, RefusalKind.UNREADABLE, RefusalKind.CHANGED}
"""Refusals that come with a failure of their own, which has the code."""
REPLACED = {"refused"}
"""What `single_request` says of an answer; whoever asked puts a code of its own in its place."""
PASSED_ON = {"code", "str(code)", "None if code is None else str(code)", "_name_reason(notice, affected, code)"}
"""How code is written that only passes a code on."""


@dataclass
class Found:
    """The codes, each with the exit codes of commands that it ends, and what could not be read as a code."""

    codes: dict[str, set[int]] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)

    def add(self, code: str, exit_code: int | None = None) -> None:
        """Note a code."""
        if code and code not in REPLACED:
            self.codes.setdefault(code, set()).update(() if exit_code is None else (exit_code,))


def find_codes() -> Found:
    """All of `rotator/` but the sandbox, whose codes are the services' own."""
    found = Found()
    for path in sorted((ROOT / "rotator").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if "sandbox" in parts[:2] or path.name == "__main__.py":
            continue
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
        _read_module(module, ast.parse(path.read_text(encoding="utf-8")), found)
    for kind in _list_errors(RotatorError):
        found.add(kind.code, kind.exit_code)
    for value in (value for values in VALUES for value in values if value not in EXPLAINED):
        found.add(value)
    for advice in CONDITIONS.values():
        for code in advice.reasons:
            found.add(code)
    _read_tables(found)
    return found


def _list_errors(kind: type[RotatorError]) -> Iterator[type[RotatorError]]:
    yield kind
    for narrower in kind.__subclasses__():
        if narrower.__module__.startswith("rotator."):
            yield from _list_errors(narrower)


def _read_tables(found: Found) -> None:
    """The tables whose rows an error is made from elsewhere."""
    for name in PAT_ERRORS:
        error = make_pat_error(Call("mint_pat", "create a PAT", "build-bot", "contoso", "POST", ""), Trace(), name, "")
        found.add(error.code, error.exit_code)
    for paged in (pat_service, service_log, token_admin):
        found.add(paged._ENDLESS.code, RotatorError.exit_code)
    for meaning in (value for value in _list_values(vars(refusals)) if isinstance(value, refusals.Meaning)):
        found.add(meaning.code, SignInRequiredError.exit_code)
    for _, code, *_ in http_failures._EXPLANATIONS:
        found.add(code, RotatorError.exit_code)
    exits = {kind.code: kind.exit_code for kind in _list_errors(DatabaseError)}
    for row in (value for value in vars(failures).values() if isinstance(value, failures._Kind)):
        found.add(row.code, exits.get(row.code, DatabaseError.exit_code))


def _list_values(table: dict[str, object]) -> Iterator[object]:
    for value in table.values():
        yield from value.values() if isinstance(value, dict) else (value,)


def _read_module(module: ModuleType, tree: ast.Module, found: Found) -> None:
    of_classes = {item for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for item in node.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            _read_call(module, node, found)
        elif isinstance(node, ast.Assign) and node not in of_classes:
            for code in _find_assigned(node.targets[0], node.value):
                found.add(code, RotatorError.exit_code)
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and module is http_failures:
            for code in _find_literals(node.value.elts[0]):
                found.add(code, RotatorError.exit_code)


def _find_assigned(target: ast.expr, value: ast.expr) -> Iterator[str]:
    """What is put into a variable called `code`, alone or as the first of several."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        target, value = target.elts[0], value.elts[0]
    if isinstance(target, ast.Name) and target.id == "code":
        yield from _find_literals(value)


def _read_call(module: ModuleType, call: ast.Call, found: Found) -> None:
    callee = _find_callee(module, call.func)
    given = next((word.value for word in call.keywords if word.arg == "code"), None)
    if given is None and callee is not None:
        names = _list_parameters(callee)
        place = names.index("code") if "code" in names else len(call.args)
        given = call.args[place] if place < len(call.args) else None
    if given is None or isinstance(given, ast.Starred):
        return
    codes = list(_find_literals(given)) or list(_resolve(module, given))
    if not codes and not _is_passed_on(given):
        found.unread.add(f"{module.__name__}: {ast.unparse(given)}")
    for code in codes:
        found.add(code, _find_exit_code(callee))


def _find_literals(node: ast.expr) -> Iterator[str]:
    """The literal, or those of an `if`: what else there is is read elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    if isinstance(node, ast.IfExp):
        yield from _find_literals(node.body)
        yield from _find_literals(node.orelse)


def _resolve(module: ModuleType, node: ast.expr) -> Iterator[str]:
    """What a constant of the module holds, as `LEFT_BEHIND` or `ClockSkewError.code`."""
    value = _look_up(module, node)
    if isinstance(value, str):
        yield str(value)


def _look_up(module: ModuleType, node: ast.expr) -> object:
    if isinstance(node, ast.Attribute):
        return getattr(_look_up(module, node.value), node.attr, None)
    return getattr(module, node.id, None) if isinstance(node, ast.Name) else None


def _is_passed_on(node: ast.expr) -> bool:
    text = ast.unparse(node)
    return text in PASSED_ON or text.endswith((".code", ".value"))


def _find_callee(module: ModuleType, node: ast.expr) -> object:
    """A function or a class that the module knows; a method by its name, where a class of the module has it."""
    if isinstance(node, ast.Name):
        return getattr(module, node.id, None)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        classes = [
            kind for kind in vars(module).values() if inspect.isclass(kind) and kind.__module__ == module.__name__
        ]
        return next((getattr(kind, node.attr) for kind in classes if hasattr(kind, node.attr)), None)
    return None


def _list_parameters(callee: object) -> list[str]:
    """By name, without those called `code` that are no text: an exit code or a status."""
    if not callable(callee) or not (inspect.isfunction(callee) or is_dataclass(callee)):
        return []  # our errors take their code by name
    parameters = inspect.signature(callee).parameters.values()
    names = [word.name if "str" in str(word.annotation) else f"not {word.name}" for word in parameters]
    return [name for name in names if name != "not self"]


def _find_exit_code(callee: object) -> int | None:
    """That of the error which is made: by the class itself, or as a function says that it returns. None: of a value."""
    if isinstance(callee, type):
        return callee.exit_code if issubclass(callee, RotatorError) else None
    said = str(callee.__annotations__.get("return", "")) if inspect.isfunction(callee) else ""
    made = getattr(inspect.getmodule(callee), said, None)
    return made.exit_code if isinstance(made, type) and issubclass(made, RotatorError) else RotatorError.exit_code
