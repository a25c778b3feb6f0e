"""Another key signs the audit log: the old key says so, and who knows one of them can check all of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.domain.anchor import make_gap_statement
from rotator.domain.checkpoint import make_key_id
from rotator.domain.clocks import AUDIT_LOG
from rotator.domain.events.anchors import GapAccepted, SigningKeyChanged
from rotator.domain.key_change import KeyChange, read_key_change
from rotator.engine.auditing import Author, load_events, record
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext, Trust
from rotator.engine.gaps import load_accepted
from rotator.engine.log_checking import LogSummary, check_log
from rotator.engine.signing_keys import follow_keys
from rotator.errors import AuditChainError, ConfigError
from tests.support.engine import EngineWorld, make_world
from tests.support.forgery import chain_anew, forge_checkpoint
from tests.support.records import make_entry

OLD, NEW, THIRD, THEIRS = (Ed25519Signer(make_signing_key()) for _ in range(4))


def make_run(
    world: EngineWorld, signer: Ed25519Signer, *before: Ed25519Signer, named: tuple[str, ...] = ()
) -> RunContext:
    """A run whose settings name a key, the private keys of before, and public keys."""
    trust = Trust(named or (signer.public_key,), is_signed)
    return world.make_run(replace(world.make_services(), signer=signer, old_signers=before, trust=trust))


def append(world: EngineWorld) -> None:
    """Add an event by hand."""
    with world.database.begin() as work:
        work.audit.append(make_entry(), world.clock.now())


def seal_with(world: EngineWorld, signer: Ed25519Signer, *before: Ed25519Signer, named: tuple[str, ...] = ()) -> None:
    """Add an event, and make a checkpoint."""
    append(world)
    assert seal(make_run(world, signer, *before, named=named), timedelta(0)) is not None


def check(world: EngineWorld, *keys: Ed25519Signer) -> LogSummary:
    """Check the log, by these public keys."""
    return check_log(world.database, (), Trust(tuple(key.public_key for key in keys), is_signed))


def find_wrong(world: EngineWorld, *keys: Ed25519Signer) -> str:
    """What is wrong with it."""
    with pytest.raises(AuditChainError) as caught:
        check(world, *keys)
    return caught.value.message


def list_changes(world: EngineWorld) -> list[KeyChange | None]:
    """What the log says of changes."""
    events = [event.entry for event in load_events(world.database) if event.entry.event == "signing_key_changed"]
    return [read_key_change(entry.details) for entry in events]


def make_changed_world() -> EngineWorld:
    """Two checkpoints by the old key, then the change, then two by the new one."""
    world = make_world()
    seal_with(world, OLD)
    seal_with(world, OLD)
    seal_with(world, NEW, OLD)
    seal_with(world, NEW)
    return world


def test_old_key_signs_that_the_new_one_follows_it() -> None:
    world = make_changed_world()
    [change] = list_changes(world)
    assert change is not None
    assert (change.size, change.old_id, change.new_id) == (2, make_key_id(OLD.public_key), make_key_id(NEW.public_key))
    assert change.signature is not None
    assert is_signed(change.make_statement(), change.signature, OLD.public_key)
    assert is_signed(change.make_statement(), change.new_signature, NEW.public_key)


@pytest.mark.parametrize("known", [(OLD,), (NEW,), (NEW, OLD)])
def test_whoever_knows_one_of_the_keys_can_check_all_of_the_log(known: tuple[Ed25519Signer, ...]) -> None:
    world = make_changed_world()
    summary = check(world, *known)
    assert (summary.events, summary.signed, summary.checkpoints) == (5, 5, 4)
    assert [(number, found.new_id) for number, found in summary.changes.items()] == [(4, make_key_id(NEW.public_key))]
    assert "do not name" in find_wrong(world, THEIRS)


@pytest.mark.parametrize("known", [OLD, NEW, THIRD])
def test_keys_follow_one_another(known: Ed25519Signer) -> None:
    world = make_changed_world()
    seal_with(world, THIRD, NEW, OLD)
    summary = check(world, known)
    assert len(summary.changes) == 2
    assert summary.signed == summary.events


def test_change_is_told_once() -> None:
    world = make_changed_world()
    seal_with(world, NEW, OLD)
    assert len(list_changes(world)) == 1


@pytest.mark.parametrize("what", [b"key-change", b"checkpoint"])
def test_run_that_dies_while_it_signs_is_made_up_for(what: bytes) -> None:
    """Before the event the log is still the old key's, after it the new one's, although that has signed none yet."""
    world = make_world()
    seal_with(world, OLD)
    append(world)
    run = make_run(world, NEW, OLD)

    class Dies:
        """Port Signer, whose process dies."""

        public_key = NEW.public_key

        def sign(self, statement: bytes) -> str:
            """See the port."""
            if what in statement:
                raise KeyboardInterrupt
            return NEW.sign(statement)

    with pytest.raises(KeyboardInterrupt):
        seal(replace(run, services=replace(run.services, signer=Dies())))
    assert check(world, OLD).signed == check(world, NEW, OLD).signed == 1
    assert len(list_changes(world)) == (what == b"checkpoint")
    if list_changes(world):
        with pytest.raises(ConfigError, match="was replaced"):
            seal(make_run(world, OLD), timedelta(0))
    assert seal(run) is not None
    assert len(list_changes(world)) == 1
    assert check(world, OLD).signed == 3


@pytest.mark.parametrize("is_sealed", [False, True])
def test_old_key_seals_nothing_after_the_change_whoever_is_first(is_sealed: bool) -> None:
    """A replica with the old key is slow: the change is told meanwhile, and sealed or not."""
    world = make_world()
    seal_with(world, OLD)
    append(world)

    class Dies:
        """Port Signer, whose process dies before it can sign a checkpoint."""

        public_key = NEW.public_key

        def sign(self, statement: bytes) -> str:
            """See the port."""
            if b"checkpoint" in statement and not is_sealed:
                raise KeyboardInterrupt
            return NEW.sign(statement)

    class Slow:
        """Port Signer, that is overtaken."""

        public_key = OLD.public_key

        def sign(self, statement: bytes) -> str:
            """See the port."""
            changing = make_run(world, NEW, OLD)
            with suppress(KeyboardInterrupt):
                seal(replace(changing, services=replace(changing.services, signer=Dies())))
            return OLD.sign(statement)

    run = make_run(world, OLD)
    with pytest.raises(ConfigError, match="was replaced"):
        seal(replace(run, services=replace(run.services, signer=Slow())), timedelta(0))
    seal(make_run(world, NEW, OLD))
    assert check(world, OLD).signed == 3
    assert len(list_changes(world)) == 1


def test_replaced_key_signs_nothing_more() -> None:
    """Another replica, whose settings still name it, changes nothing until they name the new one."""
    world = make_changed_world()
    append(world)
    with pytest.raises(ConfigError, match="was replaced") as caught:
        seal(make_run(world, OLD, named=(OLD.public_key, NEW.public_key)), timedelta(0))
    assert caught.value.code == "signing_key_replaced"


def test_one_of_two_replicas_tells_the_change_when_both_get_the_new_key() -> None:
    world = make_world()
    seal_with(world, OLD)
    inner = make_run(world, NEW, OLD)

    class Late:
        """Port Signer, so slow that another replica is done before."""

        public_key = NEW.public_key

        def sign(self, statement: bytes) -> str:
            """See the port."""
            if b"key-change" in statement:
                seal(inner)
            return NEW.sign(statement)

    assert seal(replace(inner, services=replace(inner.services, signer=Late()))) is None
    assert len(list_changes(world)) == 1
    assert check(world, OLD).signed == 2


def make_overtaken(world: EngineWorld, times: int) -> RunContext:
    """A run with the new key: while that signs, another host makes a checkpoint with the old one, so many times."""

    class Overtaken:
        """Port Signer."""

        public_key, signed = NEW.public_key, 0

        def sign(self, statement: bytes) -> str:
            """See the port."""
            self.signed += 1
            if self.signed <= times:
                seal_with(world, OLD)
                append(world)
            return NEW.sign(statement)

    run = make_run(world, NEW, OLD)
    return replace(run, services=replace(run.services, signer=Overtaken()))


def test_change_is_told_although_a_host_with_the_old_key_made_a_checkpoint_meanwhile() -> None:
    world = make_world()
    seal_with(world, OLD)
    assert seal(make_overtaken(world, times=1)) is not None
    assert [change and change.size for change in list_changes(world)] == [2]
    assert check(world, NEW).signed == 4


def test_new_key_seals_nothing_while_hosts_with_the_old_key_are_always_faster() -> None:
    """Or no run would ever tell of the change."""
    world = make_world()
    seal_with(world, OLD)
    assert seal(make_overtaken(world, times=3)) is None
    assert list_changes(world) == []
    assert seal(make_run(world, NEW, OLD)) is not None
    assert len(list_changes(world)) == 1
    assert check(world, NEW).events == check(world, NEW).signed


def test_lost_key_is_told_by_the_new_one_alone() -> None:
    """The settings still name the old public key; who knows only the old one cannot believe the new one."""
    world = make_world()
    seal_with(world, OLD)
    seal_with(world, NEW, named=(NEW.public_key, OLD.public_key))
    [change] = list_changes(world)
    assert change is not None
    assert change.signature is None
    assert check(world, NEW).signed == check(world, NEW, OLD).signed == 3
    assert "do not name" in find_wrong(world, OLD)


def test_nothing_is_told_of_a_key_that_the_settings_do_not_name() -> None:
    """Whoever can write the database could have made that checkpoint: the new key does not vouch for it."""
    world = make_world()
    seal_with(world, THEIRS)
    seal_with(world, NEW, OLD)
    assert list_changes(world) == []
    assert "do not name" in find_wrong(world, NEW, OLD)


def replace_event(world: EngineWorld, change: KeyChange) -> None:
    """Put another change into the log, and compute its hashes anew."""
    events = world.database._tables.events
    place = next(i for i, event in enumerate(events) if event.entry.event == "signing_key_changed")
    entry = replace(events[place].entry, details=SigningKeyChanged(**vars(change)).make_details())
    events[place] = replace(events[place], entry=entry)
    tables = world.database._tables
    tables.events[:] = chain_anew(events)
    tables.checkpoints = {n: forge_checkpoint(c, tables.events, None) for n, c in tables.checkpoints.items()}


FORGED: dict[str, Callable[[KeyChange], KeyChange]] = {
    "to a key of theirs": lambda change: replace(change, new_key=THEIRS.public_key),
    "to a key of theirs that signs it": lambda change: _sign(replace(change, new_key=THEIRS.public_key), THEIRS),
    "from a key of theirs": lambda change: replace(change, old_key=THEIRS.public_key, signature=None),
    "without the old signature": lambda change: replace(change, signature=None),
}


def _sign(change: KeyChange, signer: Ed25519Signer) -> KeyChange:
    return replace(change, new_signature=signer.sign(change.make_statement()))


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_change_counts_for_nothing_when_its_signatures_do_not_fit(forge: Callable[[KeyChange], KeyChange]) -> None:
    world = make_changed_world()
    [change] = list_changes(world)
    assert change is not None
    replace_event(world, forge(change))
    trust = follow_keys(world.database, Trust((OLD.public_key,), is_signed))
    assert trust.changes == {}
    assert trust.public_keys == (OLD.public_key,)


def test_old_key_cannot_rewrite_what_was_before_the_change() -> None:
    """Whoever has the database and the old key; the new key signed what the log was at the change."""
    world = make_changed_world()
    tables = world.database._tables
    tables.events[0] = replace(tables.events[0], entry=replace(tables.events[0].entry, actor="nobody"))
    tables.events[:] = chain_anew(tables.events[:4])
    tables.checkpoints = {n: forge_checkpoint(c, tables.events, OLD) for n, c in tables.checkpoints.items() if n <= 2}
    assert "says that the signing key was changed after event 2" in find_wrong(world, NEW)


@pytest.mark.parametrize("size", [4, 5])
def test_checkpoint_of_a_replaced_key_is_not_believed_after_the_change(size: int) -> None:
    world = make_changed_world()
    tables = world.database._tables
    tables.checkpoints[size] = forge_checkpoint(tables.checkpoints[size], tables.events, OLD)
    assert "which had been replaced by then" in find_wrong(world, NEW)


@pytest.mark.parametrize("is_late", [False, True])
def test_gap_that_the_old_key_signed_is_accepted_if_that_was_before_the_change(is_late: bool) -> None:
    world = make_world()
    seal_with(world, OLD)
    if is_late:
        seal_with(world, NEW, OLD)
    accepted = GapAccepted(missing="9:ab", installation="i", key=make_key_id(OLD.public_key))
    accepted = accepted.changed(signature=OLD.sign(make_gap_statement("i", ["9:ab"])))
    with world.database.begin() as work:
        author = Author("ops", "run", lambda *_: None)
        record(work, author, AUDIT_LOG, accepted, world.clock.now())
    if not is_late:
        seal_with(world, OLD)
        seal_with(world, NEW, OLD)
    assert load_accepted(world.database, Trust((NEW.public_key,), is_signed)) == (set() if is_late else {"9:ab"})
    assert load_accepted(world.database, Trust((THEIRS.public_key,), is_signed)) == set()
