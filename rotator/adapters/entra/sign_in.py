"""The user-delegated sign-ins: kept fresh silently, made and ended on request."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rotator.adapters.bearer import AZURE_DEVOPS_SCOPE, Bearer
from rotator.adapters.entra.cache_shape import ACCOUNT, Entry
from rotator.adapters.entra.cached_sign_in import CachedSignIn
from rotator.adapters.entra.entra_account import EntraAccount
from rotator.adapters.entra.refusals import Asked, make_not_a_user, make_not_signed_in, make_refusal, make_wrong_user
from rotator.adapters.entra.token_cache import EncryptedTokenCache
from rotator.adapters.http_options import HttpOptions
from rotator.domain.outside import make_harmless
from rotator.domain.secret_value import SecretValue
from rotator.errors import (
    DatabaseError,
    RotatorError,
    SignInRequiredError,
    TransientError,
    UnknownAccountError,
    UsageError,
)
from rotator.ports.clock import Clock
from rotator.ports.sign_in import DevicePrompt, SignInStatus, TokenCacheDamage
from rotator.ports.stop import Stop

if TYPE_CHECKING:  # a look at the token cache needs no conversation, and not its libraries
    from rotator.adapters.entra.flows import Conversation, MsalResult
    from rotator.adapters.entra.memory_cache import MemoryTokenCache

FRESH = timedelta(minutes=5)
"""An access token with this much left is used without asking Entra."""
USABLE = timedelta(seconds=30)
"""An access token with this much left is used when Entra cannot be asked."""
RENEWED_AT_MOST = timedelta(minutes=5)
"""How often a token is replaced because a service refuses it, which may have nothing to do with the token."""
_POLL_FAILURES = 5
_LONGEST_POLL_PAUSE = 60
_WAITING = ("authorization_pending", "slow_down")


@dataclass(frozen=True)
class _Refusal:
    """What the last refresh of an account was refused with, and the generation of the sign-in that was refused."""

    generation: str
    error: SignInRequiredError


class EntraSignIn:
    """The port SignIn, and BearerSource, on MSAL and encrypted caches. Safe for threads and processes.

    `authority` is the address without a tenant; `open_cache` gives the cache of a sign-in, which is the same for all
    where one holds them all. All methods take our account's name (UsageError if unknown) and raise
    SignInRequiredError when a person must act, TransientError when Entra cannot be asked now.
    """

    def __init__(
        self,
        accounts: Sequence[EntraAccount],
        authority: str,
        instance_discovery: bool,
        open_cache: Callable[[str], EncryptedTokenCache],
        http: HttpOptions,
        clock: Clock,
        stop: Stop,
    ) -> None:
        self._accounts = {known.account.name: known for known in accounts}
        self._authority = authority.rstrip("/")
        self._instance_discovery = instance_discovery
        self._http = http
        self._clock = clock
        self._stop = stop
        self._renewed_at: dict[tuple[str, str], datetime] = {}
        self._refusals: dict[str, _Refusal] = {}
        self._cached = {
            name: CachedSignIn(known, self._authority, open_cache) for name, known in self._accounts.items()
        }
        # Whoever waits for a refresh waits for its two requests, not for ever.
        patience = 2 * http.total_timeout + timedelta(seconds=10)
        self._locks = {
            name: cached.cache.store.make_lock(cached.name, patience, stop.wait)
            for name, cached in self._cached.items()
        }

    def refresh(self, account: str, *, renews: bool = False) -> SignInStatus:
        """See the port."""
        known = self._find(account)
        self._save_again(account)
        is_renewed = True

        def load(least: timedelta) -> Bearer | None:
            nonlocal is_renewed
            is_renewed = not renews or least is not USABLE
            return None if renews and is_renewed else self._load_bearer(known, AZURE_DEVOPS_SCOPE, least)

        self._fetch(known, AZURE_DEVOPS_SCOPE, None, load, remembers=True)
        if is_renewed:
            self._refusals.pop(account, None)
        return replace(self.status(account), is_renewed=is_renewed)

    def fetch_bearer(
        self, account: str, scope: str, *, claims: str | None = None, refused: SecretValue | None = None
    ) -> Bearer:
        """Return a token with five minutes or more left; one with less only when Entra cannot be asked.

        `claims` is a claims challenge: the cached token does not satisfy it, so one refresh is made with it. `refused`
        is a token that a service did not accept: it is replaced, though not twice within five minutes. While the last
        refresh was refused, Entra is not asked for more with the same sign-in: a refresh finds out when that is over.
        """
        known = self._find(account)

        spent = refused if refused is not None and self._may_renew(account, scope) else None

        def load(least: timedelta) -> Bearer | None:
            return None if claims else self._load_bearer(known, scope, least, spent)

        if account in self._refusals and load(FRESH) is None:
            self._check_not_refused(account, None)
        return self._fetch(known, scope, claims, load)

    def _check_not_refused(self, account: str, known: _Refusal | None) -> None:
        """Raise the last refusal again, while the cache holds the sign-in that was refused, unless it is that one."""
        refusal = self._refusals.get(account)
        if refusal is not None and refusal is not known and refusal.generation == self.status(account).generation:
            error = refusal.error
            raise SignInRequiredError(error.message, account=account, code=error.code, fix=error.fix)

    def _may_renew(self, account: str, scope: str) -> bool:
        """Whether a refused token may be replaced now; that is then noted."""
        now, last = self._clock.now(), self._renewed_at.get((account, scope))
        if last is not None and timedelta(0) <= now - last < RENEWED_AT_MOST:
            return False
        self._renewed_at[account, scope] = now
        return True

    def _fetch(
        self,
        known: EntraAccount,
        scope: str,
        claims: str | None,
        load: Callable[[timedelta], Bearer | None],
        *,
        remembers: bool = False,
    ) -> Bearer:
        """Return what `load` finds in the cache with so much time left, else what Entra gives.

        With `remembers` a refusal counts for the calls that follow.
        """
        cached = load(FRESH)
        if cached is not None:
            return cached
        name = known.account.name
        before = self._refusals.get(name)
        try:
            with self._locks[name]:
                # Whoever held the lock before us may have done it, or may have been refused.
                cached = load(FRESH)
                if cached is not None:
                    return cached
                self._check_not_refused(name, before)
                try:
                    return self._refresh(known, scope, claims)
                except SignInRequiredError as error:
                    if remembers:
                        self._refusals[name] = _Refusal(self.status(name).generation, error)
                    raise
        except (TransientError, DatabaseError):
            cached = load(USABLE)
            if cached is None:
                raise
            return cached
        finally:
            self._save_again(name)

    def _save_again(self, account: str) -> None:
        """Save what could not be saved, if that can be done now: other processes may need it."""
        cache = self._cached[account].cache
        if cache.unsaved is not None:
            with suppress(RotatorError), self._locks[account]:
                cache.save_again()

    def find_damage(self) -> TokenCacheDamage | None:
        """See the port."""
        return self._find_first(lambda cache: cache.damage)

    def find_unsaved(self) -> TokenCacheDamage | None:
        """See the port."""
        return self._find_first(lambda cache: cache.unsaved)

    def _find_first(self, find: Callable[[EncryptedTokenCache], str | None]) -> TokenCacheDamage | None:
        found = ((cached.cache.store.place, find(cached.cache)) for cached in self._cached.values())
        return next((TokenCacheDamage(place, reason) for place, reason in found if reason is not None), None)

    def find_saved_at(self) -> datetime | None:
        """See the port."""
        moments = (cached.cache.saved_at for cached in self._cached.values())
        return max((moment for moment in moments if moment is not None), default=None)

    def status(self, account: str) -> SignInStatus:
        """Return who is signed in, from the cache alone."""
        known = self._find(account)
        cached = self._cached[account]
        sign_in = cached.find()
        if sign_in is None:
            return SignInStatus(account, None)
        token = cached.find_token(sign_in, AZURE_DEVOPS_SCOPE, self._seconds())
        refresh_token = cached.find_refresh_token(sign_in)
        refreshed_at = token["cached_at"] if token else refresh_token.get("last_modification_time")
        return SignInStatus(
            account,
            known.account.username,
            _make_moment(token["expires_on"]) if token else None,
            _make_moment(refreshed_at) if refreshed_at else None,
            str(refresh_token.get("last_modification_time", "")),
            _list_granted(token["target"]) if token else (),
        )

    def logout(self, account: str) -> bool:
        """Forget the account's tokens, also on the disk. Returns whether there were any."""
        self._find(account)
        cached = self._cached[account]
        with self._locks[account]:
            found = cached.list_all()
            for sign_in in found:
                cached.cache.remove_sign_in(sign_in)
        return bool(found)

    def login_with_device_code(self, account: str, show: Callable[[DevicePrompt], None]) -> SignInStatus:
        """Sign in with a code that a person enters on any device. `show` is called once; then Entra is polled."""
        from rotator.adapters.entra.memory_cache import MemoryTokenCache

        known = self._find(account)
        asked = self._make_asked(known, AZURE_DEVOPS_SCOPE, "device_code")
        tokens = MemoryTokenCache(now=self._seconds)
        with self._converse(known, asked, tokens) as conversation:
            flow = conversation.start_device_code()
            if "user_code" not in flow:
                raise make_refusal(flow, asked)
            expires_at = self._clock.now() + timedelta(seconds=int(str(flow["expires_in"])))
            show(
                DevicePrompt(
                    verification_uri=make_harmless(str(flow["verification_uri"])),
                    user_code=make_harmless(str(flow["user_code"])),
                    expires_at=expires_at,
                    message=make_harmless(str(flow.get("message", ""))),
                )
            )
            result = self._poll(conversation, flow, expires_at)
            return self._accept(known, asked, conversation, tokens, result)

    def login_with_browser(self, account: str, open_url: Callable[[str], None], timeout: timedelta) -> SignInStatus:
        """Sign in with a browser on this host, which Entra sends back to a loopback port."""
        from rotator.adapters.entra.loopback import LoopbackListener
        from rotator.adapters.entra.memory_cache import MemoryTokenCache

        known = self._find(account)
        asked = self._make_asked(known, AZURE_DEVOPS_SCOPE, "browser")
        tokens = MemoryTokenCache(now=self._seconds)
        state = secrets.token_urlsafe(32)
        with self._converse(known, asked, tokens) as conversation, LoopbackListener(state) as listener:
            flow = conversation.start_code_flow(listener.redirect_uri, state)
            open_url(str(flow["auth_uri"]))
            answer = listener.wait(timeout)
            if answer is None:
                raise SignInRequiredError(
                    f"nobody finished the sign-in in the browser within {timeout.total_seconds():.0f} seconds",
                    account=account,
                    code="browser_timeout",
                    fix=f"Run `rotator login {account} --browser` again, or without a browser on this host "
                    f"`rotator login {account} --device-code`.",
                )
            if "code" not in answer:
                raise make_refusal(answer, asked)
            result = conversation.redeem_code(flow, answer)
            return self._accept(known, asked, conversation, tokens, result)

    def _poll(self, conversation: Conversation, flow: MsalResult, expires_at: datetime) -> MsalResult:
        """Poll until the person has decided or the code has expired; a few failures in a row are tolerated."""
        failures = 0
        while True:
            flow["interval"] = min(max(1, int(str(flow["interval"]))), _LONGEST_POLL_PAUSE)
            self._stop.wait(float(str(flow["interval"])))
            if self._clock.now() >= expires_at:
                return {"error": "expired_token"}
            try:
                result = conversation.poll_device_code(flow)
            except TransientError as error:
                failures += 1
                if failures > _POLL_FAILURES:
                    raise
                left = (expires_at - self._clock.now()).total_seconds()
                self._stop.wait(max(0.0, min(error.retry_after or 0.0, left)))
                continue
            failures = 0
            if result.get("error") not in _WAITING:
                return result

    def _accept(
        self,
        known: EntraAccount,
        asked: Asked,
        conversation: Conversation,
        tokens: MemoryTokenCache,
        result: MsalResult,
    ) -> SignInStatus:
        """Check who signed in; only then do the tokens enter the cache on the disk."""
        if "access_token" not in result:
            raise make_refusal(result, asked)
        claims = result.get("id_token_claims")
        found = claims if isinstance(claims, dict) else {}
        username = str(found.get("preferred_username") or found.get("upn") or "")
        users = list(tokens.search(ACCOUNT, query={"environment": conversation.environment}))
        if not username or not users or found.get("idtyp") == "app":
            raise make_not_a_user(asked)
        if username.casefold() != known.account.username.casefold():
            raise make_wrong_user(asked, username)
        sign_in: Entry = {
            **self._cached[known.account.name].query,
            "environment": conversation.environment,
            "home_account_id": users[0]["home_account_id"],
            "realm": conversation.realm,
        }
        with self._locks[known.account.name]:  # a refresh under way must not put an older token over ours
            self._cached[known.account.name].cache.save_sign_in(sign_in, tokens)
        return self.status(known.account.name)

    def _refresh(self, known: EntraAccount, scope: str, claims: str | None) -> Bearer:
        self._stop.check()
        asked, cached = self._make_asked(known, scope, "refresh_token"), self._cached[known.account.name]
        sign_in = cached.find()
        if sign_in is None:
            raise make_not_signed_in(asked, cached.cache.damage)
        started_at, tokens = self._clock.now(), cached.cache.copy_tokens(sign_in["home_account_id"])
        before = tokens.entries()
        with self._converse(known, asked, tokens) as conversation:
            result = conversation.refresh(sign_in["home_account_id"], claims)
        if result is None:
            raise make_not_signed_in(asked, cached.cache.damage)
        if "access_token" not in result:
            raise make_refusal(result, asked)
        cached.cache.save_tokens(before, tokens)
        lifetime = timedelta(seconds=int(str(result["expires_in"])))
        return Bearer(SecretValue(str(result["access_token"])), started_at + lifetime)

    def _converse(self, known: EntraAccount, asked: Asked, cache: MemoryTokenCache) -> Conversation:
        from rotator.adapters.entra.flows import Conversation

        return Conversation(
            known, asked, instance_discovery=self._instance_discovery, http=self._http, cache=cache, stop=self._stop
        )

    def _load_bearer(
        self, known: EntraAccount, scope: str, least: timedelta, spent: SecretValue | None = None
    ) -> Bearer | None:
        """Return the token in the cache, unless it has less time left or is the spent one."""
        cached = self._cached[known.account.name]
        sign_in = cached.find()
        token = cached.find_token(sign_in, scope, self._seconds()) if sign_in else None
        if token is None:
            return None
        if spent is not None and spent.same_as(SecretValue(token["secret"])):
            return None
        expires_at = _make_moment(token["expires_on"])
        return Bearer(SecretValue(token["secret"]), expires_at) if expires_at - self._clock.now() >= least else None

    def _make_asked(self, known: EntraAccount, scope: str, operation: str) -> Asked:
        account = known.account
        return Asked(account.name, account.username, known.client_id, account.tenant, self._authority, scope, operation)

    def _find(self, account: str) -> EntraAccount:
        if account not in self._accounts:
            known = ", ".join(self._accounts) or "none"
            raise UsageError(
                f"there is no account {account!r} in the settings; known: {known}",
                code=UnknownAccountError.code,
                fix="Use one of the names under accounts in the settings, or add it there.",
            )
        return self._accounts[account]

    def _seconds(self) -> float:
        return self._clock.now().timestamp()


def _list_granted(scopes: str) -> tuple[str, ...]:
    """Return the permissions among the scopes of a token: each has its service in front, what is OpenID's has none."""
    names = (scope.rpartition("/")[2] for scope in scopes.split() if "/" in scope)
    return tuple(sorted(make_harmless(name) for name in names if name != ".default"))


def _make_moment(seconds: str) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
