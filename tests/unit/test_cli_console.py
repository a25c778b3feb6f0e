"""How commands print: tables that fit, times in words, nothing that steers a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta

import pytest

from rotator.cli.console import Cell, clean, fold, note_command, print_table, say
from rotator.cli.context import CliContext, examples
from rotator.cli.widths import Column, find_lower, share_width
from rotator.documents.document import write_moment
from rotator.domain.words import say_in
from tests.support.terminal import read_to_end

NOW = datetime(2026, 12, 3, 9, 0, tzinfo=UTC)


COLUMNS = [Column("name"), Column("id", fixed=True), Column("scopes", wraps=True), Column("place", may_go=True)]
NAME, ID, SCOPES = "a-" * 60 + "漢字", "0123456789" * 3, "vso.build_execute vso.code_write vso.packaging"


def test_table_loads_no_library_where_no_terminal_is() -> None:
    script = (
        "import sys\nfrom rotator.cli.console import print_table\nfrom rotator.cli.context import CliContext\n"
        "from rotator.cli.widths import Column\nprint_table(CliContext(), [Column('name')], [['npm-feed']])\n"
        "sys.exit(','.join(name for name in sys.modules if name.startswith('rich')) or 0)"
    )
    command, bare = [sys.executable, "-c", script], dict(os.environ)  # not what C libraries put there, as COLUMNS
    result = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "NAME\nnpm-feed\n", "")


def test_table_has_a_line_for_each_row_where_no_width_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    """What searches the output finds a whole row."""
    print_table(CliContext(), COLUMNS, [[NAME, ID, SCOPES, "here"], ["b", "1", "", "here"]])
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "ID", "SCOPES", "PLACE"]
    assert first.split("  ") == [NAME, ID, SCOPES, "here"]
    assert second.split() == ["b", "1", "here"]


@pytest.mark.parametrize("width", [80, 140])
def test_table_on_a_terminal_cuts_names_and_breaks_prose_between_words(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(CliContext(), COLUMNS, [[NAME, ID, SCOPES, "here"], ["b", "1", "", "there"]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert [line.split()[0][-1] for line in lines if line.startswith("a-")] == ["…"]
    assert sum(ID in line for line in lines) == 1
    assert all(sum(scope in line.split() for line in lines) == 1 for scope in SCOPES.split())


@pytest.mark.parametrize(
    ("available", "widths"),
    [
        (200, [30, 40, 50, 16]),
        (130, [30, 40, 44, 16]),
        (116, [30, 35, 35, 16]),
        (80, [30, 17, 17, 16]),
        (70, [30, 12, 12, 16]),
        (60, [20, 12, 12, 16]),
        (40, [12, 12, 12, 16]),
    ],
)
def test_what_tells_the_rows_apart_gives_way_last(available: int, widths: list[int]) -> None:
    columns = [Column("name", is_key=True), Column("secret"), Column("detail"), Column("expires", fixed=True)]
    assert share_width(columns, [30, 40, 50, 16], [9, 9, 9, 9], available) == widths


LOWER = [Column("name", is_key=True), Column("id", fixed=True), Column("place", lower=True), Column("why", lower=True)]


@pytest.mark.parametrize(
    ("available", "lower"), [(70, []), (69, [3]), (48, [3]), (47, [2, 3]), (36, [2, 3]), (9, [2, 3])]
)
def test_what_may_stand_below_its_row_does_when_the_row_is_too_long(available: int, lower: list[int]) -> None:
    assert find_lower(LOWER, [24, 10, 10, 20], available, 2) == lower


def test_nothing_is_cut_when_the_last_columns_stand_below_their_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "36")
    rows = [["nightly-everywhere", "1", "vault.example", "it is refused until a person mends it"]]
    print_table(CliContext(), LOWER, [*rows, ["npm", "22", "", ""]])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "NAME                ID",
        "    PLACE  WHY",
        "nightly-everywhere  1",
        "    vault.example  it is refused",
        "        until a person mends it",
        "npm                 22",
    ]


@pytest.mark.parametrize("width", [40, 44])
def test_few_long_names_do_not_move_the_columns_of_all_other_rows(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is too long is whole on a line of its own; so is what stands below its row."""
    monkeypatch.setenv("COLUMNS", str(width))
    rows = [[f"team{number:02}", "1", "here", "rotate now"] for number in range(19)]
    odd = ["team19-" + "x" * 30, "1", "a-place-whose-name-is-" + "y" * 30, "rotate now"]
    print_table(CliContext(), LOWER, [*rows, odd])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "ID", "PLACE", "WHY"]
    assert lines[:19] == [
        head.replace("NAME  ", name).replace("ID", "1 ").replace("PLACE", "here ").replace("WHY", "rotate now")
        for name, *_ in rows
    ]
    assert [line.strip() for line in lines[19:]] == [odd[0], "1          rotate now", odd[2]]


def test_one_long_word_of_prose_takes_no_width_from_the_other_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    columns = [Column("name", is_key=True), Column("state", wraps=True)]
    rows = [[f"pat-of-team-{number:02}", "managed, all organizations"] for number in range(19)]
    print_table(CliContext(), columns, [*rows, ["pat-of-team-19", "managed as " + "z" * 30]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "pat-of-team-00  managed, all"
    assert lines[-3:] == ["pat-of-team-19", "    managed as", "        " + "z" * 30]


def test_column_that_repeats_the_name_in_every_row_goes_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = [Column("name", is_key=True), Column("display name", may_go=True), Column("state")]
    for width, titles in (("80", ["NAME", "STATE"]), (None, ["NAME", "DISPLAY", "NAME", "STATE"])):
        if width is None:
            monkeypatch.delenv("COLUMNS")
        else:
            monkeypatch.setenv("COLUMNS", width)
        print_table(CliContext(), columns, [["a", "a", "ok"], ["b", "b", "ok"]])
        assert capsys.readouterr().out.splitlines()[0].split() == titles


def test_command_to_copy_is_alone_on_its_line_and_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    note_command(CliContext(), "export ROTATOR_CONFIG=/srv/a-long-folder/rotator.yaml")
    note_command(CliContext(quiet=True), "not said")
    assert capsys.readouterr() == ("", "    export ROTATOR_CONFIG=/srv/a-long-folder/rotator.yaml\n")


def test_prose_keeps_the_width_of_its_longest_word() -> None:
    columns = [Column("name"), Column("scopes", wraps=True)]
    assert share_width(columns, [30, 60], [30, 17], 29) == [12, 17]


def test_column_that_is_the_same_in_every_row_is_said_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_table(CliContext(), COLUMNS, [["a", "1", "x", "here"], ["b", "1", "x", "here"]])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["place:", "here"], ["NAME", "ID", "SCOPES"], ["a", "1", "x"], ["b", "1", "x"]]


def test_real_terminal_has_its_width_and_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 40))
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "__stdout__", terminal)
        print_table(CliContext(), [Column("name"), Column("state", fixed=True)], [["n" * 60, Cell("no", "red")]])
    lines = read_to_end(ours).decode().splitlines()
    os.close(ours)
    assert "\x1b[31mno" in lines[1]
    assert "n" * 30 + "…" in lines[1]


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("short", ["short"]),
        ("one two three four five six seven", ["one two three four five", "    six seven"]),
        ("x" * 40, ["x" * 40]),
    ],
)
def test_line_goes_on_under_itself_between_words(text: str, folded: list[str]) -> None:
    assert fold(text, 25).split("\n") == folded


def test_moment_stays_in_one_line() -> None:
    assert fold("the revocation has not been confirmed since 2026-12-01 09:00Z by anybody", 60).splitlines() == [
        "the revocation has not been confirmed since",
        "    2026-12-01 09:00Z by anybody",
    ]


def test_what_is_to_be_copied_stays_whole() -> None:
    assert fold("~ npm  contoso  5d left -> 30d  (rule ci)", 29).split("\n") == [
        "~ npm  contoso",
        "    5d left -> 30d  (rule ci)",
    ]
    assert fold("rotated  release-notes  (contoso): the old PAT stays valid", 50).split("\n") == [
        "rotated  release-notes  (contoso): the old PAT",
        "    stays valid",
    ]
    assert fold("fix: run `rotator login build-bot` now, please", 33).split("\n") == [
        "fix: run",
        "    `rotator login build-bot`",
        "    now, please",
    ]
    assert fold("fix: Say why: `rotator admin revoke 851d --account deputy`. Then go on.", 33).split("\n") == [
        "fix: Say why:",
        "    `rotator admin revoke 851d --account deputy`.",
        "    Then go on.",
    ]


def test_table_is_plain_and_cannot_steer_when_it_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(CliContext(), [Column("state")], [[Cell("ok", "green")], ["\x1b[31mred\nrow"]])
    assert capsys.readouterr().out.splitlines() == ["STATE", "ok", "\\x1b[31mred\\nrow"]


def test_text_is_silent_when_one_json_document_is_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    say(CliContext(as_json=True), "text")
    print_table(CliContext(as_json=True), [Column("a")], [["b"]])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5 * 86400 + 60, "in 5 days"), (86400 + 3600, "in 25 h"), (-3 * 3600, "3 h ago"), (90, "in 90 s"), (0, "now")],
)
def test_distance_is_said_in_one_unit(seconds: int, words: str) -> None:
    assert say_in(NOW + timedelta(seconds=seconds), NOW) == words


def test_moment_is_utc_to_the_second_when_it_comes_from_elsewhere() -> None:
    elsewhere = NOW.astimezone().replace(microsecond=999_999)
    assert write_moment(elsewhere) == "2026-12-03T09:00:00Z"
    assert clean("a\u202eb\x9b") == "a\\u202eb\\x9b"
    assert clean("a\u200fb\u061c") == "a\\u200fb\\u061c"


def test_examples_stand_in_columns_when_they_fit_and_below_when_not() -> None:
    assert examples("rotator a  first", "rotator bb").splitlines()[2:] == ["  rotator a   first", "  rotator bb"]
    assert examples("rotator a  " + "x" * 70).splitlines()[2:] == ["  rotator a", "      " + "x" * 70]


def test_what_follows_from_the_name_is_said_once_above_very_many_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So a row is one line; one that differs shows what it has. With few rows each shows all of it."""
    columns = (Column("name", is_key=True), Column("secret", lower=True), Column("expires", fixed=True))
    rows = [(f"team{number:02}-npm-feed", f"contoso-team{number:02}-npm-feed", "2026-12-02") for number in range(30)]
    rows[7] = (rows[7][0], "by-hand", rows[7][2])
    monkeypatch.setenv("COLUMNS", "40")
    print_table(CliContext(), columns, rows)
    said, titles, *lines = capsys.readouterr().out.splitlines()
    assert said == "secret: contoso-NAME, where no other is shown"
    assert titles.split() == ["NAME", "EXPIRES"]
    assert len(lines) == 31
    assert lines[8] == "    by-hand"
    assert not any("contoso" in line for line in lines)
    print_table(CliContext(), columns, rows[:6])
    few = capsys.readouterr().out
    assert all(name in few and secret in few for name, secret, _ in rows[:6])


def test_column_that_repeats_the_name_in_most_of_very_many_rows_shows_the_others_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = (Column("name", is_key=True), Column("display name", may_go=True, lower=True), Column("state"))
    rows = [(f"team{number:02}", f"team{number:02}", "active") for number in range(30)]
    rows[7] = (rows[7][0], "Another name", "active")
    monkeypatch.setenv("COLUMNS", "100")
    print_table(CliContext(), columns, rows)
    said, titles, *lines = capsys.readouterr().out.splitlines()
    assert said == "display name: NAME, where no other is shown"
    assert titles.split() == ["NAME", "STATE"]
    assert [line for line in lines if "active" not in line] == ["    Another name"]


def test_what_several_rows_share_stands_above_them_where_it_has_no_room_beside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows in another order show it below each: it cannot stand above."""
    columns = (
        Column("name", is_key=True),
        Column("account", may_go=True, lower=True),
        Column("scopes", wraps=True),
    )
    names = ("build-bot", "build-bot", "deputy")
    rows = [(f"a-name-{number}", name, "vso.release_execute") for number, name in enumerate(names)]
    monkeypatch.setenv("COLUMNS", "32")
    print_table(CliContext(), columns, rows)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "account:", "a-name-0", "a-name-1", "account:", "a-name-2"]
    assert (lines[1], lines[4]) == ("account: build-bot", "account: deputy")
    print_table(CliContext(), columns, [rows[0], rows[2], rows[1]])
    assert capsys.readouterr().out.splitlines()[3] == "    build-bot"


def test_few_long_names_that_are_not_the_first_column_stand_below_their_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the vault of `rotator doctor`: what was found keeps its width in every other row."""
    columns = (Column("check", fixed=True), Column("subject", is_key=True), Column("found", wraps=True))
    rows = [("secret", f"name-{number}", "it can be written and holds what is expected") for number in range(10)]
    rows[3] = ("vault", "https://127.0.0.1:40761 as build-bot", "list and get are allowed")
    monkeypatch.setenv("COLUMNS", "64")
    print_table(CliContext(), columns, rows)
    _, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert lines[3].split() == ["vault", "list", "and", "get", "are", "allowed"]
    assert lines[4] == "    https://127.0.0.1:40761 as build-bot"
