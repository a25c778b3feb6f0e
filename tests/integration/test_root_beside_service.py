"""Commands of root beside a service user: whatever root does first, the service goes on with its own files."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import pytest
import yaml

from rotator.adapters.daemon_lock import only_daemon
from rotator.cli.main import main
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT
from tests.support.installed_command import approve, run_command, start_device_login
from tests.support.other_user import do_as_other, give_to_other
from tests.support.records import NOW

COMMANDS = (["status"], ["accounts"], ["once"], ["notify", "test"])


@pytest.fixture
def sandbox(others_folder: Path) -> Iterator[Sandbox]:
    """A sandbox whose folder the service user owns, with all that a run writes."""
    folder = others_folder / "state"
    with Sandbox(folder) as sandbox:
        settings = sandbox.addresses.config_path
        document = yaml.safe_load(settings.read_text(encoding="utf-8"))
        document["metrics_textfile"] = "rotator.prom"
        document["notify"] = [
            {"name": "ops", "kind": "webhook", "url": "https://127.0.0.1:9/", "secret": "whsec_" + "c2VjcmV0" * 6}
        ]
        settings.write_text(yaml.safe_dump(document), encoding="utf-8")
        for path in (folder, *folder.iterdir()):
            give_to_other(path)
        yield sandbox


def say(config: Path, words: list[str]) -> str:
    """Run one command in this process; its exit code and all that it said."""
    with redirect_stdout(io.StringIO()) as said, redirect_stderr(said):
        code = main(["--config", str(config), *words])
    return f"{said.getvalue()}exit {code}\n"


def test_service_goes_on_when_root_was_first(sandbox: Sandbox) -> None:
    """Root makes the database, signs in and runs everything; each file belongs to the service afterwards."""
    config = sandbox.addresses.config_path
    assert run_command("--config", config, "db", "upgrade").returncode == 0
    process, prompt = start_device_login(sandbox, ACCOUNT)
    approve(sandbox, prompt)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert run_command("--config", config, "inventory", "adopt", "--all").returncode == 0
    with only_daemon(config.parent / "rotator.db", NOW):
        pass
    by_root = [say(config, words) for words in COMMANDS]
    owner = (config.stat().st_uid, config.stat().st_gid)
    made = {path: (path.stat().st_uid, path.stat().st_gid) for path in config.parent.rglob("*")}
    assert [str(path) for path, found in made.items() if found != owner] == []
    names = {path.name for path in made}
    assert {"rotator.db", "rotator.db.daemon", "token-cache.bin", "token-cache.bin.lock", "rotator.prom"} <= names

    def serve() -> str:
        with only_daemon(config.parent / "rotator.db", NOW):
            return "".join(say(config, words) for words in COMMANDS)

    told = do_as_other(serve)
    assert "Permission denied" not in told
    assert re.findall(r"^exit \d+", told, flags=re.MULTILINE) == [said.splitlines()[-1] for said in by_root], told


ANSWERS = "--tenant contoso.com --vault contoso-kv --client-id 3f7a1c52-8d44-4be6-9a0e-51c2d7e8b906 --no-input"
WHO = "--username build-bot@contoso.com --organization contoso"


def test_first_files_are_the_services_when_root_writes_them_into_its_folder(others_folder: Path) -> None:
    folder, elsewhere = others_folder / "new" / "etc", others_folder / "elsewhere"
    folder.mkdir(parents=True)
    (folder / "policy.yaml").symlink_to(elsewhere)
    for path in (folder.parent, folder, folder / "policy.yaml"):
        os.chown(path, others_folder.stat().st_uid, others_folder.stat().st_gid, follow_symlinks=False)
    for directory in (folder, others_folder / "later" / "conf"):
        init = ["init", *ANSWERS.split(), *WHO.split(), "--directory", str(directory)]
        if directory is folder:  # what somebody's link names is not written over unasked
            assert run_command(*init).returncode == 2
            init.append("--force")
        made = run_command(*init)
        assert made.returncode == 0, made.stderr
    assert not elsewhere.exists()
    owner = (others_folder.stat().st_uid, others_folder.stat().st_gid)
    written = {path: (path.stat().st_uid, path.stat().st_gid) for path in others_folder.rglob("*")}
    assert len(written) == 16
    assert [str(path) for path, found in written.items() if found != owner] == []
    assert [path.stat().st_mode & 0o777 for path in written if path.suffix == ".key"] == [0o600] * 4
    check = partial(say, folder / "rotator.yaml", ["config", "check"])
    assert check().endswith("exit 0\n")
    checked = do_as_other(check)
    assert checked.endswith("exit 0\n"), checked


def test_root_follows_no_link_that_the_service_put_beside_the_database(sandbox: Sandbox) -> None:
    config = sandbox.addresses.config_path
    assert run_command("--config", config, "db", "upgrade").returncode == 0
    database, target = config.parent / "rotator.db", config.parent / "precious"
    target.touch(0o640)
    database.chmod(0o666)
    database.with_name("rotator.db-shm").symlink_to(target)
    said = say(config, ["status"])
    assert (target.stat().st_mode & 0o777, target.stat().st_uid) == (0o640, os.geteuid()), said
