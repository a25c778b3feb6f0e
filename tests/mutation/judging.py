"""The tests that judge: collected once, then run in forks, to see what each of them calls and against each mutant.

A fork stops at the first test that fails. Nothing here depends on how busy the machine is: a test has so much time of
the processor as it needed without a mutant, and much more; only who waits for something else is stopped by the clock.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import math
import os
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from mutmut.utils.format_utils import mangled_name_from_mutant_name

from tests.mutation import switching

SURVIVED, KILLED, BROKEN, NO_TESTS, TIMEOUT = 0, 1, 3, 33, 36
"""How a mutant ended, as mutmut writes it down. BROKEN: an exception that pytest lets through, which kills too."""

_OVER = {-signal.SIGPROF: TIMEOUT, -signal.SIGALRM: TIMEOUT}
_LEAST_SECONDS, _TIMES_LONGER, _WAITING_SECONDS = 5.0, 10.0, 300.0
_FIRST_SECONDS = 6.0
_MEMORY = 4 * 2**30
_CALLS = Path("mutants", "calls.json").absolute()
_NEAR = (
    "all_organizations", "backoff", "clocks", "engine_", "fault_matrix", "job_run", "limit", "managed_pat", "marker",
    "next_step", "outside", "planning", "policy_", "rotation_states", "throttle", "timetable", "urgency",
)  # fmt: skip


@dataclass
class Call:
    """What a test called of what can be mutated, and the seconds of the processor that it took."""

    seconds: float
    functions: frozenset[str]


def make_call(known: dict[str, Any]) -> Call:
    """What was written down as JSON."""
    return Call(known["seconds"], frozenset(known["functions"]))


@dataclass
class Calls:
    """The calls of all tests that succeed without a mutant, by file and test, with a digest of what they depend on."""

    digests: dict[str, str] = field(default_factory=dict)
    tests: dict[str, dict[str, Call]] = field(default_factory=dict)

    def load(self, digests: dict[str, str]) -> None:
        """Read what an earlier run wrote, if any, as far as it is of files and sources with these digests."""
        with contextlib.suppress(FileNotFoundError):
            known = json.loads(_CALLS.read_text(encoding="utf-8"))
            for path, calls in known["tests"].items():
                if digests.get(path) == known["digests"].get(path):
                    self.tests[path] = {test: make_call(call) for test, call in calls.items()}
        self.digests = digests

    def save(self) -> None:
        """Write them down for the next run."""
        _CALLS.write_text(json.dumps(asdict(self), default=sorted), encoding="utf-8")

    def find_tests(self, mutant: str) -> list[tuple[str, float]]:
        """All tests that call its function: those of its module, then those near it, then all, fast ones first."""
        function = mangled_name_from_mutant_name(mutant)
        module = function.rpartition(".")[0].rpartition(".")[2]

        def rank(test: tuple[str, float]) -> tuple[bool, bool, float]:
            path = test[0].partition("::")[0]
            return f"_{module}" not in path, not _is_near(path), test[1]

        every = ((test, call) for calls in self.tests.values() for test, call in calls.items())
        return sorted(((test, call.seconds) for test, call in every if function in call.functions), key=rank)


def digest_files(files: Iterable[Path]) -> dict[str, str]:
    """For each of these files of tests, a digest of it and of all that every test depends on."""
    helpers = [path for path in Path("tests", "unit").glob("*.py") if not path.name.startswith("test_")]
    shared = [*Path("rotator").rglob("*.py"), *Path("tests", "support").rglob("*.py"), *helpers]
    common = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(shared))).digest()
    return {str(path): hashlib.sha256(common + path.read_bytes()).hexdigest() for path in files}


def fork(work: Callable[[], int]) -> int:
    """Do something in a process of its own, which says nothing and ends with what `work` returns."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = BROKEN
    try:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        code = work()
    finally:
        os._exit(code)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End this process when a test takes so much of the processor, or waits for what never comes."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, _WAITING_SECONDS + seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


class Judge:
    """A pytest plugin: in place of the tests it runs forks that run them, for the mutants in their order."""

    def __init__(
        self, mutants: Sequence[str], workers: int, tell: Callable[[str, int, float], None], *, have_survived: bool
    ) -> None:
        self._mutants = mutants
        self._workers = workers
        self._tell = tell
        self._have_survived = have_survived
        self._calls = Calls()
        self._tried: dict[str, set[str]] = defaultdict(set)

    def pytest_configure(self) -> None:
        """Let Hypothesis try the same examples each time, however long they take, and remember none."""
        from hypothesis import settings  # not before pytest has seen its plugin

        settings.register_profile("mutation", derandomize=True, database=None, deadline=None)
        settings.load_profile("mutation")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Learn what the tests call where that is not known, then try the mutants."""
        if session.testsfailed:
            raise session.Interrupted("a test cannot be imported")
        vars(session.config)["_tmp_path_factory"].getbasetemp()  # one for all forks
        gc.collect()
        gc.freeze()
        files: dict[str, list[pytest.Item]] = defaultdict(list)
        for item in session.items:
            files[item.nodeid.partition("::")[0]].append(item)
        self._calls.load(digest_files(map(Path, files)))
        near = {path: items for path, items in files.items() if _is_near(path)}
        survivors = self._mutants
        for chosen, seconds in ((near, _FIRST_SECONDS), (near, math.inf), (files, math.inf)):
            if seconds == math.inf:
                survivors = sorted(survivors, key=self._find_seconds)
            elif self._have_survived:
                continue
            self._learn(session, chosen)
            survivors = self._try(session, survivors, seconds)
            print(f"{len(survivors)} survive so far", flush=True)
        return True

    def _find_seconds(self, mutant: str) -> float:
        """How long all its tests take: of the survivors those come first that few tests call."""
        return sum(seconds for _, seconds in self._calls.find_tests(mutant))

    def _learn(self, session: pytest.Session, files: Mapping[str, list[pytest.Item]]) -> None:
        """Run the tests of each of these files that is new or changed, or that depends on what is."""
        new = sorted(files.keys() - self._calls.tests.keys())
        print(f"\nLearning what the tests of {len(new)} files call", flush=True)
        parts = [_CALLS.with_name(f"calls{n}.json") for n in range(self._workers)]
        for n, part in enumerate(parts):
            fork(partial(_watch, session, [item for path in new[n :: self._workers] for item in files[path]], part))
        ended = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in parts]
        if any(ended):
            raise session.Interrupted(f"learning ended with {ended}")
        self._calls.tests |= {path: {} for path in new}
        for part in parts:
            for test, call in json.loads(part.read_text(encoding="utf-8")).items():
                if call is None:
                    print(f"left out, as it fails without a mutant: {test}")
                    self._calls.digests.pop(test.partition("::")[0], None)
                else:
                    self._calls.tests[test.partition("::")[0]][test] = make_call(call)
            part.unlink()
        self._calls.save()

    def _try(self, session: pytest.Session, mutants: Sequence[str], seconds: float) -> list[str]:
        """Try these mutants, a few at a time, against tests of so many seconds; the survivors."""
        items = {item.nodeid: item for item in session.items}
        running: dict[int, tuple[str, float]] = {}
        survivors: list[str] = []

        def end() -> None:
            process, status = os.wait()
            mutant, began = running.pop(process)
            code = os.waitstatus_to_exitcode(status)
            self._tell(mutant, _OVER.get(code, code), time.monotonic() - began)
            if code == SURVIVED:
                survivors.append(mutant)

        for mutant in mutants:
            tried = self._tried[mutant]
            found = [(test, needed) for test, needed in self._calls.find_tests(mutant) if test not in tried]
            few = sum(total <= seconds for total in accumulate(needed for _, needed in found))
            chosen = found[: max(1, few)]
            tried.update(test for test, _ in chosen)
            if not chosen:
                survivors.append(mutant)
                if not tried:
                    self._tell(mutant, NO_TESTS, 0.0)
                continue
            if len(running) == self._workers:
                end()
            work = partial(_judge, session, [(items[test], needed) for test, needed in chosen], mutant)
            running[fork(work)] = mutant, time.monotonic()
        while running:
            end()
        return survivors


def _is_near(path: str) -> bool:
    """Whether the tests of this file are about the engine and the domain: they kill most mutants."""
    return Path(path).name.removeprefix("test_").startswith(_NEAR)


def _run(items: Sequence[pytest.Item], seconds: Sequence[float]) -> Iterator[pytest.Item]:
    """Run these tests in this process, each with its limit."""
    reporter = items[0].config.pluginmanager.unregister(name="terminalreporter")
    assert reporter is not None
    for item, limit, following in zip(items, seconds, [*items[1:], None], strict=True):
        with limited(limit):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        yield item


def _watch(session: pytest.Session, items: Sequence[pytest.Item], path: Path) -> int:
    """Write down what each of these tests calls, and how long it takes; nothing for one that fails."""
    called: set[str] = set()
    switching.watch(called)
    calls: dict[str, dict[str, float | list[str]] | None] = {}
    failed, began = 0, time.process_time()
    for item in _run(items, [_WAITING_SECONDS] * len(items)) if items else ():
        passed = session.testsfailed == failed
        calls[item.nodeid] = {"seconds": time.process_time() - began, "functions": sorted(called)} if passed else None
        called.clear()
        failed, began = session.testsfailed, time.process_time()
    path.write_text(json.dumps(calls), encoding="utf-8")
    return SURVIVED


def _judge(session: pytest.Session, tests: Sequence[tuple[pytest.Item, float]], mutant: str) -> int:
    """Run these tests, whose seconds are known, against a mutant, until one fails."""
    switching.switch_to(mutant)
    limits = [_LEAST_SECONDS + _TIMES_LONGER * seconds for _, seconds in tests]
    for _ in _run([item for item, _ in tests], limits):
        if session.testsfailed:
            return KILLED
    return SURVIVED
