"""An installation on the sandbox for `rotator doctor` to examine: signed in, with one PAT adopted and rotated."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timedelta
from pathlib import Path

import yaml

from rotator.adapters.clock import SystemClock
from rotator.cli.main import main
from rotator.domain.checkup import CheckResult, Grade
from rotator.engine.checkup.examining import examine
from rotator.engine.checkup.table import CHECKS
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, VAULT
from rotator.sandbox.world import Secret, Vault
from rotator.wiring.doctor import make_patient
from rotator.wiring.installation import Installation
from rotator.wiring.origin import Origin
from tests.support.installed_command import approve

PAT = "npm-feed"
SECRET = "contoso-npm-feed"


class LaterClock(SystemClock):
    """The host's clock, so much ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        """See the port."""
        return super().now() + self._ahead


class Ward:
    """A sandbox, and the installation whose settings it wrote."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.config = sandbox.addresses.config_path
        self.folder = self.config.parent

    @property
    def url(self) -> str:
        """The address of its database."""
        return f"sqlite:///{self.folder / 'rotator.db'}"

    @property
    def vault(self) -> Vault:
        """Its vault."""
        return self.sandbox.world.vaults[VAULT]

    @property
    def secret(self) -> Secret:
        """The secret of its PAT."""
        return self.vault.secrets[SECRET]

    def open(self, environment: Mapping[str, str] | None = None, mounts: Path | None = None) -> Installation:
        """Open the installation: a context manager."""
        origin = Origin(self.config, {**os.environ, **(environment or {})}, self.folder)
        return Installation(origin if mounts is None else Origin(self.config, os.environ, self.folder, mounts))

    def examine(
        self,
        *names: str,
        environment: Mapping[str, str] | None = None,
        mounts: Path | None = None,
        later: timedelta = timedelta(0),
    ) -> list[CheckResult]:
        """Make the checks of these names, or all, so much later by the host's clock."""
        stages = [[check for check in stage if not names or check.name in names] for stage in CHECKS]
        with self.open(environment, mounts) as installation:
            installation.clock = LaterClock(later)
            return list(examine(make_patient(installation), stages))

    def run(self, *words: str) -> str:
        """Run a command in this process, to its success; what it printed."""
        with redirect_stdout(io.StringIO()) as said, redirect_stderr(io.StringIO()) as told:
            code = main(["--config", str(self.config), *words])
        assert code == 0, said.getvalue() + told.getvalue()
        return said.getvalue()

    def sign_in(self) -> None:
        """Sign its account in, as a person does."""
        with self.open() as installation:
            installation.entra_sign_in.login_with_device_code(
                ACCOUNT,
                lambda prompt: approve(
                    self.sandbox, {"verification_uri": prompt.verification_uri, "user_code": prompt.user_code}
                ),
            )

    def change(self, file: str, **keys: object) -> None:
        """Change keys of its settings or its policy."""
        path = self.folder / file
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump({**document, **keys}), encoding="utf-8")


def find_problems(results: list[CheckResult]) -> list[tuple[str, str, Grade]]:
    """What is not as it should be: check, subject, grade."""
    remarks = [(each.name, each.remark) for each in results]
    return [(name, remark.subject, remark.grade) for name, remark in remarks if remark.grade is not Grade.OK]


def say(results: list[CheckResult]) -> str:
    """Everything that was said."""
    return "\n".join(f"{r.name} {r.remark.subject}: {r.remark.message} | {r.remark.fix}" for r in results)
