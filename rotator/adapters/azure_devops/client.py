"""Sends calls to Azure DevOps: one session per thread, retries where they are safe, and only there.

A GET is repeated after a lost answer, 429, 5xx and a garbled body. Anything that changes something is repeated
only when it certainly was not carried out: after 429, and once with a new token after a 401.

A stop ends every wait, and no request leaves after it, nor one whose permit was lost while it waited. A call that makes
a value is finished once its request has left, until an answer says that nothing was made.
"""

from __future__ import annotations

import threading
import time
import weakref
from datetime import timedelta

import requests

from rotator.adapters.azure_devops.call import Call, Trace, make_transient, make_unknown_outcome
from rotator.adapters.azure_devops.credential import OF_ACCOUNT, OF_PROBES, Credential
from rotator.adapters.azure_devops.reply import Answer, Failure, Reply, read_answer
from rotator.adapters.azure_devops.throttle import SharedHolds, ThrottleGate, read_pause
from rotator.adapters.http import make_session
from rotator.adapters.http_failures import explain_failure, was_not_sent
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.permits import ask_permit, permitted
from rotator.domain.backoff import make_backoff
from rotator.domain.events.places import ProbesDelayed, RequestsDelayed
from rotator.domain.secret_value import SecretValue
from rotator.errors import TransientError, UnknownOutcomeError
from rotator.ports.clock import BootClock, Clock
from rotator.ports.progress import Progress
from rotator.ports.stop import Stop

MOST_TRIES = 5
_FIRST_BACKOFF = timedelta(seconds=1)
_LONGEST_BACKOFF = timedelta(seconds=30)
_STALE_SECONDS = 20.0


class _ThreadSession(threading.local):
    """A thread's session and when (monotonic seconds) it was last used."""

    session: requests.Session | None = None
    used_at: float = 0.0


class AzureDevOpsClient:
    """Calls in, replies out. Thread-safe. `max_wait` bounds how long one call waits and repeats.

    `progress` tells of a wait that the service asked for.
    """

    def __init__(
        self,
        http: HttpOptions,
        clock: Clock,
        boot: BootClock,
        stop: Stop,
        max_wait: timedelta,
        shared: SharedHolds | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._http = http
        self._clock, self._boot = clock, boot
        self._stop = stop
        self._max_wait = max_wait
        self._gate = ThrottleGate(boot, stop, shared, self._tell_hold)
        self._progress = progress
        self._local = _ThreadSession()
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close every thread's connections. A later call opens new ones."""
        with self._lock:
            sessions = list(self._sessions)
        for session in sessions:
            session.close()

    def exchange(self, call: Call, credential: Credential) -> Reply:
        """Send a call and return the reply. Raises RemoteError, or what the source of the bearer raises."""
        if call.makes_value:
            self._stop.end_finishing()  # nothing has left yet
        deadline = self._boot.read_boot().elapsed + self._max_wait
        renewed: SecretValue | None = None
        tries = 0
        while True:
            self._pass_gate(call, credential, deadline)
            header = credential.make_header()
            outcome = self._try_once(call, credential, header)
            if isinstance(outcome, Reply):
                return outcome
            tries += 1
            if outcome.is_refused and renewed is None:
                renewed = credential.renew(header, outcome.claims)
                if renewed is None:
                    raise outcome.error
            elif not outcome.again or tries >= MOST_TRIES or not self._pause(outcome, tries, deadline):
                raise outcome.error

    def _tell_hold(self, key: str, span: timedelta) -> None:
        if self._progress is None:
            return
        until = self._clock.now() + span
        for prefix, event in ((OF_ACCOUNT, RequestsDelayed(until=until)), (OF_PROBES, ProbesDelayed(until=until))):
            if key.startswith(prefix):
                self._progress(event, key.removeprefix(prefix))

    def _pass_gate(self, call: Call, credential: Credential, deadline: timedelta) -> None:
        seconds = self._gate.wait(credential.throttle_key, deadline)
        if seconds > 0:
            reason = f"it asked rotator to wait another {seconds:.0f} s"
            raise make_transient(call, Trace(), "throttled", reason, retry_after=seconds)

    def _pause(self, failure: Failure, tries: int, deadline: timedelta) -> bool:
        """Wait before the next try; False if that takes too long. The gate waits for as long as the service asked."""
        if isinstance(failure.error, TransientError) and failure.error.retry_after:
            return self._boot.read_boot().elapsed + timedelta(seconds=failure.error.retry_after) <= deadline
        backoff = make_backoff(tries, first=_FIRST_BACKOFF, longest=_LONGEST_BACKOFF)
        if self._boot.read_boot().elapsed + backoff > deadline:
            return False
        self._stop.wait(backoff.total_seconds())
        return True

    def _try_once(self, call: Call, credential: Credential, header: SecretValue) -> Reply | Failure:
        if call.makes_value:
            self._stop.begin_finishing()
        outcome = self._ask(call, credential, header)
        is_over = isinstance(outcome, Failure) and not isinstance(outcome.error, UnknownOutcomeError)
        if call.makes_value and is_over:
            self._stop.end_finishing()
        return outcome

    def _ask(self, call: Call, credential: Credential, header: SecretValue) -> Reply | Failure:
        answer = self._send(call, header)
        if isinstance(answer, Failure):
            return answer
        pause = read_pause(answer.headers, self._clock.now())
        if pause is not None:
            self._gate.hold(credential.throttle_key, pause)
        outcome = read_answer(call, answer)
        if isinstance(outcome, Failure) and isinstance(outcome.error, TransientError):
            outcome.error.retry_after = pause
        return outcome

    def _send(self, call: Call, header: SecretValue) -> Answer | Failure:
        try:
            with permitted(call.permit):
                ask_permit()  # it may wait for the database, and a connection is dead by then
                response = self._session(call).request(
                    call.method,
                    call.url,
                    params=dict(call.query),
                    json=call.body,
                    # Bytes: text that is not Latin-1 would fail with an exception that holds all of it.
                    headers={
                        "Authorization": header.reveal().encode(errors="surrogatepass"),
                        "Accept": "application/json",
                        "X-TFS-FedAuthRedirect": "Suppress",
                    },
                )
        except requests.RequestException as error:
            # Returned and raised elsewhere: raised here, its context would be an exception that holds the header.
            return _explain(call, error)
        return Answer(response.status_code, response.headers, response.content, header)

    def _session(self, call: Call) -> requests.Session:
        """This thread's session. A call that changes something never uses a connection that may be dead by now."""
        local, now = self._local, time.monotonic()
        if local.session is None:
            local.session = make_session(self._http, self._stop, needs_permits=True)
            with self._lock:
                self._sessions.add(local.session)
        elif not call.is_harmless and now - local.used_at > _STALE_SECONDS:
            local.session.close()
        local.used_at = now
        return local.session


def _explain(call: Call, error: requests.RequestException) -> Failure:
    code, reason, fix = explain_failure(error, url=call.url)
    if call.is_harmless:
        return Failure(make_transient(call, Trace(), code, reason, fix), again=True)
    if was_not_sent(error):
        return Failure(make_transient(call, Trace(), code, reason, fix))
    return Failure(make_unknown_outcome(call, Trace(), code, reason))
