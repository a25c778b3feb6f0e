"""Try the values that consumers read: each signs in at Azure DevOps once per period, or the reason is reported.

A value that is refused is read and tried again later before that counts: one read of a vault may be an old one. Then
the cause is looked for. Where the server says that the PAT is gone, work on its ManagedPat begins at once, as after a
look that misses it, and what that decides is told in its own words. Nothing is minted because of a probe alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from rotator.domain.clocks import MOST_SKEW
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event
from rotator.domain.events.probes import ProbeFailed, ProbeRestored
from rotator.domain.managed_pat import Hold, ManagedPat, is_pat_shaped
from rotator.domain.policy import Verdict
from rotator.domain.probe import (
    LOOKS,
    PAT_GONE,
    Probe,
    ProbeResult,
    RefusalCause,
    find_known,
    make_share,
    note_result,
)
from rotator.domain.rotation import RotationState
from rotator.engine.auditing import is_news_to, record
from rotator.engine.context import RunContext
from rotator.engine.explaining import explain_refused_value
from rotator.engine.isolating import naming_bugs
from rotator.engine.listing import ServerView
from rotator.engine.reading import DISABLED
from rotator.engine.reconciling import GONE_HOLDS
from rotator.engine.replacing import identify
from rotator.engine.run import work_on_named
from rotator.engine.tags import AUTHORIZATION_TAG
from rotator.engine.waiting import keep_books
from rotator.errors import (
    DatabaseError,
    DeniedError,
    RejectedError,
    RotatorError,
    SignInRequiredError,
    TransientError,
    VerificationError,
)
from rotator.ports.database import UnitOfWork
from rotator.ports.secret_store import SecretLocation, StoredSecret

_BATCH = 50
"""How many tries one transaction enters."""
LONGEST_PASS = timedelta(minutes=5)
"""No further batch is begun after that time: its values are tried in the next pass. A pass that is well tells nothing,
and must not look stuck."""
_BY_CODE = {
    "wrong_identity": RefusalCause.WRONG_IDENTITY,
    "verification_forbidden": RefusalCause.ACCESS_LOST,
}


@dataclass(frozen=True)
class _Try:
    """What one try showed; `refusal` is the event that tells the likely cause, once a value counts as refused.

    `is_put_off`: nobody was asked, because the vault or the organization did not answer about another value.
    """

    pat: ManagedPat
    known: Probe | None
    result: ProbeResult
    refusal: ProbeFailed | None = None
    is_put_off: bool = False

    @property
    def is_gone(self) -> bool:
        """Whether the server says that its PAT is."""
        return self.refusal is not None and self.refusal.code in PAT_GONE


def probe_due(run: RunContext, period: timedelta, since: timedelta | None = None) -> Counter[ProbeResult]:
    """Try the values whose turn it is; return how many came to what. DatabaseError ends it.

    `since` is the time since the pass before, where that is not the usual pause.
    """
    return _Pass(run, period).do(since)


class _Pass:
    """One pass. What does not answer is asked once: the other values in that place wait for the next pass."""

    def __init__(self, run: RunContext, period: timedelta) -> None:
        self._run, self._period = run, period
        self._view = ServerView(run, remembers=True)
        self._down: set[str] = set()

    def do(self, since: timedelta | None) -> Counter[ProbeResult]:
        """See `probe_due`."""
        now, counts, gone = self._run.services.clock.now(), Counter[ProbeResult](), list[_Try]()
        boot = self._run.services.boot
        began = boot.read_boot().elapsed
        with self._run.services.database.read() as reading:
            share = make_share(reading.probes.count(), self._period, since)
            due = reading.probes.load_due(now, now + self._period + MOST_SKEW, share)
        for start in range(0, len(due), _BATCH):
            if boot.read_boot().elapsed - began >= LONGEST_PASS:
                counts[ProbeResult.UNKNOWN] += len(due) - start
                break
            tried = self._try_all(due[start : start + _BATCH])
            counts.update(found.result for found in tried)
            self._save(tried)
            gone += [found for found in tried if found.is_gone]
        self._act(gone)
        return counts

    def _try_all(self, due: Sequence[tuple[ManagedPat, Probe | None]]) -> list[_Try]:
        services = self._run.services
        if services.max_parallel == 1:
            return [self._try(*item) for item in due]
        with ThreadPoolExecutor(max_workers=services.max_parallel, thread_name_prefix="probe") as pool:
            return list(pool.map(lambda item: self._try(*item), due))

    def _try(self, pat: ManagedPat, known: Probe | None) -> _Try:
        try:
            with naming_bugs("the other values were tried"):
                return self._look(pat, find_known(known, pat))
        except DatabaseError:
            raise
        except RotatorError:
            return _Try(pat, known, ProbeResult.UNKNOWN)

    def _look(self, pat: ManagedPat, known: Probe | None) -> _Try:
        if self._down & {pat.vault, pat.organization}:
            return _Try(pat, known, ProbeResult.UNKNOWN, is_put_off=True)
        decision = self._run.policy.decide(pat, now=self._run.services.clock.now(), longest=None)
        if decision.verdict is Verdict.IGNORED or pat.hold is Hold.REVOKED_BY_HAND:
            return _Try(pat, known, ProbeResult.UNTRIED)
        stored, error = self._fetch(pat)
        if stored is not None:
            if pat.secret_version is None and not is_pat_shaped(stored.value.reveal()):
                return _Try(pat, known, ProbeResult.UNTRIED)
            error = self._sign_in(pat, stored)
            if error is None:
                return _Try(pat, known, ProbeResult.WORKS)
        elif pat.secret_version is None:
            return _Try(pat, known, ProbeResult.UNTRIED)
        return self._judge(pat, known, stored, error)

    def _fetch(self, pat: ManagedPat) -> tuple[StoredSecret | None, RotatorError | None]:
        """Return what consumers read; None when they read nothing, with why if the vault said so."""
        try:
            return self._run.services.secrets.fetch_latest(SecretLocation.of(pat)), None
        except RejectedError as error:
            if error.code != DISABLED:
                raise
            return None, error
        except TransientError:
            self._down.add(pat.vault)
            raise

    def _sign_in(self, pat: ManagedPat, stored: StoredSecret) -> VerificationError | None:
        """Try the value. Return why it is refused; None when it signs in, as the account's user where that is known."""
        is_ours = stored.version.version == pat.secret_version
        try:
            found = identify(self._run, pat.organization, stored.value, is_ours=is_ours)
        except VerificationError as error:
            return error
        except TransientError:
            self._down.add(pat.organization)
            raise
        try:
            expected = self._view.fetch_identity(pat.account, pat.organization)
        except DatabaseError:
            raise
        except RotatorError:
            return None  # nobody can tell whose it is: the value works
        if found.user_id == expected.user_id:
            return None
        return VerificationError(f"it signs in as {found.display_name}", code="wrong_identity")

    def _judge(
        self, pat: ManagedPat, known: Probe | None, stored: StoredSecret | None, error: RotatorError | None
    ) -> _Try:
        """Say what a refusal means: nothing yet after the first one, and while a rotation is replacing the value."""
        with self._run.services.database.read() as reading:
            rotations = reading.journal.load_open_for([pat.name])
        if any(rotation.state is not RotationState.OVERLAPPING for rotation in rotations):
            return _Try(pat, known, ProbeResult.UNKNOWN)
        if (known.failures if known is not None else 0) + 1 < LOOKS:
            return _Try(pat, known, ProbeResult.REFUSED)
        cause, said = self._find_cause(pat, stored, error)
        refusal = ProbeFailed(code=cause.value, message=explain_refused_value(pat, cause, said))
        return _Try(pat, known, ProbeResult.REFUSED, refusal)

    def _find_cause(
        self, pat: ManagedPat, stored: StoredSecret | None, error: RotatorError | None
    ) -> tuple[RefusalCause, str]:
        """Return the likely cause, with what a service said of it."""
        if stored is None:
            return (RefusalCause.SECRET_MISSING if error is None else RefusalCause.SECRET_DISABLED), ""
        code, said = ("", "") if error is None else (error.code, error.message)
        if code in _BY_CODE:
            return _BY_CODE[code], said
        is_named = pat.authorization_id == stored.version.tags.get(AUTHORIZATION_TAG)
        is_known = stored.version.version == pat.secret_version
        if code == "not_a_pat" or (pat.secret_version is not None and not is_known and not is_named):
            return RefusalCause.SECRET_CHANGED, said
        try:
            seen = self._view.look_for(pat.account, pat.organization, pat.authorization_id)
        except DatabaseError:
            raise
        except SignInRequiredError as refused:
            return RefusalCause.SIGN_IN_REQUIRED, refused.message
        except DeniedError as refused:  # the organization lets nothing of this user in, whatever it carries
            return RefusalCause.ACCESS_LOST, refused.message
        except RotatorError as refused:
            return RefusalCause.CAUSE_UNKNOWN, refused.message
        if seen.is_gone:
            is_expired = pat.valid_to <= self._run.services.clock.now()
            return (RefusalCause.PAT_EXPIRED if is_expired else RefusalCause.PAT_REVOKED), ""
        return (RefusalCause.CAUSE_UNKNOWN if seen.pat is None else RefusalCause.OWNER_MUST_SIGN_IN), ""

    def _save(self, tried: Iterable[_Try]) -> None:
        """Enter what was found, and tell what is news. Who lost his PAT is worked on first: see `_act`."""
        keep_books(self._run.services, partial(self._write, tuple(tried)))

    def _write(self, tried: Sequence[_Try]) -> None:
        now = self._run.services.clock.now()
        with self._run.services.database.begin() as work:
            kept = []
            for found in (item for item in tried if not item.is_put_off):
                probe = note_result(found.known, found.pat, found.result, self._period, now)
                if work.probes.save(found.pat.record_id or "", probe):
                    kept.append(found)
            self._tell(work, [found for found in kept if not found.is_gone])

    def _tell(self, work: UnitOfWork, found: Sequence[_Try]) -> None:
        lasting = {(item.kind, item.subject): item for item in work.conditions.load_of([ConditionKind.PROBE_FAILING])}
        for item in found:
            pat = item.pat
            is_over = item.result in (ProbeResult.WORKS, ProbeResult.UNTRIED)
            event: Event | None = item.refusal
            if is_over and (ConditionKind.PROBE_FAILING, pat.name) in lasting:
                event = ProbeRestored()
            if event is not None and (is_over or is_news_to(lasting, event, pat.name)):
                place = {"account": pat.account, "organization": pat.organization}
                record(work, self._run, pat.name, event, self._run.services.clock.now(), **place)

    def _act(self, gone: Sequence[_Try]) -> None:
        """Work on those whose PAT is gone, unless that is known; tell what the records do not say by then."""
        if not gone:
            return
        new = [found.pat.name for found in gone if found.pat.hold not in GONE_HOLDS]
        if new:
            work_on_named(self._run, new)
        keep_books(self._run.services, partial(self._tell_gone, gone))

    def _tell_gone(self, gone: Sequence[_Try]) -> None:
        with self._run.services.database.begin() as work:
            after = {pat.name: pat for pat in work.inventory.load_named([found.pat.name for found in gone])}
            told = [self._judge_gone(found, after.get(found.pat.name)) for found in gone]
            self._tell(work, [found for found in told if found is not None])

    def _judge_gone(self, found: _Try, after: ManagedPat | None) -> _Try | None:
        """Return what is to be told once its record was worked on: what that says itself is over, or is not told."""
        if after is None or after.authorization_id != found.pat.authorization_id:
            return None
        if after.hold in GONE_HOLDS:
            return replace(found, result=ProbeResult.UNTRIED, refusal=None)
        return None if after.blocked else found
