"""The errors that rotator raises, shaped by what the caller does about it. `domain/monitoring_errors` has a few more.

    RotatorError                    code, exit_code, fix
      ConfigError                   settings or policy: all problems at once             exit 2
      UsageError                    a command asked for something impossible             exit 2
        NotManagedError             no managed PAT has that name (any more)
      PlanRefusedError              a guardrail, a PAT that cannot be cloned             exit 1
        PatGoneError                the server no longer lists a managed PAT
          RevokedByHandError        our own `rotator revoke` did it, unanswered or stopped
        DatabaseBehindError         an unknown rotation wrote the secret
      UnknownAccountError           a record names an account that the settings do not
      PostponedError                enough rotations in this hour: a later run continues
        AllPausedError              a person paused everything meanwhile
      ClockSkewError                the host's clock is wrong: nothing is minted or revoked
      RotationError                 one attempt went wrong
        NotListedError              a listing lacks a managed PAT, which alone proves nothing
        IllegalTransitionError      a step that the state machine forbids: a bug
        VerificationError           the new PAT, or its copy in the vault, did not prove itself
          ForeignValueError         it is another user's PAT, or no PAT: a person must find out why
        ForeignWriteError           somebody else wrote the secret: frozen, nothing revoked
        CloneLostError              our clone was revoked by somebody else during the overlap
      RemoteError                   service, operation, status, request_id
        TransientError              certainly had no effect, may be repeated; retry_after
        DeniedError                 401/403: this account may not; stops it in that organization
        RejectedError               any other refusal: never repeated as it is
        UnknownOutcomeError         sent, and the answer was lost: look before repeating
      SignInRequiredError           a person must sign in                                exit 10
      DatabaseError                 cannot be read or written
        SchemaError                 its schema is not the one that this version needs
        DatabaseLockedError         another process holds it; had no effect              exit 11
        DatabaseUnreachableError    no connection, or it broke: a COMMIT may have taken effect
        FailoverError               its server was replaced, and commits may be lost: look first
        ClaimHeldError              this ManagedPat is already claimed                   exit 11
        ClaimLostError              our claim was taken over: stop immediately           exit 11
      AuditChainError               sequence, expected, found
      InternalError                 a bug in rotator, isolated to one ManagedPat
    StoppedError                    the process must stop: not a failure, and what isolates failures lets it pass

`code` is stable and for machines, the message says what failed and why, `fix` says who must do what.
No message ever holds a token, a secret or a bearer.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, auto
from typing import TypedDict

_NO_IDS: Mapping[str, str] = {}


class FailureKind(StrEnum):
    """What a failure is, where that decides what may be done next; its code is for people and scripts.

    `not_listed`: a listing lacks the PAT. `forbidden`, by the policy; `denied` and `write_refused`, by the vault.
    `unconfirmed`: nobody confirmed what its secret holds. `late_write_kept`: consumers read a late write.
    `explained_loss`: it is known why. `unusable`: no repeat helps. `ends_with_all`: it is for all organizations.
    """

    NOT_LISTED = auto()
    FORBIDDEN = auto()
    UNCONFIRMED = auto()
    LATE_WRITE_KEPT = auto()
    EXPLAINED_LOSS = auto()
    WRITE_REFUSED = auto()
    UNUSABLE = auto()
    ENDS_WITH_ALL = auto()
    DENIED = auto()


class Terms(TypedDict, total=False):
    """What an error may be given beside its message."""

    code: str | None
    fix: str
    kind: FailureKind | None


class RotatorError(Exception):
    """What rotator reports. `fix`: who must do what. `answer_ids`: of the answer. `asked`: account, organization."""

    code = "error"
    exit_code = 1
    kind: FailureKind | None = None
    answer_ids: Mapping[str, str] = _NO_IDS
    asked: tuple[str, str] | None = None

    def __init__(
        self, message: str, *, code: str | None = None, fix: str = "", kind: FailureKind | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.code = code or self.code
        self.kind = kind or self.kind


class ConfigError(RotatorError):
    """Settings or policy cannot be used. `problems` holds every problem found, one rendered text each.

    Where all are of one `setting`, each text begins with it, and `reasons` are the texts without it.
    """

    code = "config_invalid"
    exit_code = 2

    def __init__(self, problems: list[str], *, setting: str = "", code: str | None = None, fix: str = "") -> None:
        self.setting, self.reasons = setting, problems
        self.problems = [f"{setting}: {problem}" for problem in problems] if setting else problems
        super().__init__("\n".join(self.problems), code=code, fix=fix)


class UsageError(RotatorError):
    """A command was asked for something that does not exist or contradicts itself."""

    code = "usage"
    exit_code = 2


class NotManagedError(UsageError):
    """No managed PAT has that name, or it was forgotten meanwhile."""

    code = "unknown_name"


class PlanRefusedError(RotatorError):
    """The plan asks for what policy, guardrails or the server's rules forbid; nothing was changed."""

    code = "plan_refused"


class PatGoneError(PlanRefusedError):
    """The server stopped listing a managed PAT as active before it expired."""

    code = "revoked_elsewhere"


class RevokedByHandError(PatGoneError):
    """`rotator revoke` revoked a managed PAT, but its answer was lost or the command was stopped."""

    code = "revoked_by_hand"


class DatabaseBehindError(PlanRefusedError):
    """A rotation that our journal does not hold wrote the secret: the database looks older than the vault."""

    code = "database_behind"


class UnknownAccountError(RotatorError):
    """A record belongs to an account that the settings do not name: it was renamed or taken out."""

    code = "unknown_account"


class PostponedError(RotatorError):
    """The guardrails allow no more rotations within this hour. Nothing was minted; a later run continues."""

    code = "postponed"


class AllPausedError(PostponedError):
    """A person paused everything while a run was about to mint or revoke. Nothing was sent; a later run continues."""

    code = "all_paused"


class ClockSkewError(RotatorError):
    """The host's clock differs from the others' by more than a minute. Nothing was minted but what could not wait."""

    code = "clock_skew"


class RotationError(RotatorError):
    """One rotation cannot continue."""

    code = "rotation_failed"


class IllegalTransitionError(RotationError):
    """A rotation was asked to enter a state that its table does not allow: a bug, never a user's mistake."""

    code = "illegal_transition"


class NotListedError(RotationError):
    """A listing lacks a managed PAT. That alone proves nothing: a later look decides."""

    code = "not_listed"
    kind = FailureKind.NOT_LISTED


class VerificationError(RotationError):
    """A PAT did not authenticate as the expected user, or the vault did not return what was written."""

    code = "verification_failed"


class ForeignValueError(VerificationError):
    """A value that should be the account's PAT is another user's, or no PAT. No later try finds out how it came."""

    code = "wrong_identity"


class ForeignWriteError(RotationError):
    """The secret's newest version was not written by this rotation; nothing is revoked."""

    code = "foreign_write"


class CloneLostError(RotationError):
    """Our clone was revoked by somebody else during the overlap; the old PAT is current again."""

    code = "clone_revoked_elsewhere"


class RemoteError(RotatorError):
    """A service did not do what was asked.

    `service` is `entra`, `azure_devops`, `key_vault` or `syslog`; `operation` a verb and noun such as `mint_pat`;
    `status` that of HTTP; `request_id` the service's own id for its support; `retry_after` in seconds. None: unknown.
    """

    code = "remote_error"

    def __init__(
        self,
        message: str,
        *,
        service: str,
        operation: str,
        status: int | None = None,
        request_id: str | None = None,
        answer_ids: Mapping[str, str] = _NO_IDS,
        retry_after: float | None = None,
        code: str | None = None,
        fix: str = "",
        kind: FailureKind | None = None,
    ) -> None:
        super().__init__(message, code=code, fix=fix, kind=kind)
        self.answer_ids = answer_ids
        self.retry_after = retry_after
        self.service = service
        self.operation = operation
        self.status = status
        self.request_id = request_id


class TransientError(RemoteError):
    """The request certainly had no effect, and may work later."""

    code = "transient"


class DeniedError(RemoteError):
    """Authenticated or not, this account may not do it. Stops its work in that organization, not the run."""

    code = "denied"


class RejectedError(RemoteError):
    """The service understood and refused; repeating the same request cannot help."""

    code = "rejected"


class UnknownOutcomeError(RemoteError):
    """The request may have been carried out. Recover by looking; never repeat blindly."""

    code = "unknown_outcome"


class SignInRequiredError(RotatorError):
    """An account can get no token until a person signs in or an administrator allows it."""

    code = "sign_in_required"
    exit_code = 10

    def __init__(self, message: str, *, account: str, code: str | None = None, fix: str = "") -> None:
        super().__init__(message, code=code, fix=fix)
        self.account = account


class DatabaseError(RotatorError):
    """The inventory database cannot be used: unreadable, read-only, full."""

    code = "database"


class SchemaError(DatabaseError):
    """The database has no tables yet, old or newer ones, or is another program's; nothing was changed.

    No other try helps before a person upgrades the database, or rotator, or corrects the settings.
    """

    code = "database_schema"


class DatabaseLockedError(DatabaseError):
    """Another process holds the database for longer than we wait. Nothing of the transaction was kept; it may pass."""

    code = "database_locked"
    exit_code = 11


class DatabaseUnreachableError(DatabaseError):
    """No connection to the database, or it broke; it may pass. If it broke during COMMIT, look before repeating it."""

    code = "database_unreachable"


class FailoverError(DatabaseError):
    """The database's server was replaced or restored since the last look, and may have lost commits: look first."""

    code = "database_failed_over"


class ClaimHeldError(DatabaseError):
    """This ManagedPat is already claimed, and the claim has not expired."""

    code = "claim_held"
    exit_code = 11


class ClaimLostError(DatabaseError):
    """Our claim on this ManagedPat expired or was taken over; nothing may be done under it any more."""

    code = "claim_lost"
    exit_code = 11


class AuditChainError(RotatorError):
    """The audit log was altered: the first bad event, what was expected there, and what was found.

    What shows it: `checkpoint` is that checkpoint's size, `anchor` that anchor's place, `archive` that file's name.
    """

    code = "audit_chain_broken"

    def __init__(
        self,
        message: str,
        *,
        sequence: int,
        expected: str,
        found: str,
        fix: str = "",
        checkpoint: int | None = None,
        anchor: str | None = None,
        archive: str | None = None,
    ) -> None:
        super().__init__(message, fix=fix)
        self.archive = archive
        self.sequence = sequence
        self.expected = expected
        self.found = found
        self.checkpoint = checkpoint
        self.anchor = anchor


class InternalError(RotatorError):
    """A bug in rotator, met while working on one ManagedPat; the others are still processed."""

    code = "internal"


class StoppedError(BaseException):
    """Work ends here because the process was asked to stop; nothing failed.

    Like KeyboardInterrupt it is no Exception: what isolates failures lets it pass. Only the end of a run catches it.
    """
