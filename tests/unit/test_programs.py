"""What a test does when the machine lacks a program."""

from __future__ import annotations

import shutil

import pytest

from tests.support.programs import need

pytest_plugins = ["pytester"]

LACKING = """
    import pytest

    from tests.support.programs import need

    @pytest.fixture
    def program():
        return need("no-such-program", "no-such-package")

    def test_in_the_test():
        need("no-such-program", "no-such-package")

    def test_in_a_fixture(program):
        pass

    def test_that_needs_nothing():
        pass
"""
REASON = "*no-such-program is missing: install no-such-package*"


def _run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(LACKING)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "tests.support.programs", "-ra", *arguments)


def test_program_is_found_by_its_path_when_it_is_there() -> None:
    assert need("sh", "dash") == shutil.which("sh")


def test_test_is_skipped_by_name_when_its_program_is_missing(pytester: pytest.Pytester) -> None:
    result = _run(pytester)
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines([f"SKIPPED *{REASON}"])


def test_test_fails_by_name_when_its_program_is_missing_and_no_skips_are_allowed(pytester: pytest.Pytester) -> None:
    result = _run(pytester, "--no-skips")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines([REASON, REASON])


@pytest.mark.parametrize(
    "text",
    [
        'import pytest\npytest.skip("lacks a thing", allow_module_level=True)\n',
        'import pytest\npytest.importorskip("no_such_library", reason="lacks a thing")\n',
    ],
)
def test_module_that_is_skipped_as_a_whole_fails_when_no_skips_are_allowed(
    pytester: pytest.Pytester, text: str
) -> None:
    pytester.makepyfile(test_whole=text + "def test_one():\n    pass\n")
    assert pytester.runpytest_inprocess("-p", "tests.support.programs").parseoutcomes() == {"skipped": 1}
    result = _run(pytester, "--no-skips", "test_whole.py")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*lacks a thing (--no-skips*"])
