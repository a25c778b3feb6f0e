"""Revoke a PAT of any user of an organization, as its administrator, because a person says so.

Only what nothing of ours accounts for is revoked like this. That is decided in the transaction that writes the intent.
"""

from __future__ import annotations

from rotator.domain.events.administration import (
    AdminRevocationFailed,
    AdminRevocationRequested,
    AdminRevocationStarted,
)
from rotator.domain.events.event import Event
from rotator.domain.managed_pat import Hold
from rotator.domain.outside import find_id
from rotator.engine.accounting import find_other_keeper, load_keepers, refuse_kept
from rotator.engine.auditing import record
from rotator.engine.clocks import check_clocks
from rotator.engine.context import RunContext
from rotator.engine.listing import ServerView
from rotator.engine.moments import find_earliest
from rotator.engine.waiting import keep_books
from rotator.errors import (
    DeniedError,
    NotManagedError,
    RejectedError,
    RemoteError,
    SignInRequiredError,
    UsageError,
)
from rotator.ports.database import Reading
from rotator.ports.token_admin import TokenAdmin


def check_account(run: RunContext, account: str, organization: str) -> None:
    """Raise UsageError unless the settings have the account and its organization."""
    known = {known.name: known for known in run.services.accounts}
    if account not in known:
        raise UsageError(
            f'there is no account named "{account}"',
            code=NotManagedError.code,
            fix="`rotator accounts` lists them.",
        )
    if organization not in known[account].organizations:
        raise UsageError(
            f'the account {account} has no organization "{organization}"',
            code=NotManagedError.code,
            fix=f"Its organizations are: {', '.join(known[account].organizations)}.",
        )


def check_foreign(run: RunContext, authorization_id: str) -> str:
    """Return the id as it is spelled here. UsageError if it is none, or if a record or a rotation accounts for it."""
    identifier = find_id(authorization_id)
    if identifier is None:
        raise UsageError(
            f'"{authorization_id}" is not the id of a PAT', fix="`rotator scan --organization-wide --json` has the ids."
        )
    with run.services.database.read() as reading:
        _check_keeper(reading, identifier)
    return identifier


def check_ready(run: RunContext, authorization_id: str, account: str, organization: str) -> None:
    """Raise what keeps a revocation from being requested now, as `revoke_as_admin` does. Changes nothing."""
    ServerView(run).refresh_account(account)
    _check_mints(run, authorization_id, organization)
    check_clocks(run, revokes=True)
    with run.services.database.read() as reading:
        _check_records(reading, organization)


def revoke_as_admin(run: RunContext, admin: TokenAdmin, authorization_id: str, account: str, organization: str) -> None:
    """Request the revocation of a PAT. Whether it is gone is not looked for: it may take an hour.

    UsageError as in `check_foreign`, also if a mint that was not answered may have made the PAT, or one that a newer
    database knew.
    """
    check_ready(run, authorization_id, account, organization)
    place = {"account": account, "organization": organization}

    def begin() -> None:
        with run.services.database.begin() as work:
            _check_keeper(work, authorization_id)
            _check_records(work, organization)
            started = AdminRevocationStarted()
            record(work, run, authorization_id, started, run.services.clock.now(), **place)

    def note(event: Event, answer: dict[str, str]) -> None:
        with run.services.database.begin() as work:
            record(work, run, authorization_id, event, run.services.clock.now(), **place, **answer)

    begin()
    try:
        answer_ids = admin.revoke(account, organization, authorization_id)
    except (RemoteError, SignInRequiredError) as error:
        is_refused = isinstance(error, DeniedError | RejectedError | SignInRequiredError)
        failed = AdminRevocationFailed(code=error.code, refused=is_refused)
        told = dict(error.answer_ids) if isinstance(error, RemoteError) else {}
        keep_books(run.services, lambda: note(failed, told))
        raise
    keep_books(run.services, lambda: note(AdminRevocationRequested(), dict(answer_ids)))


def _check_mints(run: RunContext, authorization_id: str, organization: str) -> None:
    """Raise UsageError if an unanswered mint may have made the PAT, by what the account of the mint sees of it."""
    with run.services.database.read() as reading:
        keepers = load_keepers(reading, [authorization_id], find_earliest(run, reading))
    for account in sorted({mint.account for mint in keepers.mints if mint.organization == organization}):
        pat = run.services.pats.fetch_pat(account, organization, authorization_id)
        keeper = None if pat is None else keepers.find(pat, account, organization)
        if keeper is not None and keeper.binds:
            raise refuse_kept(authorization_id, keeper)


def _check_records(reading: Reading, organization: str) -> None:
    """Raise UsageError while a secret holds what the database does not know: it may be the value of any PAT."""
    for pat in reading.inventory.load_all():
        if pat.organization == organization and pat.hold is Hold.DATABASE_BEHIND:
            raise UsageError(
                f"the secret of {pat.name} holds a PAT that this database does not know: it may be this one",
                fix="If the database was restored from a backup, run `rotator inventory rebuild`. Then try again.",
            )


def _check_keeper(reading: Reading, authorization_id: str) -> None:
    keeper = find_other_keeper(reading, authorization_id, "")
    if keeper is not None:
        raise refuse_kept(authorization_id, keeper)
