"""`windows` and `freezes` of `policy.yaml`: read, refused with the reason, shown; without the system's zones too."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from rotator.domain.timetable import ALWAYS, ChangeFreeze, Timetable, Window
from rotator.errors import ConfigError
from rotator.settings.effective import show_policy
from rotator.settings.load import load_policy

HEAD = "version: 1\ndefaults:\n  vault: https://contoso-kv.vault.azure.net\n"
WINDOW = '{days: [saturday, sunday], from: "22:00", to: "04:00", timezone: Europe/Berlin}'
FREEZE = "{from: 2026-12-19T00:00+01:00, to: 2027-01-04T05:00Z, reason: end of the year}"


def load(folder: Path, text: str) -> tuple[Timetable, ...]:
    """The timetable of each rule that the text says."""
    path = folder / "policy.yaml"
    path.write_text(HEAD + text)
    return tuple(rule.timetable for rule in load_policy(path).rules)


def test_windows_and_freezes_are_those_of_the_rule_else_of_the_defaults(tmp_path: Path) -> None:
    text = f"""\
  windows: [{WINDOW}]
  freezes: [{FREEZE}]
rules:
- {{name: a, match: {{display_name: a}}}}
- {{name: b, match: {{display_name: b}}, freezes: []}}
- {{name: c, windows: [], freezes: [], match: }}
"""
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    window = Window((5, 6), time(22), time(4), berlin)
    ends = datetime(2027, 1, 4, 5, tzinfo=UTC)
    freeze = ChangeFreeze(datetime(2026, 12, 18, 23, tzinfo=UTC), ends, "end of the year")
    assert load(tmp_path, text) == (Timetable((window,), (freeze,)), Timetable((window,), ()), ALWAYS)


def test_windows_and_freezes_are_shown_as_they_are_written(tmp_path: Path) -> None:
    whole_day = '{days: [monday], from: "00:00", to: "24:00", timezone: UTC}'
    load(tmp_path, f"  windows: [{WINDOW}, {whole_day}]\n  freezes: [{FREEZE}]\n")
    rules = show_policy(load_policy(tmp_path / "policy.yaml"))["rules"]
    assert isinstance(rules, list)
    assert rules[0]["windows"] == [
        {"days": ["saturday", "sunday"], "from": "22:00", "to": "04:00", "timezone": "Europe/Berlin"},
        {"days": ["monday"], "from": "00:00", "to": "24:00", "timezone": "UTC"},
    ]
    assert rules[0]["freezes"] == [
        {"from": "2026-12-18T23:00:00+00:00", "to": "2027-01-04T05:00:00+00:00", "reason": "end of the year"}
    ]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (WINDOW.replace("sunday", "sundy"), 'days[1]: unknown day "sundy", expected monday, tuesday'),
        (WINDOW.replace("[saturday, sunday]", "[]"), "days: must have at least one entry"),
        (WINDOW.replace("22:00", "22"), 'from: "22" is not a time of day: write hours and minutes, such as 08:30'),
        (WINDOW.replace("22:00", "24:00"), 'from: "24:00" is not a time of day'),
        (WINDOW.replace("04:00", "24:30"), 'to: "24:30" is not a time of day'),
        (WINDOW.replace("04:00", "22:00"), "to: is the same as `from`: write 00:00 and 24:00 for a whole day"),
        (
            WINDOW.replace("Berlin", "Berln"),
            'timezone: unknown time zone "Europe/Berln", did you mean "Europe/Berlin"?',
        ),
        (WINDOW.replace(", timezone: Europe/Berlin", ""), "timezone: is missing, for example timezone: Europe/Berlin"),
        (WINDOW.replace("from", "form"), 'form: unknown key, did you mean "from"?'),
    ],
)
def test_window_is_refused_with_the_reason(tmp_path: Path, entry: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"  windows: [{entry}]\n")
    assert any(f"defaults.windows[0].{problem}" in told for told in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (FREEZE.replace("2026-12-19T00:00+01:00", "2026-12-19"), 'from: "2026-12-19" does not say in which time zone'),
        (FREEZE.replace("2026-12-19T00:00+01:00", "Christmas"), 'from: "Christmas" is not a moment: write date, time'),
        (FREEZE.replace("2027", "2026"), "to: is not after `from`"),
        (FREEZE.replace(", reason: end of the year", ""), "reason: is missing"),
    ],
)
def test_freeze_is_refused_with_the_reason(tmp_path: Path, entry: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"  freezes: [{entry}]\n")
    assert any(f"defaults.freezes[0].{problem}" in told for told in caught.value.problems), caught.value.problems


def test_time_zones_are_known_where_the_system_has_none(tmp_path: Path) -> None:
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    try:
        [timetable] = load(tmp_path, f"  windows: [{WINDOW}]\n")
        now = datetime(2026, 7, 4, 20, 0, tzinfo=UTC)
        assert timetable.windows[0].is_open(now)
        assert not timetable.windows[0].is_open(now.replace(hour=19, minute=59))
    finally:
        zoneinfo.reset_tzpath()
        zoneinfo.ZoneInfo.clear_cache()
