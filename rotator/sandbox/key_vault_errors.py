"""The refusals of the Key Vault stand-in: `{"error": {"code", "message", "innererror": {"code"}}}`."""

from __future__ import annotations

from collections.abc import Mapping

from rotator.sandbox.messages import Response


class KeyVaultRefusalError(Exception):
    """A refused request; the service turns it into a reply."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        inner_code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.inner_code = inner_code
        self.headers = dict(headers or {})


def make_error_answer(refusal: KeyVaultRefusalError) -> Response:
    """Make the reply to a refusal."""
    error: dict[str, object] = {"code": refusal.code, "message": str(refusal)}
    if refusal.inner_code is not None:
        error["innererror"] = {"code": refusal.inner_code}
    return Response.of_json(refusal.status, {"error": error}, refusal.headers)


def bad_parameter(message: str) -> KeyVaultRefusalError:
    """Make a 400: the request itself is wrong."""
    return KeyVaultRefusalError(400, "BadParameter", message)


def forbidden(inner_code: str, message: str) -> KeyVaultRefusalError:
    """Make a 403: the caller, its network or the state of the secret forbids it."""
    return KeyVaultRefusalError(403, "Forbidden", message, inner_code)


def not_found(name: str) -> KeyVaultRefusalError:
    """Make a 404: there is no such secret or version, or it is not (yet) in that place."""
    return KeyVaultRefusalError(404, "SecretNotFound", f"This vault has no secret {name} here; is it deleted?")


def conflict(inner_code: str, message: str) -> KeyVaultRefusalError:
    """Make a 409: a deleted secret has the name, or the secret to recover exists already."""
    return KeyVaultRefusalError(409, "Conflict", message, inner_code)
