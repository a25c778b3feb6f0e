"""`python -m tests.mutation [MODULE...]`: run mutmut, then say what was killed and show what survived.

What is mutated and by which tests it is judged stands in `pyproject.toml`. Mutants that were tried before and whose
function is as it was are not tried again: modules that are named (`rotator/engine/retiring.py`) are tried whole,
`--survivors` tries those that survived, `--sample 500` so many of all, drawn at random, `--report` none. The exit code
is 1 when fewer than 95 % were killed.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mutmut import __main__ as mutmut
from mutmut.mutation import file_mutation, mutators
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.runners.harness import PytestRunner
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, setup_source_paths, walk_mutatable_files
from mutmut.utils.format_utils import orig_function_and_class_names_from_key
from mutmut.workers.isolation import ForkRunner

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


class OwnTestsFirst(PytestRunner):
    """Begins with the tests of the module that was changed: most mutants are killed there."""

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        """Run these tests, fast ones first, until one fails."""
        module = (mutant_name or "").partition(".x")[0].rpartition(".")[2]
        ordered = sorted(tests, key=lambda test: f"_{module}" not in test.partition("::")[0])
        return super().run_tests(mutant_name=mutant_name, tests=ordered)


def make_runner(workers: int) -> ForkRunner:
    """What mutmut tries its mutants with."""
    return ForkRunner(max_workers=workers, test_runner=OwnTestsFirst())


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


def load_results(modules: list[str]) -> Iterator[tuple[SourceFileMutationData, dict[str, str]]]:
    """What mutmut keeps of each of these modules, or of all, and how each mutant that was tried ended."""
    for path in sorted(walk_mutatable_files()):
        if modules and str(path) not in modules:
            continue
        found = SourceFileMutationData(path=path)
        found.load()
        tried = {name: code for name, code in found.exit_code_by_key.items() if code is not None}
        yield found, {name: status_by_exit_code[code] for name, code in tried.items()}


def draw(modules: list[str], number: int, workers: int) -> list[str]:
    """So many mutants of these modules, or of all: always the same ones of the same code."""
    set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir(exist_ok=True)
    copy_src_dir()
    copy_also_copy_files()
    setup_source_paths()
    mutmut.create_mutants(workers)
    names = sorted(name for found, _ in load_results(modules) for name in found.exit_code_by_key)
    print(f"{min(number, len(names))} of {len(names)} mutants")
    return random.Random(0).sample(names, min(number, len(names)))


def report(modules: list[str]) -> float:
    """Print the survivors and one line per module; the share, in percent, of those tried that were killed."""
    rows: list[tuple[str, int, int, float]] = []
    for found, states in load_results(modules):
        path = Path(found.path)
        for name, state in states.items():
            if state not in _KILLED:
                diff = get_diff_for_mutant(name, path=path)
                changed = [line for line in diff.splitlines()[2:] if line[0] in "-+"]
                print(f"{path}:{find_line(path, name, diff)}: {state}: {name}", *changed, sep="\n    ")
        killed = sum(state in _KILLED for state in states.values())
        rows.append((str(path), len(states), killed, sum(found.durations_by_key.values())))
    rows.append(("together", sum(row[1] for row in rows), sum(row[2] for row in rows), sum(row[3] for row in rows)))
    print(f"\n{'module':<32} {'mutants':>7} {'killed':>7} {'survived':>8} {'percent':>7} {'seconds':>7}")
    for place, tried, killed, seconds in rows:
        share = 100 * killed / tried if tried else 100.0
        print(f"{place:<32} {tried:>7} {killed:>7} {tried - killed:>8} {share:>7.1f} {seconds:>7.0f}")
    return share


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="rotator/engine/retiring.py: try it whole")
    parser.add_argument("--survivors", action="store_true", help="try those that survived, of the modules if any")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="try N of them, drawn at random")
    parser.add_argument("--report", action="store_true", help="try nothing")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def main() -> int:
    """Run the mutants that are new, changed or asked for, and report on them."""
    began, arguments = time.monotonic(), parse_arguments()
    patterns = [module.removesuffix(".py").replace("/", ".") + ".*" for module in arguments.modules]
    if arguments.survivors:
        results = load_results(arguments.modules)
        patterns = [name for _, states in results for name, state in states.items() if state not in _KILLED]
    if not arguments.report:
        # Tests that were deleted since must not go on killing.
        shutil.rmtree(Path("mutants", "tests"), ignore_errors=True)
        vars(mutmut)["get_mutant_runner"] = make_runner
        with without_strings():
            if arguments.sample:
                patterns = draw(arguments.modules, arguments.sample, arguments.workers)
            mutmut._run(patterns, arguments.workers)
    share = report(arguments.modules)
    print(f"{time.monotonic() - began:.0f} s; goal {GOAL:.0f} %")
    return 0 if share >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
