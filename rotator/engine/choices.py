"""What a person chose for a PAT that is to be adopted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rotator.domain.managed_pat import NAME_PATTERN, SECRET_NAME_PATTERN
from rotator.errors import UsageError


@dataclass(frozen=True)
class Choice:
    """What a person chose for one PAT: its name, its secret, its vault. None: as the rule says.

    `account` and `organization`, where given, are where the PAT must be.
    `replace_foreign`: its secret may be written over although it holds something else than a PAT of the account's user.
    """

    name: str | None = None
    secret_name: str | None = None
    replace_foreign: bool = False
    vault: str | None = None
    account: str | None = None
    organization: str | None = None

    def is_about(self, account: str, organization: str) -> bool:
        """Whether a PAT of this account and organization may be meant."""
        return self.account in (None, account) and self.organization in (None, organization)


@dataclass(frozen=True)
class Choices:
    """What was chosen for each of several PATs, by authorization id; `otherwise` for all others.

    `before` are those that were forgotten: each comes back as it was, unless its name, secret or vault was chosen.
    """

    otherwise: Choice
    by_id: Mapping[str, Choice]
    before: Mapping[str, Choice] = field(default_factory=dict)

    def find(self, authorization_id: str) -> Choice:
        """Return what was chosen for one PAT."""
        choice = self.by_id.get(authorization_id, self.otherwise)
        old = self.before.get(authorization_id)
        if old is None or (choice.name, choice.secret_name, choice.vault) != (None, None, None):
            return choice
        return replace(choice, name=old.name, secret_name=old.secret_name, vault=old.vault)


def make_choice(name: str | None, secret_name: str | None, *, replace_foreign: bool = False) -> Choice:
    """Make a choice of texts that a person gave. UsageError when one cannot be a name, or a secret of Key Vault."""
    if name is not None and not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f'"{name}" cannot be a name',
            fix="Use at most 100 of a-z, 0-9, dot, hyphen and underscore; begin with a letter or digit.",
        )
    if secret_name is not None and not SECRET_NAME_PATTERN.fullmatch(secret_name):
        raise UsageError(
            f'"{secret_name}" cannot be the name of a secret', fix="Use at most 127 of a-z, A-Z, 0-9 and hyphen."
        )
    return Choice(name, secret_name, replace_foreign)
