"""The wheel works away from the checkout: it carries the migrations and the sample configuration."""

import sqlite3
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from rotator import __version__
from tests.support.programs import need
from tests.support.source_tree import ROOT

_SETTINGS = """\
database: sqlite:///rotator.db
policy: policy.yaml
accounts:
  - name: build-bot
    tenant: 6f89cf12-978b-4d23-ac18-9ef0c127cf87
    client_id: 3f7a1c52-8d44-4be6-9a0e-51c2d7e8b906
    username: build-bot@contoso.com
    organizations: [contoso]
token_cache:
  path: token-cache.bin
  key: {env: ROTATOR_TOKEN_CACHE_KEY}
"""
_POLICY = """\
version: 1
defaults:
  vault: https://contoso-kv.vault.azure.net
rules:
  - name: all
    match: {display_name: "*"}
"""


def _run(*command: str | Path, cwd: Path) -> str:
    """The command's output; a failure shows all that it said. Nothing points it to the checkout."""
    environment = {
        "ROTATOR_TOKEN_CACHE_KEY": Fernet.generate_key().decode(),
        "LC_ALL": "C.UTF-8",
        "HOME": str(cwd),
    }
    answer = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"{command}: {answer.returncode}\n{answer.stdout}\n{answer.stderr}"
    return answer.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tree as it is, offline."""
    target = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, ROOT, cwd=target)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh virtual environment with the wheel in it and this one's dependencies."""
    home = tmp_path_factory.mktemp("venv")
    _run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", home / "bin" / "python")
    _run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=home)
    # A plain path: the .pth files behind it, and so the editable checkout, are not followed.
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return home / "bin"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with settings and policy, far from the checkout."""
    (tmp_path / "rotator.yaml").write_text(_SETTINGS, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(_POLICY, encoding="utf-8")
    return tmp_path


def test_wheel_carries_package_migrations_and_samples(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {"rotator/errors.py", "rotator/_migrations/env.py", "rotator/documents/schemas/status.json"}
    expected |= {"rotator/_systemd/rotator.service", "rotator/_systemd/monitoring/rotator.rules.yaml"}
    assert expected - names == set()
    assert any(name.startswith("rotator/_migrations/versions/") and name.endswith(".py") for name in names)
    samples = {f"rotator/_config/{path.name}" for path in (ROOT / "config").iterdir() if path.is_file()}
    assert samples
    assert samples - names == set()
    assert [
        name for name in names if name.startswith(("tests/", "migrations/", "config/")) or "__pycache__" in name
    ] == []


def test_wheel_carries_the_man_pages_where_man_finds_them(wheel: Path, installation: Path) -> None:
    """One of `rotator`, and one of each command; what `man` makes of them has no warning."""
    pages = {path.name for path in (ROOT / "docs" / "man").iterdir()}
    folder = f"pat_rotator-{__version__}.data/data/share/man/man1/"
    assert {name for name in zipfile.ZipFile(wheel).namelist() if "/man1/" in name} == {folder + page for page in pages}
    assert {"rotator.1", "rotator-once.1"} < pages
    man = (need("man", "man-db"), "--warnings=w", "-E", "UTF-8", "-l")
    for page in sorted((installation.parent / "share" / "man" / "man1").iterdir()):
        shown = subprocess.run(
            (*man, page), env={"MANWIDTH": "80", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
        )
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "NAME" in shown.stdout


def test_wheel_is_imported_from_its_installation_when_run_elsewhere(installation: Path, tmp_path: Path) -> None:
    origin = _run(installation / "python", "-c", "import rotator; print(rotator.__file__)", cwd=tmp_path)
    assert Path(origin.strip()).is_relative_to(installation.parent)


def test_wheel_has_the_version_that_the_package_says(wheel: Path) -> None:
    assert wheel.name.startswith(f"pat_rotator-{__version__}-")


def test_installed_command_explains_itself_when_run_elsewhere(installation: Path, tmp_path: Path) -> None:
    assert "Usage: rotator" in _run(installation / "rotator", "--help", cwd=tmp_path)


def test_installed_command_makes_the_database_when_run_elsewhere(installation: Path, site: Path) -> None:
    _run(installation / "rotator", "db", "upgrade", cwd=site)
    _run(installation / "rotator", "db", "current", cwd=site)
    connection = sqlite3.connect(site / "rotator.db")
    (revision,) = connection.execute("select version_num from alembic_version").fetchone()
    connection.close()
    assert revision
