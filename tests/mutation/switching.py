"""What a mutated function runs: itself, or one of its mutants. It is set once; mutmut looks it up at each call.

With that, the tests of the engine take three times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from mutmut.mutation import trampoline
from mutmut.utils.format_utils import mangled_name_from_mutant_name

Function = Callable[..., Any]

_ORIGINAL, _NOW = "_mutmut_orig", "now"
_functions: list[tuple[str, dict[str, Function]]] = []


def make_switch(mutants: dict[str, Function], is_classmethod: bool = False) -> Callable[[Function], Function]:
    """In place of mutmut's decorator. `mutants` is full when the module is complete; of a class, with bound methods."""

    def decorate(function: Function) -> Function:
        _functions.append((function.__module__, mutants))

        @wraps(function)
        def switched(*args: object, **kwargs: object) -> object:
            return (mutants.get(_NOW) or mutants[_ORIGINAL])(*args, **kwargs)

        @wraps(function)
        def switched_of_class(*args: object, **kwargs: object) -> object:
            return _unbind(mutants.get(_NOW) or mutants[_ORIGINAL])(*args, **kwargs)

        return switched_of_class if is_classmethod else switched

    return decorate


@contextmanager
def switches() -> Iterator[None]:
    """The modules that are imported meanwhile have these switches."""
    kept = trampoline.wrap_in_trampoline
    vars(trampoline)["wrap_in_trampoline"] = make_switch
    try:
        yield
    finally:
        vars(trampoline)["wrap_in_trampoline"] = kept


def switch_to(mutant: str) -> None:
    """From now on its function is this mutant."""
    place, _, name = mutant.rpartition(".")
    found = [mutants for module, mutants in _functions if module == place and name in mutants]
    assert len(found) == 1, mutant
    found[0][_NOW] = found[0][name]


def watch(called: set[str]) -> None:
    """From now on each function that can be mutated adds its name to these when it is called."""
    for module, mutants in _functions:
        original = mutants[_ORIGINAL]
        mutants[_NOW] = _make_watched(
            _unbind(original), f"{module}.{mangled_name_from_mutant_name(original.__name__)}", called
        )


def _unbind(function: Function) -> Function:
    """The function of a class method, which may be called for a subclass too; any other as it is."""
    found: Function = getattr(function, "__func__", function)
    return found


def _make_watched(original: Function, name: str, called: set[str]) -> Function:
    """The function, which says that it is called."""

    def watched(*args: object, **kwargs: object) -> object:
        called.add(name)
        return original(*args, **kwargs)

    return watched
