"""What `rotator doctor` examines: an installation, each part opened by itself, so that none hides another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from rotator.domain.checkup import CheckResult
from rotator.engine.checkup.examining import examine
from rotator.engine.checkup.patient import Patient
from rotator.engine.checkup.table import CHECKS
from rotator.errors import ConfigError, RotatorError
from rotator.ports.host import DatabaseFacts, FileFacts, Trouble
from rotator.settings.secrets import SecretSource
from rotator.wiring.checking import MAKE_SIGNING_KEY, UNSIGNED, find_database_file, find_unusable, has_signing_key
from rotator.wiring.hooks import find_unusable_hooks
from rotator.wiring.notifying import find_unusable_receivers
from rotator.wiring.sealing import make_trust

if TYPE_CHECKING:
    from rotator.settings.policy_checks import Finding
    from rotator.wiring.installation import Installation

_Part = TypeVar("_Part")
_BESIDE = ("", "-wal", "-shm", ".daemon")
"""The ends of the names of an SQLite database and of the files beside it."""
_CHECK = "Correct it, then run `rotator config check`."


def examine_installation(installation: Installation) -> tuple[CheckResult, ...]:
    """Make every check. ConfigError when the settings cannot be read."""
    return examine(make_patient(installation), CHECKS)


def make_patient(installation: Installation) -> Patient:
    """Return the installation as the checks see it. ConfigError when the settings cannot be read."""
    settings = installation.settings
    return Patient(
        accounts=installation.accounts,
        clock=installation.clock,
        witnesses=installation.service_clocks,
        host=_Host(installation),
        vaults_by_account=settings.key_vault.credential == "account",
        work_every=settings.daemon.work,
        open_policy=_open(lambda: installation.policy),
        open_database=_open(lambda: installation.database),
        open_sign_in=_open(lambda: installation.entra_sign_in),
        open_pats=_open(lambda: installation.pat_service),
        open_vaults=_open(lambda: installation.secret_store),
        open_trust=_open(lambda: make_trust(installation)),
        open_run=_open(installation.make_run),
    )


def _open(make: Callable[[], _Part]) -> Callable[[], _Part]:
    """Make a part now, before there are threads, and return what gives it; or what raises why there is none."""
    try:
        made = make()
    except RotatorError as error:
        return partial(_refuse, error)
    return lambda: made


def _refuse(error: RotatorError) -> NoReturn:
    raise error


class _Host:
    """Port Host, by the settings."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def find_troubles(self) -> Iterator[Trouble]:
        """See the port."""
        installation = self._installation
        looks: tuple[Callable[[Installation], Iterable[Finding]], ...]
        looks = (find_unusable, find_unusable_receivers, find_unusable_hooks)
        for look in looks:
            for location, message in look(installation):
                yield Trouble(".".join(map(str, location)), message, _CHECK, is_usable=False)
        for reference in installation.settings.list_secrets():
            if reference.source in (SecretSource.ENV, SecretSource.CREDENTIAL):
                try:
                    installation.resolve(reference)
                except ConfigError as error:
                    yield Trouble(error.setting, "; ".join(error.reasons), error.fix, is_usable=False)
        if not has_signing_key(installation):
            yield Trouble("audit.signing_key", UNSIGNED, f"{MAKE_SIGNING_KEY}, and name it there.", is_usable=True)
        for problem, (setting, fix) in installation.doubts.items():
            yield Trouble(setting, problem, fix, is_usable=True)

    def read_database(self) -> DatabaseFacts:
        """See the port."""
        return self._installation.database.read_facts()

    def list_files(self) -> Iterator[FileFacts]:
        """See the port."""
        from rotator.adapters.files import read_file_facts
        from rotator.adapters.key_vault.credentials import find_key_file

        settings, found = self._installation.settings, list[FileFacts | None]()
        for path in self._list_state():
            found.append(read_file_facts(path, is_state=True, is_secret=path == settings.token_cache.path))
        for path in (self._installation.settings_path, settings.policy):
            found.append(read_file_facts(path, is_state=False, is_secret=False))
        if key_file := find_key_file(settings.key_vault.credential):
            found.append(read_file_facts(key_file, is_state=False, is_secret=True))
        yield from (facts for facts in found if facts is not None)

    def list_policy_doubts(self) -> list[str]:
        """See the port."""
        return [doubt.splitlines()[0] for doubt in self._installation.policy_warnings]

    def _list_state(self) -> list[Path]:
        database, token_cache = find_database_file(self._installation), self._installation.settings.token_cache
        beside = [database.with_name(database.name + end) for end in _BESIDE] if database else []
        if token_cache.store == "database":
            return beside
        cache = token_cache.path
        return [*beside, cache, *sorted(cache.parent.glob(f"{cache.name}.*.lock"))]
