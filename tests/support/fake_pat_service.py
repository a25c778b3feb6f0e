"""Azure DevOps in memory, for tests of the engine: the real adapter's behaviour and errors, and failures on request.

`tests/contract/test_pat_service.py` holds it to the same suite as the adapter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from rotator.adapters.azure_devops.call import Call, Trace, make_rejected, make_transient, make_unknown_outcome
from rotator.adapters.azure_devops.pat_errors import make_pat_error
from rotator.domain.account import Identity
from rotator.domain.answer_ids import NO_IDS, AnswerIds
from rotator.domain.managed_pat import Pat
from rotator.domain.secret_value import SecretValue
from rotator.errors import SignInRequiredError, VerificationError
from rotator.ports.clock import Clock
from rotator.ports.pat_service import MintedPat, PatFilter, PatList
from rotator.ports.permit import Permit

CHANGES = frozenset({"mint", "revoke"})
_TICKS_PER_SECOND = 300


@dataclass
class FakeOrganization:
    """An organization and its rules: the longest lifetime, clamped or refused, and a `patTokenError` for every mint."""

    name: str
    id: str
    max_lifetime: timedelta | None = None
    refuses_long: bool = False
    full_scope_allowed: bool = True
    mint_error: str | None = None


@dataclass
class FakePat:
    """A PAT as the service holds it: whose, its metadata, its value, whether it is revoked."""

    account: str
    pat: Pat
    value: str = field(repr=False)
    revoked: bool = False


@dataclass
class _Planned:
    operation: str
    error: BaseException | None
    after_effect: bool
    skip: int
    times: int


class FakePatService:
    """Port PatService. Thread-safe.

    `organizations` by name, `pats` by authorization id in order of creation, `signed_out` names accounts without a
    sign-in. `calls` lists every call as method name, organization and authorization id or display name, `tried` every
    value with which a sign-in was tried.
    `answer_ids` are the ids of every answer to a change.
    `ignores_revoke` says of each revocation, by id, whether it is answered as done and does nothing.
    `lingering` are PATs that sign in for a while although they are revoked.
    `change_listed` makes of every complete list what is answered: one that lacks entries, or lags.
    """

    def __init__(self, clock: Clock) -> None:
        self.organizations: dict[str, FakeOrganization] = {}
        self.pats: dict[str, FakePat] = {}
        self.signed_out: set[str] = set()
        self.calls: list[tuple[str, str, str]] = []
        self.tried: list[str] = []
        self.lingering: set[str] = set()
        self.change_listed: Callable[[tuple[Pat, ...]], tuple[Pat, ...]] | None = None
        self.failing_lists: dict[PatFilter, BaseException] = {}
        self.answer_ids: AnswerIds = NO_IDS
        self.ignores_revoke: Callable[[str], bool] = lambda authorization_id: False
        self._clock = clock
        self._planned: list[_Planned] = []
        self._postponed_mints = self._postponed_revokes = 0
        self._late_revokes: list[str] = []
        self._swapped: list[tuple[str | None, bool]] = []
        self._late: list[tuple[str, str, str, str, datetime]] = []
        self._made = 0
        self._lock = threading.RLock()
        for number, name in enumerate(("contoso", "fabrikam"), start=1):
            self.organizations[name] = FakeOrganization(name, f"38c1b7f4-52f0-4f3c-8a75-2f1f6f3f0c0{number}")

    # What a test arranges.

    def fail(
        self,
        operation: str,
        error: BaseException | None = None,
        *,
        after_effect: bool = False,
        skip: int = 0,
        times: int = 1,
    ) -> None:
        """Let a coming call of a method fail: before its effect or after it.

        `skip` calls pass first, then `times` fail. The default error is the one of a lost answer; any exception
        will do, a simulated crash too.
        """
        with self._lock:
            self._planned.append(_Planned(operation, error, after_effect, skip, times))

    def postpone_mint(self) -> None:
        """Let the answer of the next mint be lost, and its effect wait for `apply_late`."""
        with self._lock:
            self._postponed_mints += 1

    def postpone_revoke(self) -> None:
        """Let the answer of the next revocation be lost, and its effect wait for `apply_late`."""
        with self._lock:
            self._postponed_revokes += 1

    def swap_mint_answer(self, authorization_id: str | None = None, *, effect: bool = True) -> None:
        """Answer the next mint, carried out or not, as another request: with that PAT, or the newest other one."""
        with self._lock:
            self._swapped.append((authorization_id, effect))

    def apply_late(self) -> int:
        """Let the postponed mints and revocations happen now; how many there were."""
        with self._lock:
            revoked, self._late_revokes = self._late_revokes, []
            for authorization_id in revoked:
                self.pats[authorization_id].revoked = True
            landing, self._late = self._late, []
            for account, organization, display_name, scope, valid_to in landing:
                self._create(account, organization, display_name, scope, valid_to)
            return len(landing) + len(revoked)

    def add_pat(
        self,
        account: str,
        organization: str | None,
        display_name: str,
        scope: str,
        valid_to: datetime,
        *,
        valid_from: datetime | None = None,
    ) -> FakePat:
        """A PAT that a person created, whatever the rules; organization None: for all organizations."""
        with self._lock:
            self._made += 1
            pat = Pat(
                authorization_id=f"{self._made:08x}-7a11-4c0e-9d00-0123456789ab",
                display_name=display_name,
                scope=scope,
                target_accounts=None if organization is None else (self.organizations[organization].id,),
                valid_from=_to_ticks(valid_from or self._clock.now()),
                valid_to=_to_ticks(valid_to),
            )
            fake = FakePat(account, pat, f"{self._made:076d}AZDOfake")
            self.pats[pat.authorization_id] = fake
            return fake

    def rename(self, authorization_id: str, display_name: str) -> None:
        """Let a person give a PAT another display name."""
        with self._lock:
            fake = self.pats[authorization_id]
            fake.pat = replace(fake.pat, display_name=display_name)

    def live_pats(self, display_name: str | None = None) -> tuple[FakePat, ...]:
        """The PATs that authenticate now, of one display name if given."""
        with self._lock:
            wanted = (fake for fake in self.pats.values() if display_name in (None, fake.pat.display_name))
            return tuple(fake for fake in wanted if self._state(fake) is PatFilter.ACTIVE)

    # The port.

    def fetch_identity(self, account: str, organization: str) -> Identity:
        """As the port says."""
        with self._lock, self._call("fetch_identity", account, organization, ""):
            return self._identity(account, organization)

    def fetch_pats(self, account: str, organization: str, which: PatFilter) -> PatList:
        """As the port says."""
        with self._lock, self._call("fetch_pats", account, organization, ""):
            if which in self.failing_lists:
                raise self.failing_lists[which]
            own = (fake for fake in self.pats.values() if fake.account == account)
            listed = PatList(fake.pat for fake in own if which in (PatFilter.ALL, self._state(fake)))
            changed = self.change_listed(listed) if self.change_listed else listed
            return changed if isinstance(changed, PatList) else PatList(changed)

    def fetch_pat(self, account: str, organization: str, authorization_id: str) -> Pat | None:
        """As the port says."""
        with self._lock, self._call("fetch_pat", account, organization, authorization_id):
            fake = self._find(account, authorization_id)
            return None if fake is None else fake.pat

    def mint(
        self,
        account: str,
        organization: str,
        *,
        display_name: str,
        scope: str,
        valid_to: datetime,
        permit: Permit,
    ) -> MintedPat:
        """As the port says."""
        permit()
        with self._lock, self._call("mint", account, organization, display_name) as call:
            whole = valid_to.astimezone(UTC).replace(microsecond=0)
            if self._postponed_mints:
                self._postponed_mints -= 1
                self._late.append((account, organization, display_name, scope, whole))
                raise make_unknown_outcome(call, Trace(), "connection_lost", "the connection was closed")
            refusal = self._find_refusal(organization, display_name, scope, whole)
            if refusal is not None:
                raise make_pat_error(call, Trace(200), refusal, "")
            if self._swapped:
                authorization_id, has_effect = self._swapped.pop(0)
                answered = self.pats[authorization_id or next(reversed(self.pats))]
                if has_effect:
                    self._create(account, organization, display_name, scope, whole)
            else:
                answered = self._create(account, organization, display_name, scope, whole)
            return MintedPat(answered.pat, SecretValue(answered.value), self.answer_ids)

    def verify(self, organization: str, value: SecretValue) -> Identity:
        """As the port says."""
        with self._lock, self._call("verify", "", organization, ""):
            self.tried.append(value.reveal())
            home = self.organizations[organization].id
            for fake in (*self.live_pats(), *(self.pats[found] for found in self.lingering)):
                if fake.value == value.reveal() and home in (fake.pat.target_accounts or (home,)):
                    return self._identity(fake.account, organization)
            raise VerificationError(
                f"Azure DevOps refused to accept a PAT in {organization}: it does not accept the credential",
                fix="The PAT is revoked, expired, wrong, or for another organization.",
            )

    def revoke(self, account: str, organization: str, authorization_id: str, *, permit: Permit) -> AnswerIds:
        """As the port says."""
        permit()
        with self._lock, self._call("revoke", account, organization, authorization_id) as call:
            fake = self._find(account, authorization_id)
            if self._postponed_revokes and fake is not None:
                self._postponed_revokes -= 1
                self._late_revokes.append(authorization_id)
                raise make_unknown_outcome(call, Trace(), "connection_lost", "the connection was closed")
            if fake is not None and not self.ignores_revoke(authorization_id):
                fake.revoked = True
            return self.answer_ids

    @contextmanager
    def _call(self, operation: str, account: str, organization: str, subject: str) -> Iterator[Call]:
        """Around an effect: the planned error is raised before it, or when it is done and was not refused itself."""
        self.calls.append((operation, organization, subject))
        method = "POST" if operation in CHANGES else "GET"
        call = Call(operation, f"{operation} {subject} in {organization}", account, organization, method, "")
        if account in self.signed_out:
            fix = f"Sign in again: {call.login}."
            raise SignInRequiredError(f"nobody is signed in for {account}", account=account, fix=fix)
        planned = self._take(operation)
        if planned is not None and not planned.after_effect:
            raise planned.error or make_lost_answer(call)
        if organization not in self.organizations:
            raise make_rejected(call, Trace(404), "organization_not_found", "no such organization", "Check the name.")
        yield call
        if planned is not None:
            raise planned.error or make_lost_answer(call)

    def _take(self, operation: str) -> _Planned | None:
        for planned in self._planned:
            if planned.operation != operation:
                continue
            if planned.skip:
                planned.skip -= 1
                continue
            planned.times -= 1
            if not planned.times:
                self._planned.remove(planned)
            return planned
        return None

    def _find_refusal(self, organization: str, display_name: str, scope: str, valid_to: datetime) -> str | None:
        home, now = self.organizations[organization], self._clock.now()
        checks = {
            "displayNameRequired": not display_name.strip(),
            "invalidScope": not scope.strip(),
            "invalidValidTo": valid_to <= now,
            home.mint_error or "none": home.mint_error is not None,
            "fullScopePatPolicyViolation": not home.full_scope_allowed and "app_token" in scope.split(),
            "patLifespanPolicyViolation": home.refuses_long and self._clamp(organization, now, valid_to) < valid_to,
        }
        return next((name for name, violated in checks.items() if violated), None)

    def _create(self, account: str, organization: str, display_name: str, scope: str, valid_to: datetime) -> FakePat:
        now = _to_ticks(self._clock.now())
        return self.add_pat(account, organization, display_name, scope, self._clamp(organization, now, valid_to))

    def _clamp(self, organization: str, start: datetime, valid_to: datetime) -> datetime:
        longest = self.organizations[organization].max_lifetime
        return valid_to if longest is None else min(valid_to, _to_ticks(start + longest))

    def _find(self, account: str, authorization_id: str) -> FakePat | None:
        fake = self.pats.get(authorization_id)
        return fake if fake is not None and fake.account == account else None

    def _state(self, fake: FakePat) -> PatFilter:
        if fake.revoked:
            return PatFilter.REVOKED
        return PatFilter.ACTIVE if self._clock.now() < fake.pat.valid_to else PatFilter.EXPIRED

    def _identity(self, account: str, organization: str) -> Identity:
        return Identity(f"user-of-{account}", account.title(), self.organizations[organization].id)


def make_lost_answer(call: Call) -> BaseException:
    """What the adapter raises when a call was sent and its answer is lost."""
    if call.is_harmless:
        return make_transient(call, Trace(), "connection_lost", "the connection was closed")
    return make_unknown_outcome(call, Trace(), "connection_lost", "the connection was closed")


def _to_ticks(moment: datetime) -> datetime:
    """As the service keeps times: the nearest 1/300 s."""
    ticks = round(moment.microsecond * _TICKS_PER_SECOND / 1_000_000)
    return moment.replace(microsecond=0) + timedelta(microseconds=round(ticks * 1_000_000 / _TICKS_PER_SECOND))
