"""What a vault asks a token for, as its answer says it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rotator.adapters.key_vault.answers import check_answer
from rotator.errors import DeniedError


def test_challenge_that_is_one_long_word_is_read_at_once() -> None:
    """Each sign is looked at once: reading on from each would take days, in which no other thread works."""
    answer = SimpleNamespace(status_code=401, headers={"WWW-Authenticate": f"Bearer {'a' * 10_000_000}"})
    response: Any = SimpleNamespace(http_response=answer)
    with pytest.raises(DeniedError) as refused:
        check_answer(response)
    assert refused.value.code == "challenge_refused"
