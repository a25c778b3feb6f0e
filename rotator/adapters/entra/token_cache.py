"""The token cache: encrypted, shared by threads and processes, in a store that keeps it.

One cache may hold every account. MSAL made its entries, and their keys, which keep them apart by user, application and
resource; an entry of our own kind tells which of its users belongs to which configured sign-in. MSAL itself is loaded
for a conversation alone: most commands only look.
"""

from __future__ import annotations

import binascii
import json
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

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
from rotator.domain.events.event import Event
from rotator.domain.events.places import TokenCacheDamaged, TokenCacheRecovered, TokenCacheSaved, TokenCacheUnsaved
from rotator.domain.secret_value import SecretValue
from rotator.errors import ConfigError, DatabaseError, RotatorError
from rotator.ports.progress import Progress
from rotator.ports.token_cache_store import TokenCacheStore, TokenCacheUnwritableError

if TYPE_CHECKING:
    from rotator.adapters.entra.memory_cache import MemoryTokenCache

LARGEST_CACHE = 32 * 1024 * 1024
"""In bytes. The sign-in of one account takes about 15 kB."""
_OF_ONE_USER = (ACCESS_TOKEN, REFRESH_TOKEN, ID_TOKEN, ACCOUNT)


class TokenCacheKeyError(ConfigError):
    """The key in the settings is not a Fernet key, or not the one that the cache was written with."""

    code = "token_cache_key"


class _Unreadable(StrEnum):
    MISSING = "missing"
    DAMAGED = "damaged"
    TOO_LARGE = "larger than any token cache"
    OTHER_KEY = "written with another key, or damaged"


class EncryptedTokenCache:
    """The tokens in a store, encrypted with a Fernet key; `previous_keys` can still decrypt them.

    Every look-up sees what other processes wrote; every change is made under the store's lock and is kept when the
    call returns. If what is kept cannot be read, the previous generation is used and `token_cache_recovered` is
    reported; if neither can be read, the cache is empty, `damage` says why, and `token_cache_damaged` is reported.
    While a database is away, work goes on with what is in memory.
    `now` gives seconds since the epoch. Raises TokenCacheKeyError, and what the store raises.
    """

    def __init__(
        self,
        store: TokenCacheStore,
        key: SecretValue,
        *,
        previous_keys: Sequence[SecretValue] = (),
        now: Callable[[], float] = time.time,
        progress: Progress | None = None,
    ) -> None:
        self.store = store
        self.damage: str | None = None
        self._now = now
        self._lock = threading.RLock()
        fernets = [_make_fernet(key, "token_cache.key")]
        fernets += [_make_fernet(previous, "token_cache.previous_keys") for previous in previous_keys]
        self._fernet = MultiFernet(fernets)
        self._progress = progress
        self._depth = 0
        self._seen: Hashable | None = None
        self._is_loaded = False
        self._is_intact = False
        self._is_changed = False
        self._cache: Content = {}
        self._before: Content = {}
        self._unsaved: Content = {}
        self.unsaved: str | None = None
        """Why tokens that Entra gave are in memory alone; None while all are kept."""
        self.saved_at: datetime | None = None
        """When this process last wrote all that it has; None when it never did."""

    def search(
        self, kind: str, query: Mapping[str, str] | None = None, *, scope: str = "", now: float | None = None
    ) -> list[Entry]:
        """Return the entries with these fields, of tokens for this scope those that have not expired."""
        moment = self._now() if now is None else now
        with self._lock:
            self._look_again()
            found = self._match(kind, query or {}).values()
        return [
            entry
            for entry in found
            if (not scope or scope.lower() in (entry.get("target") or "").lower().split())
            and ("expires_on" not in entry or int(entry["expires_on"]) >= moment)
        ]

    def _match(self, kind: str, query: Mapping[str, str]) -> dict[str, Entry]:
        return {key: entry for key, entry in self._cache.get(kind, {}).items() if query.items() <= entry.items()}

    def copy_tokens(self, owner: str) -> MemoryTokenCache:
        """Return the tokens of one user apart: MSAL writes what Entra gives in several steps."""
        from rotator.adapters.entra.memory_cache import MemoryTokenCache

        with self._lock:
            self._look_again()
            kinds = {
                kind: {key: entry for key, entry in entries.items() if entry.get("home_account_id", owner) == owner}
                for kind, entries in self._cache.items()
                if kind != SIGN_IN
            }
            copy = MemoryTokenCache(now=self._now)
            copy.deserialize(json.dumps(kinds))
        return copy

    def save_tokens(self, before: Content, tokens: MemoryTokenCache) -> None:
        """Keep what Entra gave since `before`, in one write.

        Where that fails, it stays in memory, and work goes on with it. The next write saves it.
        """
        with self.writing(keeps=True):
            self._put(tokens, before)

    def save_sign_in(self, sign_in: Entry, tokens: MemoryTokenCache) -> None:
        """Keep the tokens of a new sign-in, and whose they are, in one write."""
        with self.writing():
            self._put(tokens, {})
            self._cache.setdefault(SIGN_IN, {})[_make_sign_in_key(**sign_in)] = dict(sign_in)
            self._is_changed = True

    def _put(self, tokens: MemoryTokenCache, before: Content) -> None:
        for kind, entries in tokens.entries().items():
            for key, entry in entries.items():
                if before.get(kind, {}).get(key) != entry:
                    self._cache.setdefault(kind, {})[key] = entry
                    self._is_changed = True

    def remove_sign_in(self, sign_in: Entry) -> None:
        """Forget a sign-in with all of its tokens, in both generations."""
        owner = {name: sign_in[name] for name in ("home_account_id", "environment")}
        with self.writing():
            for kind in _OF_ONE_USER:
                for key, entry in self._match(kind, owner).items():
                    if entry.get("client_id", sign_in["client_id"]) == sign_in["client_id"]:
                        del self._cache[kind][key]
            self._cache.get(SIGN_IN, {}).pop(_make_sign_in_key(**sign_in), None)
            self._is_changed = True
        with self.writing():
            self._is_changed = True

    def save_again(self) -> None:
        """Try again to save what could not be written; where that fails, it stays in memory."""
        with self.writing(keeps=True):
            self._is_changed = True

    @contextmanager
    def writing(self, *, keeps: bool = False) -> Iterator[None]:
        """Change several entries in one write, after reading what other processes wrote.

        `keeps`: what cannot be written stays in memory.
        """
        with self._lock, self.store.writing():
            if self._depth == 0:
                self._reload()
                self._before = json.loads(json.dumps(self._cache))
                self._is_changed = False
            self._depth += 1
            try:
                yield
                if self._depth == 1 and self._is_changed:
                    self._save(keeps=keeps)
            except BaseException:
                self._is_loaded = False  # what is in memory is not what is kept
                raise
            finally:
                self._depth -= 1

    def _look_again(self) -> None:
        """Read what is kept if it changed; that needs no lock, because it is only ever replaced whole."""
        news = None if self._depth else self._find_news()
        if news is None:
            return
        seen, content = news
        if isinstance(content, _Unreadable):
            with self.store.reading():
                self._reload()
        else:
            self._take(seen, content)

    def _reload(self) -> None:
        """Read what is kept if it changed, or the previous generation. Nobody writes meanwhile."""
        news = self._find_news()
        if news is None:
            return
        seen, content = news
        if not isinstance(content, _Unreadable):
            self._take(seen, content)
            return
        if content is _Unreadable.MISSING:
            # Perhaps somebody removed it, in order to forget: the previous generation must not bring it back.
            self._take(seen, {})
        else:
            self._take(seen, *self._recover(content))
        self._is_intact = False

    def _find_news(self) -> tuple[Hashable | None, Content | _Unreadable] | None:
        """Return what is kept, and its mark; None when it has not changed, or a database is away meanwhile."""
        try:
            seen = self.store.find_mark()
            return None if self._is_loaded and seen == self._seen else (seen, self._read(self.store.read))
        except DatabaseError:
            if self._is_loaded:
                return None
            raise

    def _recover(self, reason: _Unreadable) -> tuple[Content, str | None]:
        """Return the previous generation, or an empty cache and what is wrong, in words."""
        previous = self._read(self.store.read_previous)
        if not isinstance(previous, _Unreadable):
            self._tell(TokenCacheRecovered(damage=reason.value))
            return previous, None
        if _Unreadable.OTHER_KEY in (reason, previous):
            raise TokenCacheKeyError(
                [
                    f"token_cache.key cannot decrypt the token cache {self.store.place}: it was written with another "
                    "key, or damaged"
                ],
                fix="Set token_cache.key to the key that it was written with, or add that one to "
                f"token_cache.previous_keys, or {self.store.removal} and sign in again.",
            )
        self._tell(TokenCacheDamaged(damage=reason.value))
        damage = f"the token cache {self.store.place} is {reason.value}"
        missing = previous is _Unreadable.MISSING
        return {}, damage if missing else f"{damage} and its previous generation is {previous.value}"

    def _take(self, seen: Hashable | None, content: Content, damage: str | None = None) -> None:
        self._cache = _overlay(content, self._unsaved)
        self._seen, self._is_loaded, self._is_intact = seen, True, True
        self.damage = damage
        self._is_changed = False

    def _read(self, read: Callable[[int], bytes | None]) -> Content | _Unreadable:
        raw = read(LARGEST_CACHE + 1)
        if raw is None:
            return _Unreadable.MISSING
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
        fresh = self._encrypt(self._cache)
        if len(fresh) > LARGEST_CACHE:
            raise RotatorError(
                f"the token cache {self.store.place} cannot be written: it would be {_Unreadable.TOO_LARGE.value}",
                code="token_cache_unwritable",
                fix="Spread the accounts over several installations of rotator, each with its own token cache.",
            )
        # With the key of now: once this is done twice, the previous keys are no longer needed.
        previous = self._encrypt(self._before) if self._is_intact else None
        try:
            seen = self.store.write(fresh, previous)
        except (TokenCacheUnwritableError, DatabaseError) as error:
            if not keeps:
                raise
            self._keep(error.reason if isinstance(error, TokenCacheUnwritableError) else error.message)
            return
        self._unsaved, was_unsaved, self.unsaved = {}, self.unsaved, None
        self.saved_at = datetime.fromtimestamp(self._now(), UTC)
        self._take(seen, self._cache)
        if was_unsaved is not None:
            self._tell(TokenCacheSaved())

    def _encrypt(self, content: Content) -> bytes:
        return self._fernet.encrypt(json.dumps(content).encode()) + b"\n"

    def _keep(self, reason: str) -> None:
        """Keep in memory what was changed and cannot be written. What another process writes meanwhile is read too."""
        for kind, entries in self._cache.items():
            before = self._before.get(kind, {})
            changed = {key: entry for key, entry in entries.items() if before.get(key) != entry}
            self._unsaved.setdefault(kind, {}).update(changed)
        was_unsaved, self.unsaved = self.unsaved, reason
        self._is_changed = False
        if was_unsaved is None:
            self._tell(TokenCacheUnsaved(message=self.unsaved))

    def _tell(self, event: Event) -> None:
        if self._progress is not None:
            self._progress(event, self.store.place)


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
