"""The port SignIns, on every database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rotator.domain.managed_pat import Failure
from rotator.domain.sign_in import SignInMemory
from rotator.errors import FailureKind
from rotator.ports.database import Database
from tests.support.records import DAY, NOW


def test_memory_of_a_sign_in_is_given_back_and_replaced(database: Database) -> None:
    whole = SignInMemory(
        "build-bot",
        interactive_at=NOW - 9 * DAY,
        refreshed_at=NOW - DAY,
        refusal=Failure("sign_in_revoked", "it was revoked", "Sign in.", FailureKind.FORBIDDEN),
        refused_at=NOW - DAY,
        asked_at=NOW,
        generation="1764237600",
        lifespan=timedelta(days=30, seconds=1),
        warned_days=7,
    )
    with database.begin() as work:
        assert work.sign_ins.load("build-bot") == SignInMemory("build-bot")
        work.sign_ins.save(replace(whole, refusal=None))
        work.sign_ins.save(whole)
    with database.read() as reading:
        assert reading.sign_ins.load("build-bot") == whole
        assert reading.sign_ins.load("other") == SignInMemory("other")
    with database.begin() as work:
        work.sign_ins.save(whole.signed_in(NOW))
        assert work.sign_ins.load("build-bot") == whole.signed_in(NOW)
