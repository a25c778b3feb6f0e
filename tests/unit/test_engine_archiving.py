"""Which events may go into an archive, and what keeps the others in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.domain.anchor import make_gap_statement
from rotator.domain.audit_event import AuditEntry, Detail
from rotator.domain.checkpoint import make_key_id
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.delivery import Receiver
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.engine.anchoring import fetch_anchors
from rotator.engine.archives import load_archives
from rotator.engine.archiving import ArchivePlan, plan_archive, write_archive
from rotator.engine.auditing import load_events, record_policy
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext, Trust
from rotator.engine.gaps import accept_gap
from rotator.engine.log_checking import check_log, verify_log
from rotator.engine.newcomers import refuse_past
from rotator.engine.run import run_once
from rotator.engine.sealing import sealed
from rotator.errors import AuditChainError, UsageError
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, VAULT, EngineWorld, make_world
from tests.support.records import make_entry, make_rotation

KEY = Ed25519Signer(make_signing_key())
TRUST = Trust((KEY.public_key,), is_signed)
HOUR = timedelta(hours=1)
GONE = "id-of-long-ago"


class MemoryFile:
    """Port ArchiveFile."""

    name = "/archives/old"

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, lines: Iterable[bytes]) -> None:
        """See the port."""
        self.lines = list(lines)

    def read(self) -> Iterator[bytes]:
        """See the port."""
        return iter(self.lines)


def make_run(world: EngineWorld) -> RunContext:
    """A run with a key."""
    return world.make_run(replace(world.make_services(), signer=KEY, trust=TRUST))


def append(world: EngineWorld, entry: AuditEntry) -> None:
    """An event of now, and a checkpoint after it; then an hour passes."""
    with world.database.begin() as work:
        work.audit.append(entry, world.clock.now())
    seal(make_run(world), timedelta(0))
    world.clock.advance(HOUR)


def make_old(count: int = 9) -> EngineWorld:
    """A world with one event an hour, and a month later."""
    world = make_world()
    for _ in range(count):
        append(world, make_entry())
    world.clock.advance(timedelta(days=30))
    return world


def plan(world: EngineWorld, age: timedelta = timedelta(0)) -> ArchivePlan:
    """What would go of what is older than that."""
    return plan_archive(make_run(world), world.clock.now() - age)


def test_what_happened_before_the_time_goes_and_not_the_last_week() -> None:
    world = make_old()
    append(world, make_entry())
    assert (plan(world).first, plan(world).last) == (1, 9)
    assert "weekly digest" in plan(world).limit.why
    assert plan(world, timedelta(days=30) + 6 * HOUR + timedelta(minutes=30)).last == 4
    nothing = plan(world, timedelta(days=60))
    assert (nothing.first, nothing.last, nothing.limit.last) == (None, None, 0)


def _add_receiver(world: EngineWorld) -> None:
    with world.database.begin() as work:
        work.outbox.save_receiver(Receiver("ops", 6, world.clock.now()))
        work.outbox.save_receiver(Receiver("new", 9, world.clock.now()))


def _add_rotation(world: EngineWorld) -> None:
    with world.database.begin() as work:
        now = world.clock.now()
        claim = work.claims.claim(NAME, "run-9", now=now, span=HOUR)
        work.journal.insert(make_rotation(name=NAME, created_at=_find_moment(world, 7)), claim)


def _add_condition(world: EngineWorld) -> None:
    with world.database.begin() as work:
        work.conditions.begin(Condition(ConditionKind.VAULT_DOWN, "https://v", _find_moment(world, 7)))


def _add_pending(world: EngineWorld) -> None:
    since = _find_moment(world, 7)
    pending = PendingRevocation(
        authorization_id="id-1",
        name=NAME,
        account=ACCOUNT,
        organization=ORGANIZATION,
        vault=VAULT,
        secret_name="s",
        kind=RevocationKind.ROTATED,
        valid_to=since + timedelta(days=90),
        since=since,
        requested_at=since,
        requests=1,
    )
    with world.database.begin() as work:
        claim = work.claims.claim(NAME, "run-9", now=world.clock.now(), span=HOUR)
        work.revocations.save(pending, claim)


def _find_moment(world: EngineWorld, number: int) -> datetime:
    with world.database.read() as reading:
        event = reading.audit.load(number)
    assert event is not None
    return event.occurred_at


KEEPERS: dict[str, tuple[Callable[[EngineWorld], None], str]] = {
    "receiver": (_add_receiver, "ops has not heard of them"),
    "open rotation": (_add_rotation, f"a rotation of {NAME} is open"),
    "condition": (_add_condition, "vault_down lasts for https://v"),
    "pending revocation": (_add_pending, f"a revocation of {NAME} is not proven"),
}


@pytest.mark.parametrize(("add", "why"), KEEPERS.values(), ids=KEEPERS)
def test_what_is_still_needed_stays(add: Callable[[EngineWorld], None], why: str) -> None:
    world = make_old()
    add(world)
    assert (plan(world).last, plan(world).limit.why) == (6, why)


def test_revocation_that_was_begun_of_a_pat_in_use_stays() -> None:
    world = make_world()
    with world.database.read() as reading:
        pat = reading.inventory.load(NAME)
    assert pat is not None
    for number in range(9):
        found = pat.authorization_id if number == 4 else f"id-{number}"
        entry = make_entry("revoke_started", NAME)
        append(world, replace(entry, details={"authorization_id": found}))
    world.clock.advance(timedelta(days=30))
    assert (plan(world).last, plan(world).limit.why) == (4, f"the revocation of {NAME} is among them")


def test_nothing_goes_without_a_key_or_a_signed_checkpoint() -> None:
    world = make_old()
    with pytest.raises(UsageError, match="no key"):
        plan_archive(world.make_run(), world.clock.now())
    unsigned = make_world()
    with unsigned.database.begin() as work:
        work.audit.append(make_entry(), unsigned.clock.now())
    unsigned.clock.advance(timedelta(days=1))
    seal(unsigned.make_run(), timedelta(0))
    with unsigned.database.begin() as work:
        work.audit.append(make_entry(), unsigned.clock.now())
    seal(make_run(unsigned), timedelta(0))
    unsigned.clock.advance(timedelta(days=30))
    assert plan(unsigned, timedelta(days=30, hours=12)).last is None
    assert plan(unsigned).last == 2


def test_what_is_needed_for_ever_is_found_after_it_was_archived() -> None:
    """The policy that is in force, whom a person forgot, what the log has been given to vaults, and what it lacks."""
    world, old = make_world(), Ed25519Signer(make_signing_key())
    before = world.make_run(replace(world.make_services(), signer=old, trust=Trust((old.public_key,), is_signed)))
    record_policy(before)
    seal(before, timedelta(0))
    changing = make_run(world)
    seal(replace(changing, services=replace(changing.services, old_signers=(old,))), timedelta(0))
    gap = {"missing": "v", "installation": "i", "key": make_key_id(KEY.public_key)}
    kept: tuple[tuple[str, dict[str, Detail]], ...] = (
        ("pat_forgotten", {"authorization_id": GONE}),
        ("log_anchored", {"secret_name": "s", "secret_version": "v", "size": 1}),
        ("gap_accepted", {**gap, "signature": KEY.sign(make_gap_statement("i", ["v"]))}),
        ("rotation_planned", {}),
    )
    for name, details in kept:
        append(world, replace(make_entry(name), details=details))
    world.clock.advance(timedelta(days=30))
    file = MemoryFile()
    assert write_archive(make_run(world), plan(world), file).deleted == 1
    record_policy(make_run(world))
    with world.database.read() as reading:
        assert refuse_past(reading, [GONE]).keys() == {GONE}
    names = [event.entry.event for event in load_events(world.database)]
    assert names == [
        "policy_changed",
        "signing_key_changed",
        "pat_forgotten",
        "log_anchored",
        "gap_accepted",
        "log_archived",
    ]
    assert check_log(world.database, (), TRUST, world.clock.now(), (), [file]).archives.missing == ()


def test_second_archive_begins_where_the_first_ends() -> None:
    world = make_old()
    first, second = MemoryFile(), MemoryFile()
    write_archive(make_run(world), plan(world, timedelta(days=30, hours=4)), first)
    write_archive(make_run(world), plan(world), second)
    named = load_archives(world.database, TRUST).named
    assert [(found.first, found.last) for found in named] == [(1, 5), (6, 9)]
    assert check_log(world.database, (), TRUST, world.clock.now(), (), [second, first]).events == 11


def test_forged_statement_keeps_nobody_from_making_an_archive() -> None:
    """Once a person has accepted it: the next archive follows the last true one."""
    world = make_old()
    first, second = MemoryFile(), MemoryFile()
    write_archive(make_run(world), plan(world, timedelta(days=30, hours=4)), first)
    true = list(load_events(world.database))[-1].entry
    with world.database.begin() as work:
        work.audit.append(true, world.clock.now())
        work.audit.append(replace(true, details={}), world.clock.now())
    with pytest.raises(AuditChainError, match=r"log_archived, is forged: .* does not follow the one before it"):
        plan(world)
    assert [key.split(":")[0] for key in accept_gap(make_run(world))] == ["forged", "forged"]
    write_archive(make_run(world), plan(world), second)
    summary = check_log(world.database, (), TRUST, world.clock.now(), (), [second, first])
    assert ([found.last for found in summary.archives.named], len(summary.forged)) == ([5, 9], 2)


def test_archive_of_a_key_that_was_lost_is_believed_by_its_public_half() -> None:
    """The next one is signed with the new key, and belongs to the same installation."""
    world, new = make_old(), Ed25519Signer(make_signing_key())
    first, second = MemoryFile(), MemoryFile()
    write_archive(make_run(world), plan(world, timedelta(days=30, hours=4)), first)
    both = Trust((new.public_key, KEY.public_key), is_signed)
    run = world.make_run(replace(world.make_services(), signer=new, trust=both))
    write_archive(run, plan_archive(run, world.clock.now()), second)
    files = [first, second]
    assert check_log(world.database, (), both, world.clock.now(), (), files).archives.missing == ()
    assert check_log(world.database, (), Trust((new.public_key,), is_signed), world.clock.now(), (), files).changes
    with pytest.raises(AuditChainError, match="which the settings do not name"):
        check_log(world.database, (), TRUST, world.clock.now(), (), files)


def test_what_the_vaults_hold_of_archived_events_is_no_gap() -> None:
    """The heads beside the secret, and our own anchors, which are compared with the checkpoints."""
    world = make_world()
    for _ in range(2):
        run = replace(make_run(world), services=replace(make_run(world).services, anchors_in_vaults=True))
        sealed(run_once, looks=True)(run)
        world.clock.advance(timedelta(days=2))
    world.clock.advance(timedelta(days=8))
    found = plan(world)
    assert write_archive(make_run(world), found, MemoryFile()).deleted > 5
    sight = fetch_anchors(make_run(world))
    archives = load_archives(world.database, TRUST)
    assert {anchor.is_own for anchor in sight.anchors if archives.covers(anchor.sequence)} == {False, True}
    assert verify_log(world.database, sight, TRUST, world.clock.now())[0].archives.last == found.last
    assert accept_gap(make_run(world)) == []
    lost = replace(next(anchor for anchor in sight.anchors if anchor.is_own), hash="0" * 64)
    with pytest.raises(AuditChainError, match="has other content now"):
        verify_log(world.database, replace(sight, anchors=(lost,)), TRUST, world.clock.now())
