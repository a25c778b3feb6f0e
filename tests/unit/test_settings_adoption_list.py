"""Files that list PATs to be adopted: CSV and YAML, every bad line at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rotator.errors import ConfigError
from rotator.settings.adoption_list import ListedPat, load_adoption_list

FIRST = "0d5b1c2e-6a0f-4a57-9c5e-7f0a4be1a001"
SECOND = "0d5b1c2e-6a0f-4a57-9c5e-7f0a4be1a002"
VAULT = "https://contoso-kv.vault.azure.net"
EXPECTED = (
    ListedPat(2, FIRST, "ci-build", "Ci-Token"),
    ListedPat(4, SECOND, "npm-feed", "npm", "build-bot", "contoso", VAULT, replace_foreign=True),
)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def read_problems(path: Path) -> list[str]:
    """What is wrong with a file, each problem without the file's name."""
    with pytest.raises(ConfigError) as caught:
        load_adoption_list(path)
    assert caught.value.fix
    return [problem.split(path.name + ":", 1)[1] for problem in caught.value.problems]


def test_csv_is_read_when_it_has_a_header_and_spaces_and_a_mark(tmp_path: Path) -> None:
    text = (
        "\ufeffid, name,secret,account,organization,vault,replace_foreign\r\n"
        f"{FIRST.upper()},ci-build, Ci-Token,,,,\r\n"
        "\r\n"
        f'"{SECOND}",npm-feed,npm,build-bot,contoso,{VAULT}/,TRUE\r\n'
    )
    assert load_adoption_list(write(tmp_path, "pats.csv", text)) == EXPECTED


def test_yaml_is_read_when_it_is_a_list_of_keys(tmp_path: Path) -> None:
    text = f"""- {{id: {FIRST}, name: ci-build, secret: Ci-Token}}
-
  # the second
  id: {SECOND}
  name: npm-feed
  secret: npm
  account: build-bot
  organization: contoso
  vault: {VAULT}
  replace_foreign: true
"""
    first, second = load_adoption_list(write(tmp_path, "pats.yml", text))
    assert (first.line, second.line) == (1, 4)
    assert [(pat.authorization_id, pat.name, pat.replace_foreign) for pat in (first, second)] == [
        (FIRST, "ci-build", False),
        (SECOND, "npm-feed", True),
    ]
    assert (second.account, second.organization, second.vault) == ("build-bot", "contoso", VAULT)


@pytest.mark.parametrize("text", ["007", "1e3", "1_000", "0x10", "1", "on", "2026-12-01"])
def test_yaml_value_is_taken_as_it_was_written(tmp_path: Path, text: str) -> None:
    """A secret's name that looks like a number is not another one without its zeros."""
    listed = f"- id: {FIRST}\n  name: {text}\n  secret: {text.replace('_', '-')}\n  replace_foreign: True\n"
    [pat] = load_adoption_list(write(tmp_path, "pats.yaml", listed))
    assert (pat.name, pat.secret_name, pat.replace_foreign) == (text, text.replace("_", "-"), True)


def test_empty_and_missing_keys_are_listed_as_in_a_sentence(tmp_path: Path) -> None:
    listed = f"- id: {FIRST}\n  name:\n  secret:\n- vault: {VAULT}\n"
    problems = " ".join(read_problems(write(tmp_path, "pats.yaml", listed)))
    assert "name and secret must not be empty" in problems
    assert "lacks id, name and secret" in problems


@pytest.mark.parametrize("text", ["null", "~", ""])
def test_yaml_value_is_missing_when_it_is_null(tmp_path: Path, text: str) -> None:
    listed = f"- id: {FIRST}\n  name: a\n  secret: {text}\n"
    assert "secret must not be empty" in read_problems(write(tmp_path, "pats.yaml", listed))[0]


def test_every_bad_line_is_told_with_its_number_when_there_are_several(tmp_path: Path) -> None:
    text = f"""id,name,secret,vault,replace_foreign
no-id,ci-build,ci,,
{FIRST},Not A Name,under_score,contoso-kv,perhaps
{SECOND},,npm,,
{FIRST},one,same,,
{SECOND},one,SAME,,
{SECOND},two,other,,,
"""
    problems = read_problems(write(tmp_path, "pats.csv", text))
    assert [problem.split(":", 1)[0] for problem in problems] == ["2", "3", "3", "3", "3", "4", "6", "6", "7"]
    told = "\n".join(problems)
    for words in ("no-id", "Not A Name", "under_score", "perhaps", "name must not be empty", "in line 5 already"):
        assert words in told


def test_every_bad_entry_is_told_when_the_file_is_yaml(tmp_path: Path) -> None:
    text = f"""- id: {FIRST}
  name: ci-build
- just text
- id: {SECOND}
  name: [a]
  secret: npm
  password: x
"""
    problems = read_problems(write(tmp_path, "pats.yaml", text))
    assert [problem.split(":", 1)[0] for problem in problems] == ["1", "3", "5", "7"]
    assert 'unknown key "password"' in problems[3]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("pats.csv", "", "lacks id, name and secret"),
        ("pats.csv", "id,name,secret\n", "lists no PAT"),
        ("pats.csv", "id,name,sekret\n", "unknown key"),
        ("pats.csv", f"id,name,secret,secret\n{FIRST},a,b,c\n", '1: duplicate key "secret": keep one'),
        ("pats.csv", f'id,name,secret\n{FIRST},"a"b,c\n', "invalid CSV"),
        ("pats.yaml", "id: 1\n", "must contain a list"),
        ("pats.yaml", "- id: [\n", "invalid YAML"),
    ],
)
def test_file_is_refused_when_it_says_nothing_that_can_be_used(tmp_path: Path, name: str, text: str, told: str) -> None:
    assert told in "\n".join(read_problems(write(tmp_path, name, text)))


@pytest.mark.parametrize("suffix", [".csv", ".yaml"])
@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "huge"])
def test_what_is_no_list_is_refused_before_it_is_read(tmp_path: Path, kind: str, suffix: str) -> None:
    """Reading a pipe waits without end, and a device or a huge file takes all memory."""
    path = tmp_path / f"pats{suffix}"
    if kind == "device":
        path.symlink_to("/dev/null")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(2**40)
    said = {"folder": "cannot be read: Is a directory", "huge": "is too large"}.get(kind, "is no regular file")
    with pytest.raises(ConfigError, match=f"the adoption file {said}"):
        load_adoption_list(path)


def test_file_is_refused_when_it_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"id,name,secret\n\xff")
    for path in (tmp_path / "none.csv", tmp_path / "pats.txt", tmp_path / "none.yaml", tmp_path, latin):
        with pytest.raises(ConfigError) as caught:
            load_adoption_list(path)
        assert caught.value.exit_code == 2
