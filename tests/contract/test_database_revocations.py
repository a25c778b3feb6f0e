"""The port Revocations, on every database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from rotator.domain.managed_pat import ManagedPat
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.errors import ClaimLostError
from rotator.ports.claims import Claim
from rotator.ports.database import Database
from tests.support.records import DAY, NOW, make_managed_pat

PENDING = PendingRevocation(
    authorization_id="id-old",
    name="npm-feed",
    account="build-bot",
    organization="contoso",
    vault="https://contoso-kv.vault.azure.net",
    secret_name="contoso-npm-feed",
    kind=RevocationKind.BY_HAND,
    valid_to=NOW + 10 * DAY,
    since=NOW,
    requested_at=NOW,
)
Adopt = Callable[[ManagedPat], Claim]


def test_revocation_is_given_back_when_it_is_pending(database: Database, adopt: Adopt) -> None:
    """Every field, the oldest first, in either kind of transaction; a time of another zone keeps its moment."""
    claim = adopt(make_managed_pat())
    east = timezone(timedelta(hours=5, minutes=30))
    older = replace(
        PENDING,
        authorization_id="id-older",
        kind=RevocationKind.ROTATED,
        since=(NOW - DAY).astimezone(east),
        requests=3,
        rotation_id="r1",
        missed_at=NOW,
    )
    with database.begin() as work:
        assert work.revocations.load() == ()
        work.revocations.save(PENDING, claim)
        work.revocations.save(older, claim)
        assert work.revocations.load() == (older, PENDING)
    with database.read() as reading:
        assert reading.revocations.load() == (older, PENDING)


def test_revocation_replaces_the_one_of_the_same_pat(database: Database, adopt: Adopt) -> None:
    claim = adopt(make_managed_pat())
    with database.begin() as work:
        work.revocations.save(replace(PENDING, missed_at=NOW), claim)
        work.revocations.save(PENDING.request_again(NOW + DAY), claim)
    with database.read() as reading:
        assert reading.revocations.load() == (replace(PENDING, requested_at=NOW + DAY, requests=2),)


def test_revocation_is_refused_when_the_claim_is_lost_or_another_records(database: Database, adopt: Adopt) -> None:
    lost, other = adopt(make_managed_pat()), adopt(make_managed_pat("other"))
    with database.begin() as work:
        work.claims.claim("npm-feed", "run-2", now=NOW + DAY, span=timedelta(minutes=5))
    for claim in (lost, other):
        with pytest.raises(ClaimLostError), database.begin() as work:
            work.revocations.save(PENDING, claim)
    with database.read() as reading:
        assert reading.revocations.load() == ()


def test_miss_is_noted_and_taken_back_without_a_claim(database: Database, adopt: Adopt) -> None:
    claim = adopt(make_managed_pat())
    with database.begin() as work:
        work.revocations.save(PENDING, claim)
        work.revocations.note_missed("id-old", NOW)
        work.revocations.note_missed("nothing", NOW)
        assert work.revocations.load() == (replace(PENDING, missed_at=NOW),)
        work.revocations.note_missed("id-old", None)
        assert work.revocations.load() == (PENDING,)


def test_revocation_is_dated_anew_where_it_is_dated_later(database: Database, adopt: Adopt) -> None:
    claim, later = adopt(make_managed_pat()), NOW + timedelta(microseconds=1)
    ahead = replace(PENDING, authorization_id="id-ahead", since=later, requested_at=NOW + DAY, missed_at=NOW + 2 * DAY)
    asked = replace(PENDING, authorization_id="id-asked", since=NOW - DAY, requested_at=NOW + DAY, missed_at=NOW)
    with database.begin() as work:
        for pending in (PENDING, ahead, asked):
            work.revocations.save(pending, claim)
        work.revocations.redate(NOW, NOW - DAY)
    with database.read() as reading:
        dated = [(item.since, item.requested_at, item.missed_at) for item in reading.revocations.load()]
    early = NOW - DAY
    assert dated == [(early, early, early), (early, early, NOW), (NOW, NOW, None)]


def test_revocation_outlives_its_record_detached_and_ends_once(database: Database, adopt: Adopt) -> None:
    """Only those of the record that was forgotten are detached, and a namesake neither attaches nor renames them."""
    claim, other = adopt(make_managed_pat()), adopt(make_managed_pat("other"))
    theirs = replace(PENDING, authorization_id="id-theirs", name="other")
    with database.begin() as work:
        work.revocations.save(PENDING, claim)
        work.revocations.save(theirs, other)
        work.inventory.remove("npm-feed", claim)
    namesake = adopt(make_managed_pat())
    with database.begin() as work:
        work.inventory.rename("npm-feed", "feed", namesake)
    with database.begin() as work:
        assert work.revocations.load() == (PENDING, theirs)
        assert [item.is_detached for item in work.revocations.load()] == [True, False]
        assert work.revocations.end("id-theirs") is True
        assert work.revocations.end("id-old") is True
        assert work.revocations.end("id-old") is False
    with database.read() as reading:
        assert reading.revocations.load() == ()


def test_one_of_eight_threads_is_told_that_it_ended_a_revocation(database: Database, adopt: Adopt) -> None:
    claim = adopt(make_managed_pat())
    with database.begin() as work:
        work.revocations.save(PENDING, claim)

    def end(number: int) -> bool:
        with database.begin() as work:
            return work.revocations.end("id-old")

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(end, range(8))) == 1
