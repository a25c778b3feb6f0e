"""How one signing key of the audit log follows another: each signs that the log as it was then has the other key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from rotator.domain.canonical import Scalar, encode_canonical
from rotator.domain.checkpoint import make_key_id


@dataclass(frozen=True)
class KeyChange:
    """After the checkpoint of `size` events, whose last has the hash `head`, another key signs.

    Both keys are public ones, in base64. `signature` is by the old key, None if that was lost; `new_signature` is by
    the new one.
    """

    installation: str
    size: int
    head: str
    old_key: str
    new_key: str
    new_signature: str = ""
    signature: str | None = None

    @property
    def old_id(self) -> str:
        """The id of the old key."""
        return make_key_id(self.old_key)

    @property
    def new_id(self) -> str:
        """The id of the new key."""
        return make_key_id(self.new_key)

    def make_statement(self) -> bytes:
        """Return what both keys sign: everything that the change says."""
        said: dict[str, Scalar | dict[str, Scalar]] = {**vars(self)}
        del said["signature"], said["new_signature"]
        return encode_canonical({"purpose": "rotator-audit-key-change", "version": 1, **said})


def read_key_change(said: Mapping[str, object]) -> KeyChange | None:
    """Make a change of its fields; None if they are not what rotator writes."""
    values = {field.name: said.get(field.name) for field in fields(KeyChange)}
    size, signature = values.pop("size"), values.pop("signature")
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    if type(size) is not int or not isinstance(signature, str | None) or len(texts) != len(values):
        return None
    change = KeyChange(size=size, signature=signature, **texts)
    try:
        make_key_id(change.old_key), make_key_id(change.new_key)
    except ValueError:
        return None
    return change
