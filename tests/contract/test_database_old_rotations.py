"""Old rotations, on every database: what is asked gets the same answer whether they moved or not."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.domain.managed_pat import ManagedPat
from rotator.domain.rotation import CLOSED_STATES, Rotation, RotationEnding, RotationKind, RotationState
from rotator.ports.claims import Claim
from rotator.ports.database import Database, Reading
from tests.support.records import DAY, NOW, make_managed_pat, make_rotation

Adopt = Callable[[ManagedPat], Claim]

NAMES = ("npm-feed", "docs")
IDS = [f"pat-{number}" for number in range(12)]
VERSIONS = [f"v{number}" for number in range(12)]
BOUND = NOW - 90 * DAY


def make_random(seed: int) -> list[Rotation]:
    """Rotations of two records and of elsewhere, their moments around the bound, around now and ahead."""
    chance = random.Random(seed)

    def pick_moment() -> datetime:
        return chance.choice((NOW - 400 * DAY, BOUND, NOW, NOW + 40 * DAY)) + timedelta(hours=chance.randint(-400, 0))

    def make(number: int) -> Rotation:
        began = pick_moment() if chance.random() < 0.3 else NOW - chance.randint(100, 400) * DAY
        is_old = chance.random() < 0.6

        def pick() -> datetime:
            return began if is_old else pick_moment()

        rotation = make_rotation(f"r{number:02}", chance.choice(NAMES), created_at=began)
        return replace(
            rotation,
            state=chance.choice(sorted(CLOSED_STATES)),
            kind=chance.choice(list(RotationKind)),
            ending=chance.choice((None, None, None, *RotationEnding)),
            secret_name=chance.choice((rotation.secret_name, rotation.secret_name, "elsewhere")),
            predecessor_id=chance.choice(("", *IDS)),
            predecessor_valid_to=pick(),
            new_authorization_id=chance.choice((None, *IDS)),
            new_valid_to=chance.choice((None, pick())),
            secret_version=chance.choice((None, *VERSIONS)),
            updated_at=pick(),
            sent_at=chance.choice((None, pick())),
            mint_begun_at=chance.choice((None, pick())),
            planned_valid_to=chance.choice((None, pick())),
            overlap_until=chance.choice((None, pick())),
            tried_store=chance.random() < 0.4,
            keeps_predecessor=chance.random() < 0.2,
        )

    made = [make(number) for number in range(40)]
    still_open = {rotation.name: rotation.id for rotation in made}
    return [replace(r, state=RotationState.STORED) if still_open[r.name] == r.id else r for r in made]


def ask(reading: Reading) -> dict[str, object]:
    """What the engine asks, but for what it asks of a name and of what accounts for PATs."""
    journal, named = reading.journal, [*IDS, *VERSIONS, *(f"r{number:02}" for number in range(40))]
    places = {make_managed_pat(name).place for name in NAMES} | {
        replace(make_rotation(), secret_name="elsewhere").place
    }
    return {
        "open": journal.load_open(),
        "unconfirmed": journal.load_unconfirmed(NOW),
        "sent": journal.load_sent_mints(NOW),
        "leaving": journal.load_leaving(NOW),
        "late": journal.load_late_stores(NOW - 7 * DAY),
        "planned": journal.load_planned("contoso", "docs (build)"),
        "mints": journal.count_mints(NOW - timedelta(hours=1), NOW),
        "known": journal.find_known(named),
        "traces": journal.load_traces(IDS),
        "each": [journal.load_traces([found]) for found in IDS],
        "writers": [journal.load_writers(place, named) for place in sorted(places)],
        "few": [journal.load_writers(place, [found]) for place in sorted(places) for found in named],
    }


@pytest.mark.parametrize("seed", range(6))
def test_journal_answers_the_same_when_old_rotations_moved(database: Database, adopt: Adopt, seed: int) -> None:
    """Only what accounts for no PAT and is asked of no span of time moves."""
    claims = {name: adopt(make_managed_pat(name)) for name in NAMES}
    made = make_random(seed)
    with database.begin() as work:
        for rotation in made:
            work.journal.insert(rotation, claims[rotation.name])
    with database.begin() as work:
        before, naming = ask(work), work.journal.load_naming(IDS)
        mine = {name: work.journal.load_for(name) for name in NAMES}
        first = work.journal.load_past(BOUND - 7 * DAY, BOUND, "", 3)
        past = [*first, *work.journal.load_past(BOUND - 7 * DAY, BOUND, first[-1].id, 40)]
        moved = {trace.id for trace in past}
        assert len(first) == 3
        assert work.journal.archive(moved) == len(moved) == len(past)
    with database.read() as reading:
        assert ask(reading) == before
        assert reading.journal.load_naming(IDS) == tuple(r for r in naming if r.id not in moved)
        for name in NAMES:
            assert reading.journal.load_for(name) == tuple(r for r in mine[name] if r.id not in moved)
        assert reading.journal.load_past(BOUND - 7 * DAY, BOUND, "", 40) == ()
    for rotation in made:
        is_left = rotation.is_open or rotation.leaves_pats
        changes = (rotation.created_at, rotation.updated_at, rotation.sent_at, rotation.mint_begun_at)
        ends = (rotation.predecessor_valid_to, rotation.new_valid_to, rotation.planned_valid_to, rotation.overlap_until)
        is_past = all(at is None or at < BOUND - 7 * DAY for at in changes) and all(
            at is None or at < BOUND for at in ends
        )
        assert (rotation.id in moved) == (is_past and not is_left), rotation


def test_journal_keeps_both_or_none_when_the_transaction_of_a_move_ends(database: Database, adopt: Adopt) -> None:
    """Killed before COMMIT, the rotation is where it was, once."""
    done = replace(make_rotation(), state=RotationState.COMPLETED)
    claim = adopt(make_managed_pat())
    with database.begin() as work:
        work.journal.insert(done, claim)
    with suppress(ZeroDivisionError), database.begin() as work:
        assert work.journal.archive([done.id]) == 1
        raise ZeroDivisionError
    with database.begin() as work:
        assert work.journal.load_for("npm-feed") == (done,)
        assert len(work.journal.load_traces([done.predecessor_id])) == 1
        assert work.journal.archive([done.id, "nobody"]) == 1
        assert work.journal.archive([done.id]) == 0
    with database.read() as reading:
        assert reading.journal.load_for("npm-feed") == ()
        assert [trace.id for trace in reading.journal.load_traces([done.predecessor_id])] == [done.id]


def test_journal_has_a_rotation_once_when_an_old_one_is_entered_again(database: Database, adopt: Adopt) -> None:
    """A rebuild finds in the vault that it wrote, and may know better; it may then become old again."""
    claim, done = adopt(make_managed_pat()), replace(make_rotation(), state=RotationState.ABANDONED)
    wrote = replace(done, state=RotationState.COMPLETED, predecessor_id="another", secret_version="v1")
    with database.begin() as work:
        work.journal.enter(done, claim)
        work.journal.archive([done.id])
        work.journal.enter(wrote, claim)
        assert work.journal.load_for("npm-feed") == (wrote,)
        assert work.journal.load_traces([done.predecessor_id]) == ()
        changed = replace(wrote, tried_store=True)
        work.journal.enter(changed, claim)
        assert work.journal.load_for("npm-feed") == (changed,)
        work.journal.archive([done.id])
        [trace] = work.journal.load_writers(done.place, ["v1"])
        assert (trace.id, trace.tried_store) == (done.id, True)
