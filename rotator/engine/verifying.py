"""The clone authenticates as the expected user, or it is given up (`verified`)."""

from __future__ import annotations

from rotator.domain.events.rotations import (
    PatVerified,
)
from rotator.domain.rotation import (
    RotationState,
)
from rotator.domain.secret_value import SecretValue
from rotator.engine.abandoning import abandon, abandon_unusable
from rotator.engine.claiming import ClaimedPat
from rotator.engine.listing import ServerView
from rotator.engine.waiting import Patience
from rotator.errors import (
    ForeignValueError,
    TransientError,
    VerificationError,
)


def verify_clone(held: ClaimedPat, view: ServerView, value: SecretValue) -> None:
    """Prove that the new PAT authenticates as the account's user. Give it up when it does not in time."""
    run, rotation = held.run, held.rotation
    expected = view.fetch_identity(rotation.account, rotation.organization)
    patience = Patience(run.services.boot, run.services.stop, run.services.timing.probe_patience)
    while True:
        try:
            found = run.services.pats.verify(rotation.organization, value)
            break
        except (VerificationError, TransientError) as error:
            if not patience.wait(getattr(error, "retry_after", None)):
                abandon(held, error)
                raise
        held.learn()
    if found.user_id != expected.user_id:
        raise abandon_unusable(
            held,
            "wrong_identity",
            f'when rotator tried the new PAT, the answer named the user "{found.display_name}", not '
            f'"{expected.display_name}"; it revoked that PAT and no other, and the secret still holds the old one',
            "Most likely a caching proxy gave rotator another user's answer. Keep Azure DevOps out of the cache of the "
            "proxy of this host (`http` in the settings, HTTPS_PROXY). If there is none, `rotator accounts` says who "
            f"is signed in. Then run `rotator rotate {rotation.name}`.",
            ForeignValueError,
        )
    held.step(RotationState.VERIFIED, PatVerified())
