"""What seals the audit log: the key that signs its checkpoints, and the keys that they are checked with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rotator.domain.checkpoint import encode_public_key, spell_public_key
from rotator.domain.secret_value import SecretValue
from rotator.engine.context import Trust
from rotator.errors import ConfigError
from rotator.ports.anchor_place import AnchorPlace
from rotator.ports.archive_file import ArchiveFile

if TYPE_CHECKING:
    from rotator.adapters.signing import Ed25519Signer
    from rotator.adapters.time_stamps import TimeStampAuthority
    from rotator.settings.sections.audit import AnchorSettings
    from rotator.wiring.installation import Installation


def make_signer(installation: Installation) -> Ed25519Signer | None:
    """Return what signs. ConfigError if the settings name public keys, and none is that of the private key."""
    audit = installation.settings.audit
    if audit.signing_key is None:
        return None
    from rotator.adapters.signing import Ed25519Signer

    signer = Ed25519Signer(installation.resolve(audit.signing_key))
    if audit.public_key and signer.public_key not in map(encode_public_key, audit.public_key):
        raise ConfigError(
            [f"the public key of audit.signing_key, {spell_public_key(signer.public_key)}, is missing there"],
            setting="audit.public_key",
            fix="Add it, in front of the others; or name the private key that belongs to them.",
        )
    return signer


def make_old_signers(installation: Installation) -> tuple[Ed25519Signer, ...]:
    """Return the keys that signed before."""
    from rotator.adapters.signing import Ed25519Signer

    return tuple(Ed25519Signer(installation.resolve(key)) for key in installation.settings.audit.previous_keys)


def make_anchor_places(installation: Installation) -> tuple[AnchorPlace, ...]:
    """Return where the checkpoints are kept outside of the database, beside the vaults. ConfigError as `resolve`."""
    from rotator.adapters.anchor_places import AnchorFile, AnchorWebhook
    from rotator.adapters.notify.webhook import SignedPost
    from rotator.adapters.single_request import find_host

    places: list[AnchorPlace] = []
    for anchor in installation.settings.audit.anchors:
        if anchor.file is not None:
            places.append(AnchorFile(anchor.file))
        elif anchor.webhook is not None:
            url = installation.resolve(anchor.webhook)
            secret = None if anchor.secret is None else installation.resolve(anchor.secret)
            post = SignedPost(url, secret, installation.make_http(), installation.clock, "audit.anchors")
            places.append(AnchorWebhook(find_host(url), post))
        elif anchor.stamps is not None and (authority := make_authority(installation, anchor)) is not None:
            from rotator.adapters.time_stamps import StampFile

            places.append(StampFile(anchor.stamps, authority))
    return tuple(places)


def make_authority(installation: Installation, anchor: AnchorSettings) -> TimeStampAuthority | None:
    """Return whom an anchor's time stamps are asked of; None where it has none."""
    if anchor.authority is None or anchor.certificates is None:
        return None
    from rotator.adapters.time_stamps import TimeStampAuthority

    return TimeStampAuthority(anchor.authority, anchor.certificates, installation.make_http())


def open_archive_file(path: Path) -> ArchiveFile:
    """Return the file of an archive, which need not exist yet."""
    from rotator.adapters.archive_file import LocalArchiveFile

    return LocalArchiveFile(path)


def make_signing_key() -> SecretValue:
    """Make a new private key, as PEM (PKCS#8)."""
    from rotator.adapters import signing

    return signing.make_signing_key()


def find_public_key(private_key: SecretValue) -> str:
    """Return the public half of a private key in PEM, in hex. ValueError for any other text."""
    from rotator.adapters.signing import Ed25519Signer

    return spell_public_key(Ed25519Signer(private_key).public_key)


def make_trust(installation: Installation) -> Trust:
    """Return by what the checkpoints are believed. The private key is needed only if no public one is named."""
    from rotator.adapters.signing import is_signed

    named = tuple(map(encode_public_key, installation.settings.audit.public_key))
    if not named and (signer := make_signer(installation)) is not None:
        named = (signer.public_key,)
    return Trust(named, is_signed)


def find_trust(installation: Installation) -> tuple[Trust, str | None]:
    """Return what `make_trust` does; if the key of the settings cannot be had, one without keys, and why."""
    from rotator.adapters.signing import is_signed

    try:
        return make_trust(installation), None
    except ConfigError as error:
        return Trust((), is_signed), error.message
