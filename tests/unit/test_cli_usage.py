"""Typing errors on the command line: what is said when a command is missing, mistyped or unknown."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from rotator import __version__
from rotator.cli.main import COMMANDS, main, rotator
from rotator.sandbox.running import Sandbox
from tests.support.source_tree import ROOT


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """What the command line changes of this process is undone."""
    hook, handler = sys.excepthook, signal.getsignal(signal.SIGTERM)
    yield
    sys.excepthook = hook
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize("words", [[], ["inventory"], ["audit"]])
def test_help_is_shown_and_not_as_an_error_when_no_command_is_given(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Usage: rotator")
    assert "Commands:" in said.err
    assert "error:" not in said.err
    assert "fix:" not in said.err


def test_command_is_suggested_when_it_is_mistyped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["onec"]) == 2
    assert "Did you mean 'once'?" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["scan"], ["audit", "list"]])
@pytest.mark.parametrize("wrong", ["0", "-1", "x", "1.5", "9" * 20])
def test_limit_that_is_no_number_gets_the_same_words_of_every_command(
    words: list[str], wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--limit", wrong]) == 2
    said = f"error: Invalid value for '--limit': '{wrong}' is not a whole number from 1 to {2**63 - 1}"
    assert capsys.readouterr().err.splitlines()[0] == said


def test_error_about_the_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish",
        "fix: See `rotator completion --help`.",
    ]


@pytest.mark.parametrize(("word", "near"), [("adopt", "inventory adopt"), ("verify", "audit verify")])
def test_command_of_a_group_is_suggested_when_the_group_is_left_out(
    word: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word, "--all"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error: No such command '{word}'. Did you mean '{near}'?"


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (["help"], ["--help"]),
        (["help", "plan"], ["plan", "--help"]),
        (["help", "inventory", "adopt"], ["inventory", "adopt", "-h"]),
    ],
)
def test_help_of_a_command_is_as_with_its_option(
    words: list[str], same: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == main(same) == 0
    shown = capsys.readouterr().out
    assert shown[: len(shown) // 2] == shown[len(shown) // 2 :]
    assert shown.startswith("Usage: rotator ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["help", "plam"], "No such command 'plam'. Did you mean 'plan'?"),
        (["help", "inventory", "lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["inventory", "lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["help", "plan", "more"], "'rotator plan' has no commands"),
    ],
)
def test_command_of_a_group_is_suggested_when_it_is_mistyped(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error: {said}"


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_is_shown(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    assert capsys.readouterr().out == f"rotator {__version__}\n"


@pytest.mark.parametrize(
    ("option", "suggestion"), [("--verbos", " Did you mean '--verbose'?"), ("--bogus", ""), ("--reason", "")]
)
def test_option_is_suggested_only_when_its_name_is_near(
    option: str, suggestion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [] if option == "--reason" else ["once"]
    assert main([*words, option]) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error: No such option '{option}'.{suggestion}"


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["recover", "--revoke"], "recover"),
        (["inventory", "adopt", "--from"], "inventory adopt"),
        (["once", "--bogus"], "once"),
        (["rotate"], "rotate"),
        (["--config"], ""),
    ],
)
def test_help_of_the_command_that_was_typed_is_named(
    words: list[str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = f"fix: See `rotator {command} --help`." if command else "fix: See `rotator --help`."
    assert capsys.readouterr().err.splitlines()[1] == said


@pytest.mark.parametrize(
    "words", [["init", "--directory", ""], ["sandbox", "up", "--dir", ""], ["audit", "export", "--output", ""]]
)
def test_empty_path_is_not_the_current_folder(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As that of a variable that is not set."""
    assert main(words) == 2
    assert f"'{words[-2]}': it is empty" in capsys.readouterr().err


def test_all_options_that_are_missing_are_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", "my-pat", "--organization", "contoso"]) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "error: Missing options: --account, --scope, --lifetime."
    assert main(["create", "--organization", "contoso"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == "error: Missing: NAME, --account, --scope, --lifetime."
    assert main(["create", "my-pat", "--organization", "c", "--account", "a", "--scope", "s"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == "error: Missing option '--lifetime'."


def test_line_of_each_command_is_whole_when_a_group_shows_its_help_at_80_columns() -> None:
    context = click.Context(rotator, terminal_width=80, **rotator.context_settings)
    for name in COMMANDS:
        command = rotator.get_command(context, name)
        if isinstance(command, click.Group):
            shown = click.Context(command, context, name, terminal_width=80)
            assert "..." not in command.get_help(shown).split("Commands:")[1].split("Examples:")[0], name


@pytest.mark.parametrize("words", [["audit", "list"], ["audit", "export"]])
def test_event_is_refused_with_the_nearest_when_there_is_none_of_that_name(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--event", "pat_mintd"]) == 2
    assert 'there is no event "pat_mintd", did you mean "pat_minted"?' in capsys.readouterr().err


def test_each_problem_of_files_begins_with_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--config", "nowhere.yaml", "config", "check"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: the settings file nowhere.yaml, named by --config, does not exist\n"
    )
    Path("rotator.yaml").write_text("databas: x\n", encoding="utf-8")
    assert main(["config", "check"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert re.match(r"error: rotator\.yaml:1:1 accounts: ", said[0])
    assert "error: policy.yaml: the policy file does not exist" in said


@pytest.mark.parametrize("option", ["--as", "--secret"])
@pytest.mark.parametrize("words", [["npm-feed", "ci-build"], ["--all"]])
def test_name_and_secret_can_be_chosen_for_one_pat_only(
    words: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inventory", "adopt", *words, option, "feed"]) == 2
    assert capsys.readouterr().err.startswith("error: --as and --secret go with one PAT\n")


@pytest.mark.parametrize(("option", "code"), [("--nagios", 3), ("--check", 2)])
def test_plugin_cannot_tell_when_it_is_called_wrongly(
    option: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A monitoring system would take a 2 for an alarm, and shows stdout only."""
    assert main(["status", option, "--max-age", "soon"]) == code
    shown = capsys.readouterr()
    assert "soon" in (shown.out if option == "--nagios" else shown.err)


def test_option_asks_for_the_same_thing_in_every_help() -> None:
    asked: dict[str, set[str]] = {}

    def look(command: click.Command, context: click.Context) -> None:
        for option in command.params:
            if isinstance(option, click.Option) and option.opts[0] in ("--account", "--organization", "--limit"):
                asked.setdefault(option.opts[0], set()).add(option.make_metavar(context))
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                if found is not None:
                    look(found, click.Context(found, info_name=name, parent=context))

    look(rotator, click.Context(rotator, **rotator.context_settings))
    assert asked == {"--account": {"NAME"}, "--organization": {"NAME"}, "--limit": {"N"}}


def test_number_is_asked_for_in_words_when_the_argument_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "show", "x"]) == 2
    assert "'x' is not a whole number from 1 to" in capsys.readouterr().err
    assert main(["audit", "list", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--limit N " in shown
    assert "9223372036854775807" not in shown


def test_warnings_of_the_policy_are_shown_by_config_check_and_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They change no exit code; `--quiet` hides them, and `config check --json` has them in its document."""
    with Sandbox(tmp_path / "sandbox") as sandbox:
        policy = sandbox.addresses.policy_path
        policy.write_text(policy.read_text(encoding="utf-8").replace("overlap: 5s", "overlap: 25d"), encoding="utf-8")
        config = ["--config", str(sandbox.addresses.config_path)]
    assert main([*config, "db", "upgrade"]) == 0
    capsys.readouterr()
    line = "rules[1].rotate_before: overlap 25d and rotate_before 7d leave no room in the lifetime 30d"
    for words in (["config", "check"], ["plan"], ["plan", "--json"]):
        assert main([*config, *words]) == 0
        said = capsys.readouterr()
        assert line in said.err
        assert re.search(r"^warning: .*policy\.yaml:\d+:\d+ rules", said.err)
        assert line not in said.out
    assert main([*config, "plan", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*config, "config", "check", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["problems"] == []
    assert line in document["warnings"][0]


def write_settings(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Write those of a sandbox, and return where they are and what they say."""
    with Sandbox(folder / "sandbox") as sandbox:
        path = sandbox.addresses.config_path
    return path, yaml.safe_load(path.read_text(encoding="utf-8"))


def test_config_check_looks_at_the_files_and_folders_that_the_settings_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them at once, each with its setting. Nothing is made: neither a database nor a lock."""
    path, whole = write_settings(tmp_path)
    config = ["--config", str(path), "config", "check"]
    assert main(config) == 0
    before = sorted(path.parent.rglob("*"))
    (path.parent / "old.key").write_text("short", encoding="utf-8")
    cache = {"path": "away/cache.bin", "key": {"file": "no.key"}, "previous_keys": [{"file": "old.key"}]}
    wrong = {
        "database": "sqlite:///nowhere/rotator.db",
        "token_cache": cache,
        "http": {"ca_bundle": "old.key"},
        "metrics_textfile": "gone/rotator.prom",
    }
    path.write_text(yaml.safe_dump({**whole, **wrong}), encoding="utf-8")
    capsys.readouterr()
    assert main(config) == 2
    said = capsys.readouterr().err
    for setting in (*wrong.keys() - {"token_cache", "http"}, "http.ca_bundle", "token_cache.path", "token_cache.key"):
        assert f"{setting}: " in said
    assert "token_cache.previous_keys" in said
    (path.parent / "old.key").unlink()
    assert sorted(path.parent.rglob("*")) == before


def test_config_check_says_all_of_it_at_once_when_values_files_and_policy_are_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong value hides no missing file, and neither hides what is wrong with the policy."""
    path, whole = write_settings(tmp_path)
    bad_account = {**copy.deepcopy(whole["accounts"][0]), "name": "other", "client_id": "none"}
    wrong = {
        "accounts": [bad_account, {**whole["accounts"][0], "client_secret": {"file": "no.secret"}}],
        "token_cache": {"path": 7, "key": {"file": "no.key"}},
        "http": {"ca_bundle": "no.pem", "conect_timeout": "3s"},
        "hooks": [
            {"name": "bad", "on": ["nothing"], "command": ["/absent/one"]},
            {"name": "good", "on": ["secret_stored"], "command": ["/absent/two"]},
        ],
        "listn": "127.0.0.1:1",
    }
    path.write_text(yaml.safe_dump({**whole, **wrong}, sort_keys=False), encoding="utf-8")
    rules = [{"name": "ci", "match": {"scope": "vso.cod"}}, {"name": "ci", "hooks": ["bad", "nobody"]}]
    policy = {"version": 1, "defaults": {"vault": "https://kv.example"}, "rules": rules}
    path.with_name("policy.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
    assert main(["--config", str(path), "config", "check", "--json"]) == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert all(re.match(r".*\.yaml:\d+:\d+ \S+: ", problem) for problem in problems)
    assert [re.sub(r"^\S+/(\S+?):\d+:\d+ (\S+): .*", r"\1 \2", problem.splitlines()[0]) for problem in problems] == [
        "rotator.yaml accounts[0].client_id",
        "rotator.yaml accounts[1].client_secret",
        "rotator.yaml token_cache.path",
        "rotator.yaml token_cache.key",
        "rotator.yaml http.ca_bundle",
        "rotator.yaml http.conect_timeout",
        "rotator.yaml hooks[0].on[0]",
        "rotator.yaml hooks[1].command[0]",
        "rotator.yaml listn",
        "policy.yaml rules[0].match.scope",
        "policy.yaml rules[1].hooks[1]",
        "policy.yaml rules[1].name",
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", "Is a directory"),
        ("pipe", "it is no regular file"),
        ("circle", "Too many levels of symbolic links"),
        ("n" * 300, "File name too long"),
    ],
)
def test_config_check_says_what_is_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        path = sandbox.addresses.config_path
    (path.parent / "folder").mkdir()
    os.mkfifo(path.parent / "pipe")
    (path.parent / "circle").symlink_to("circle")
    whole = yaml.safe_load(path.read_text(encoding="utf-8"))
    cache = {**whole["token_cache"], "path": name}
    odd = {**whole, "database": f"sqlite:///{name}", "token_cache": cache}
    path.write_text(yaml.safe_dump(odd), encoding="utf-8")
    assert main(["--config", str(path), "config", "check"]) == 2
    shown = capsys.readouterr().err
    for setting in ("database", "token_cache.path"):
        assert f"{setting}: {path.parent / name} cannot be used: {said}. Name a file" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--within", "x"), "'--within': \"x\" is not a duration"),
        (("--frob",), "No such option '--frob'"),
        ((), "nowhere.yaml, named by --config, does not exist"),
        (("--json",), "cannot be used with --json or -o"),
        (("-o", "name"), "cannot be used with --json or -o"),
    ],
)
def test_plugin_prints_one_line_and_ends_with_3_when_it_cannot_look(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    """A monitoring system shows stdout, and takes 2 for an alarm."""
    assert main(["--config", "nowhere.yaml", "status", "--nagios", *words]) == 3
    shown = capsys.readouterr()
    assert shown.out.startswith("ROTATOR UNKNOWN: ")
    assert said in shown.out
    assert (shown.out.count("\n"), shown.err) == (1, "")


def test_page_names_every_command_that_asks_first() -> None:
    """`--yes` is for what asks."""
    text = (ROOT / "docs" / "by-hand.md").read_text(encoding="utf-8")
    page = text.partition("These ask first: ")[2].partition("\n\n")[0]
    named = {name.removesuffix(" --revoke").removesuffix(" --canary") for name in re.findall(r"`([a-z][^`]*)`", page)}
    asking = {
        path for path, command in _list_commands("", rotator) if any("--yes" in one.opts for one in command.params)
    }
    assert asking <= named, asking - named


def _list_commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _list_commands(f"{path} {name}".strip(), found)
