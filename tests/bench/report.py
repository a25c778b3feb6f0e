"""What was measured, as text of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.bench.asking import Asked
from tests.bench.checking import CheckTiming
from tests.bench.daemon import IdleDaemon
from tests.bench.idle import IdleTiming
from tests.bench.kinds import Kind
from tests.bench.planning import InventoryTiming
from tests.bench.rotating import RotationTiming
from tests.bench.starting import StartTiming
from tests.support.ticking import Holding


def render_rotations(timings: Sequence[RotationTiming]) -> Iterator[str]:
    """Ours and the bare sequence side by side, then the requests of each run by kind."""
    yield f"{'':26}{'rotator':>9}{'CPU':>9}{'bare':>9}{'ratio':>8}{'requests per PAT':>19}"
    for timing in timings:
        where = f"{timing.what}, {timing.database}"
        each = sum(timing.requests.values()) / timing.pats
        ours = f"{where:<26}{timing.rotator:>7.2f} s{timing.cpu:>7.2f} s"
        yield f"{ours}{timing.bare:>7.2f} s{timing.ratio:>8.2f}{each:>19.2f}"
    # The database does not show in the requests: one column for each kind of run.
    runs = {timing.what: timing.requests for timing in timings}
    yield ""
    yield f"{'requests in all':<32}" + "".join(f"{what:>16}" for what in runs)
    for kind in Kind:
        counts = [requests.get(kind, 0) for requests in runs.values()]
        if any(counts):
            yield f"  {kind:<30}" + "".join(f"{count:>16}" for count in counts)


def render_asked(found: Asked) -> Iterator[str]:
    """Statements and commits."""
    yield f"{'statements':<26}{found.statements:>7.1f}"
    yield f"{'commits':<26}{found.commits:>7.1f}"


def render_starts(timings: Sequence[StartTiming]) -> Iterator[str]:
    """Best and median."""
    yield f"{'':26}{'best':>9}{'median':>11}"
    for timing in timings:
        yield f"{timing.command:<26}{timing.best * 1000:>6.0f} ms{timing.median * 1000:>8.0f} ms"


def render_inventory(timings: Sequence[InventoryTiming]) -> Iterator[str]:
    """Seconds, and microseconds a row."""
    yield f"{'':44}{'all rows':>9}{'one row':>13}"
    for timing in timings:
        yield f"{timing.what:<44}{timing.seconds:>7.2f} s{timing.seconds / timing.rows * 1e6:>10.0f} us"


def render_check(found: CheckTiming) -> Iterator[str]:
    """Seconds, and the memory that it needs."""
    each, peak = found.cpu / found.events * 1e6, found.peak / 2**20
    yield f"{'events':>9}{'all':>11}{'CPU':>11}{'CPU of one':>13}{'memory':>13}"
    yield f"{found.events:>9}{found.seconds:>9.2f} s{found.cpu:>9.2f} s{each:>10.1f} us{peak:>9.1f} MiB"


def render_idle_daemon(found: IdleDaemon) -> Iterator[str]:
    """Its memory beside that of its imports, and what an hour takes."""
    ratio, memory, imports = found.memory / found.imports, found.memory / 1024, found.imports / 1024
    yield f"{'memory':<26}{memory:>7.1f} MiB, its imports alone {imports:.1f} MiB, ratio {ratio:.2f}"
    yield f"{'CPU in an hour, at most':<26}{found.cpu:>7.2f} s"
    yield f"{'wake-ups in an hour':<26}{found.wakeups:>7.0f}"


def render_ticks(held: Sequence[Holding]) -> Iterator[str]:
    """A line for each measurement."""
    yield f"{'ticks':>8}{'memory':>12}{'objects':>10}{'threads':>9}{'sockets':>9}{'files':>7}"
    for found in held:
        sizes = f"{found.memory / 1024:>8.1f} MiB{found.objects:>10}{found.threads:>9}{found.sockets:>9}"
        yield f"{found.ticks:>8}{sizes}{found.files:>7}"


def render_idle(timings: Sequence[IdleTiming]) -> Iterator[str]:
    """A line for each database and size; SQLite does not tell how many rows it reads."""
    yield f"{'':38}{'best':>10}{'CPU':>10}{'statements':>12}{'rows':>6}{'memory':>10}"
    for timing in timings:
        what = f"{timing.database}, {timing.records} of {timing.closed} rotations"
        rows = "-" if timing.rows is None else str(timing.rows)
        taken = f"{timing.seconds * 1000:>7.2f} ms{timing.cpu * 1000:>7.2f} ms{timing.statements:>12}{rows:>6}"
        yield f"{what:<38}{taken}{timing.peak / 1024:>6.0f} KiB"
