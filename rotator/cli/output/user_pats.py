"""The PATs of all users in a table and a few sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rotator.cli.console import clean
from rotator.cli.output.words import say_counts, say_expiry, say_pats
from rotator.cli.selection import Facts
from rotator.cli.widths import Column
from rotator.documents.user_pats import count_users_pats
from rotator.domain.user_pats import UserLook
from rotator.domain.words import say_count
from rotator.engine.scanning_users import OrganizationScan, UserPat

COLUMNS = (
    Column("display name", is_key=True),
    Column("user", wraps=True, lower=True),
    Column("organization", may_go=True, lower=True),
    Column("scopes", wraps=True),
    Column("expires", fixed=True),
    Column("state", wraps=True),
    Column("authorization id", lower=True),
)
_MOST_FAILED = 20
UNKNOWN_USE = "Azure DevOps does not tell when a PAT was last used: an old one may be in use every day."


def describe_user_pat(found: UserPat) -> Facts:
    """What a PAT is chosen and sorted by; its account is the user."""
    return Facts(found.pat.display_name, found.user.name, found.organization, found.kind.value, found.pat.valid_to)


def list_rows(chosen: Iterable[UserPat], now: datetime) -> Iterator[tuple[str, ...]]:
    """One row of `COLUMNS` per PAT; its state comes with whatever is special about it, in words."""
    for found in chosen:
        pat = found.pat
        kind = found.kind.value if found.name is None else f"{found.kind.value} as {found.name}"
        marks = {
            "full access": found.is_full_access,
            "all organizations": pat.all_organizations,
            "long-lived": found.is_long_lived,
            "no living owner": found.user.is_deleted,
        }
        yield (
            clean(pat.display_name),
            clean(found.user.name),
            clean(found.organization),
            " ".join(pat.scopes),
            say_expiry(pat.valid_to, now),
            ", ".join([kind, *(mark for mark, applies in marks.items() if applies)]),
            pat.authorization_id,
        )


def list_failed_users(scans: Iterable[OrganizationScan]) -> Iterator[str]:
    """Say whose PATs are not known, and why; of very many the first ones."""
    failed = [user for scan in scans for user in scan.users if user.error is not None]
    for user in failed[:_MOST_FAILED]:
        yield f"{user.organization}/{user.user.name}: {user.look.value}: {user.error and user.error.message}"
    if len(failed) > _MOST_FAILED:
        yield f"and {len(failed) - _MOST_FAILED} more users: --json has them all"
    fixes = {user.error.fix for user in failed if user.error is not None and user.error.fix}
    yield from (f"    fix: {fix}" for fix in sorted(fixes)[:1])


def render_summary(scans: Sequence[OrganizationScan]) -> Iterator[str]:
    """How many users and PATs there are, what is special about these, and what nobody can know."""
    counts = count_users_pats(scans)
    special = {
        "with full access": counts["full_access"],
        "long-lived": counts["long_lived"],
        "for all organizations": counts["all_organizations"],
        "without a living owner": counts["ownerless"],
        "managed": counts["managed"],
    }
    said = say_counts(special)
    yield f"{say_pats(counts['pats'])}{': ' if said else ''}{said}" if counts["ok"] else "No PATs could be listed."
    looks = {look.value: counts[look.value] for look in UserLook}
    services = sum(user.user.is_service for scan in scans for user in scan.users)
    who = "1 is the identity of a service" if services == 1 else f"{services} are identities of services"
    aside = f"; {who} and not asked about" if services else ""
    yield f"{say_count(counts['users'], 'user')}: {say_counts(looks)}{aside}."
    if counts["ok"] + services < counts["users"] or counts["unreadable"]:
        yield "Of users that are not ok, and of entries that cannot be read, nothing is known."
    yield UNKNOWN_USE
