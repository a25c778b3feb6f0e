"""The steps that `rotator init --systemd` prints, which people paste as root."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotator.cli.context import CliContext
from rotator.cli.unit_steps import AS_ROTATOR, EDITED, SETTINGS, say_unit_steps
from tests.support.source_tree import ROOT


@pytest.mark.parametrize("folder", [SETTINGS, Path("/srv/settings-of-a-long-name/and-another-one/below-it")], ids=str)
def test_steps_are_in_the_order_in_which_they_work_and_no_command_is_folded(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that starts without tables, keys or a sign-in ends, and systemd does not start it again."""
    monkeypatch.setenv("COLUMNS", "60")
    say_unit_steps(CliContext(), folder, "build-bot")
    said = capsys.readouterr().out
    steps = (
        "/systemd/rotator.service",
        "  systemctl daemon-reload\n",
        "  chmod 0755 /etc/rotator && chmod 0644 /etc/rotator/rotator.yaml /etc/rotator/policy.yaml\n",
        *(f"  {line}\n" for line in (EDITED + AS_ROTATOR).splitlines()),
        "  as_rotator db upgrade\n",
        "  as_rotator login build-bot --device-code\n",
        "  systemctl enable --now rotator\n",
    )
    places = [said.find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)
    assert ("install -m 0600 -t /etc/rotator " in said) == (folder != SETTINGS)


def test_page_says_the_same_of_the_lines_to_change_and_of_the_function() -> None:
    page = (ROOT / "systemd/README.md").read_text(encoding="utf-8")
    assert f"```yaml\n{EDITED}```" in page
    assert f"```sh\n{AS_ROTATOR}as_rotator db upgrade" in page
