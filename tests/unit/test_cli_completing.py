"""What a shell completes, asked as click's scripts ask; nothing is said where nothing is known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.shell_completion import ShellComplete

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.cli.context import CliContext
from rotator.cli.main import rotator
from tests.support.records import make_managed_pat

SETTINGS: dict[str, Any] = {
    "database": "sqlite:///rotator.db",
    "policy": "policy.yaml",
    "accounts": [
        {
            "name": name,
            "tenant": "11111111-1111-1111-1111-111111111111",
            "client_id": "22222222-2222-2222-2222-222222222222",
            "username": f"{name}@contoso.com",
            "organizations": places,
        }
        for name, places in (("build-bot", ["contoso"]), ("other-bot", ["contoso", "fabrikam"]))
    ],
    "token_cache": {"path": "token-cache.bin", "key": {"env": "ROTATOR_TOKEN_CACHE_KEY"}},
    "hooks": [{"name": "restart", "on": ["secret_stored"], "command": ["/bin/true"]}],
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with settings and three records."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "rotator.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    url = f"sqlite:///{folder}/rotator.db"
    upgrade(url)
    database = SqlDatabase(url)
    with database.begin() as work:
        for name in ("npm-feed", "npm-other", "ci-build"):
            work.inventory.add(make_managed_pat(name))
    database.close()
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is like that."""
    copied = shutil.copytree(prepared, tmp_path / "settings")
    monkeypatch.chdir(copied)
    return copied


def _complete(*words: str) -> list[str]:
    shell = ShellComplete(rotator, {"obj": CliContext()}, "rotator", "_ROTATOR_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("rotate", "npm"), ["npm-feed", "npm-other"]),
        (("rotate", "npm-feed", "npm"), ["npm-other"]),
        (("revoke", ""), ["ci-build", "npm-feed", "npm-other"]),
        (("inventory", "show", "c"), ["ci-build"]),
        (("inventory", "pause", "c"), ["ci-build"]),
        (("update", "c"), ["ci-build"]),
        (("status", "c"), ["ci-build"]),
        (("scan", "c"), []),
        (("audit", "list", "--name", "c"), ["ci-build"]),
        (("audit", "list", "--event", "pat_mi"), ["pat_minted"]),
        (("audit", "export", "--outcome", "f"), ["failed"]),
        (("login", ""), ["build-bot", "other-bot"]),
        (("logout", "o"), ["other-bot"]),
        (("status", "--account", "b"), ["build-bot"]),
        (("plan", "--organization", ""), ["contoso", "fabrikam"]),
        (("create", "new", "--account", "o"), ["other-bot"]),
        (("inventory", "forget-limits", "--organization", "f"), ["fabrikam"]),
        (("hooks", "test", ""), ["restart"]),
        (("notify", "test", ""), []),
        (("status", "--state", "over"), ["overlapping"]),
        (("audit", "ver"), ["verify"]),
        (("help", "aud"), ["audit"]),
        (("help", "audit", "ver"), ["verify"]),
        (("help", "plan", ""), []),
    ],
)
@pytest.mark.usefixtures("folder")
def test_shell_is_offered_what_there_is(words: tuple[str, ...], offered: list[str]) -> None:
    assert _complete(*words) == offered


def test_settings_of_the_command_line_are_asked(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "other.yaml"
    one = {**SETTINGS, "accounts": SETTINGS["accounts"][:1], "database": f"sqlite:///{folder}/rotator.db"}
    elsewhere.write_text(yaml.safe_dump(one), encoding="utf-8")
    assert _complete("--config", str(elsewhere), "login", "") == ["build-bot"]
    assert _complete("rotate", "--config", str(elsewhere), "c") == ["ci-build"]


def test_shell_is_offered_nothing_and_nothing_is_said_or_made_where_nothing_is_known(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "rotator.db").unlink()
    before = sorted(folder.iterdir())
    assert _complete("rotate", "") == []
    assert sorted(folder.iterdir()) == before
    (folder / "rotator.yaml").write_text("database: [", encoding="utf-8")
    assert _complete("rotate", "") == _complete("login", "") == []
    (folder / "rotator.yaml").unlink()
    assert _complete("rotate", "") == _complete("login", "") == []
    assert capfd.readouterr() == ("", "")
