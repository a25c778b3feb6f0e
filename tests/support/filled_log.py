"""An installation on a sandbox whose audit log real commands filled, for those who review it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rotator.sandbox.azure_devops_audit import add_to_log
from rotator.sandbox.azure_devops_replies import to_ticks
from rotator.sandbox.faults import Fault
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ORGANIZATION, USER_ID, USERNAME
from tests.support.installed_command import config_of, run_forked, sign_in

SCRIPT = "<script>alert(1)</script>"
REASON = "\"first\" <b>day</b> & 'last'"


@dataclass
class Filled:
    """An installation whose log real commands filled, and its page of all time."""

    sandbox: Sandbox
    folder: Path

    def run(self, *words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the command, and expect an exit code."""
        done = run_forked(*words, folder=self.folder, env={"ROTATOR_CONFIG": config_of(self.sandbox)})
        assert done.returncode == code, done.stdout + done.stderr
        return done

    @property
    def database(self) -> Path:
        """The file of the database."""
        return self.sandbox.addresses.config_path.with_name("rotator.db")


@contextmanager
def open_filled(folder: Path) -> Iterator[Filled]:
    """An installation in which PATs were adopted, rotated, revoked, refused, paused, renamed and forgotten."""
    with Sandbox(folder / "sandbox") as sandbox:
        now, world = to_ticks(sandbox.world.clock.now()), sandbox.world
        where = (world.organizations[ORGANIZATION],)
        for name, left in ((SCRIPT, 2), ("short", 4), ("gone", 20)):
            world.add_pat(
                world.users[USER_ID], name, "vso.code", where, now - timedelta(days=28), now + timedelta(left)
            )
        settings, policy = sandbox.addresses.config_path, sandbox.addresses.config_path.with_name("policy.yaml")
        settings.write_text(settings.read_text(encoding="utf-8").replace("anchors: []", "anchors: [vault]"), "utf-8")
        made = Filled(sandbox, folder)
        made.run("db", "upgrade")
        sign_in(sandbox, folder)
        policy.write_text(policy.read_text(encoding="utf-8").replace("overlap: 5s", "overlap: 0s"), "utf-8")
        made.run("inventory", "adopt", "--all", "--reason", REASON)
        made.run("once")
        sandbox.world.faults.add(Fault("azure_devops", "status", status=403, path="/tokens/pats", times=None))
        made.run("once", code=1)
        sandbox.world.faults.clear()
        made.run("inventory", "pause", "npm-feed", "--reason", "a freeze")
        made.run("inventory", "rename", "docs-site", "docs")
        made.run("inventory", "forget", "gone", "--reason", "not ours", "--yes")
        policy.write_text(policy.read_text(encoding="utf-8").replace("90d", "80d").replace("0s", "1h"), "utf-8")
        made.run("rotate", "release-notes", "--reason", "it leaked")
        made.run("once")
        home = world.organizations[ORGANIZATION]
        minted = {"actionId": "Token.PatCreateEvent", "actorUPN": USERNAME, "data": {"DisplayName": SCRIPT}}
        add_to_log(world, home, world.clock.now(), minted)
        made.run("audit", "reconcile", "--since", "5d", "--until", "3d")
        made.run("audit", "reconcile", "--since", "4d", code=4)
        home.token_admins = {USER_ID}
        made.run("scan", "--organization-wide")
        yield made
