"""What a shell may complete a word with: by the settings, and by the names in the database."""

from __future__ import annotations

from enum import StrEnum

from rotator.settings.secrets import SecretSource
from rotator.wiring.installation import Installation
from rotator.wiring.origin import Origin


class Word(StrEnum):
    """What the word names."""

    PAT = "pat"
    ACCOUNT = "account"
    ORGANIZATION = "organization"
    RECEIVER = "receiver"
    HOOK = "hook"


def list_words(origin: Origin, what: Word) -> list[str]:
    """List the words there are. ConfigError when the settings cannot be read; a vault is asked for nothing."""
    with Installation(origin) as installation:
        settings = installation.settings
        match what:
            case Word.PAT:
                from rotator.adapters.database.names import load_names

                is_far = settings.database.source is SecretSource.KEY_VAULT
                return [] if is_far else list(load_names(installation.database_url.reveal()))
            case Word.ACCOUNT:
                return [account.name for account in settings.accounts]
            case Word.ORGANIZATION:
                return sorted({place for account in settings.accounts for place in account.organizations})
            case Word.RECEIVER:
                return [receiver.name for receiver in settings.notify]
            case Word.HOOK:
                return [hook.name for hook in settings.hooks]
