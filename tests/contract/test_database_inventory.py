"""The ports Inventory and LifetimeLimits, on every database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.limit import LifetimeLimit
from rotator.domain.managed_pat import Failure, ManagedPat, ManagedPatState
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.domain.rotation import RotationState
from rotator.errors import ClaimLostError, FailureKind, RotatorError, UsageError
from rotator.ports.claims import Claim
from rotator.ports.database import Database
from rotator.ports.inventory import UntrackedPat
from tests.support.records import DAY, NOW, make_managed_pat, make_pat, make_rotation

Adopt = Callable[[ManagedPat], Claim]


PENDING = PendingRevocation(
    authorization_id="id-old",
    name="npm-feed",
    account="build-bot",
    organization="contoso",
    vault="https://contoso-kv.vault.azure.net",
    secret_name="contoso-npm-feed",
    kind=RevocationKind.ROTATED,
    valid_to=NOW + DAY,
    since=NOW,
    requested_at=NOW,
)


def _make_full(pat: ManagedPat) -> ManagedPat:
    """The record with every optional field set."""
    return replace(
        pat,
        state=ManagedPatState.PAUSED,
        secret_version="v7",
        failures=3,
        retry_at=NOW + DAY,
        last_failure=Failure("denied", "the vault says no", "Grant `set`.", FailureKind.UNCONFIRMED),
        blocked=True,
        wanted_display_name="npm-publish",
        wanted_scope="vso.code",
        wanted_lifetime=DAY,
        wanted_account="release-bot",
    )


def test_inventory_load_gives_back_every_field_when_added(database: Database) -> None:
    """A record with all optional fields set, and one with none."""
    plain, full = make_managed_pat("plain"), _make_full(make_managed_pat("full"))
    with database.begin() as work:
        work.inventory.add(plain)
        work.inventory.add(full)
    with database.begin() as work:
        assert work.inventory.load("plain") == plain
        assert work.inventory.load("full") == full
        assert work.inventory.load("other") is None


def test_inventory_holds_any_number_of_records_without_a_pat(database: Database) -> None:
    """Their first one is still to be made; one gets it later, and another's secret is still refused."""
    with database.begin() as work:
        for name in ("a", "b"):
            work.inventory.add(replace(make_managed_pat(name), authorization_id=""))
        claim = work.claims.claim("a", "run", now=NOW, span=DAY)
        work.inventory.save(make_managed_pat("a"), claim)
        with pytest.raises(UsageError, match="belongs to a") as taken:
            work.inventory.add(replace(make_managed_pat("c"), authorization_id="", secret_name="contoso-a"))
        assert taken.value.code == "secret_taken"
    with database.read() as reading:
        assert [pat.authorization_id for pat in reading.inventory.load_all()] == ["id-a", ""]
        assert reading.inventory.load_by_ids([""]) == ()


def test_inventory_load_all_sorts_by_code_point_when_names_are_odd(database: Database) -> None:
    """The order does not depend on a server's locale."""
    names = ["b", "a.1", "a-1", "a_1", "a1", "0"]
    with database.begin() as work:
        for name in names:
            work.inventory.add(make_managed_pat(name))
        assert [pat.name for pat in work.inventory.load_all()] == sorted(names)


def test_inventory_load_all_is_empty_when_nothing_was_added(database: Database) -> None:
    """No record, no error."""
    with database.begin() as work:
        assert work.inventory.load_all() == ()
        assert work.inventory.load_untracked() == ()
        assert work.limits.load() == {}


_SECOND = make_managed_pat("second")


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (replace(make_managed_pat("first"), authorization_id="id-2", secret_name="s2"), "name_taken"),
        (replace(_SECOND, authorization_id="id-first"), "already_managed"),
        (replace(_SECOND, secret_name="contoso-first"), "secret_taken"),
        (replace(_SECOND, secret_name="CONTOSO-First", vault=_SECOND.vault.title() + "/"), "secret_taken"),
    ],
)
def test_inventory_add_names_the_other_record_when_something_is_taken(
    database: Database, record: ManagedPat, code: str
) -> None:
    """Name, PAT, secret, and the same secret spelled otherwise. The transaction can go on."""
    with database.begin() as work:
        work.inventory.add(make_managed_pat("first"))
        with pytest.raises(UsageError, match="first") as refused:
            work.inventory.add(record)
        assert refused.value.code == code
        assert refused.value.fix
        work.inventory.add(make_managed_pat("third"))
    with database.begin() as work:
        assert [pat.name for pat in work.inventory.load_all()] == ["first", "third"]


def test_inventory_add_accepts_the_same_id_when_the_organization_differs(database: Database) -> None:
    """Uniqueness is per organization."""
    first = make_managed_pat("first")
    second = replace(make_managed_pat("second", organization="fabrikam"), authorization_id=first.authorization_id)
    with database.begin() as work:
        work.inventory.add(first)
        work.inventory.add(second)
        assert len(work.inventory.load_all()) == 2


def test_inventory_save_replaces_all_but_the_epoch_when_claimed(database: Database, adopt: Adopt) -> None:
    """The epoch belongs to the claims."""
    pat = make_managed_pat()
    claim = adopt(pat)
    changed = replace(_make_full(pat), authorization_id="new", valid_to=NOW + 40 * DAY, epoch=99)
    with database.begin() as work:
        work.inventory.save(changed, claim)
    with database.begin() as work:
        assert work.inventory.load(pat.name) == replace(changed, epoch=claim.epoch)


def test_inventory_save_clears_the_failure_when_it_is_gone(database: Database, adopt: Adopt) -> None:
    """None overwrites."""
    pat = make_managed_pat()
    claim = adopt(_make_full(pat))
    with database.begin() as work:
        work.inventory.save(pat, claim)
        assert work.inventory.load(pat.name) == replace(pat, epoch=claim.epoch)


def test_inventory_save_is_refused_when_the_claim_was_taken_over(database: Database, adopt: Adopt) -> None:
    """A frozen run cannot write over the one that took over."""
    pat = make_managed_pat()
    stale = adopt(pat)
    with database.begin() as work:
        work.claims.claim(pat.name, "run-2", now=NOW + timedelta(minutes=6), span=timedelta(minutes=5))
    with pytest.raises(ClaimLostError), database.begin() as work:
        work.inventory.save(replace(pat, authorization_id="stale"), stale)
    with database.begin() as work:
        kept = work.inventory.load(pat.name)
        assert kept is not None
        assert kept.authorization_id == pat.authorization_id


def test_inventory_save_is_refused_when_the_claim_is_of_another_record(database: Database, adopt: Adopt) -> None:
    """A claim covers one ManagedPat."""
    claim = adopt(make_managed_pat("first"))
    adopt(make_managed_pat("second"))
    with database.begin() as work, pytest.raises(ClaimLostError):
        work.inventory.save(make_managed_pat("second"), claim)


def test_inventory_save_is_refused_when_the_record_is_gone_or_collides(database: Database, adopt: Adopt) -> None:
    """Neither a silent nothing nor two records with one secret."""
    gone, second = adopt(make_managed_pat("gone")), adopt(make_managed_pat("second"))
    with database.begin() as work:
        work.inventory.add(make_managed_pat("first"))
        work.inventory.remove("gone", gone)
        with pytest.raises(ClaimLostError, match="gone"):
            work.inventory.save(make_managed_pat("gone"), gone)
        with pytest.raises(UsageError, match="first"):
            work.inventory.save(replace(make_managed_pat("second"), authorization_id="id-first"), second)
        assert work.inventory.load("second") == replace(make_managed_pat("second"), epoch=second.epoch)


def test_inventory_remove_forgets_the_record_when_asked_twice(database: Database, adopt: Adopt) -> None:
    """The second time the claim is gone with the record."""
    claim = adopt(make_managed_pat())
    with database.begin() as work:
        work.inventory.remove("npm-feed", claim)
        with pytest.raises(ClaimLostError):
            work.inventory.remove("npm-feed", claim)
        assert work.inventory.load("npm-feed") is None
        work.inventory.add(make_managed_pat())


def test_inventory_remove_is_refused_when_the_claim_was_taken_over_or_is_of_another(
    database: Database, adopt: Adopt
) -> None:
    """Whoever was frozen beyond its lease cannot take away the record that another run works on."""
    claim, other = adopt(make_managed_pat()), adopt(make_managed_pat("other"))
    with database.begin() as work:
        work.claims.claim("npm-feed", "run-2", now=claim.expires_at, span=timedelta(minutes=5))
    with database.begin() as work:
        for stale in (claim, other):
            with pytest.raises(ClaimLostError):
                work.inventory.remove("npm-feed", stale)
        assert work.inventory.load("npm-feed") is not None


def test_inventory_rename_takes_rotations_and_pending_revocations_along(database: Database, adopt: Adopt) -> None:
    """Whatever is kept by name; the claim ends with the old name, and others keep theirs."""
    claim, other = adopt(make_managed_pat()), adopt(make_managed_pat("other"))
    closed = replace(make_rotation("r1"), state=RotationState.COMPLETED)
    with database.begin() as work:
        for rotation in (closed, make_rotation("r2")):
            work.journal.insert(rotation, claim)
        work.journal.insert(make_rotation("r3", "other"), other)
        work.revocations.save(PENDING, claim)
        work.inventory.rename("npm-feed", "feed", claim)
    with database.read() as reading:
        assert reading.inventory.load("npm-feed") is None
        record = reading.inventory.load("feed")
        assert record == replace(make_managed_pat(), name="feed", epoch=claim.epoch)
        assert {pending.record_id for pending in reading.revocations.load()} == {record.record_id}
        assert [rotation.id for rotation in reading.journal.load_for("feed")] == ["r2", "r1"]
        assert reading.journal.load_for("npm-feed") == ()
        assert [rotation.id for rotation in reading.journal.load_for("other")] == ["r3"]
        assert [pending.name for pending in reading.revocations.load()] == ["feed"]
    with database.begin() as work:
        with pytest.raises(ClaimLostError):
            work.inventory.save(make_managed_pat(), claim)
        taken = work.claims.claim("feed", "run-2", now=NOW, span=timedelta(minutes=5))
        assert taken.epoch == claim.epoch + 1


def test_inventory_rename_is_refused_when_the_name_is_taken_or_the_claim_is_gone(
    database: Database, adopt: Adopt
) -> None:
    """Nothing is changed then, not even the rotations."""
    claim, other = adopt(make_managed_pat()), adopt(make_managed_pat("other"))
    with database.begin() as work:
        work.journal.insert(make_rotation(), claim)
        with pytest.raises(UsageError, match="other"):
            work.inventory.rename("npm-feed", "other", claim)
        with pytest.raises(ClaimLostError):
            work.inventory.rename("npm-feed", "feed", other)
        assert [rotation.name for rotation in work.journal.load_open()] == ["npm-feed"]
        assert work.inventory.load("npm-feed") is not None


def test_inventory_finds_records_by_their_ids_and_names_when_there_are_many(database: Database) -> None:
    """More ids and names than one statement takes; what is not there is left out."""
    ids = [f"absent-{number}" for number in range(1200)]
    with database.begin() as work:
        for name in ("second", "first"):
            work.inventory.add(make_managed_pat(name))
    with database.read() as reading:
        found = reading.inventory.load_by_ids([*ids, "id-second", "id-first"])
        assert found == (make_managed_pat("first"), make_managed_pat("second"))
        assert reading.inventory.load_by_ids([]) == ()
        assert reading.inventory.find_names({*ids, "first"}) == {"first"}


def test_inventory_save_untracked_replaces_when_the_same_place_is_saved_again(database: Database) -> None:
    """Other accounts and organizations keep theirs; None and no target accounts stay apart."""
    everywhere, nowhere = make_pat("1", target_accounts=None), make_pat("2", target_accounts=())
    with database.begin() as work:
        work.inventory.save_untracked("bot", "contoso", (make_pat("0"),))
        work.inventory.save_untracked("bot", "fabrikam", (make_pat("3", target_accounts=("a", "b")),))
    with database.begin() as work:
        work.inventory.save_untracked("bot", "contoso", (nowhere, everywhere))
    with database.begin() as work:
        assert work.inventory.load_untracked() == (
            UntrackedPat("bot", "contoso", everywhere),
            UntrackedPat("bot", "contoso", nowhere),
            UntrackedPat("bot", "fabrikam", make_pat("3", target_accounts=("a", "b"))),
        )
        work.inventory.save_untracked("bot", "contoso", ())
        assert len(work.inventory.load_untracked()) == 1


def test_inventory_keeps_why_an_untracked_pat_waits_until_it_is_gone_or_waits_no_more(database: Database) -> None:
    """Of one place only, and never of what is not untracked there."""
    first, second = Failure("same_name", "two have it", "Choose."), Failure("occupied", "it is in use")
    with database.begin() as work:
        work.inventory.save_untracked("bot", "contoso", (make_pat("1"), make_pat("2")))
        work.inventory.save_untracked("bot", "fabrikam", (make_pat("1"),))
        work.inventory.save_waits("bot", "contoso", {"1": first, "2": second, "3": first})
        work.inventory.save_waits("bot", "fabrikam", {"1": second})
    with database.begin() as work:
        work.inventory.save_untracked("bot", "contoso", (make_pat("3"), make_pat("1")))
    with database.read() as reading:
        assert [item.waits for item in reading.inventory.load_untracked()] == [first, None, second]
    with database.begin() as work:
        work.inventory.save_waits("bot", "contoso", {"3": second})
    with database.read() as reading:
        assert [item.waits for item in reading.inventory.load_untracked()] == [None, second, second]


def test_limits_load_gives_the_newest_when_learned_twice(database: Database) -> None:
    """By account and organization, exact to the microsecond."""
    with database.begin() as work:
        work.limits.save("bot", "contoso", LifetimeLimit(30 * DAY, NOW))
        work.limits.save("bot", "contoso", LifetimeLimit(7 * DAY + timedelta(microseconds=1), NOW + DAY))
        work.limits.save("bot", "fabrikam", LifetimeLimit(DAY, NOW))
    with database.begin() as work:
        assert work.limits.load() == {
            ("bot", "contoso"): LifetimeLimit(7 * DAY + timedelta(microseconds=1), NOW + DAY),
            ("bot", "fabrikam"): LifetimeLimit(DAY, NOW),
        }


def test_limit_is_gone_when_it_was_forgotten(database: Database) -> None:
    with database.begin() as work:
        work.limits.save("bot", "contoso", LifetimeLimit(DAY, NOW))
        work.limits.save("bot", "fabrikam", LifetimeLimit(DAY, NOW))
    with database.begin() as work:
        work.limits.forget("bot", "contoso")
        work.limits.forget("bot", "unknown")
    with database.begin() as work:
        assert list(work.limits.load()) == [("bot", "fabrikam")]


def test_database_keeps_nothing_when_the_block_raises(database: Database) -> None:
    """Rolled back as a whole, and the next transaction works."""
    error = UsageError("stop")

    def stop_midway() -> None:
        with database.begin() as work:
            work.inventory.add(make_managed_pat())
            work.limits.save("bot", "contoso", LifetimeLimit(DAY, NOW))
            raise error

    with pytest.raises(RotatorError) as raised:
        stop_midway()
    assert raised.value is error
    with database.begin() as work:
        assert work.inventory.load_all() == ()
        assert work.limits.load() == {}
