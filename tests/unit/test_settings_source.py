"""Reading YAML strictly, and pointing at what is wrong in it."""

import os
from pathlib import Path

import pytest

from rotator.errors import ConfigError
from rotator.settings.source import Source, read_source


def read(tmp_path: Path, content: str | bytes, *, is_secret: bool = False) -> Source:
    """A source made of this content; with `is_secret` everything in it is."""
    path = tmp_path / "some.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_source(path, what="settings", fix="Do this.", is_secret=(lambda *_: True) if is_secret else None)


def rendered(source: Source) -> str:
    """Every problem as people see it, without the folder."""
    return "\n".join(source.render(source.problems)).replace(str(source.path), "some.yaml")


def test_source_keeps_text_as_written_when_yaml_would_make_it_something_else(tmp_path: Path) -> None:
    source = read(
        tmp_path,
        "a: on\nb: 1:30\nc: 2026-12-01\nd: 0x10\ne: '7'\nf: 7\ng: 7.1\nh: true\ni:\nj: ~\nk: [1, x]\nl: 08",
    )
    assert source.problems == []
    assert source.data == {
        "a": "on", "b": "1:30", "c": "2026-12-01", "d": "0x10", "e": "7", "f": 7, "g": 7.1, "h": True,
        "i": None, "j": None, "k": [1, "x"], "l": 8,
    }  # fmt: skip


def test_source_points_at_the_second_key_when_one_stands_twice(tmp_path: Path) -> None:
    source = read(tmp_path, "top:\n  one: 1\n  two: 2\n  one: 3\n")
    assert rendered(source) == ("some.yaml:4:3 top.one: duplicate key, first used in line 2: keep one\n  one: 3\n  ^")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", "some.yaml:3:2 invalid YAML"),
        ("a: 1\n\tb: 2\n", "some.yaml:2:1 tabs are not allowed here: indent with spaces"),
        ("a: &x 1\nb: *x\n", "some.yaml:2:4 invalid YAML: aliases (`*name`) are not supported"),
        ("a: &x [*x]\n", "some.yaml:1:8 invalid YAML: aliases"),
        ("a: !python/object:os.system 1\n", "some.yaml:1:4 a: tags"),
        ("a: 1\n---\nb: 2\n", "some.yaml:2:1 invalid YAML"),
        ("? [a]\n: 1\n", "some.yaml:1:3 a key must be plain text"),
        ("a: 1\nb: \x01\n", "some.yaml:2:4 the character U+0001 is not allowed here"),
        ('a: 1\nb: "\\0"\n', "some.yaml:2:4 b: the character U+0000 is not allowed here"),
        ('a: 1\n"b\\e": 1\n', "some.yaml:2:1 the character U+001B is not allowed here"),
        ('a: 1\nb: [x, "\\ud800"]\n', "some.yaml:2:8 b[1]: the character U+D800 is not allowed here"),
        ('a: 1\nb: "\\U00110000"\n', "some.yaml:2:7 an escape (\\x, \\u, \\U) names no character"),
        ('a: 1\nb: "\\Uffffffff"\n', "some.yaml:2:7 an escape (\\x, \\u, \\U) names no character"),
        ("a: {b\n", "some.yaml:2:1 invalid YAML: expected ',' or '}', but got '<stream end>'"),
        ("a: " + "[" * 3000 + "]" * 3000, "some.yaml:1:1 the settings file is nested too deeply"),
        ("", "some.yaml:1:1 the settings file is empty"),
        ("# nothing but this\n", "some.yaml:1:1 the settings file is empty"),
        ("null\n", "some.yaml:1:1 the settings file must contain keys and values"),
        ("- a\n- b\n", "some.yaml:1:1 the settings file must contain keys and values"),
        ("just text\n", "some.yaml:1:1 the settings file must contain keys and values"),
    ],
)
def test_source_says_where_and_why_when_it_is_no_mapping(tmp_path: Path, content: str, expected: str) -> None:
    assert rendered(read(tmp_path, content)).startswith(expected)


def test_source_is_read_when_it_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: 2\r\n").data == {"a": 1, "b": 2}


def test_source_names_line_and_column_when_it_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, b"a: 1\nb: \xff\n")
    assert "some.yaml:2:4 the settings file is not UTF-8 text" in str(caught.value)


def test_source_is_refused_when_it_is_far_too_long(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the settings file is too large"):
        read(tmp_path, b"#" * 1_000_001)


def test_source_is_measured_before_it_is_read(tmp_path: Path) -> None:
    """One of a terabyte, which takes no room on the disk, would fit into no memory."""
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ConfigError, match="too large"):
        read_source(tmp_path / "huge.yaml", what="settings", fix="Do this.")


def test_source_is_refused_when_it_is_a_pipe_that_nobody_writes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "policy.yaml")
    with pytest.raises(ConfigError, match="no regular file"):
        read_source(tmp_path / "policy.yaml", what="policy", fix="Do this.")


def test_source_is_refused_when_it_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory") as caught:
        read_source(tmp_path, what="policy", fix="Do this.")
    assert caught.value.fix == "Do this."


def test_source_is_refused_when_it_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the policy file does not exist"):
        read_source(tmp_path / "none.yaml", what="policy", fix="Do this.")


def test_source_puts_the_caret_under_the_column_when_the_line_has_tabs(tmp_path: Path) -> None:
    lines = rendered(read(tmp_path, "'a\tb': !x 1\n")).splitlines()
    assert lines[1:] == ["'a\tb': !x 1", "  \t    ^"]


def test_source_shows_no_control_characters_when_a_file_holds_them(tmp_path: Path) -> None:
    source = read(tmp_path, "a: b\u00a0\u200b\nc: \x1b[31m\n")
    assert rendered(source) == "some.yaml:2:4 the character U+001B is not allowed here\nc: \ufffd[31m\n   ^"


def test_source_hides_every_line_of_a_value_when_it_is_secret(tmp_path: Path) -> None:
    source = read(tmp_path, "key: |\n  canary one\n  canary two\nother: [canary]\n", is_secret=True)
    problems = [source.problem_at((key,), "wrong", at_key=True) for key in ("key", "other")]
    problems += [source.problem_at(("key",), "wrong")]
    assert "canary" not in "\n".join(source.render(problems))


@pytest.mark.parametrize(
    "content",
    [
        'secret: "canary\n',
        "secret: *canary\n",
        "secret: !canary!x y\n",
        "secret: @canary\n",
        "secret: canary: canary\n",
        "secret: |\n  canary\n bad: canary\n",
        "a: [canary\nb: canary\n",
        "canary\n: x: canary\n",
        "? secret: canary\n: canary\n",
    ],
)
def test_source_hides_values_when_secrets_are_in_a_file_with_broken_syntax(tmp_path: Path, content: str) -> None:
    source = read(tmp_path, content, is_secret=True)
    assert source.problems
    assert "canary" not in rendered(source)
