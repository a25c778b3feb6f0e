"""Whether the process behind a claim still exists."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from rotator.adapters.processes import is_gone, make_claimant

ANNOUNCE = (
    "import sys\nfrom rotator.adapters.processes import make_claimant\n"
    "print(make_claimant('run'), flush=True)\nsys.stdin.read()\n"
)


def test_claimant_is_not_gone_when_it_is_this_process() -> None:
    assert not is_gone(make_claimant("run"))


def test_claimant_is_gone_when_its_process_was_killed() -> None:
    """Alive, then stopped, then killed: only the last is gone."""
    with subprocess.Popen(
        [sys.executable, "-c", ANNOUNCE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        claimant = child.stdout.readline().strip()
        seen = [is_gone(claimant)]
        child.send_signal(signal.SIGSTOP)
        seen.append(is_gone(claimant))
        child.kill()
        child.wait()
        seen.append(is_gone(claimant))
    assert seen == [False, False, True]


def test_claimant_is_gone_when_its_process_id_was_given_to_another() -> None:
    run, process = make_claimant("run").rsplit(".", 1)
    assert is_gone(f"{run}.{int(process) + 1}")


def test_claimant_is_gone_when_its_process_ended_and_nobody_has_waited_for_it() -> None:
    """A zombie does nothing any more."""
    with subprocess.Popen(
        [sys.executable, "-c", ANNOUNCE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        claimant = child.stdout.readline().strip()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(claimant)


def test_claimant_is_not_gone_when_proc_hides_its_process(tmp_path: Path) -> None:
    """As where /proc is mounted with hidepid, and the process is of another user."""
    alive, dead = make_claimant("run"), make_claimant("run").replace(f"#{os.getpid()}.", "#4194304.")
    boot = tmp_path / "sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True)
    boot.write_text(Path("/proc/sys/kernel/random/boot_id").read_text())
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to(Path("/proc/self/ns/pid").readlink())
    assert not is_gone(alive, proc=tmp_path)
    assert is_gone(dead, proc=tmp_path)


def test_claimant_is_not_judged_when_it_is_of_another_host() -> None:
    _, process = make_claimant("run").rsplit("#", 1)
    assert not is_gone(f"run@0123456789abcdef#{process}")
    assert not is_gone("run@unknown#1.0")
    assert not is_gone("a run of an older kind")
