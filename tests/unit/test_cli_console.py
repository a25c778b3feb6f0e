"""How commands print: tables that fit, times in words, nothing that steers a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rotator.cli.console import Cell, Column, clean, print_table, say
from rotator.cli.context import CliContext, examples
from rotator.cli.output.words import say_in
from rotator.documents.document import write_moment

NOW = datetime(2026, 12, 3, 9, 0, tzinfo=UTC)


def test_table_folds_only_what_may_fold_when_it_is_too_wide(capsys: pytest.CaptureFixture[str]) -> None:
    name, fixed = "a-" * 60 + "漢字", "0123456789" * 3
    print_table(CliContext(), [Column("name", fold=True), "id", Column("note", fold=True)], [[name, fixed, "one two"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "ID", "NOTE"]
    assert max(map(len, lines)) <= 80
    assert sum(fixed in line for line in lines) == 1
    assert "".join(line.split()[0] for line in lines[1:]).replace(fixed, "") == name


def test_table_is_plain_and_cannot_steer_when_it_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(CliContext(), ["state"], [[Cell("ok", "green")], ["\x1b[31mred\nrow"]])
    assert capsys.readouterr().out.splitlines() == ["STATE", "ok", "\\x1b[31mred\\nrow"]


def test_text_is_silent_when_one_json_document_is_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    say(CliContext(as_json=True), "text")
    print_table(CliContext(as_json=True), ["a"], [["b"]])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5 * 86400 + 60, "in 5 days"), (86400 + 3600, "in 25 h"), (-3 * 3600, "3 h ago"), (90, "in 1 min"), (0, "now")],
)
def test_distance_is_said_in_one_unit(seconds: int, words: str) -> None:
    assert say_in(NOW + timedelta(seconds=seconds), NOW) == words


def test_moment_is_utc_to_the_second_when_it_comes_from_elsewhere() -> None:
    elsewhere = NOW.astimezone().replace(microsecond=999_999)
    assert write_moment(elsewhere) == "2026-12-03T09:00:00Z"
    assert clean("a\u202eb\x9b") == "a\\u202eb\\x9b"


def test_examples_stand_in_columns_when_they_fit_and_below_when_not() -> None:
    assert examples("rotator a  first", "rotator bb").splitlines()[2:] == ["  rotator a   first", "  rotator bb"]
    assert examples("rotator a  " + "x" * 70).splitlines()[2:] == ["  rotator a", "      " + "x" * 70]
