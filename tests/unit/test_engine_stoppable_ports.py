"""What stands between the engine and each service: it passes on what it is given, and nothing once a stop is set."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from rotator.adapters.stop import ProcessStop
from rotator.engine.context import Services
from rotator.engine.stopping import make_stoppable
from rotator.errors import StoppedError
from rotator.ports.database import Database
from rotator.ports.pat_service import PatService
from rotator.ports.secret_store import SecretStore
from rotator.ports.sign_in import SignIn
from tests.support.engine import make_world

PORTS = {"database": Database, "pats": PatService, "secrets": SecretStore, "sign_in": SignIn}
ASKS_NOBODY = {"status", "find_unsaved", "find_saved_at", "find_damage"}
"""These read what the process has at hand."""


@dataclass
class Recorder:
    """Any port: it notes what it is asked, and answers with something that nobody else has."""

    calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            self.calls.append((name, args, kwargs))
            answer = (name, len(self.calls))
            return nullcontext(answer) if name in ("begin", "read") else answer

        return call


def make_services() -> tuple[Services, ProcessStop]:
    """Services of which each port is a recorder, and their stop."""
    world = make_world()
    recorders: dict[str, Any] = {port: Recorder() for port in PORTS}
    return replace(world.make_services(), **recorders, stop=world.stop), world.stop


def list_methods(port: type) -> Iterator[tuple[str, tuple[object, ...], dict[str, object]]]:
    """Each method of a port, with an argument of its own for each parameter."""
    for name, method in inspect.getmembers(port, inspect.isfunction):
        if not name.startswith("_"):
            _, *parameters = inspect.signature(method).parameters.values()
            named: dict[str, object] = {p.name: object() for p in parameters if p.kind is p.KEYWORD_ONLY}
            yield name, tuple(object() for p in parameters if p.name not in named), named


def ask(port: object, name: str, args: tuple[object, ...], named: dict[str, object]) -> object:
    """Call it; of a transaction, what it gives."""
    found = getattr(port, name)(*args, **named)
    if isinstance(found, AbstractContextManager):
        with found as given:
            return given
    return found


@pytest.mark.parametrize("port", PORTS)
def test_port_passes_on_what_it_is_given_until_the_stop_and_nothing_after_it(port: str) -> None:
    services, stop = make_services()
    stoppable, inner = getattr(make_stoppable(services), port), getattr(services, port)
    methods = list(list_methods(PORTS[port]))
    assert methods
    for name, args, named in methods:
        answer = ask(stoppable, name, args, named)
        assert inner.calls[-1] == (name, args, named)
        assert answer == (name, len(inner.calls))
    stop.set()
    for name, args, named in methods:
        before = len(inner.calls)
        if name in ASKS_NOBODY:
            ask(stoppable, name, args, named)
        else:
            with pytest.raises(StoppedError):
                ask(stoppable, name, args, named)
            assert len(inner.calls) == before, name
