"""What the daemon shows of itself: how every PAT stands, its metrics, whether it lives, whether it can do its work."""

from __future__ import annotations

from rotator.daemon.beats import Beats
from rotator.ports.pages import Page

_UNMEASURED = ("nothing has been measured yet",)


class Health:
    """The pages of the daemon. Any thread may ask for one, and any job may show something new."""

    def __init__(self, beats: Beats, content_type: str) -> None:
        self._beats, self._content_type = beats, content_type
        self._metrics: bytes | None = None
        self._status: Page | None = None
        self._problems: tuple[str, ...] = _UNMEASURED

    def show(self, metrics: bytes, problems: tuple[str, ...]) -> None:
        """Show what was measured, and what keeps the daemon from its work."""
        self._metrics, self._problems = metrics, problems

    def show_status(self, page: Page) -> None:
        """Show how every PAT stands."""
        self._status = page

    def show_problem(self, problem: str) -> None:
        """Show that nothing could be measured. The metrics stay as they were: their times tell how old they are."""
        self._problems = (problem,)

    def find_page(self, path: str) -> Page | None:
        """Return a page; None where there is none."""
        match path:
            case "/":
                return self._make_status()
            case "/metrics":
                return self._make_metrics()
            case "/healthz":
                return _make_page(self._list_late(), "ok")
            case "/readyz":
                return _make_page((*self._list_late(), *self._problems), "ready")
            case _:
                return None

    def _make_metrics(self) -> Page:
        if self._metrics is None:
            return _make_page(_UNMEASURED, "")
        return Page(200, self._metrics, self._content_type)

    def _make_status(self) -> Page:
        """Return the status page. While a job gives no sign of life nobody knows whether it is still true."""
        late = self._list_late()
        return _make_page(_UNMEASURED, "") if self._status is None else _make_page(late, "") if late else self._status

    def _list_late(self) -> tuple[str, ...]:
        """Return each job that has given no sign of life in time: what it should have found is not known either."""
        return tuple(f"the job {job.value} gives no sign of life" for job in self._beats.find_late())


def _make_page(problems: tuple[str, ...], otherwise: str) -> Page:
    lines = problems or (otherwise,)
    return Page(503 if problems else 200, "".join(f"{line}\n" for line in lines).encode())
