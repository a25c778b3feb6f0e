"""A setting that may be secret: how a model reads it, and what the JSON Schema says about it."""

from __future__ import annotations

from pydantic import ValidationInfo, WithJsonSchema

from rotator.settings.fields import find_file, find_folder
from rotator.settings.secrets import SecretForm, SecretReference, make_reference


def parse_secret(
    value: object, info: ValidationInfo, *, setting: str, form: SecretForm, may_be_in_vault: bool = False
) -> SecretReference:
    """The reference that the value says, for a pydantic validator; `setting` names it in errors."""
    if isinstance(value, SecretReference):
        return value
    folder, file = find_folder(info), find_file(info)
    return make_reference(value, setting=setting, form=form, folder=folder, file=file, may_be_in_vault=may_be_in_vault)


def _object(**properties: dict[str, object]) -> dict[str, object]:
    """The schema of an object with exactly these keys."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


_TEXT: dict[str, object] = {"type": "string"}
_LOCAL = [_TEXT, *(_object(**{key: _TEXT}) for key in ("env", "file", "credential"))]
_VAULT = _object(key_vault=_object(vault=_TEXT, name=_TEXT))

SECRET = WithJsonSchema({"anyOf": _LOCAL, "writeOnly": True})
"""Text or a reference to something on this host."""

OPTIONAL_LOCAL_SECRET = WithJsonSchema({"anyOf": [*_LOCAL, {"type": "null"}], "writeOnly": True})
"""The same, or nothing."""

SECRET_OR_VAULT = WithJsonSchema({"anyOf": [*_LOCAL, _VAULT], "writeOnly": True})
"""Text or a reference, also to a vault."""

OPTIONAL_SECRET = WithJsonSchema({"anyOf": [*_LOCAL, _VAULT, {"type": "null"}], "writeOnly": True})
"""Text or a reference, also to a vault, or nothing."""
