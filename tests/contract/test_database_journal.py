"""The port Journal, on every database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.rotation import CLOSED_STATES, RotationEnding, RotationState
from rotator.errors import ClaimHeldError, ClaimLostError, DatabaseError, FailureKind
from rotator.ports.claims import Claim
from rotator.ports.database import Database
from tests.support.records import DAY, NOW, make_managed_pat, make_rotation

Adopt = Callable[[ManagedPat], Claim]


@pytest.fixture
def claim(adopt: Adopt) -> Claim:
    """The current claim on `npm-feed`."""
    return adopt(make_managed_pat())


def test_journal_load_gives_back_every_field_when_saved(database: Database, claim: Claim) -> None:
    """As inserted, and as saved with every optional field set."""
    planned = make_rotation()
    full = replace(
        planned,
        state=RotationState.STORING,
        updated_at=NOW + timedelta(seconds=1),
        planned_valid_to=NOW + 30 * DAY,
        known_ids=("b", "a", "ü"),
        sent_at=NOW,
        mint_begun_at=NOW,
        new_authorization_id="new",
        new_valid_from=NOW,
        new_valid_to=NOW + 29 * DAY,
        secret_version="v1",
        overlap_until=NOW + DAY,
        failure=Failure("x", "y", kind=FailureKind.EXPLAINED_LOSS),
        tried_store=True,
        predecessor_account="release-bot",
    )
    with database.begin() as work:
        work.journal.insert(planned, claim)
    with database.begin() as work:
        assert work.journal.load_open() == (planned,)
        work.journal.save(full, claim)
    with database.begin() as work:
        assert work.journal.load_open() == (full,)


def test_journal_insert_is_refused_when_another_rotation_is_open(database: Database, claim: Claim) -> None:
    """One open rotation per ManagedPat; the transaction can go on."""
    with database.begin() as work:
        work.journal.insert(make_rotation("r1"), claim)
        with pytest.raises(ClaimHeldError, match="r1"):
            work.journal.insert(make_rotation("r2"), claim)
        assert [rotation.id for rotation in work.journal.load_open()] == ["r1"]


@pytest.mark.parametrize("state", sorted(CLOSED_STATES))
def test_journal_insert_is_accepted_when_the_other_one_is_closed(
    database: Database, claim: Claim, state: RotationState
) -> None:
    """The partial index knows every closed state; reopening the old one is refused then."""
    with database.begin() as work:
        work.journal.insert(make_rotation("r1"), claim)
        work.journal.save(replace(make_rotation("r1"), state=state), claim)
        work.journal.insert(make_rotation("r2"), claim)
        assert [rotation.id for rotation in work.journal.load_open()] == ["r2"]
        with pytest.raises(ClaimHeldError, match="r2"):
            work.journal.save(make_rotation("r1"), claim)


@pytest.mark.parametrize("state", sorted(set(RotationState) - CLOSED_STATES))
def test_journal_insert_is_refused_when_the_other_one_is_in_any_open_state(
    database: Database, claim: Claim, state: RotationState
) -> None:
    """The partial index knows every open state."""
    with database.begin() as work:
        work.journal.insert(replace(make_rotation("r1"), state=state), claim)
        with pytest.raises(ClaimHeldError):
            work.journal.insert(make_rotation("r2"), claim)


def test_journal_insert_is_refused_when_the_id_exists(database: Database, claim: Claim) -> None:
    """A closed rotation is never replaced by an insert."""
    with database.begin() as work:
        work.journal.insert(replace(make_rotation(), state=RotationState.FAILED), claim)
        with pytest.raises(DatabaseError) as refused:
            work.journal.insert(make_rotation(), claim)
    assert refused.value.code == "database_constraint"


def test_journal_write_is_refused_when_the_claim_was_taken_over(database: Database, claim: Claim) -> None:
    """Insert and save; nothing of the transaction is kept."""
    with database.begin() as work:
        work.journal.insert(make_rotation(), claim)
        work.claims.claim("npm-feed", "run-2", now=claim.expires_at, span=timedelta(minutes=5))
    with database.begin() as work:
        with pytest.raises(ClaimLostError):
            work.journal.save(replace(make_rotation(), rule="stale"), claim)
        with pytest.raises(ClaimLostError):
            work.journal.insert(make_rotation("r2"), claim)
    with database.begin() as work:
        assert work.journal.load_open() == (make_rotation(),)


def test_journal_write_is_refused_when_the_claim_was_released_or_the_record_removed(
    database: Database, claim: Claim
) -> None:
    """A claim given back is no claim."""
    with database.begin() as work:
        work.claims.release(claim)
        with pytest.raises(ClaimLostError):
            work.journal.insert(make_rotation(), claim)
        again = work.claims.claim("npm-feed", "run-2", now=claim.expires_at, span=timedelta(minutes=5))
        work.inventory.remove("npm-feed", again)
        with pytest.raises(ClaimLostError):
            work.journal.insert(make_rotation(), claim)


def test_journal_write_is_refused_when_the_claim_is_of_another_record(
    database: Database, claim: Claim, adopt: Adopt
) -> None:
    """Both are claimed by the same run with the same epoch, and still are two."""
    adopt(make_managed_pat("other"))
    with database.begin() as work, pytest.raises(ClaimLostError):
        work.journal.insert(make_rotation("r1", "other"), claim)


def test_journal_save_is_refused_when_the_rotation_is_unknown(database: Database, claim: Claim) -> None:
    """No silent nothing."""
    with database.begin() as work, pytest.raises(DatabaseError) as refused:
        work.journal.save(make_rotation(), claim)
    assert refused.value.code == "rotation_unknown"


def test_journal_load_for_gives_the_newest_first_when_there_are_several(database: Database, claim: Claim) -> None:
    """`since` includes its own moment."""
    done = [
        replace(make_rotation(f"r{day}", created_at=NOW + day * DAY), state=RotationState.COMPLETED) for day in range(3)
    ]
    with database.begin() as work:
        for rotation in done:
            work.journal.insert(rotation, claim)
        assert work.journal.load_for("npm-feed") == tuple(reversed(done))
        assert work.journal.load_for("npm-feed", since=NOW + DAY) == (done[2], done[1])
        assert work.journal.load_for("npm-feed", since=NOW + 3 * DAY) == ()
        assert work.journal.load_for("other") == ()


def test_journal_keeps_rotations_when_the_record_is_removed(database: Database, claim: Claim) -> None:
    """They prove what we minted."""
    with database.begin() as work:
        work.journal.insert(replace(make_rotation(), new_authorization_id="minted"), claim)
        work.inventory.remove("npm-feed", claim)
    with database.begin() as work:
        (kept,) = work.journal.load_naming(["minted"])
        assert (kept.name, kept.has_record) == ("npm-feed", False)


@pytest.mark.parametrize("besides", [0, 2, 1200], ids=lambda number: f"{number} others named")
def test_journal_finds_the_open_writer_of_a_secret_and_those_that_are_named(
    database: Database, claim: Claim, besides: int
) -> None:
    """Each once, the newest first, however many are named that are not there."""
    done = replace(make_rotation("done"), state=RotationState.COMPLETED)
    opened = make_rotation("open", created_at=NOW + DAY)
    with database.begin() as work:
        work.journal.insert(done, claim)
        work.journal.insert(opened, claim)
        others = [f"other-{number}" for number in range(besides)]
        assert [writer.id for writer in work.journal.load_writers(done.place, others)] == ["open"]
        both = [*others, "open", "done"]
        assert [writer.id for writer in work.journal.load_writers(done.place, both)] == ["open", "done"]


def test_journal_keeps_the_rotations_of_two_records_apart_when_they_have_one_name_after_another(
    database: Database, claim: Claim, adopt: Adopt
) -> None:
    """What a secret holds, either may have written. A rotation of no record may be taken into one again, by a save."""
    done = replace(make_rotation("old"), state=RotationState.FAILED)
    elsewhere = replace(done, id="elsewhere", vault="https://OTHER.vault.azure.net/")
    with database.begin() as work:
        work.journal.insert(done, claim)
        work.journal.insert(elsewhere, claim)
        work.inventory.remove("npm-feed", claim)
    namesake = adopt(make_managed_pat())
    newer = replace(make_rotation("new", created_at=NOW + DAY), state=RotationState.COMPLETED)
    with database.begin() as work:
        work.journal.insert(newer, namesake)
        record = work.inventory.load("npm-feed")
        assert record is not None
        (mine,) = work.journal.load_for("npm-feed")
        assert (mine, mine.record_id, mine.is_of("npm-feed")) == (newer, record.record_id, True)
        assert [(r.id, r.is_of("npm-feed")) for r in work.journal.load_leaving(NOW)] == [
            ("elsewhere", False), ("old", False),
        ]  # fmt: skip
        ids = [rotation.id for rotation in (newer, done, elsewhere)]
        assert [writer.id for writer in work.journal.load_writers(record.place, ids)] == [newer.id, done.id]
        assert [writer.id for writer in work.journal.load_writers(elsewhere.place, ids)] == [elsewhere.id]
        work.journal.save(done, namesake)
        assert work.journal.load_for("npm-feed") == (newer, done)


def test_journal_save_is_refused_when_the_rotation_is_another_records(
    database: Database, claim: Claim, adopt: Adopt
) -> None:
    other = adopt(make_managed_pat("other"))
    with database.begin() as work:
        work.journal.insert(make_rotation(), claim)
        with pytest.raises(DatabaseError, match="no rotation r1"):
            work.journal.save(make_rotation(name="other"), other)


def test_open_rotation_is_taken_over_when_a_record_of_its_name_is_added(
    database: Database, claim: Claim, adopt: Adopt
) -> None:
    """So that somebody finishes it; a closed one stays without a record."""
    with database.begin() as work:
        work.journal.insert(make_rotation(), claim)
        work.journal.insert(replace(make_rotation("closed"), state=RotationState.FAILED), claim)
        work.inventory.remove("npm-feed", claim)
        assert [rotation.has_record for rotation in work.journal.load_open()] == [False]
    adopt(make_managed_pat())
    with database.read() as reading:
        assert [rotation.id for rotation in reading.journal.load_for("npm-feed")] == ["r1"]


def test_journal_counts_mints_when_begun_after_the_moment_asked_for(database: Database, claim: Claim) -> None:
    """Open, closed and of forgotten records alike; a rotation that asked for nothing does not count."""
    later = NOW + timedelta(microseconds=1)
    begun = replace(make_rotation("after"), state=RotationState.ABANDONED, mint_begun_at=later)
    others = (
        replace(begun, id="at", mint_begun_at=NOW),
        replace(begun, id="unsent", mint_begun_at=None),
        replace(begun, id="open", state=RotationState.MINTING),
    )
    with database.begin() as work:
        for rotation in (begun, *others):
            work.journal.insert(rotation, claim)
        work.inventory.remove("npm-feed", claim)
    with database.begin() as work:
        assert work.journal.count_mints(NOW, NOW + DAY) == 2
        assert work.journal.count_mints(NOW - timedelta(microseconds=1), NOW + DAY) == 3
        assert work.journal.count_mints(NOW + DAY, NOW + 2 * DAY) == 0


def test_journal_lock_lets_no_more_mints_begin_than_allowed_when_eight_threads_try(
    database: Database, adopt: Adopt
) -> None:
    """What was counted under the lock stays true until the commit."""
    claims = [adopt(make_managed_pat(f"pat-{number}")) for number in range(8)]
    together = threading.Barrier(8)

    def begin(claim: Claim) -> bool:
        together.wait(timeout=30)
        with database.begin() as work:
            is_free = work.journal.lock_mints(NOW - DAY, NOW + DAY) < 3
            if is_free:
                work.journal.insert(replace(make_rotation(claim.name, claim.name), mint_begun_at=NOW), claim)
        return is_free

    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(begin, claims))
    assert begun.count(True) == 3


def test_journal_load_unconfirmed_finds_closed_mints_when_they_may_still_land(database: Database, claim: Claim) -> None:
    """Closed, sent, without a known PAT, and the planned expiry is still ahead."""
    lost = replace(make_rotation("lost"), state=RotationState.ABANDONED, sent_at=NOW, planned_valid_to=NOW + DAY)
    others = (
        replace(lost, id="unsent", sent_at=None),
        replace(lost, id="known", new_authorization_id="n"),
        replace(lost, id="expired", planned_valid_to=NOW),
        replace(lost, id="unplanned", planned_valid_to=None),
        replace(lost, id="open", state=RotationState.MINTING),
    )
    failed = replace(lost, id="failed", state=RotationState.FAILED, created_at=NOW + DAY)
    with database.begin() as work:
        for rotation in (failed, lost, *others):
            work.journal.insert(rotation, claim)
        assert work.journal.load_unconfirmed(NOW) == (lost, failed)


def test_journal_load_late_stores_finds_unanswered_writes_when_nobody_waits_for_them(
    database: Database, claim: Claim
) -> None:
    """Of rotations that are over or being given up, changed at or after the moment asked for; not of frozen ones.

    And the value of a clone that was revoked outside, whose write was answered; and of a frozen one's, by us.
    """
    late = replace(make_rotation("late"), state=RotationState.ABANDONED, tried_store=True, updated_at=NOW + DAY)
    lost, revoked = RotationEnding.CLONE_LOST, RotationEnding.CLONE_REVOKED
    found = (
        late,
        replace(late, id="later", created_at=NOW + DAY),
        replace(late, id="lost", state=RotationState.FAILED, ending=lost, tried_store=False, created_at=NOW + 2 * DAY),
        replace(late, id="over", state=RotationState.COMPLETED, created_at=NOW + 3 * DAY),
        replace(late, id="revoked", state=RotationState.FAILED, ending=revoked, created_at=NOW + 4 * DAY),
    )
    others = (
        replace(late, id="before", updated_at=NOW + DAY - timedelta(microseconds=1)),
        replace(late, id="answered", tried_store=False),
        replace(late, id="frozen", state=RotationState.FAILED, failure=Failure("foreign_write", "x")),
        replace(late, id="failed", state=RotationState.FAILED),
        replace(late, id="unwritten", state=RotationState.FAILED, ending=revoked, tried_store=False),
        replace(late, id="waits", state=RotationState.STORING),
    )
    with database.begin() as work:
        for rotation in (*reversed(found), *others):
            work.journal.insert(rotation, claim)
        assert work.journal.load_late_stores(NOW + DAY) == found
        work.journal.save(replace(others[-1], state=RotationState.ABANDONING), claim)
        assert [rotation.id for rotation in work.journal.load_late_stores(NOW + DAY)] == [
            "late",
            "waits",
            "later",
            "lost",
            "over",
            "revoked",
        ]


def test_journal_note_revoked_notes_it_of_failed_rotations_whose_write_has_no_answer(
    database: Database, adopt: Adopt
) -> None:
    """Of any record, forgotten ones too; and nothing else of them changes."""
    frozen = replace(make_rotation("frozen"), state=RotationState.FAILED, tried_store=True, new_authorization_id="n")
    noted = replace(frozen, ending=RotationEnding.CLONE_REVOKED, updated_at=NOW + DAY)
    others = (
        replace(frozen, id="abandoned", state=RotationState.ABANDONED),
        replace(frozen, id="another", new_authorization_id="m"),
        replace(frozen, id="answered", tried_store=False),
        replace(frozen, id="lost", ending=RotationEnding.CLONE_LOST),
    )
    mine, theirs = adopt(make_managed_pat(frozen.name)), adopt(make_managed_pat("other"))
    with database.begin() as work:
        for rotation in (frozen, *others):
            work.journal.insert(rotation, mine)
        work.inventory.remove(frozen.name, mine)
        work.journal.note_revoked("n", NOW + DAY, theirs)
    with database.begin() as work:
        shown = {found.id: found for found in work.journal.load_naming(["n", "m"])}
        assert shown == {"frozen": noted, **{other.id: other for other in others}}
        assert not shown["frozen"].has_record
        work.journal.note_revoked("n", NOW + 2 * DAY, theirs)
        assert {r.updated_at for r in work.journal.load_naming(["n"]) if r.id == "frozen"} == {NOW + 2 * DAY}
    with pytest.raises(ClaimLostError), database.begin() as work:
        work.journal.note_revoked("n", NOW, replace(theirs, epoch=theirs.epoch - 1))


def test_journal_redate_dates_anew_what_was_changed_later_and_no_more(database: Database, adopt: Adopt) -> None:
    """Of the claimed record and of forgotten ones, and of no other."""
    changed = replace(make_rotation("changed"), state=RotationState.FAILED, updated_at=NOW)
    ahead = replace(changed, id="ahead", updated_at=NOW + timedelta(microseconds=1), created_at=NOW + DAY)
    claim, other = adopt(make_managed_pat(changed.name)), adopt(make_managed_pat("other"))
    with database.begin() as work:
        for rotation in (changed, ahead):
            work.journal.insert(rotation, claim)
        work.journal.redate(NOW, NOW - DAY, other)
        assert work.journal.load_naming([changed.predecessor_id]) == (changed, ahead)
        work.inventory.remove(changed.name, claim)
        work.journal.redate(NOW, NOW - DAY, other)
        with pytest.raises(ClaimLostError):
            work.journal.redate(NOW, NOW, claim)
    with database.read() as reading:
        assert reading.journal.load_naming([changed.predecessor_id]) == (changed, replace(ahead, updated_at=NOW - DAY))


def test_journal_load_leaving_finds_what_failed_or_kept_its_predecessor_the_oldest_first(
    database: Database, adopt: Adopt
) -> None:
    """Of every record, forgotten ones too, with all that they say."""
    failure = Failure("foreign_write", "somebody else wrote it", "find out who")
    first = replace(make_rotation("z", created_at=NOW), state=RotationState.FAILED, failure=failure)
    second = replace(make_rotation("y", "other", created_at=NOW + DAY), state=RotationState.FAILED)
    third = replace(make_rotation("x", created_at=NOW + DAY), state=RotationState.FAILED, new_authorization_id="n")
    others = [
        replace(make_rotation(state.value), state=state)
        for state in (RotationState.ABANDONED, RotationState.COMPLETED, RotationState.ABANDONING)
    ]
    kept = replace(others[1], id="kept", keeps_predecessor=True, created_at=NOW + 2 * DAY)
    others.append(replace(others[0], id="gave up", keeps_predecessor=True))
    claim, other = adopt(make_managed_pat()), adopt(make_managed_pat("other"))
    with database.begin() as work:
        assert work.journal.load_leaving(NOW) == ()
        work.journal.insert(second, other)
        for rotation in (third, first, kept, *others):
            work.journal.insert(rotation, claim)
        assert work.journal.load_leaving(NOW) == (first, third, second, kept)
        work.inventory.remove("npm-feed", claim)
    with database.begin() as work:
        assert [rotation.id for rotation in work.journal.load_leaving(NOW)] == ["z", "x", "y", "kept"]
        assert work.journal.load_leaving(first.predecessor_valid_to) == ()


def test_journal_load_leaving_finds_no_rotation_whose_pats_have_expired(database: Database, claim: Claim) -> None:
    failed = replace(make_rotation(), state=RotationState.FAILED, new_valid_to=NOW + 20 * DAY)
    with database.begin() as work:
        work.journal.insert(failed, claim)
        assert work.journal.load_leaving(NOW + 15 * DAY) == (failed,)
        assert work.journal.load_leaving(NOW + 20 * DAY) == ()


def test_journal_load_planned_finds_the_expiries_that_open_rotations_of_one_display_name_asked_for(
    database: Database, claim: Claim, adopt: Adopt
) -> None:
    other = adopt(make_managed_pat("other"))
    mine = replace(make_rotation(), display_name="ci", planned_valid_to=NOW + DAY)
    others = [
        replace(mine, id="closed", state=RotationState.COMPLETED, planned_valid_to=NOW + 2 * DAY),
        replace(mine, id="elsewhere", name="other", organization="fabrikam", planned_valid_to=NOW + 3 * DAY),
    ]
    with database.begin() as work:
        work.journal.insert(mine, claim)
        work.journal.insert(others[0], claim)
        work.journal.insert(others[1], other)
        assert work.journal.load_planned("contoso", "ci") == {NOW + DAY}
        assert work.journal.load_planned("contoso", "deploy") == frozenset()


def test_journal_finds_known_rotations_when_their_record_is_another_or_gone(database: Database, adopt: Adopt) -> None:
    claim, other = adopt(make_managed_pat()), adopt(make_managed_pat("other"))
    with database.begin() as work:
        work.journal.insert(make_rotation("x"), claim)
        work.journal.insert(make_rotation("y", "other"), other)
        work.inventory.remove("npm-feed", claim)
    with database.read() as reading:
        assert reading.journal.find_known(["x", "y", "z"]) == {"x", "y"}
        assert reading.journal.find_known([]) == frozenset()


def test_journal_finds_what_names_a_pat_and_what_sent_a_mint_when_open_or_closed(
    database: Database, adopt: Adopt
) -> None:
    """By either id, in every state; a mint counts until its PAT is known or its planned expiry has passed."""
    sent = replace(make_rotation("s"), state=RotationState.MINTING, sent_at=NOW, planned_valid_to=NOW + 9 * DAY)
    lost = replace(sent, id="l", state=RotationState.ABANDONED, created_at=NOW + DAY)
    others = (
        replace(lost, id="expired", planned_valid_to=NOW),
        replace(lost, id="known", new_authorization_id="clone"),
        replace(lost, id="unsent", sent_at=None),
        replace(lost, id="of-another", predecessor_id="clone", planned_valid_to=None),
    )
    claim = adopt(make_managed_pat())
    with database.begin() as work:
        for rotation in (lost, sent, *others):
            work.journal.insert(rotation, claim)
    with database.read() as reading:
        assert reading.journal.load_sent_mints(NOW) == (sent, lost)
        assert [r.id for r in reading.journal.load_naming(["clone", "nobody"])] == ["known", "of-another"]
        assert len(reading.journal.load_naming({sent.predecessor_id})) == 5
        assert reading.journal.load_naming([]) == ()


def test_journal_load_open_is_ordered_by_age_when_there_are_several(database: Database, adopt: Adopt) -> None:
    """The oldest first, whatever the names."""
    for age, name in enumerate(["b", "c", "a"]):
        claim = adopt(make_managed_pat(name))
        with database.begin() as work:
            work.journal.insert(make_rotation(f"r-{name}", name, created_at=NOW + age * DAY), claim)
    with database.begin() as work:
        assert [rotation.name for rotation in work.journal.load_open()] == ["b", "c", "a"]
