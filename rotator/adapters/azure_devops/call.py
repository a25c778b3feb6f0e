"""One call to Azure DevOps, and its failures as our errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rotator.domain.answer_ids import AnswerIds
from rotator.errors import DeniedError, RejectedError, TransientError, UnknownOutcomeError
from rotator.ports.permit import Permit

SERVICE = "azure_devops"


@dataclass(frozen=True)
class Call:
    """What is asked: `operation` for machines (`mint_pat`), `purpose` for people (`create the PAT "x" in y`).

    `account` is the name of the account whose sign-in is used; empty when a PAT is used instead. `makes_value`: its
    answer holds a value that exists nowhere else. `permit` is asked before each try; what changes something has one.
    """

    operation: str
    purpose: str
    account: str
    organization: str
    method: str
    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None
    makes_value: bool = False
    permit: Permit | None = None

    @property
    def login(self) -> str:
        """The command that signs the account in again."""
        return f"`rotator login {self.account or 'ACCOUNT'}`"

    @property
    def is_harmless(self) -> bool:
        """Whether sending it twice is the same as sending it once."""
        return self.method == "GET"


@dataclass(frozen=True)
class Trace:
    """What identifies an answer: its HTTP status and the service's own ids; none without an answer.

    `request_id` is the one that messages name.
    """

    status: int | None = None
    request_id: str | None = None
    answer_ids: AnswerIds = field(default_factory=dict)

    def __str__(self) -> str:
        return f" (request {self.request_id})" if self.request_id else ""


def make_denied(call: Call, trace: Trace, code: str, reason: str, fix: str) -> DeniedError:
    """This account may not do it."""
    return DeniedError(
        f"Azure DevOps refused to {call.purpose}: {reason}{trace}",
        service=SERVICE,
        operation=call.operation,
        status=trace.status,
        request_id=trace.request_id,
        answer_ids=trace.answer_ids,
        code=code,
        fix=fix,
    )


def make_rejected(call: Call, trace: Trace, code: str, reason: str, fix: str) -> RejectedError:
    """Refused for what was asked, not for who asked."""
    return RejectedError(
        f"Azure DevOps refused to {call.purpose}: {reason}{trace}",
        service=SERVICE,
        operation=call.operation,
        status=trace.status,
        request_id=trace.request_id,
        answer_ids=trace.answer_ids,
        code=code,
        fix=fix,
    )


def make_transient(
    call: Call, trace: Trace, code: str, reason: str, fix: str = "", *, retry_after: float | None = None
) -> TransientError:
    """It had no effect, and may work later."""
    return TransientError(
        f"Azure DevOps did not {call.purpose}: {reason}{trace}",
        service=SERVICE,
        operation=call.operation,
        status=trace.status,
        request_id=trace.request_id,
        answer_ids=trace.answer_ids,
        code=code,
        fix=fix or "This usually passes by itself; if it lasts, see the service status of Azure DevOps.",
        retry_after=retry_after,
    )


def make_unknown_outcome(call: Call, trace: Trace, code: str, reason: str) -> UnknownOutcomeError:
    """It was sent, and whether it was done is not known."""
    return UnknownOutcomeError(
        f"Azure DevOps was asked to {call.purpose}, and it is not known whether it did: {reason}{trace}",
        service=SERVICE,
        operation=call.operation,
        status=trace.status,
        request_id=trace.request_id,
        answer_ids=trace.answer_ids,
        code=code,
        fix="Nothing to do: the next run looks at the list of PATs and decides.",
    )
