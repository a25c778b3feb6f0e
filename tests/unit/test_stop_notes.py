"""Stops that the database could not be told of: kept until a later daemon has passed them on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rotator.adapters.stop_notes import StopNotes
from rotator.errors import DatabaseUnreachableError

BEGAN = datetime(2026, 3, 1, 12, 30, 15, 250, tzinfo=UTC)


def test_each_stop_is_passed_on_once_whichever_daemon_kept_it(tmp_path: Path) -> None:
    for holder in ("first", "second"):
        StopNotes(tmp_path / "cache.bin").keep(holder, BEGAN)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    told: list[tuple[str, datetime]] = []
    for _ in range(2):
        StopNotes(tmp_path / "cache.bin").pass_on(lambda *stop: told.append(stop))
    assert sorted(told) == [("first", BEGAN), ("second", BEGAN)]
    assert list(tmp_path.iterdir()) == []


def test_stop_is_kept_until_it_could_be_passed_on(tmp_path: Path) -> None:
    notes, told = StopNotes(tmp_path / "cache.bin"), list[str]()
    notes.keep("first", BEGAN)

    def fail(holder: str, began_at: datetime) -> None:
        raise DatabaseUnreachableError("away", fix="wait")

    with pytest.raises(DatabaseUnreachableError):
        notes.pass_on(fail)
    notes.pass_on(lambda holder, _: told.append(holder))
    assert told == ["first"]


@pytest.mark.parametrize("text", ["", "{", "[]", '["first"]', '["first", 1]', '["first", "soon"]', "\0"])
def test_file_that_is_no_note_is_taken_away(tmp_path: Path, text: str) -> None:
    notes = StopNotes(tmp_path / "cache.bin")
    notes.keep("first", BEGAN)
    [path] = tmp_path.iterdir()
    path.write_text(text, encoding="utf-8")
    notes.pass_on(lambda *_: pytest.fail("it was passed on"))
    assert list(tmp_path.iterdir()) == []


def test_stop_ends_although_the_folder_is_gone(tmp_path: Path) -> None:
    notes = StopNotes(tmp_path / "gone" / "cache.bin")
    notes.keep("first", BEGAN)
    notes.pass_on(lambda *_: pytest.fail("it was passed on"))
