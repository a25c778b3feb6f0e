"""Planted faults: which of the next requests go wrong, and how."""

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
        "compressed",
        "crowded",
        "drip",
        "early",
        "huge",
        "incomplete",
        "lagging",
        "nested",
        "odd",
        "overtaken",
        "stale",
        "wrong_date",
    }
)
SERVICES = frozenset({"azure_devops", "entra", "key_vault"})

# Faults may come as JSON: a wrong type must be refused now, not in the middle of a later request.
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

    - `status`: answers with `status`, `headers` and `body` (bytes, text, or a document sent as JSON).
    - `latency`: waits `seconds`, then goes on; another fault may hit the same request as well.
    - `lost_before`: closes the connection without the effect. `lost_after`: closes it after the effect.
    - `late`: closes now; the effect follows after `after_requests` more requests to the service, or on demand.
    - `hang`: does not reply until released or stopped, then closes.
    - `html`: a sign-in page with `status` 203 (default) or 302.
    - `truncated`: the effect, then half of the body under its full Content-Length.
    - `malformed`: the effect, then half of the body, labelled as the whole.
    - `drip`: the true reply, one byte each `seconds`, until released or stopped.
    - `early`: 103 (Early Hints), and the true reply `seconds` after it.
    - `huge`: the effect, then 32 MiB of JSON. `compressed`: the effect, then 1 MiB of gzip that unpacks to 1 GiB.
    - `nested`: the effect, then JSON that is nested 100,000 deep. `crowded`: the effect, then 6 MB of empty objects.
    - `rate_limited`: 429 with `Retry-After: seconds`. `retry_after`: the true reply plus that header.
    - `stale`: a vault's secret, or the list of its versions, as it was before its newest version.
    - `overtaken`: somebody else writes `body` (a text) to the vault's secret right before the request, which goes on.
    - `anonymous`: connectionData answers 200, as to an anonymous caller.
    - `incomplete`: a page of PATs without its oldest entry, and as if it were the last. `lagging`: without its newest.
    - `wrong_date`: the true reply, whose `Date` is `seconds` ahead (or behind) of the true time.
    - `odd`: a page of PATs with further ones in it that no program expects, some of them without any sense.
    """

    service: str
    kind: str
    method: str | None = None
    path: str | None = None
    """A regular expression to search for in path and query. None: all requests."""
    times: int | None = 1
    """How many requests it hits. None: all."""
    skip: int = 0
    """How many matching requests pass before it hits one."""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = b""
    seconds: float = 1.0
    after_requests: int | None = None
    effect: bool = False
    """For `status` and `hang`: whether the request has its effect anyway."""

    def __post_init__(self) -> None:
        for names, kinds in _TYPES.items():
            for name in names.split():
                if not isinstance(getattr(self, name), kinds):
                    raise TypeError(f"{name} cannot be {getattr(self, name)!r}")
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault kind {self.kind!r}; known: {', '.join(sorted(KINDS))}")
        if self.service not in SERVICES:
            raise ValueError(f"unknown service {self.service!r}; known: {', '.join(sorted(SERVICES))}")
        if self.kind == "overtaken" and not isinstance(self.body, str):
            raise TypeError("the body of an overtaken fault is the text that somebody else writes")
        re.compile(self.path or "")

    def matches(self, service: str, request: Request) -> bool:
        """Whether this fault can hit the request."""
        if service != self.service or (self.method or request.method).upper() != request.method:
            return False
        target = request.path + "?" + urllib.parse.urlencode(dict(request.query))
        return self.path is None or re.search(self.path, target) is not None


@dataclass
class _Late:
    service: str
    remaining: int | None
    apply: Callable[[], object]


class Faults:
    """The planted faults, and the effects that are still to come. Thread-safe."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._late: list[_Late] = []
        self._lock = threading.Lock()
        self._release = threading.Event()
        self._closed = False

    def add(self, fault: Fault) -> None:
        """Plant a fault; if several match a request, the oldest hits it."""
        with self._lock:
            # A copy: the countdown must not change the caller's object, which may be planted twice.
            self._faults.append(dataclasses.replace(fault))

    def clear(self) -> None:
        """Remove all faults and release the requests that hang; late effects stay."""
        with self._lock:
            self._faults.clear()
        self.release()

    def pending(self) -> int:
        """Return how many faults still wait for a request."""
        with self._lock:
            return len(self._faults)

    def take(self, service: str, request: Request) -> tuple[float, Fault | None]:
        """Return the latency in seconds and the fault that hits this request, and count the hit."""
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
        """Block until `release` or `clear`."""
        with self._lock:
            event = self._release
        event.wait()

    def wait(self, seconds: float) -> None:
        """Block for the seconds of a latency fault, or until released."""
        with self._lock:
            event = self._release
        event.wait(seconds)

    def release(self) -> None:
        """Release the requests that hang or wait now."""
        with self._lock:
            self._release.set()
            if not self._closed:
                self._release = threading.Event()

    def close(self) -> None:
        """Release them for good: from now on nothing waits."""
        with self._lock:
            self._closed = True
        self.release()

    def postpone(self, service: str, after_requests: int | None, apply: Callable[[], object]) -> None:
        """Keep an effect for later: after that many more requests or, with None, on demand only."""
        with self._lock:
            self._late.append(_Late(service, after_requests, apply))

    def request_done(self, service: str) -> None:
        """Count one finished request, and apply the effects that are now due."""
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
            late.apply()

    def apply_late(self) -> int:
        """Apply all postponed effects now; return how many there were."""
        with self._lock:
            due, self._late = self._late, []
        for late in due:
            late.apply()
        return len(due)
