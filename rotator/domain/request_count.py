"""How many requests were sent to which service, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, auto


class RequestOutcome(StrEnum):
    """What came of one request. `throttled`: the service asks for fewer. `unanswered`: no connection, or no answer."""

    SUCCEEDED = auto()
    REFUSED = auto()
    THROTTLED = auto()
    FAILED = auto()
    UNANSWERED = auto()


RequestCounts = Mapping[tuple[str, RequestOutcome], int]
"""So many requests, by service and outcome."""


def judge_answer(status: int | None) -> RequestOutcome:
    """Return what came of a request that was answered with this HTTP status; None: it was not answered."""
    if status is None:
        return RequestOutcome.UNANSWERED
    if status == 429:
        return RequestOutcome.THROTTLED
    if status >= 500:
        return RequestOutcome.FAILED
    return RequestOutcome.REFUSED if status >= 400 else RequestOutcome.SUCCEEDED
