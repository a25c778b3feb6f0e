"""Programs that a machine may lack. A test that needs one is skipped by its name, or fails under `--no-skips`."""

from __future__ import annotations

import shutil
from collections.abc import Generator

import pytest


def need(program: str, package: str) -> str:
    """Return the program's path, or skip the test and name the Debian package that has the program."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is missing: install {package}")
    return found


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--no-skips`, which `.ci/run` gives."""
    parser.addoption("--no-skips", action="store_true", help="fail each test that would be skipped")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one under `--no-skips`."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("--no-skips"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a module that is skipped as a whole into a failed one under `--no-skips`."""
    report = yield
    if report.skipped and collector.config.getoption("--no-skips"):
        _fail(report)
    return report


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{reason} (--no-skips turns this into a failure)"
