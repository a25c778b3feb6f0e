"""`python -m tests.mutation [MODULE...]`: run mutants, then say what was killed and show what survived.

What is mutated stands in `pyproject.toml`; mutmut makes the mutants, `judging` runs the unit tests against them.
Mutants that were tried before and whose function is as it was are not tried again: modules that are named
(`rotator/engine/retiring.py`) are tried whole, `--survivors` tries those that survived, `--sample 500` so many of all,
drawn at random, always the same of the same code with the same `--seed`; `--report` none. They are tried in random
order: where a run is stopped, what it tried is a sample too, and the next run continues. The exit code is 1 when fewer
than 95 % were killed.
"""

from __future__ import annotations

import argparse
import ast
import math
import os
import random
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mutmut import __main__ as mutmut
from mutmut.configuration import config
from mutmut.mutation import file_mutation, mutators
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import (
    change_cwd,
    copy_also_copy_files,
    copy_src_dir,
    setup_source_paths,
    walk_mutatable_files,
)
from mutmut.utils.format_utils import orig_function_and_class_names_from_key

from tests.mutation import judging, switching

GOAL = 95.0
_KILLED = {"killed", "timeout"}


@contextmanager
def without_strings() -> Iterator[None]:
    """Leave string literals alone: their mutants only reword codes, events and messages."""
    kept = [(kind, operator) for kind, operator in mutators.mutation_operators if operator != mutators.operator_string]
    vars(file_mutation)["mutation_operators"] = kept
    try:
        yield
    finally:
        vars(file_mutation)["mutation_operators"] = mutators.mutation_operators


def find_line(path: Path, mutant: str, diff: str) -> int:
    """The line in the source of the first line that a mutant changes."""
    function, owner = orig_function_and_class_names_from_key(mutant)
    body: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    if owner is not None:
        body = next(node.body for node in body if isinstance(node, ast.ClassDef) and node.name == owner)
    name = function.rpartition(".")[2]
    start = next(node.lineno for node in body if isinstance(node, ast.FunctionDef) and node.name == name)
    hunk = re.search(r"^@@ -(\d+)", diff, re.MULTILINE)
    first = int(hunk[1]) if hunk else 1
    shown = diff.splitlines()[3:]
    return start + first - 1 + next(n for n, line in enumerate(shown) if line[0] in "-+")


def load_results(modules: list[str]) -> Iterator[SourceFileMutationData]:
    """What is known of the mutants of each of these modules, or of all."""
    for path in sorted(walk_mutatable_files()):
        if not modules or str(path) in modules:
            found = SourceFileMutationData(path=path)
            found.load()
            yield found


def generate(workers: int) -> None:
    """Make the mutants, in a copy of the product; results of functions that are as they were stay."""
    for path in Path("mutants", "tests").rglob("*.py"):
        if not path.relative_to("mutants").exists():
            path.unlink()  # a test that was deleted since must not go on killing
    set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir(exist_ok=True)
    copy_src_dir()
    for path in walk_mutatable_files():
        if not Path("mutants", f"{path}.meta").exists():
            Path("mutants", path).unlink()  # copied when its module was not on the list; it would count as mutated
    copy_also_copy_files()
    setup_source_paths()
    mutmut.create_mutants(workers)


def choose(arguments: argparse.Namespace) -> list[str]:
    """The mutants that are asked for, in an order that is random and always the same of the same code."""
    states = {
        name: None if code is None else status_by_exit_code[code]
        for found in load_results(arguments.modules)
        for name, code in found.exit_code_by_key.items()
    }
    names = random.Random(arguments.seed).sample(sorted(states), len(states))
    if arguments.sample:
        names = names[: arguments.sample]
    if arguments.survivors:
        return [name for name in names if states[name] not in {*_KILLED, None}]
    return names


def try_all(names: list[str], workers: int, *, have_survived: bool) -> bool:
    """Try these mutants, and keep what comes of each. False where the tests could not be run."""
    data = {name: found for found in load_results([]) for name in found.exit_code_by_key}
    codes: dict[str, int] = {}
    spent: defaultdict[str, float] = defaultdict(float)

    def tell(name: str, code: int, seconds: float) -> None:
        """Keep how a mutant ended, or stands so far."""
        codes[name] = code
        data[name].exit_code_by_key[name] = code
        spent[name] += seconds
        data[name].durations_by_key[name] = spent[name]
        with change_cwd(".."):
            data[name].save()
        if code not in (judging.KILLED, judging.BROKEN):
            print(f"{status_by_exit_code[code]}: {name} ({seconds:.0f} s)", flush=True)
        if len(codes) % 25 == 0:
            counts = Counter(status_by_exit_code[code] for code in codes.values())
            print(f"{len(codes)} of {len(names)}: {dict(counts)}", flush=True)

    with change_cwd("mutants"), switching.switches():
        judge = judging.Judge(names, workers, tell, have_survived=have_survived)
        return pytest.main([*config().pytest_add_cli_args, *config().pytest_add_cli_args_test_selection], [judge]) == 0


def find_interval(killed: int, tried: int) -> tuple[float, float]:
    """Between what percentages the share of all lies, with 95 % confidence, by a sample (Wilson)."""
    if not tried:
        return 0.0, 100.0
    z2 = 1.96**2
    middle = (killed + z2 / 2) / (tried + z2)
    half = 1.96 * math.sqrt(killed * (tried - killed) / tried + z2 / 4) / (tried + z2)
    return 100 * (middle - half), 100 * (middle + half)


def report(modules: list[str], names: set[str]) -> float:
    """Print the survivors of these and one line per module; the share, in percent, of those tried that were killed."""
    rows: list[tuple[str, int, int, float]] = []
    for found in load_results(modules):
        tried = {name: code for name, code in found.exit_code_by_key.items() if code is not None and name in names}
        states = {name: status_by_exit_code[code] for name, code in tried.items()}
        path = Path(found.path)
        for name, state in states.items():
            if state not in _KILLED:
                diff = get_diff_for_mutant(name, path=path)
                changed = [line for line in diff.splitlines()[2:] if line[0] in "-+"]
                print(f"{path}:{find_line(path, name, diff)}: {state}: {name}", *changed, sep="\n    ")
        killed = sum(state in _KILLED for state in states.values())
        rows.append((str(path), len(states), killed, sum(found.durations_by_key.get(name, 0.0) for name in states)))
    rows.append(("together", sum(row[1] for row in rows), sum(row[2] for row in rows), sum(row[3] for row in rows)))
    print(f"\n{'module':<36} {'mutants':>7} {'killed':>7} {'survived':>8} {'percent':>7} {'seconds':>7}")
    for place, number, killed, seconds in rows:
        share = 100 * killed / number if number else 100.0
        print(f"{place:<36} {number:>7} {killed:>7} {number - killed:>8} {share:>7.1f} {seconds:>7.0f}")
    low, high = find_interval(rows[-1][2], rows[-1][1])
    print(f"of {len(names)} that were asked for; as a sample, of all: {low:.1f} % to {high:.1f} %")
    return share


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="rotator/engine/retiring.py: try it whole")
    parser.add_argument("--survivors", action="store_true", help="try those that survived, of the modules if any")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="try N of them, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="which draw")
    parser.add_argument("--report", action="store_true", help="try nothing")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def main() -> int:
    """Try the mutants that are new, changed or asked for, and report on them."""
    began, arguments = time.monotonic(), parse_arguments()
    if not arguments.report:
        with without_strings():
            generate(arguments.workers)
    names = choose(arguments)
    known = {name: code for found in load_results([]) for name, code in found.exit_code_by_key.items()}
    again = arguments.survivors or (arguments.modules and not arguments.sample)
    wanted = names if again else [name for name in names if known[name] is None]
    is_tried = bool(wanted) and not arguments.report
    if is_tried and not try_all(wanted, arguments.workers, have_survived=arguments.survivors):
        return 2
    share = report(arguments.modules, set(names))
    print(f"{time.monotonic() - began:.0f} s; goal {GOAL:.0f} %")
    return 0 if share >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
