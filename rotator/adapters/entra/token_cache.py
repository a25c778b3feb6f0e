"""The token cache: an encrypted file, written whole or not at all, shared by threads and processes.

One file holds every account. MSAL keeps its entries apart by user, application and resource; an entry of our own
kind tells which of its users belongs to which configured sign-in.
"""

from __future__ import annotations

import binascii
import json
import os
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msal
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from rotator.adapters.disk import choose_fix
from rotator.adapters.entra.cache_shape import (
    ACCESS_TOKEN,
    ACCOUNT,
    ID_TOKEN,
    REFRESH_TOKEN,
    SIGN_IN,
    Content,
    Entry,
    is_sound,
)
from rotator.adapters.entra.file_lock import FileLock
from rotator.adapters.ownership import hand_over
from rotator.adapters.regular_files import check_regular
from rotator.domain.events.event import Event
from rotator.domain.events.places import TokenCacheDamaged, TokenCacheRecovered, TokenCacheSaved, TokenCacheUnsaved
from rotator.domain.secret_value import SecretValue
from rotator.errors import ConfigError, RotatorError
from rotator.ports.progress import Progress

LARGEST_CACHE = 32 * 1024 * 1024
"""Bytes of the file. The sign-in of one account takes about 15 kB."""
_HEAD = b"gAAAAA"
"""How every file of ours begins: Fernet's version, and a time before the year 2106."""
_OF_ONE_USER = (ACCESS_TOKEN, REFRESH_TOKEN, ID_TOKEN, ACCOUNT)


class TokenCacheKeyError(ConfigError):
    """The key in the settings is not a Fernet key, or not the one that the cache was written with."""

    code = "token_cache_key"


class _Unreadable(StrEnum):
    MISSING = "missing"
    DAMAGED = "damaged"
    TOO_LARGE = "larger than any token cache"
    OTHER_KEY = "written with another key, or damaged"


class MemoryTokenCache(msal.SerializableTokenCache):  # type: ignore[misc]
    """MSAL's cache in memory. `now` gives seconds since the epoch."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._now = now

    def add(self, event: Mapping[str, object], **_: object) -> None:
        """What MSAL calls with each new set of tokens."""
        # MSAL writes `data` to its debug log, codes and client assertions included, and would file the token of a
        # device code sign-in under that code, where no later look-up finds it. Nothing in it is needed.
        super().add({**event, "data": {}}, now=self._now())

    def entries(self) -> Content:
        """Return a copy of everything."""
        content: Content = json.loads(self.serialize())
        return content


class EncryptedTokenCache(MemoryTokenCache):
    """MSAL's cache in a file of mode 0600, encrypted with a Fernet key; `previous_keys` can still decrypt it.

    Every look-up sees what other processes wrote; every change is made under a lock on `PATH.lock` and is on the disk
    when the call returns. The previous generation is kept as `PATH.previous`. If the file cannot be read, that is used
    and `token_cache_recovered` is reported; if neither can be read, the cache is empty, `damage` says why, and
    `token_cache_damaged` is reported. A link in place of the file is refused; no other file is lost.
    Raises TokenCacheKeyError and RotatorError (`token_cache_folder`,
    `token_cache_unreadable`, `token_cache_unwritable`).
    """

    def __init__(
        self,
        path: Path,
        key: SecretValue,
        *,
        previous_keys: Sequence[SecretValue] = (),
        now: Callable[[], float] = time.time,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(now=now)
        self.path = path
        self.damage: str | None = None
        self.key_makers[SIGN_IN] = _make_sign_in_key
        self._previous_path = path.with_name(path.name + ".previous")
        fernets = [_make_fernet(key, "token_cache.key")]
        fernets += [_make_fernet(previous, "token_cache.previous_keys") for previous in previous_keys]
        self._fernet = MultiFernet(fernets)
        self._file_lock = FileLock(path.with_name(path.name + ".lock"), path)
        self._progress = progress
        self._depth = 0
        self._seen: tuple[int, int, int] | None = None
        self._is_loaded = False
        self._is_intact = False
        self._before: Content = {}
        self._unsaved: Content = {}
        self.unsaved: str | None = None
        """Why tokens that Entra gave are in memory alone; None while all are on the disk."""
        self.saved_at: datetime | None = None
        """When this process last wrote all that it has; None when it never did."""

    def search(
        self,
        credential_type: str,
        target: Sequence[str] | None = None,
        query: Mapping[str, object] | None = None,
        *,
        now: float | None = None,
    ) -> Iterator[Entry]:
        """Return matching entries, without expired access tokens."""
        moment = self._now() if now is None else now
        with self._lock:
            self._look_again()
            # At time 0 nothing has expired: otherwise MSAL would delete entries, and a look-up must not write.
            found = list(super().search(credential_type, target=target, query=dict(query or {}), now=0))
        return iter(entry for entry in found if "expires_on" not in entry or int(entry["expires_on"]) >= moment)

    def add(self, event: Mapping[str, object], **_: object) -> None:
        """What MSAL calls with each new set of tokens: one write for all of them.

        Where that fails, they stay in memory: Entra gave them, and work goes on with them. The next write saves them.
        """
        with self.writing(keeps=True):
            super().add(event)

    def modify(self, credential_type: str, old_entry: Entry, new_key_value_pairs: Entry | None = None) -> None:
        """Change or (without new values) remove one entry. As `add`, where that cannot be written."""
        with self.writing(keeps=True):
            super().modify(credential_type, old_entry, new_key_value_pairs)

    def save_sign_in(self, sign_in: Entry, tokens: MemoryTokenCache) -> None:
        """Keep the tokens of a new sign-in, and whose they are, in one write."""
        with self.writing():
            for kind, entries in tokens.entries().items():
                for entry in entries.values():
                    self.modify(kind, entry, entry)
            self.modify(SIGN_IN, sign_in, sign_in)

    def remove_sign_in(self, sign_in: Entry) -> None:
        """Forget a sign-in with all of its tokens, in both generations."""
        owner = {name: sign_in[name] for name in ("home_account_id", "environment")}
        with self.writing():
            for kind in _OF_ONE_USER:
                for entry in list(super().search(kind, query=owner, now=0)):
                    if entry.get("client_id", sign_in["client_id"]) == sign_in["client_id"]:
                        self.modify(kind, entry)
            self.modify(SIGN_IN, sign_in)
        with self.writing():
            self.has_state_changed = True

    @contextmanager
    def writing(self, *, keeps: bool = False) -> Iterator[None]:
        """Change several entries in one write, after reading what other processes wrote.

        `keeps`: what cannot be written stays in memory.
        """
        with self._lock, self._file_lock:
            if self._depth == 0:
                self._reload()
                self._before = json.loads(self.serialize())
            self._depth += 1
            try:
                yield
                if self._depth == 1 and self.has_state_changed:
                    self._save(keeps=keeps)
            except BaseException:
                self._is_loaded = False  # what is in memory is not what is on the disk
                raise
            finally:
                self._depth -= 1

    def _look_again(self) -> None:
        """Read the file if it changed; a good one needs no lock, because it is only ever replaced whole."""
        if self._depth or (self._is_loaded and self._stat() == self._seen):
            return
        seen, content = self._stat(), self._read(self.path)
        if isinstance(content, _Unreadable):
            with self._file_lock:
                self._reload()
        else:
            self._take(seen, content)

    def _reload(self) -> None:
        """Read the file if it changed, or the previous generation. The lock is held."""
        seen = self._stat()
        if self._is_loaded and seen == self._seen:
            return
        content = self._read(self.path)
        if not isinstance(content, _Unreadable):
            self._take(seen, content)
            return
        if content is _Unreadable.MISSING:
            # Perhaps somebody removed it, in order to forget: the previous generation must not bring it back.
            self._take(seen, {})
        else:
            self._take(seen, *self._recover(content))
        self._is_intact = False

    def _recover(self, reason: _Unreadable) -> tuple[Content, str | None]:
        """Return the previous generation, or an empty cache and what is wrong, in words."""
        previous = self._read(self._previous_path)
        if not isinstance(previous, _Unreadable):
            self._tell(TokenCacheRecovered(damage=reason.value))
            return previous, None
        if _Unreadable.OTHER_KEY in (reason, previous):
            raise TokenCacheKeyError(
                [f"token_cache.key cannot decrypt {self.path}: it was written with another key, or damaged"],
                fix="Set token_cache.key to the key that the file was written with, or add that one to "
                f"token_cache.previous_keys, or remove {self.path} and {self._previous_path} and sign in again.",
            )
        self._tell(TokenCacheDamaged(damage=reason.value))
        return {}, f"the token cache {self.path} is {reason.value} and its previous generation is {previous.value}"

    def _take(self, seen: tuple[int, int, int] | None, content: Content, damage: str | None = None) -> None:
        self._cache = _overlay(content, self._unsaved)
        self._seen, self._is_loaded, self._is_intact = seen, True, True
        self.damage = damage
        self.has_state_changed = False

    def _read(self, path: Path) -> Content | _Unreadable:
        if not self.path.parent.is_dir():
            raise RotatorError(
                f"the folder of the token cache {self.path} does not exist",
                code="token_cache_folder",
                fix=f"Create {self.path.parent}, or correct token_cache.path.",
            )
        if path.is_symlink():
            raise RotatorError(
                f"the token cache {path} is a link, and rotator replaces its files whole",
                code="token_cache_unreadable",
                fix="Write into token_cache.path where the file itself is, and remove the link.",
            )
        try:
            check_regular(path)
            with path.open("rb") as file:
                raw = file.read(LARGEST_CACHE + 1)
        except FileNotFoundError:
            return _Unreadable.MISSING
        except OSError as error:
            raise RotatorError(
                f"the token cache {path} cannot be read: {error.strerror}",
                code="token_cache_unreadable",
                fix="Make it a file owned by the user that runs rotator.",
            ) from error
        if len(raw) > LARGEST_CACHE:
            return _Unreadable.TOO_LARGE
        try:
            content = json.loads(self._fernet.decrypt(raw))
        except InvalidToken:
            return _Unreadable.OTHER_KEY if _is_whole(raw) else _Unreadable.DAMAGED
        except (ValueError, RecursionError):
            return _Unreadable.DAMAGED
        return content if is_sound(content) else _Unreadable.DAMAGED

    def _save(self, *, keeps: bool) -> None:
        fresh = self._fernet.encrypt(json.dumps(self._cache).encode()) + b"\n"
        if len(fresh) > LARGEST_CACHE:
            raise RotatorError(
                f"the token cache {self.path} cannot be written: it would be {_Unreadable.TOO_LARGE.value}",
                code="token_cache_unwritable",
                fix="Spread the accounts over several installations of rotator, each with its own token cache.",
            )
        try:
            if self._is_intact and self._stat() is not None:
                # With the key of now: once this is done twice, the previous keys are no longer needed.
                _write_whole(self._previous_path, self._fernet.rotate(self.path.read_bytes()) + b"\n")
            elif self._stat() is not None:
                _keep_aside(self.path)
            _write_whole(self.path, fresh)
        except OSError as error:
            if keeps:
                self._keep(error)
                return
            raise RotatorError(
                f"the token cache {self.path} cannot be written: {error.strerror}",
                code="token_cache_unwritable",
                fix=choose_fix(error, self.path, "Make the folder writable for the user that runs rotator."),
            ) from error
        self._unsaved, was_unsaved, self.unsaved = {}, self.unsaved, None
        self.saved_at = datetime.fromtimestamp(self._now(), UTC)
        self._take(self._stat(), self._cache)
        if was_unsaved is not None:
            self._tell(TokenCacheSaved())

    def _keep(self, error: OSError) -> None:
        """Keep in memory what was changed and cannot be written. What another process writes meanwhile is read too."""
        for kind, entries in self._cache.items():
            before = self._before.get(kind, {})
            changed = {key: entry for key, entry in entries.items() if before.get(key) != entry}
            self._unsaved.setdefault(kind, {}).update(changed)
        was_unsaved, self.unsaved = self.unsaved, error.strerror or type(error).__name__
        self._seen, self.has_state_changed = self._stat(), False
        if was_unsaved is None:
            self._tell(TokenCacheUnsaved(message=self.unsaved))

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None  # reading it says what is wrong
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _tell(self, event: Event) -> None:
        if self._progress is not None:
            self._progress(event, str(self.path))


def _overlay(content: Content, unsaved: Content) -> Content:
    """Return what is on the disk, with what could not be written: tokens of sign-ins that are still there, if newer."""
    owners = {(entry["home_account_id"], entry["environment"]) for entry in content.get(SIGN_IN, {}).values()}
    for kind, entries in unsaved.items():
        there = content.setdefault(kind, {})
        for key, entry in entries.items():
            is_owned = (entry.get("home_account_id"), entry.get("environment")) in owners
            if is_owned and _find_age(entry) >= _find_age(there.get(key, {})):
                there[key] = entry
    return content


def _find_age(entry: Entry) -> int:
    """Return when a token was given, in seconds since 1970."""
    return int(entry.get("last_modification_time") or entry.get("cached_at") or 0)


def _make_fernet(key: SecretValue, setting: str) -> Fernet:
    try:
        return Fernet(key.reveal().strip().encode())
    except ValueError:
        problem = f"{setting} is not a Fernet key (32 bytes in URL-safe base64, 44 characters)"
    # Outside the `except`: the library's error holds the key.
    raise TokenCacheKeyError(
        [problem],
        fix="Make one with: python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'",
    )


def _make_sign_in_key(
    username: str = "", tenant: str = "", client_id: str = "", environment: str = "", **_: str
) -> str:
    return "|".join((username, tenant, client_id, environment)).lower()


def _is_whole(raw: bytes) -> bool:
    """Return whether it looks like what we write, with any key; the final newline shows that nothing is missing."""
    try:
        body = urlsafe_b64decode(raw)
    except (ValueError, binascii.Error):
        return False
    return raw.endswith(b"\n") and body[:1] == b"\x80" and len(body) >= 73 and (len(body) - 57) % 16 == 0


def _keep_aside(path: Path) -> None:
    """Keep a file that we never wrote as `PATH.foreign`: somebody may need what the settings name by mistake."""
    with path.open("rb") as file:
        is_ours = _HEAD.startswith(file.read(len(_HEAD)))
    if not is_ours:
        with suppress(OSError):  # there is one already, or this file system has no links
            os.link(path, path.with_name(f"{path.name}.foreign"), follow_symlinks=False)


def _write_whole(path: Path, content: bytes) -> None:
    """Replace a file: after a crash it holds either the old content or the new, of mode 0600."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        hand_over(descriptor, path)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
