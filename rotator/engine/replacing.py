"""What a secret holds that rotator has not written yet, and which version of it may be replaced.

The first rotation writes over a version that is ours by its tags, over nothing, or over the very version that a person
saw and confirmed when adopting; over nothing else. A value that does not look like a PAT is never sent anywhere, and
that a value signs in proves whose it is, never which PAT it is.
"""

from __future__ import annotations

from dataclasses import replace

from rotator.domain.account import Identity
from rotator.domain.managed_pat import ManagedPat, is_pat_shaped
from rotator.domain.secret_value import SecretValue
from rotator.domain.sight import Holding, Sight
from rotator.engine.context import RunContext
from rotator.engine.provenance import Writer, find_writer
from rotator.engine.reading import DISABLED, fetch_newest
from rotator.engine.tags import AUTHORIZATION_TAG, NAME_TAG, ROTATION_TAG, list_dropped
from rotator.errors import FailureKind, ForeignValueError, PlanRefusedError, RejectedError, VerificationError
from rotator.ports.secret_store import SecretLocation

SIGNS_IN_WITHOUT_RIGHTS = "verification_forbidden"
"""The code of the refusal of a PAT that is genuine."""


def look_at_secret(run: RunContext, pat: ManagedPat, expected: Identity) -> Sight:
    """Look at what the secret of a record holds now; `expected` is the account's user in its organization.

    Changes nothing. RemoteError when the vault cannot be read or a sign-in can be neither proven nor refused.
    """
    latest = fetch_newest(run.services.secrets, pat)
    if latest is None:
        return Sight(Holding.ABSENT)
    tags = latest.version.tags
    writer = find_writer(run, pat, latest.version)
    seen = Sight(
        Holding.UNKNOWN_ROTATION if writer is Writer.UNKNOWN else Holding.OURS,
        latest.version.version,
        expected.display_name,
        pat_shaped=is_pat_shaped(latest.value.reveal()),
        rotation_id=tags.get(ROTATION_TAG, ""),
        authorization_id=tags.get(AUTHORIZATION_TAG, ""),
        name=tags.get(NAME_TAG, ""),
        dropped_tags=list_dropped(tags),
    )
    return _look_at_foreign(run, pat, expected, seen, latest.value) if writer is Writer.FOREIGN else seen


def _look_at_foreign(run: RunContext, pat: ManagedPat, expected: Identity, seen: Sight, value: SecretValue) -> Sight:
    seen = replace(seen, holding=Holding.SOMETHING_ELSE)
    try:
        found = identify(run, pat.organization, value)
    except VerificationError:
        return seen
    is_users = found.user_id == expected.user_id
    return replace(seen, holding=Holding.USERS_PAT if is_users else Holding.SOMETHING_ELSE, user=found.display_name)


def identify(run: RunContext, organization: str, value: SecretValue, *, is_ours: bool = False) -> Identity:
    """Return who a value read from a vault signs in as.

    VerificationError when it is refused. ForeignValueError when it does not look like a PAT: then it is sent nowhere,
    unless it `is_ours`, by the id of the version that we wrote.
    """
    if not is_ours and not is_pat_shaped(value.reveal()):
        raise ForeignValueError(
            "the value in the vault does not look like a PAT, so rotator did not try it",
            code="not_a_pat",
            fix="Find out who writes this secret.",
        )
    return run.services.pats.verify(organization, value)


def signs_in(run: RunContext, organization: str, location: SecretLocation, version: str | None) -> bool:
    """Whether the value that we wrote for a PAT, as that version, is accepted: then it lives, whatever the lists say.

    A version's value never changes, whatever becomes of its tags. One that signs in without rights lives too.
    """
    try:
        found = run.services.secrets.fetch_version(location, version) if version is not None else None
    except RejectedError as error:
        if error.code != DISABLED:
            raise
        return False
    if found is None:
        return False
    try:
        identify(run, organization, found.value, is_ours=True)
    except VerificationError as error:
        return error.code == SIGNS_IN_WITHOUT_RIGHTS
    return True


def check_identity(pat: ManagedPat, found: Identity, expected: Identity) -> None:
    """Raise ForeignValueError when what the secret of a record holds signs in as another user than the account's."""
    if found.user_id != expected.user_id:
        raise ForeignValueError(
            f"the value of secret {pat.secret_name} in {pat.vault} signs in as {found.display_name}, not as "
            f"{expected.display_name}; nothing was revoked",
            fix=f"Find out who changed the secret. Its version {pat.secret_version} has the right value.",
        )


def make_unconfirmed(pat: ManagedPat) -> PlanRefusedError:
    """Make the error for a secret that holds a version which is not ours and which nobody confirmed."""
    changed = pat.confirmed_version is not None
    since = "was changed since a person looked at it" if changed else "holds something that nobody has confirmed yet"
    return PlanRefusedError(
        f"secret {pat.secret_name} in {pat.vault} {since}; nothing was minted",
        code="secret_unconfirmed",
        kind=FailureKind.UNCONFIRMED,
        fix=f"See who else uses this secret. If it may be replaced: `rotator inventory adopt {pat.authorization_id}` "
        "looks at it again (add --replace-foreign if it is not a PAT of the account's user).",
    )
