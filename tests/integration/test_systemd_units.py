"""The sample units: accepted by systemd, hardened, in step with the command and with their README."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.programs import need
from tests.support.source_tree import ROOT

_UNITS = ROOT / "systemd"
_HIGHEST_EXPOSURE = 20  # tenths: 2.0 of 10
_HARDENING = {
    "CapabilityBoundingSet": "",
    "DynamicUser": "yes",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "ProtectHome": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectSystem": "strict",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "yes",
    "SystemCallArchitectures": "native",
}


def _read(name: str) -> dict[str, list[str]]:
    """The unit's settings, each with all values it is given, in order."""
    settings: dict[str, list[str]] = {}
    for line in (_UNITS / name).read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"([A-Z]\w+)=(.*)", line):
            settings.setdefault(found[1], []).append(found[2])
    return settings


@pytest.fixture
def installed_units(tmp_path: Path) -> Path:
    """A folder with both units, whose command is one that exists here."""
    program = shutil.which("true")
    assert program
    for unit in ("rotator.service", "rotator.timer"):
        text = (_UNITS / unit).read_text(encoding="utf-8")
        (tmp_path / unit).write_text(text.replace("/opt/rotator/bin/rotator", program), encoding="utf-8")
    return tmp_path


def _analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([need("systemd-analyze", "systemd"), *arguments], capture_output=True, text=True, check=False)


def test_units_are_accepted_when_systemd_verifies_them(installed_units: Path) -> None:
    answer = _analyze("verify", installed_units / "rotator.service", installed_units / "rotator.timer")
    assert answer.returncode == 0, answer.stderr
    assert [line for line in answer.stderr.splitlines() if "rotator." in line] == []


def test_units_have_their_section_and_only_settings_when_read_as_text() -> None:
    for unit, section in (("rotator.service", "[Service]"), ("rotator.timer", "[Timer]")):
        lines = (_UNITS / unit).read_text(encoding="utf-8").splitlines()
        assert section in lines
        assert [line for line in lines if line and not re.match(r"#|\[\w+\]$|[A-Z]\w+=", line)] == []


def test_service_is_hardened_when_its_exposure_is_measured(installed_units: Path) -> None:
    unit = installed_units / "rotator.service"
    answer = _analyze("security", "--offline=true", f"--threshold={_HIGHEST_EXPOSURE}", unit)
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr


def test_service_has_every_hardening_when_read_as_text() -> None:
    settings = _read("rotator.service")
    assert {name: settings.get(name) for name in _HARDENING} == {name: [value] for name, value in _HARDENING.items()}
    assert settings["SystemCallFilter"][0] == "@system-service"


def test_service_runs_one_cycle_with_state_and_key_of_its_own() -> None:
    settings = _read("rotator.service")
    assert settings["Type"] == ["oneshot"]
    assert settings["ExecStart"][0].endswith("/rotator once")
    assert settings["StateDirectory"] == ["rotator"]
    credential, source = settings["LoadCredential"][0].split(":")
    readme = (_UNITS / "README.md").read_text(encoding="utf-8")
    assert f"key: {{credential: {credential}}}" in readme
    assert source in readme


def test_timer_makes_up_for_missed_hours() -> None:
    settings = _read("rotator.timer")
    assert settings["OnCalendar"] == ["hourly"]
    assert settings["Persistent"] == ["yes"]
    assert "RandomizedDelaySec" in settings
