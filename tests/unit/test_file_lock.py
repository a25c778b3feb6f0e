"""The lock on a file: who is kept out, and who is let in."""

import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.adapters.entra.file_lock import FileLock
from rotator.errors import RotatorError, TransientError

SHORT = timedelta(milliseconds=60)
ROOT = Path(__file__).parents[2]

HOLD = """
import sys
from pathlib import Path
from rotator.adapters.entra.file_lock import FileLock
with FileLock(Path(sys.argv[1]), Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_file_lock_lets_the_same_thread_in_again_when_it_holds_it(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock", tmp_path / "cache", patience=SHORT)
    with lock:
        with lock:
            pass
        with pytest.raises(TransientError):
            FileLock(tmp_path / "lock", tmp_path / "cache", patience=SHORT).__enter__()
    with FileLock(tmp_path / "lock", tmp_path / "cache", patience=SHORT):
        pass


def test_file_lock_keeps_another_thread_out_when_held(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock", tmp_path / "cache", patience=SHORT)
    failures: list[str] = []

    def enter() -> None:
        try:
            with lock:
                failures.append("let in")
        except TransientError as error:
            failures.append(error.code)

    with lock:
        other = threading.Thread(target=enter)
        other.start()
        other.join()
    assert failures == ["token_cache_locked"]
    with lock:
        pass


def test_file_lock_names_the_file_when_another_process_holds_it_and_is_free_when_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(TransientError, match="lock has been locked for more than") as refused:
        FileLock(path, tmp_path / "cache", patience=SHORT).__enter__()
    assert refused.value.code == "token_cache_locked"
    assert refused.value.fix
    holder.kill()
    holder.communicate()
    with FileLock(path, tmp_path / "cache", patience=SHORT):
        pass


def test_file_lock_names_the_file_when_it_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(RotatorError, match="nowhere") as refused:
        FileLock(tmp_path / "nowhere" / "lock", tmp_path).__enter__()
    assert refused.value.code == "token_cache_unwritable"


def test_file_lock_follows_no_link_when_somebody_planted_one(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RotatorError):
        FileLock(tmp_path / "lock", tmp_path / "cache").__enter__()
    assert not (tmp_path / "elsewhere").exists()
