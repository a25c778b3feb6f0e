"""The accounts' sign-ins, on the token cache that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

from rotator.domain.secret_value import SecretValue

if TYPE_CHECKING:
    from rotator.adapters.entra.entra_account import EntraAccount
    from rotator.adapters.entra.sign_in import EntraSignIn
    from rotator.adapters.entra.token_cache import EncryptedTokenCache
    from rotator.ports.token_cache_store import TokenCacheStore
    from rotator.settings.secrets import SecretReference
    from rotator.settings.sections.accounts import AccountSettings
    from rotator.wiring.installation import Installation


def make_entra_sign_in(installation: Installation) -> EntraSignIn:
    """Return the accounts' sign-ins. ConfigError when the token cache cannot be where the settings want it."""
    from rotator.adapters.entra.sign_in import EntraSignIn

    settings = installation.settings
    return EntraSignIn(
        [_make_entra_account(installation, account) for account in settings.accounts],
        settings.entra.authority,
        settings.entra.instance_discovery,
        _make_opener(installation),
        installation.make_http("entra"),
        installation.clock,
        installation.stop,
    )


def _make_opener(installation: Installation) -> Callable[[str], EncryptedTokenCache]:
    """Return what opens the cache of a sign-in: the one file of all, or a row of its own."""
    from rotator.adapters.entra.token_cache import EncryptedTokenCache
    from rotator.adapters.logs import make_progress

    settings = installation.settings.token_cache
    key = installation.resolve(settings.key)
    previous_keys = [installation.resolve(previous) for previous in settings.previous_keys]

    def encrypt(store: TokenCacheStore) -> EncryptedTokenCache:
        return EncryptedTokenCache(store, key, previous_keys=previous_keys, progress=make_progress())

    if settings.store == "database":
        from rotator.adapters.database.token_caches import SqlTokenCaches, SqlTokenCacheStore

        caches = SqlTokenCaches(installation.database_url.reveal())
        installation.close_with(caches.close)
        return cache(lambda sign_in: encrypt(SqlTokenCacheStore(caches, sign_in)))
    from rotator.adapters.entra.file_store import FileTokenCacheStore

    of_all = encrypt(FileTokenCacheStore(settings.path))
    return lambda _: of_all


def _make_entra_account(installation: Installation, account: AccountSettings) -> EntraAccount:
    from rotator.adapters.entra.entra_account import EntraAccount

    return EntraAccount(
        account.make_account(),
        account.client_id,
        client_secret=_make_fetch(installation, account.client_secret),
        client_certificate=_make_fetch(installation, account.client_certificate),
    )


def _make_fetch(installation: Installation, reference: SecretReference | None) -> Callable[[], SecretValue] | None:
    return None if reference is None else partial(installation.resolve, reference)
