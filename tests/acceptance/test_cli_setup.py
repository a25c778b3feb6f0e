"""The commands that come before the first rotation: init, config, db, login, accounts, logout, sandbox."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.cli.main import COMMANDS
from rotator.engine.auditing import load_events
from rotator.sandbox.folder import keep_folder
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import CLIENT_ID, OTHER_USERNAME, TENANT_ID, USERNAME
from tests.support.installed_command import (
    COMMAND,
    PATIENCE,
    Rotator,
    add_account,
    approve,
    run_command,
    start_device_login,
)
from tests.support.published import check_printed
from tests.support.source_tree import ROOT
from tests.support.terminal import read_to_end, start_on_terminal

HEAVY = ("azure", "msal", "sqlalchemy", "alembic", "pydantic", "structlog", "rich", "requests", "cryptography", "yaml")
INIT = [
    *("init", "--no-input", "--tenant", TENANT_ID, "--client-id", CLIENT_ID, "--username", USERNAME),
    *("--organization", "contoso", "--organization", "fabrikam", "--vault", "contoso-kv"),
]


def read_events(sandbox: Sandbox) -> list[tuple[str, str, str]]:
    """Event, subject and outcome of the audit log."""
    database = SqlDatabase(f"sqlite:///{sandbox.addresses.config_path.with_name('rotator.db')}")
    try:
        return [(e.entry.event, e.entry.subject, e.entry.outcome.value) for e in load_events(database)]
    finally:
        database.close()


def parse_error(result: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The error of a --json command: one document on stdout, nothing else."""
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    error: dict[str, str] = document["error"]
    assert set(error) == {"code", "message", "fix", "runbook"}
    return error


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS), ["inventory", "adopt"], ["sandbox", "demo"]])
def test_help_loads_no_heavy_library_when_printed(words: list[str]) -> None:
    """That of `rotator` itself loads nothing of the engine either."""
    heavy = HEAVY if words else (*HEAVY, "rotator.engine")
    script = (
        "import sys\nfrom rotator.cli.main import main\n"
        f"code = main({[*words, '--help']!r})\n"
        f"sys.exit(code or ','.join(name for name in {heavy!r} if name in sys.modules) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert (result.returncode, result.stderr) == (0, "")
    assert "Examples:" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_look_at_the_inventory_loads_only_what_it_needs_when_nothing_is_logged(tmp_path: Path) -> None:
    """No library for the log, requests, migrations, certificates or another database; nor what the daemon delivers."""
    run_command(*INIT, cwd=tmp_path)
    run_command("db", "upgrade", cwd=tmp_path)
    requests = ("msal", "requests", "urllib3", "azure")
    ours = ("rotator.domain.delivery", "rotator.domain.notification", "rotator.engine.status_memory")
    libraries = ("alembic", "structlog", "rich", "cryptography.x509", "sqlalchemy.dialects.postgresql")
    unneeded = (*requests, *libraries, *ours)
    script = (
        "import sys\nfrom rotator.cli.main import main\ncode = main(['plan', '--json']) or main(['status', '--json'])\n"
        f"sys.exit(code or ','.join(name for name in {unneeded!r} if name in sys.modules) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(("words", "code"), [(["--version"], 0), (["plan", "--no-such"], 2)])
def test_command_ends_after_all_that_is_to_be_done_at_its_end_and_takes_nothing_apart(
    words: list[str], code: int
) -> None:
    script = (
        "import atexit, sys\nfrom rotator.cli.main import main\n"
        "class Part:\n    def __del__(self): print('taken apart')\n"
        f"part, sys.argv = Part(), ['rotator', *{words!r}]\n"
        "code = main()\natexit.register(print, 'done at the end', flush=True)\nsys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == code
    assert result.stdout.splitlines()[-1] == "done at the end"


def test_help_lists_every_command_when_asked_for() -> None:
    result = run_command("--help")
    assert all(re.search(rf"^  {name} ", result.stdout, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("words", [["no-such"], ["create"], ["plan", "--no-such"], ["db", "no-such"]])
def test_command_line_ends_with_2_when_it_cannot_be_understood(words: list[str]) -> None:
    plain, as_json = run_command(*words), run_command(*words, "--json")
    assert plain.returncode == as_json.returncode == 2
    assert plain.stdout == ""
    assert "fix: See `rotator" in plain.stderr
    assert parse_error(as_json)["code"] == "usage"


def test_init_writes_files_that_check_well_when_given_all_flags(tmp_path: Path) -> None:
    result = run_command(*INIT, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "rotator login build-bot" in result.stdout
    key = tmp_path / "token-cache.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text(encoding="utf-8").strip() not in result.stdout + result.stderr
    settings = yaml.safe_load((tmp_path / "rotator.yaml").read_text(encoding="utf-8"))
    assert settings["accounts"][0]["organizations"] == ["contoso", "fabrikam"]
    assert f"public key of the audit log: {settings['audit']['public_key']}\n" in result.stdout
    policy = yaml.safe_load((tmp_path / "policy.yaml").read_text(encoding="utf-8"))
    assert policy["defaults"]["vault"] == "https://contoso-kv.vault.azure.net"
    assert run_command("config", "check", cwd=tmp_path).returncode == 0
    assert run_command("db", "upgrade", cwd=tmp_path).returncode == 0


def test_init_keeps_what_is_there_when_run_again(tmp_path: Path) -> None:
    run_command(*INIT, cwd=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = run_command(*INIT, "--json", cwd=tmp_path)
    assert again.returncode == 2
    assert parse_error(again)["code"] == "already_there"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    forced = run_command(*INIT, "--force", "--account", "other", "--json", cwd=tmp_path)
    written = ["rotator.yaml", "policy.yaml", "rotator.schema.json", "policy.schema.json"]
    assert json.loads(forced.stdout)["written"] == written
    assert (tmp_path / "token-cache.key").read_bytes() == before["token-cache.key"]


def test_init_lists_the_missing_flags_when_nobody_can_be_asked(tmp_path: Path) -> None:
    result = run_command("init", "--tenant", TENANT_ID, cwd=tmp_path)
    assert result.returncode == 2
    assert "missing: --client-id, --username, --organization, --vault" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "value"), [("--tenant", "common"), ("--client-id", "7"), ("--username", "bob"), ("--vault", "http://x")]
)
def test_init_refuses_a_value_when_it_cannot_be_used(tmp_path: Path, flag: str, value: str) -> None:
    result = run_command(*INIT, flag, value, cwd=tmp_path)
    assert result.returncode == 2
    assert f"error: {flag}: " in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_init_refuses_all_values_that_cannot_be_used_at_once(tmp_path: Path) -> None:
    result = run_command("init", "--no-input", "--tenant", "common", "--username", "bob", "--vault", "kv", cwd=tmp_path)
    assert result.returncode == 2
    for said in ("--tenant: ", "; --username: ", "; missing: --client-id, --organization [flag_invalid]\n"):
        assert said in result.stderr, result.stderr
    assert "--vault" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("username", ["\u7528\u6237@contoso.com", f"{'x' * 65}@contoso.com"])
def test_init_wants_a_name_for_the_account_when_the_user_name_gives_none(tmp_path: Path, username: str) -> None:
    words = (*INIT, "--username", username, "--directory", "my files")
    result = run_command(*words, cwd=tmp_path)
    assert result.returncode == 2
    assert "--account" in result.stderr
    assert list(tmp_path.iterdir()) == []
    named = run_command(*words, "--account", "bot", cwd=tmp_path)
    assert named.returncode == 0, named.stderr
    assert f"export ROTATOR_CONFIG='{tmp_path}/my files/rotator.yaml'" in named.stdout


def test_init_writes_nothing_when_a_key_is_no_file_or_the_settings_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    key, link = tmp_path / "token-cache.key", tmp_path / "rotator.yaml"
    key.mkdir()
    result = run_command(*INIT, cwd=tmp_path)
    assert (result.returncode, list(tmp_path.iterdir())) == (2, [key]), result.stderr
    assert "token-cache.key is there, and no file" in result.stderr
    key.rmdir()
    link.symlink_to(tmp_path / "gone")
    result = run_command(*INIT, cwd=tmp_path)
    assert (result.returncode, list(tmp_path.iterdir())) == (2, [link]), result.stderr


@pytest.mark.parametrize("name", ["token-cache.key", "audit-signing.key"])
def test_init_refuses_a_key_that_is_none_before_it_writes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("", encoding="utf-8")
    result = run_command(*INIT, cwd=tmp_path)
    assert (result.returncode, list(tmp_path.iterdir())) == (2, [tmp_path / name]), result.stderr
    assert f"{name} is there, and is no " in result.stderr
    assert "cryptography" not in result.stderr


def test_init_leaves_a_file_of_a_person_that_has_a_name_like_its_own(tmp_path: Path) -> None:
    other = tmp_path / "rotator.yaml.new"
    other.write_text("mine\n", encoding="utf-8")
    assert run_command(*INIT, cwd=tmp_path).returncode == 0
    assert other.read_text(encoding="utf-8") == "mine\n"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "words", [("init",), ("--config",), ("sandbox", "up"), ("audit", "export", "--output")], ids=" ".join
)
def test_path_that_cannot_be_reached_is_no_bug(tmp_path: Path, rotator: Rotator, words: tuple[str, ...]) -> None:
    """As in a folder that the user may not enter; a name too long is refused to root, too."""
    place = str(tmp_path / ("x" * 300))
    told = {"init": (*INIT, "--directory", place), "--config": ("--config", place, "status")}
    result = rotator(*told.get(words[0], (*words, *(() if words[0] == "audit" else ("--dir",)), place)))
    assert result.returncode == 2
    assert "File name too long" in result.stderr


def test_init_names_the_schema_that_an_editor_checks_each_file_by(tmp_path: Path) -> None:
    assert run_command(*INIT, cwd=tmp_path).returncode == 0
    for name in ("rotator", "policy"):
        text = (tmp_path / f"{name}.yaml").read_text(encoding="utf-8")
        assert text.startswith(f"# yaml-language-server: $schema={name}.schema.json\n")
        schema = json.loads((tmp_path / f"{name}.schema.json").read_text(encoding="utf-8"))
        jsonschema.validate(yaml.safe_load(text), schema)


def test_init_writes_units_and_rules_beside_settings_that_are_there(tmp_path: Path) -> None:
    """They are rotator's own files; the settings are the user's, and stay."""
    assert run_command(*INIT, cwd=tmp_path).returncode == 0
    settings = tmp_path / "rotator.yaml"
    settings.write_text("# mine\n", encoding="utf-8")
    told = run_command("init", "--systemd", cwd=tmp_path).stdout
    assert f"  install -m 0644 {tmp_path}/systemd/rotator.service /etc/systemd/system/\n" in told
    steps = ("chmod 0755 ", "as_rotator db upgrade", "as_rotator login ACCOUNT", "systemctl enable --now rotator\n")
    assert sorted(steps, key=told.index) == list(steps)
    result = run_command("init", "--systemd", "--json", "--tenant", "other", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "rotator.yaml is there and stays: --tenant changed nothing" in result.stderr
    document = json.loads(result.stdout)
    check_printed(("init",), document)
    assert {"systemd/rotator.service", "systemd/rotator-once.timer", "systemd/monitoring/rotator.rules.yaml"} <= set(
        document["written"]
    )
    for path in document["written"]:
        assert (tmp_path / path).read_bytes() == (ROOT / path).read_bytes()
    assert settings.read_text(encoding="utf-8") == "# mine\n"


def test_config_check_shows_every_problem_when_both_files_are_wrong(sandbox: Sandbox, rotator: Rotator) -> None:
    settings, policy = sandbox.addresses.config_path, sandbox.addresses.policy_path
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("max_parallel: 8", "max_paralel: 8\n  api_versoin: 1"), encoding="utf-8")
    text = policy.read_text(encoding="utf-8")
    policy.write_text(text.replace("rotate_before: 7d", "rotate_before: soon"), encoding="utf-8")
    plain, as_json = rotator("config", "check"), rotator("--json", "config", "check")
    assert plain.returncode == as_json.returncode == 2
    problems = json.loads(as_json.stdout)["problems"]
    assert len(problems) == 3
    assert re.search(r"rotator\.yaml:\d+:\d+ azure_devops\.max_paralel: .*max_parallel", plain.stderr)
    assert re.search(r"policy\.yaml:\d+:\d+ rules\[1\]\.rotate_before: .*\n.*rotate_before: soon\n +\^", plain.stderr)
    assert rotator("db", "upgrade").returncode == 2
    assert not settings.with_name("rotator.db").exists()


def test_config_check_warns_once_of_secrets_that_others_can_read(sandbox: Sandbox, rotator: Rotator) -> None:
    """Among the warnings, in words, and not in the log as well."""
    settings = sandbox.addresses.config_path
    key_file = settings.with_name("token-cache.key")
    key = key_file.read_text(encoding="utf-8").strip()
    text = settings.read_text(encoding="utf-8")
    key_file.chmod(0o640)
    found = rotator("config", "check")
    assert found.returncode == 0
    assert found.stderr.count(f"chmod 600 {key_file}") == 1
    settings.write_text(text.replace("{file: token-cache.key}", f'"{key}"'), encoding="utf-8")
    settings.chmod(0o640)
    plain, as_json = rotator("config", "check"), rotator("--json", "config", "check")
    assert plain.returncode == as_json.returncode == 0
    (told,) = (line for line in plain.stderr.splitlines() if "chmod 600" in line)
    assert told.startswith(f"warning: {settings} token_cache.key: ")
    assert [told.removeprefix("warning: ")] == [
        said for said in json.loads(as_json.stdout)["warnings"] if "chmod" in said
    ]
    settings.chmod(0o644)
    refused = rotator("config", "check")
    assert refused.returncode == 2
    assert f"every user of this host can read {settings}" in refused.stderr
    assert key not in plain.stderr + plain.stdout + as_json.stdout + as_json.stderr + refused.stderr


def test_config_is_looked_for_by_option_then_variable_when_both_are_given(rotator: Rotator, sandbox: Sandbox) -> None:
    missing = rotator("config", "check", env={"ROTATOR_CONFIG": "nowhere.yaml"})
    assert missing.returncode == 2
    assert "ROTATOR_CONFIG" in missing.stderr
    config = sandbox.addresses.config_path
    for words in (["--config", str(config), "config", "check"], ["config", "check", "--config", str(config)]):
        assert rotator(*words, env={"ROTATOR_CONFIG": "nowhere.yaml"}).returncode == 0


def test_config_show_masks_the_secrets_when_they_are_literals(sandbox: Sandbox, rotator: Rotator) -> None:
    settings = sandbox.addresses.config_path
    key = settings.with_name("token-cache.key").read_text(encoding="utf-8").strip()
    text = settings.read_text(encoding="utf-8").replace("{file: token-cache.key}", f'"{key}"')
    settings.write_text(text, encoding="utf-8")
    plain, as_json = rotator("config", "show"), rotator("config", "show", "--json")
    assert plain.returncode == as_json.returncode == 0
    assert key not in plain.stdout + plain.stderr + as_json.stdout + as_json.stderr
    document = json.loads(as_json.stdout)
    assert document["settings"]["token_cache"]["key"] == "***"
    assert [rule["name"] for rule in document["policy"]["rules"]] == ["hands-off", "ci", "everything-else"]


@pytest.mark.parametrize("written", ["https://contoso-kv.vault.azure.net:443", "https://contoso-kv.vault.azure.net./"])
def test_config_show_spells_a_vault_in_one_way(sandbox: Sandbox, rotator: Rotator, written: str) -> None:
    policy = sandbox.addresses.policy_path
    text = policy.read_text(encoding="utf-8").replace(sandbox.addresses.key_vault_url, written)
    policy.write_text(text, encoding="utf-8")
    shown = json.loads(rotator("config", "show", "--json").stdout)["policy"]
    assert {rule["vault"] for rule in shown["rules"]} == {"https://contoso-kv.vault.azure.net"}
    assert written not in rotator("config", "show").stdout


@pytest.mark.parametrize(("which", "key"), [("settings", "accounts"), ("policy", "rules")])
def test_config_schema_is_a_schema_when_printed(which: str, key: str) -> None:
    schema = json.loads(run_command("config", "schema", which).stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert key in schema["properties"]


def test_db_is_created_and_left_alone_when_upgraded_twice(rotator: Rotator) -> None:
    before, beside = rotator("db", "current"), rotator("status")
    assert (before.returncode, beside.returncode) == (1, 1)
    assert before.stderr == beside.stderr
    assert "has no tables yet" in before.stderr
    assert "db upgrade" in before.stderr
    assert "inventory rebuild" in before.stderr
    first, second = rotator("db", "upgrade", "--json"), rotator("db", "upgrade", "--json")
    assert json.loads(first.stdout)["changed"] is True
    assert json.loads(second.stdout)["changed"] is False
    assert json.loads(rotator("db", "current", "--json").stdout)["up_to_date"] is True


def test_login_signs_in_by_device_code_when_the_right_user_approves(sandbox: Sandbox, rotator: Rotator) -> None:
    rotator("db", "upgrade")
    process, prompt = start_device_login(sandbox)
    assert set(prompt) == {"schema_version", "verification_uri", "user_code", "expires_at"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", prompt["expires_at"])
    approve(sandbox, prompt)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert [json.loads(line) for line in output.splitlines()] == [
        {"schema_version": 1, "account": "build-bot", "username": USERNAME}
    ]
    issued = {*sandbox.world.access_tokens, *sandbox.world.refresh_tokens}
    assert issued
    assert not any(token in output + errors for token in issued)
    folder = sandbox.addresses.config_path.parent
    assert not any(token.encode() in path.read_bytes() for token in issued for path in folder.iterdir())
    assert read_events(sandbox) == [
        ("sign_in_started", "build-bot", "intended"),
        ("sign_in_completed", "build-bot", "succeeded"),
    ]


@pytest.mark.parametrize(("username", "action"), [(OTHER_USERNAME, "approve"), (USERNAME, "deny")])
def test_login_ends_with_10_when_the_wrong_user_signs_in_or_refuses(
    sandbox: Sandbox, rotator: Rotator, username: str, action: str
) -> None:
    rotator("db", "upgrade")
    process, prompt = start_device_login(sandbox)
    approve(sandbox, prompt, username, action)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 10, errors
    error = json.loads(output)["error"]
    assert "rotator login build-bot" in error["fix"]
    refused = [("sign_in_refused", "build-bot", "failed"), ("command_refused", "login", "failed")]
    assert read_events(sandbox)[-2:] == refused
    assert json.loads(rotator("accounts", "--json").stdout)["accounts"][0]["signed_in"] is False


def test_login_on_a_terminal_says_once_why_it_failed_and_how_it_was_typed(sandbox: Sandbox, rotator: Rotator) -> None:
    """No line of the log comes before the error that says the same, and the fix can be pasted."""
    assert rotator("db", "upgrade").returncode == 0
    config = sandbox.addresses.config_path
    words: list[str | Path] = [COMMAND, "--config", config, "login", "build-bot", "--device-code"]
    process, ours = start_on_terminal(words, os.environ, config.parent)
    said = b""
    while b"Waiting" not in said:
        said += os.read(ours, 4096)
    address, code = re.findall(r"^(?:Open|enter) +(\S+)", said.decode(), re.MULTILINE)
    approve(sandbox, {"verification_uri": address, "user_code": code}, OTHER_USERNAME)
    lines = read_to_end(ours).decode().replace("\r", "").splitlines()
    os.close(ours)
    assert process.wait() == 10
    told = [line for line in lines if line and "Waiting" not in line]
    assert told[0].startswith("error: account build-bot: ")
    assert "sign_in_refused" not in "".join(lines)
    assert "`rotator login build-bot --device-code`" in " ".join(line.strip() for line in told)


def test_login_asks_nobody_when_the_audit_cannot_be_written(sandbox: Sandbox, rotator: Rotator) -> None:
    result = rotator("login", "build-bot", "--device-code", "--json")
    assert result.returncode == 1
    assert parse_error(result)["code"] == "database_not_initialised"
    assert sandbox.world.record.all("entra", "POST") == []


def test_login_ends_with_130_when_interrupted_and_with_143_when_terminated(sandbox: Sandbox, rotator: Rotator) -> None:
    rotator("db", "upgrade")
    for number, code, word in ((signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "stopped")):
        process, _ = start_device_login(sandbox)
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors.splitlines()[-1]) == (code, word)
        assert "Traceback" not in errors


def test_login_needs_no_name_where_there_is_one_account(sandbox: Sandbox, rotator: Rotator) -> None:
    rotator("db", "upgrade")
    for who in ("--all", "--quiet"):
        process, prompt = start_device_login(sandbox, who)
        approve(sandbox, prompt)
        output, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, json.loads(output)["account"]) == (0, "build-bot"), errors
    assert json.loads(rotator("logout", "--yes", "--json").stdout) == {
        "schema_version": 1,
        "account": "build-bot",
        "was_signed_in": True,
    }


def test_login_of_all_signs_in_one_account_after_the_other(sandbox: Sandbox, rotator: Rotator) -> None:
    path = sandbox.addresses.config_path
    path.write_text(add_account(path.read_text(encoding="utf-8"), "other-bot", OTHER_USERNAME), encoding="utf-8")
    assert rotator("db", "upgrade").returncode == 0
    process, prompt = start_device_login(sandbox, "--all")
    approve(sandbox, prompt)
    assert process.stdout is not None
    first, prompt = (json.loads(process.stdout.readline()) for _ in range(2))
    approve(sandbox, prompt, OTHER_USERNAME)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert [first["account"], json.loads(output)["account"]] == ["build-bot", "other-bot"]


def test_login_goes_to_the_device_code_at_once_where_there_is_no_display(sandbox: Sandbox, rotator: Rotator) -> None:
    """As on a server by ssh: there is a terminal, and nothing to show a browser on."""
    assert rotator("db", "upgrade").returncode == 0
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    config = sandbox.addresses.config_path
    process, ours = start_on_terminal([COMMAND, "--config", config, "login"], environment, config.parent)
    said = b""
    while b"Waiting" not in said:
        said += os.read(ours, 4096)
    process.kill()
    process.wait()
    os.close(ours)
    assert b"browser" not in said
    assert b"/deviceauth" in said


def test_login_asks_which_account_is_meant_where_it_cannot_know(sandbox: Sandbox, rotator: Rotator) -> None:
    settings = yaml.safe_load(sandbox.addresses.config_path.read_text(encoding="utf-8"))
    settings["accounts"].append({**settings["accounts"][0], "name": "other-bot"})
    sandbox.addresses.config_path.write_text(json.dumps(settings), encoding="utf-8")
    for words in (["login"], ["logout"]):
        result = rotator(*words)
        assert result.returncode == 2
        assert "build-bot, other-bot" in result.stderr
    for words in (["login", "build-bot", "--all"], ["login", "build-bot", "--browser", "--device-code"]):
        assert rotator(*words).returncode == 2
    assert sandbox.world.record.all("entra", "POST") == []


def test_login_and_logout_keep_the_reason_in_the_audit_log(sandbox: Sandbox, rotator: Rotator) -> None:
    rotator("db", "upgrade")
    process, prompt = start_device_login(sandbox, "--reason", "new phone")
    approve(sandbox, prompt)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert rotator("logout", "--yes", "--reason", "on leave").returncode == 0
    events = json.loads(rotator("audit", "list", "--json").stdout)["events"]
    said = [(event["event"], event["details"].get("reason")) for event in events]
    assert said == [
        ("sign_in_started", "new phone"),
        ("sign_in_completed", "new phone"),
        ("sign_out_started", "on leave"),
        ("sign_out_completed", "on leave"),
    ]


@pytest.mark.parametrize("command", ["login", "logout"])
def test_account_is_refused_when_unknown(rotator: Rotator, command: str) -> None:
    result = rotator(command, "nobody")
    assert result.returncode == 2
    assert "build-bot" in result.stderr


def test_accounts_tell_who_is_signed_in_until_logged_out(
    signed_in: Rotator, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    account = json.loads(signed_in("accounts", "--json").stdout)["accounts"][0]
    assert (account["name"], account["username"], account["signed_in"]) == ("build-bot", USERNAME, True)
    assert account["last_refresh_at"] < account["access_token_expires_at"] < account["lapses_at"]
    table = signed_in("accounts")
    assert re.search(r"^build-bot +build-bot@contoso\.com +yes ", table.stdout, re.MULTILINE)
    assert max(map(len, table.stdout.splitlines())) <= 80
    assert json.loads(signed_in("logout", "build-bot", "--yes", "--json").stdout)["was_signed_in"] is True
    assert json.loads(signed_in("logout", "build-bot", "--yes", "--json").stdout)["was_signed_in"] is False
    assert json.loads(signed_in("accounts", "--json").stdout)["accounts"][0]["signed_in"] is False
    assert read_events(sandbox)[-1] == ("sign_out_completed", "build-bot", "succeeded")


def test_scan_ends_with_10_when_nobody_is_signed_in(rotator: Rotator) -> None:
    rotator("db", "upgrade")
    result = rotator("scan")
    assert result.returncode == 10
    assert "rotator login build-bot" in result.stderr
    for words in (("status",), ("plan",), ("inventory", "list")):
        assert "Next: run `rotator login build-bot`. Then `rotator scan`" in rotator(*words).stdout, words


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sandbox_prints_one_line_and_ends_with_0_when_stopped(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [COMMAND, "sandbox", "up", "--dir", tmp_path / "box"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    addresses = json.loads(process.stdout.readline())
    assert {"entra_url", "azure_devops_url", "key_vault_url", "ca_path", "config_path"} <= set(addresses)
    assert run_command("--config", addresses["config_path"], "config", "check").returncode == 0
    process.send_signal(number)
    output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (0, "")
    assert "Traceback" not in errors


def test_sandbox_says_what_to_do_before_its_addresses_when_on_a_terminal(tmp_path: Path) -> None:
    process, ours = start_on_terminal([COMMAND, "sandbox", "up", "--dir", tmp_path / "box"], os.environ, tmp_path)
    said = b""
    while b"config_path" not in said:
        said += os.read(ours, 4096)
    process.send_signal(signal.SIGTERM)
    said += read_to_end(ours)
    os.close(ours)
    assert process.wait(PATIENCE) == 0
    *steps, addresses = said.decode().splitlines()
    assert steps[0] == "Ready. In another terminal:"
    assert "    rotator login build-bot --device-code" in steps
    assert json.loads(addresses)["config_path"] == str(tmp_path / "box" / "rotator.yaml")


def test_sandbox_refuses_a_folder_when_it_would_write_over_something(tmp_path: Path) -> None:
    own, keys, file, busy = tmp_path / "own", tmp_path / "keys", tmp_path / "file", tmp_path / "busy"
    own.mkdir()
    keys.mkdir()
    (keys / "server.pem").write_text("a key\n", encoding="utf-8")
    (own / "policy.yaml").write_text("version: 1\n", encoding="utf-8")
    file.touch()
    with keep_folder(busy):
        told = {path: run_command("sandbox", "up", "--dir", str(path)) for path in (own, keys, file, busy)}
    told_in_words = {own: "is not a sandbox's", keys: "is not a sandbox's", file: "cannot be used as a folder"}
    for path, words in {**told_in_words, busy: "already running"}.items():
        result = told[path]
        assert (result.returncode, result.stdout) == (2, "")
        assert words in result.stderr
        assert "fix: " in result.stderr
    assert (own / "policy.yaml").read_text(encoding="utf-8") == "version: 1\n"
    assert not (own / "rotator.yaml").exists()
    assert (keys / "server.pem").read_text(encoding="utf-8") == "a key\n"


def test_sandbox_refuses_a_folder_when_what_it_writes_is_no_file_there(tmp_path: Path) -> None:
    """Whoever opens a pipe waits for ever, and no signal ends that."""
    (tmp_path / "rotator.yaml").mkdir()
    result = run_command("sandbox", "up", "--dir", str(tmp_path))
    assert (result.returncode, "rotator.yaml is there, and no file" in result.stderr) == (2, True)
    (tmp_path / "rotator.yaml").rmdir()
    (tmp_path / "sandbox.lock").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "sandbox.lock")
    result = run_command("sandbox", "up", "--dir", str(tmp_path))
    assert (result.returncode, "sandbox.lock is there, and no file" in result.stderr) == (2, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_when_asked_for_a_shell(shell: str) -> None:
    result = run_command("completion", shell)
    assert result.returncode == 0
    assert "_ROTATOR_COMPLETE" in result.stdout


def test_completion_offers_commands_when_the_shell_asks() -> None:
    env = {"_ROTATOR_COMPLETE": "bash_complete", "COMP_WORDS": "rotator lo", "COMP_CWORD": "1"}
    assert run_command(env=env).stdout.split() == ["plain,login", "plain,logout"]


@pytest.mark.parametrize(
    ("shell", "words", "number", "offered"),
    [
        ("bash", "rotator rotate npm", "2", ["plain,npm-feed"]),
        ("bash", "rotator login ", "2", ["plain,build-bot"]),
        ("zsh", "rotator audit list --event pat_adop", "4", ["plain", "pat_adopted", "_"]),
        ("fish", "rotator rotate npm", "npm", ["plain,npm-feed"]),
    ],
)
def test_completion_offers_names_accounts_and_events_when_the_shell_asks(
    signed_in: Rotator, sandbox: Sandbox, shell: str, words: str, number: str, offered: list[str]
) -> None:
    assert signed_in("inventory", "adopt", "npm-feed").returncode == 0
    env = {"_ROTATOR_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": number}
    assert run_command(env={**env, "ROTATOR_CONFIG": str(sandbox.addresses.config_path)}).stdout.split() == offered


def test_output_ends_quietly_when_the_reader_has_enough(sandbox: Sandbox) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [COMMAND, "--config", sandbox.addresses.config_path, "config", "show"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    )
    os.close(writing)
    assert (process.returncode, process.stderr) == (0, "")


def test_bug_is_one_line_and_a_traceback_without_secrets_when_verbose(tmp_path: Path) -> None:
    secret = "a" * 76 + "AZDO" + "b" * 4
    script = (
        "import sys\nfrom rotator.cli.context import CliContext\nfrom rotator.cli.failures import watch_for_bugs\n"
        f"watch_for_bugs(CliContext(verbosity=int(sys.argv[1])))\nraise LookupError('{'a' * 76}' + 'AZDO' + 'bbbb')"
    )
    file = tmp_path / "bug.py"
    file.write_text(script, encoding="utf-8")
    for verbosity in ("0", "1"):
        run = subprocess.run(
            [sys.executable, file, verbosity], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert run.returncode == 1
        assert "error: a bug in rotator: LookupError at" in run.stderr
        assert ("Traceback" in run.stderr) is (verbosity == "1")
        assert secret not in run.stderr
