"""Faults on request: which coming requests go wrong, and how."""

from __future__ import annotations

import dataclasses
import re
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rotator.sandbox.messages import Request

KINDS = frozenset(
    {
        "status",
        "latency",
        "lost_before",
        "lost_after",
        "late",
        "hang",
        "html",
        "truncated",
        "malformed",
        "rate_limited",
        "retry_after",
        "anonymous",
    }
)
SERVICES = frozenset({"azure_devops", "entra", "key_vault"})

# Faults arrive as JSON too: a wrong type must be refused at once, not in the middle of a later request.
_TYPES: Mapping[str, tuple[type, ...]] = {
    "service kind": (str,),
    "method path": (str, type(None)),
    "times status after_requests": (int, type(None)),
    "skip": (int,),
    "headers": (Mapping,),
    "seconds": (int, float),
    "effect": (bool,),
}


@dataclass
class Fault:
    """One fault: which requests it hits, how often, and what happens to them.

    - `status`: answers `status`, `headers`, `body` (bytes, text, or a document sent as JSON).
    - `latency`: waits `seconds`, then goes on; it adds to another fault on the same request.
    - `lost_before`: closes the connection and does nothing. `lost_after`: does the effect, then closes.
    - `late`: closes now; the effect lands after `after_requests` more requests to the service, or on demand.
    - `hang`: no reply until released or stopped, then closes.
    - `html`: a sign-in page with `status` 203 (default) or 302.
    - `truncated`: the effect, then half of the body under its full Content-Length.
    - `malformed`: the effect, then half of the body, labelled as the whole.
    - `rate_limited`: 429 with `Retry-After: seconds`. `retry_after`: the true answer plus that header.
    - `anonymous`: connectionData answers 200 as nobody.
    """

    service: str
    kind: str
    method: str | None = None
    path: str | None = None
    """Regular expression searched in path and query; None hits all."""
    times: int | None = 1
    """How many requests it hits; None: all."""
    skip: int = 0
    """How many matching requests pass before the first hit."""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = b""
    seconds: float = 1.0
    after_requests: int | None = None
    effect: bool = False
    """For `status` and `hang`: whether the request's effect happens all the same."""

    def __post_init__(self) -> None:
        for names, kinds in _TYPES.items():
            for name in names.split():
                if not isinstance(getattr(self, name), kinds):
                    raise TypeError(f"{name} cannot be {getattr(self, name)!r}")
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault kind {self.kind!r}; known: {', '.join(sorted(KINDS))}")
        if self.service not in SERVICES:
            raise ValueError(f"unknown service {self.service!r}; known: {', '.join(sorted(SERVICES))}")
        re.compile(self.path or "")

    def matches(self, service: str, request: Request) -> bool:
        """Whether the request is of the kind that this fault hits."""
        if service != self.service or (self.method or request.method).upper() != request.method:
            return False
        target = request.path + "?" + urllib.parse.urlencode(dict(request.query))
        return self.path is None or re.search(self.path, target) is not None


@dataclass
class _Late:
    service: str
    remaining: int | None
    land: Callable[[], object]


class Faults:
    """The faults waiting for their requests, and the effects that are still to land. Thread-safe."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._late: list[_Late] = []
        self._lock = threading.Lock()
        self._release = threading.Event()
        self._closed = False

    def add(self, fault: Fault) -> None:
        """Plants a fault; of several that match one request the oldest strikes."""
        with self._lock:
            # A copy: counting down must not change the caller's object, which may be planted twice.
            self._faults.append(dataclasses.replace(fault))

    def clear(self) -> None:
        """Removes all faults and frees the requests that hang; late effects stay."""
        with self._lock:
            self._faults.clear()
        self.release()

    def pending(self) -> int:
        """How many faults still wait for a request."""
        with self._lock:
            return len(self._faults)

    def take(self, service: str, request: Request) -> tuple[float, Fault | None]:
        """Latency in seconds and the fault that strikes this request; counts the hit."""
        seconds, striking = 0.0, None
        with self._lock:
            for fault in list(self._faults):
                if not fault.matches(service, request):
                    continue
                if fault.kind != "latency" and striking is not None:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.kind == "latency":
                    seconds += fault.seconds
                else:
                    striking = fault
                self._count(fault)
        return seconds, striking

    def _count(self, fault: Fault) -> None:
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self._faults.remove(fault)

    def hang(self) -> None:
        """Blocks until `release` or `clear`."""
        with self._lock:
            event = self._release
        event.wait()

    def wait(self, seconds: float) -> None:
        """Blocks for the seconds of a latency fault, or until released."""
        with self._lock:
            event = self._release
        event.wait(seconds)

    def release(self) -> None:
        """Frees the requests that hang or wait now."""
        with self._lock:
            self._release.set()
            if not self._closed:
                self._release = threading.Event()

    def close(self) -> None:
        """Frees them for good: from here on nothing waits."""
        with self._lock:
            self._closed = True
        self.release()

    def postpone(self, service: str, after_requests: int | None, land: Callable[[], object]) -> None:
        """Keeps an effect for later: after so many more requests, or (None) on demand only."""
        with self._lock:
            self._late.append(_Late(service, after_requests, land))

    def request_done(self, service: str) -> None:
        """Counts one finished request and lands the effects whose time has come."""
        due: list[_Late] = []
        with self._lock:
            for late in list(self._late):
                if late.service != service or late.remaining is None:
                    continue
                late.remaining -= 1
                if late.remaining <= 0:
                    self._late.remove(late)
                    due.append(late)
        for late in due:
            late.land()

    def land_late(self) -> int:
        """Lands all postponed effects now; returns how many there were."""
        with self._lock:
            due, self._late = self._late, []
        for late in due:
            late.land()
        return len(due)
