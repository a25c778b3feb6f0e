"""Whether the files and folders that the settings name are there and can be used, on this host and by this user."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rotator.adapters.regular_files import check_regular
from rotator.engine.explaining import say_lacks_window
from rotator.engine.planning import plan_from
from rotator.errors import ConfigError, RotatorError
from rotator.settings.secrets import SecretSource
from rotator.wiring.sealing import make_authority, make_signer

if TYPE_CHECKING:
    from rotator.settings.policy_checks import Finding
    from rotator.settings.problem import Location
    from rotator.settings.secrets import SecretReference
    from rotator.wiring.installation import Installation

UNSIGNED = "the audit log is not signed: anyone who can write the database can rewrite it"
MAKE_SIGNING_KEY = "Make a key with `openssl genpkey -algorithm ed25519`"


def find_unusable(installation: Installation) -> Iterator[Finding]:
    """Find what is wrong with the settings' files and folders. Nothing is written, and no service asked.

    What an environment variable, a credential or a vault holds is another process's to read: it is not looked at.
    """
    settings = installation.settings
    secrets = [*settings.place_secrets(), *settings.place_previous_keys()]
    for location, secret in secrets:
        yield from _try(partial(_read, installation, secret), location)
    key = settings.audit.signing_key
    is_here = key is not None and key.source in (SecretSource.FILE, SecretSource.LITERAL)
    if key is not None and is_here and not _try(partial(_read, installation, key)):
        yield from _try(partial(make_signer, installation))
    yield from _try(lambda: _read_bundle(settings.http.ca_bundle))
    yield from _try(partial(_check_store, installation))
    keeps_file = settings.token_cache.store == "file"
    paths = {
        ("token_cache", "path"): settings.token_cache.path if keeps_file else None,
        ("metrics_textfile",): settings.metrics_textfile,
    }
    for place, path in paths.items():
        if path is not None and (obstacle := _find_obstacle(path)) is not None:
            yield place, obstacle
    if (obstacle := find_unusable_database(installation)) is not None:
        yield ("database",), obstacle
    for index, anchor in enumerate(settings.audit.anchors):
        if (authority := make_authority(installation, anchor)) is not None:
            try:
                authority.check()
            except RotatorError as error:
                yield ("audit", "anchors", index, "certificates"), f"{error.message}. {error.fix}"


def _check_store(installation: Installation) -> None:
    from rotator.adapters.database.token_caches import check_store

    if installation.settings.token_cache.store == "database" and find_database_file(installation) is not None:
        check_store(installation.database_url.reveal())


def list_doubts(installation: Installation) -> list[str]:
    """Return settings that are valid but may be unintended."""
    unsigned = f"{installation.settings_path} audit.signing_key: {UNSIGNED}. {MAKE_SIGNING_KEY}, and name it there."
    unsigned_or_not = [] if has_signing_key(installation) else [unsigned]
    found = [*installation.policy_warnings, *_list_without_window(installation), *unsigned_or_not]
    place = installation.settings_path
    return found + [f"{place} {name}: {said}. {fix}" for said, (name, fix) in installation.doubts.items()]


def _list_without_window(installation: Installation) -> list[str]:
    """Name the PATs that no window serves in time; none where the inventory cannot be read."""
    policy, file = installation.policy, find_database_file(installation)
    has_timetable = any(not rule.timetable.is_always for rule in policy.rules)
    if not has_timetable or (file is not None and not file.exists()):
        return []
    try:
        plan = plan_from(installation.database, policy, installation.clock.now())
    except RotatorError:
        return []
    lacking = ((action.pat.name, action.lack, action.held_until) for action in plan.actions)
    return [
        f"{installation.settings.policy} {name}: {say_lacks_window(lack, turn)}."
        for name, lack, turn in lacking
        if lack is not None and turn is not None
    ]


def has_signing_key(installation: Installation) -> bool:
    """Whether the audit log is signed."""
    return installation.settings.audit.signing_key is not None


def find_unusable_database(installation: Installation) -> str | None:
    """Return what is wrong with the file of an SQLite database, or with its folder."""
    database = find_database_file(installation)
    return None if database is None else _find_obstacle(database)


def _try(act: Callable[[], object], location: Location | None = None) -> list[Finding]:
    """Return what the act complains of: of the setting that stands there, else of the one that it names itself."""
    try:
        act()
    except ConfigError as error:
        place = location or tuple(error.setting.split("."))
        return [(place, f"{reason}. {error.fix}") for reason in error.reasons]
    return []


def _read(installation: Installation, secret: SecretReference) -> None:
    if secret.source in (SecretSource.FILE, SecretSource.LITERAL):
        installation.resolve(secret)


def _read_bundle(bundle: Path | None) -> None:
    from rotator.adapters.http import make_session
    from rotator.adapters.http_options import HttpOptions

    make_session(HttpOptions(ca_bundle=bundle)).close()


def find_database_file(installation: Installation) -> Path | None:
    """Return the file of an SQLite database whose address is known here."""
    from rotator.adapters.database.engine import parse_url

    secret = installation.settings.database
    if secret.literal is None and secret.source is not SecretSource.FILE:
        return None
    if _try(lambda: installation.resolve(secret)):
        return None
    place = parse_url(installation.database_url.reveal())
    return Path(place.database) if place.drivername.startswith("sqlite") and place.database else None


def _find_obstacle(path: Path) -> str | None:
    """Return why a file cannot be read, or cannot be written or made where it belongs."""
    folder, fix = path.parent, "Give the user that runs rotator access."
    try:
        if not folder.is_dir():
            return f"the folder {folder} does not exist. Create it, or correct the path."
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"this user cannot write to the folder {folder}. {fix}"
        check_regular(path)
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            return f"this user cannot read and write the file {path}. {fix}"
    except OSError as error:
        return f"{path} cannot be used: {error.strerror}. Name a file, or one that does not exist yet."
    return None
