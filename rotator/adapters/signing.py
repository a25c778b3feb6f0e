"""Ed25519, by the library `cryptography`: the port Signer, a check of signatures, and new keys."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from rotator.domain.checkpoint import decode_public_key
from rotator.domain.secret_value import SecretValue


class Ed25519Signer:
    """The port Signer. ValueError, without the key in it, for a text that holds no Ed25519 key in PEM."""

    def __init__(self, pem: SecretValue) -> None:
        key = load_pem_private_key(pem.reveal().strip().encode(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("the key is not an Ed25519 key")
        self._key = key
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._public_key = base64.b64encode(raw).decode()

    @property
    def public_key(self) -> str:
        """See the port."""
        return self._public_key

    def sign(self, statement: bytes) -> str:
        """See the port."""
        return base64.b64encode(self._key.sign(statement)).decode()


def is_signed(statement: bytes, signature: str, public_key: str) -> bool:
    """See the port SignatureCheck."""
    try:
        Ed25519PublicKey.from_public_bytes(decode_public_key(public_key)).verify(
            base64.b64decode(signature, validate=True), statement
        )
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def make_signing_key() -> SecretValue:
    """Make a new private key, as PEM (PKCS#8)."""
    key = Ed25519PrivateKey.generate()
    return SecretValue(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
