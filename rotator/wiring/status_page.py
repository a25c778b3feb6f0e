"""The status page of the daemon: made after each heartbeat, from one look at our own records."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rotator import __version__
from rotator.documents.status import make_rows, make_status_document
from rotator.engine.next_words import find_postponed
from rotator.engine.overview import view_status
from rotator.engine.signing_in import make_account_status
from rotator.ports.pages import Page
from rotator.report.names import hide_names
from rotator.report.status_page import POLICY, StatusPage, render_status_page
from rotator.wiring.sign_ins import list_sights

if TYPE_CHECKING:
    from rotator.documents.status import PatStatusDocument
    from rotator.domain.measurements import Measurements
    from rotator.engine.context import RunContext
    from rotator.engine.status import PatStatus
    from rotator.engine.status_memory import StatusMemory
    from rotator.wiring.installation import Installation

_HEADERS = (("Content-Security-Policy", POLICY), ("Referrer-Policy", "no-referrer"))


class StatusPages:
    """Makes the page, again and again. It remembers what it showed last, for the time when nothing can be read.

    What `memory` reads is read once for the metrics and the page.
    """

    def __init__(self, installation: Installation, memory: StatusMemory) -> None:
        self._installation, self._memory = installation, memory
        self._last: StatusPage | None = None
        self._rows: tuple[PatStatus, ...] = ()
        self._pats: list[PatStatusDocument] = []

    def make(self, run: RunContext, measured: Measurements, problems: tuple[str, ...]) -> Page:
        """Make the page of this moment."""
        installation, database, timing = self._installation, run.services.database, run.services.timing
        unread: list[str] = []
        now = run.services.clock.now()
        view = view_status(database, run.policy, now, settle=timing.settle, lease=timing.lease, memory=self._memory)
        accounts = [
            make_account_status(sight, view.rows, view.organizations)
            for sight in list_sights(installation, unread.append)
        ]
        if view.rows is not self._rows:
            self._rows, self._pats = view.rows, make_rows(view.rows)
        document = make_status_document((), accounts, now, view.runs, view.pending)
        document["pats"] = self._pats
        postponed = find_postponed(view.rows, view.places, run.policy.guardrails.max_rotations_per_hour, now)
        wrong = (*problems, *unread)
        page = StatusPage(document, view.rows, view.conditions, measured.jobs, __version__, wrong, postponed)
        if not installation.settings.metrics_names:
            page = hide_names(page, {pat.name: pat.record_id for pat in measured.pats if pat.record_id is not None})
        self._last = page
        return _serve(page)

    def make_again(self, problem: str) -> Page | None:
        """Make the page that was shown last, under a problem that keeps a newer one from being made; None before."""
        return None if self._last is None else _serve(replace(self._last, problems=(problem,)))


def _serve(page: StatusPage) -> Page:
    return Page(200, render_status_page(page), "text/html; charset=utf-8", _HEADERS)
