"""The sample units: accepted by systemd, hardened, in step with the command and with their README."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rotator.adapters.child_environment import HOOK
from rotator.cli.commands.init import KEY_NAME, SIGNING_NAME
from rotator.settings.durations import parse_duration
from rotator.settings.sections.daemon import DaemonSettings
from tests.support.programs import need
from tests.support.source_tree import ROOT

_UNITS = ROOT / "systemd"
_NAMES = ("rotator.service", "rotator-once.service", "rotator-once.timer")
_SERVICES = _NAMES[:2]
_HIGHEST_EXPOSURE = 12  # tenths: 1.2 of 10
_EXPOSURE_WITH_HOOKS = 13
_HARDENING = {
    "CapabilityBoundingSet": "",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateMounts": "yes",
    "PrivateTmp": "yes",
    "ProtectHome": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectSystem": "strict",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "yes",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
    "User": "rotator",
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
    """A folder with the units, whose command is one that exists here."""
    program = shutil.which("true")
    assert program
    for unit in _NAMES:
        text = (_UNITS / unit).read_text(encoding="utf-8")
        (tmp_path / unit).write_text(text.replace("/opt/rotator/bin/rotator", program), encoding="utf-8")
    return tmp_path


def _analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([need("systemd-analyze", "systemd"), *arguments], capture_output=True, text=True, check=False)


def test_units_are_accepted_when_systemd_verifies_them(installed_units: Path) -> None:
    answer = _analyze("verify", *(installed_units / name for name in _NAMES))
    assert answer.returncode == 0, answer.stderr
    assert [line for line in answer.stderr.splitlines() if "rotator" in line] == []


def test_units_have_their_section_and_only_settings_when_read_as_text() -> None:
    for unit in _NAMES:
        section = "[Timer]" if unit.endswith(".timer") else "[Service]"
        lines = (_UNITS / unit).read_text(encoding="utf-8").splitlines()
        assert section in lines
        assert [line for line in lines if line and not re.match(r"#|\[\w+\]$|[A-Z]\w+=", line)] == []


@pytest.mark.parametrize("name", _SERVICES)
def test_service_is_hardened_when_its_exposure_is_measured(installed_units: Path, name: str) -> None:
    answer = _analyze("security", "--offline=true", f"--threshold={_HIGHEST_EXPOSURE}", installed_units / name)
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr


@pytest.fixture
def units_with_hooks(installed_units: Path) -> Path:
    """The same, with the drop-in for hooks."""
    for unit in _SERVICES:
        (installed_units / f"{unit}.d").mkdir()
        shutil.copy(_UNITS / "hooks.conf", installed_units / f"{unit}.d" / "hooks.conf")
    return installed_units


@pytest.mark.parametrize("name", _SERVICES)
def test_drop_in_for_hooks_is_accepted_and_opens_little(units_with_hooks: Path, name: str) -> None:
    """A group is all that counts as exposure; no setting of the unit is taken back."""
    answer = _analyze("verify", units_with_hooks / name)
    assert (answer.returncode, "hooks.conf" in answer.stderr) == (0, False), answer.stderr
    answer = _analyze("security", "--offline=true", f"--threshold={_EXPOSURE_WITH_HOOKS}", units_with_hooks / name)
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr
    drop_in, unit = _read("hooks.conf"), _read(name)
    assert set(drop_in) == {"Environment", "LoadCredential", "SupplementaryGroups", "ReadWritePaths"}
    assert not {"SupplementaryGroups", "ReadWritePaths"} & set(unit)
    assert [value for values in drop_in.values() for value in values if not value] == []


def test_drop_in_for_hooks_is_read_with_the_unit(units_with_hooks: Path) -> None:
    """What is wrong in it would be found."""
    with (units_with_hooks / "rotator.service.d" / "hooks.conf").open("a") as file:
        file.write("ReadWritePaths=srv\nNoSuchSetting=yes\n")
    answer = _analyze("verify", units_with_hooks / "rotator.service")
    assert "hooks.conf" in answer.stderr
    assert "NoSuchSetting" in answer.stderr


def test_drop_in_for_hooks_gives_what_hooks_are_handed_on() -> None:
    """A hook's environment is an allow-list: what the drop-in sets for it is on it."""
    names = {value.partition("=")[0] for value in _read("hooks.conf")["Environment"]}
    assert names <= HOOK


@pytest.mark.parametrize("name", _SERVICES)
def test_service_has_every_hardening_when_read_as_text(name: str) -> None:
    """All but a /proc without the boot's id, by which the boot clock knows its boot."""
    settings = _read(name)
    assert {key: settings.get(key) for key in _HARDENING} == {key: [value] for key, value in _HARDENING.items()}
    assert settings["SystemCallFilter"][0] == "@system-service"
    assert "ProcSubset" not in settings


@pytest.mark.parametrize("name", _SERVICES)
def test_service_has_state_and_key_of_its_own(name: str) -> None:
    """The state is the group's to read, too. Each key that `rotator init` makes is the service's, and a person's."""
    settings = _read(name)
    assert (settings["StateDirectory"], settings["StateDirectoryMode"]) == (["rotator"], ["0750"])
    readme = (_UNITS / "README.md").read_text(encoding="utf-8")
    keys = [line.split(":") for line in settings["LoadCredential"]]
    assert [Path(source).name for _, source in keys] == [KEY_NAME, SIGNING_NAME]
    for credential, source in keys:
        assert f"key: {{credential: {credential}}}" in readme
        assert f"-p LoadCredential={credential}:{source}" in readme


def test_daemon_is_watched_reloaded_and_started_anew() -> None:
    settings = _read("rotator.service")
    assert {key: settings[key] for key in ("Type", "Restart", "RestartSec", "RestartPreventExitStatus")} == {
        "Type": ["notify"],
        "Restart": ["on-failure"],
        "RestartSec": ["30s"],
        "RestartPreventExitStatus": ["2 11"],
    }
    assert settings["ExecStart"][0].endswith("/rotator daemon")
    assert settings["ExecReload"] == ["kill -HUP $MAINPID"]
    assert settings["StartLimitIntervalSec"] == ["0"]
    assert "WatchdogSec" in settings


def test_daemon_has_time_to_finish_a_rotation_when_it_is_stopped() -> None:
    [limit] = _read("rotator.service")["TimeoutStopSec"]
    assert parse_duration(limit.replace("min", "m")) > DaemonSettings().stop_within


def test_timer_makes_up_for_missed_hours() -> None:
    settings = _read("rotator-once.timer")
    assert settings["OnCalendar"] == ["hourly"]
    assert settings["Persistent"] == ["yes"]
    assert "RandomizedDelaySec" in settings
    once = _read("rotator-once.service")
    assert (once["Type"], once["ExecStart"][0].rpartition("/")[2]) == (["oneshot"], "rotator once")


def test_user_and_modes_are_accepted_by_systemd(tmp_path: Path) -> None:
    """The user is made; the group may read the database and not the sign-ins."""
    for folder in ("etc", "var/lib/rotator"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("rotator.db", "token-cache.bin"):
        (tmp_path / "var/lib/rotator" / name).write_bytes(b"")
    program = need("systemd-sysusers", "systemd")
    made = subprocess.run(
        [program, f"--root={tmp_path}", _UNITS / "rotator.sysusers"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert "rotator:" in (tmp_path / "etc/passwd").read_text(encoding="utf-8")
    lines = (_UNITS / "rotator.tmpfiles").read_text(encoding="utf-8").splitlines()
    modes = {line.split()[1]: line.split()[2] for line in lines if not line.startswith("#")}
    assert modes["/var/lib/rotator"] == "0750"
    assert modes["/var/lib/rotator/rotator.db"] == "0640"
    assert modes["/var/lib/rotator/token-cache.bin"] == "0600"
