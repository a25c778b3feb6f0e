"""The checkpoints in the vaults: how they get there, and what they show that the database alone does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.adapters.logs import make_progress
from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.domain.anchor import PREFIX, SIZE_TAG, read_anchor
from rotator.domain.checkpoint import Checkpoint, make_key_id
from rotator.domain.clocks import AUDIT_LOG
from rotator.domain.events.anchors import GapAccepted
from rotator.domain.policy import RuleAction
from rotator.engine.anchoring import AnchorSight, fetch_anchors
from rotator.engine.auditing import Author, load_events, record
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext, Trust
from rotator.engine.gaps import accept_gap, load_accepted
from rotator.engine.giving_anchors import give_anchors
from rotator.engine.log_checking import check_log, verify_log
from rotator.engine.run import run_once
from rotator.engine.sealing import sealed
from rotator.errors import AuditChainError, TransientError
from rotator.ports.anchor_place import Stamp
from rotator.ports.secret_store import SecretLocation, StoredSecret
from tests.support.engine import ACCOUNT, VAULT, EngineWorld, make_world
from tests.support.forgery import chain_anew, forge_checkpoint
from tests.support.records import make_entry

KEY, THEIRS = Ed25519Signer(make_signing_key()), Ed25519Signer(make_signing_key())
TRUST = Trust((KEY.public_key,), is_signed)
PLACE = SecretLocation(VAULT, PREFIX + make_key_id(KEY.public_key), ACCOUNT)
HOUR = timedelta(hours=1)


def make_run(world: EngineWorld) -> RunContext:
    """A run with a key, which gives the vaults their anchors."""
    services = replace(world.make_services(), signer=KEY, trust=TRUST, anchors_in_vaults=True)
    return world.make_run(services)


def run(world: EngineWorld) -> None:
    """One `rotator once`."""
    sealed(run_once, looks=True)(make_run(world))


def append(world: EngineWorld) -> None:
    """Add an event by hand."""
    with world.database.begin() as work:
        work.audit.append(make_entry(), world.clock.now())


def look(world: EngineWorld) -> AnchorSight:
    """What the vaults say."""
    return fetch_anchors(make_run(world))


def check(world: EngineWorld) -> int:
    """What `rotator audit verify --anchors` does: how many events are there, if all is well."""
    return verify_log(world.database, look(world), TRUST, world.clock.now())[0].events


def find_wrong(world: EngineWorld) -> AuditChainError:
    """The error of that."""
    with pytest.raises(AuditChainError) as caught:
        check(world)
    return caught.value


def list_versions(world: EngineWorld) -> list[StoredSecret]:
    """The versions of our anchor, the newest first."""
    return list(world.secrets.versions_of(PLACE))


def list_checkpoints(world: EngineWorld) -> list[Checkpoint]:
    """All checkpoints, by size."""
    with world.database.read() as reading:
        return list(reading.checkpoints.load_after(0, 99))


def make_anchored_world() -> EngineWorld:
    """A world that was sealed and anchored on two days."""
    world = make_world()
    run(world)
    world.clock.advance(24 * HOUR)
    run(world)
    return world


def put_back(world: EngineWorld, size: int) -> None:
    """Put an old copy of the whole database back: events and checkpoints."""
    tables = world.database._tables
    del tables.events[size:]
    tables.checkpoints = {number: found for number, found in tables.checkpoints.items() if number <= size}


def test_vault_gets_the_newest_checkpoint_after_a_run_that_did_something() -> None:
    world = make_world()
    run(world)
    [version] = list_versions(world)
    [newest] = list_checkpoints(world)
    assert read_anchor(version.version.tags) == newest
    assert json.loads(version.value.reveal())[SIZE_TAG] == str(newest.size)
    event = list(load_events(world.database))[-1].entry
    assert (event.event, event.subject) == ("log_anchored", VAULT)
    assert event.details == {
        "secret_name": PLACE.name,
        "secret_version": version.version.version,
        "size": newest.size,
    }
    assert [anchor.sequence for anchor in look(world).anchors if anchor.is_own] == [newest.size]
    assert check(world) == newest.size + 1


def test_vault_gets_one_version_a_day_and_later_checkpoints_as_its_tags() -> None:
    world = make_world()
    run(world)
    for _ in range(3):
        world.clock.advance(HOUR)
        append(world)
        run(world)
    [version] = list_versions(world)
    assert read_anchor(version.version.tags) == list_checkpoints(world)[-1]
    world.clock.advance(24 * HOUR)
    append(world)
    run(world)
    newer, older = list_versions(world)
    assert older == version
    assert read_anchor(newer.version.tags) == list_checkpoints(world)[-1]
    assert check(world)


def test_vault_is_only_looked_at_when_it_has_the_newest_checkpoint() -> None:
    world = make_world()
    append(world)
    seal(make_run(world))
    give_anchors(make_run(world))
    events = list(load_events(world.database))
    world.secrets.calls.clear()
    world.clock.advance(24 * HOUR)
    give_anchors(make_run(world))
    assert [call for call, _ in world.secrets.calls] == ["fetch_versions"]
    assert list(load_events(world.database)) == events


def test_vault_that_cannot_be_written_is_told_and_made_up_for_later() -> None:
    world = make_world()
    append(world)
    seal(make_run(world))
    world.secrets.denied.add("list")
    sealed(lambda run: run_once(run), looks=True)(make_run(world))
    assert "anchoring_failed" in [name for name, _ in world.told]
    assert list_versions(world) == []
    world.secrets.denied.clear()
    run(world)
    assert len(list_versions(world)) == 1
    assert check(world)


@pytest.mark.parametrize("after_effect", [False, True])
def test_anchor_is_there_once_when_the_answer_to_its_write_was_lost(after_effect: bool) -> None:
    world = make_world()
    run(world)
    world.clock.advance(24 * HOUR)
    append(world)
    world.secrets.fail("store", after_effect=after_effect)
    run(world)
    append(world)
    world.clock.advance(HOUR)
    run(world)
    assert len(list_versions(world)) == 2
    assert check(world)


def test_rule_that_stores_nothing_names_no_vault() -> None:
    world = make_world()
    watched = replace(world.policy.rules[0], name="hands-off", action=RuleAction.ALERT, vault="")
    world.policy = replace(world.policy, rules=(*world.policy.rules, watched))
    run(world)
    assert "anchoring_failed" not in [name for name, _ in world.told]
    assert len(list_versions(world)) == 1
    assert check(world)


def test_log_that_was_put_back_as_a_whole_is_named() -> None:
    """Every hash and signature holds: only the vault knows better. The next run notices it too."""
    world = make_anchored_world()
    size = list_checkpoints(world)[0].size
    put_back(world, size)
    assert check_log(world.database, (), TRUST, world.clock.now()).signed == size
    error = find_wrong(world)
    assert error.anchor is not None
    assert PLACE.name in error.anchor
    assert "is gone: the log was cut off" in error.message
    with pytest.raises(AuditChainError, match="put back to an earlier state"):
        sealed(lambda run: run_once(run), looks=True)(make_run(world))


def test_log_that_was_rewritten_by_somebody_with_the_key_is_named() -> None:
    """They do not have the vault."""
    world = make_anchored_world()
    tables = world.database._tables
    events = [replace(e, entry=replace(e.entry, actor="nobody@host")) for e in tables.events]
    forged = chain_anew(events)
    tables.events[:] = forged
    tables.checkpoints = {size: forge_checkpoint(c, forged, KEY) for size, c in tables.checkpoints.items()}
    assert check_log(world.database, (), TRUST, world.clock.now()).signed
    error = find_wrong(world)
    assert "has other content now: the log was rewritten" in error.message


def test_anchor_that_its_vault_lacks_is_named() -> None:
    """There are fewer than there were; a deleted secret leaves none."""
    world = make_anchored_world()
    made = {version.version.version for version in list_versions(world)}
    world.secrets.soft_delete(PLACE)
    error = find_wrong(world)
    assert error.anchor is not None
    assert error.anchor.split()[-1] in made
    assert "fewer than were made" in error.message
    world.secrets.recover(PLACE)
    assert check(world)


@pytest.mark.parametrize("are_old", [False, True])
def test_anchor_whose_tags_were_taken_away_or_replaced_by_older_ones_is_named(are_old: bool) -> None:
    """Every version is there, and whatever it names was truly signed once; the log was cut off before what it named."""
    world = make_anchored_world()
    newest, oldest = (version.version.tags for version in list_versions(world))
    world.secrets.replace_tags(PLACE, oldest if are_old else {})
    error = find_wrong(world)
    assert error.anchor is not None
    assert PLACE.name in error.anchor
    assert "does not name the checkpoint that it was given" in error.message
    world.secrets.replace_tags(PLACE, newest)
    assert check(world)


def test_anchor_with_a_forged_signature_is_named() -> None:
    world = make_anchored_world()
    [newest, *_] = list_versions(world)
    tags = newest.version.tags | {SIZE_TAG: "1"}
    world.secrets.write_foreign(PLACE, "{}", tags)
    assert "signature that does not fit" in find_wrong(world).message
    theirs = {"rotator-audit-key": make_key_id(THEIRS.public_key)}
    world.secrets.write_foreign(PLACE, "{}", newest.version.tags | theirs)
    assert "which the settings do not name" in find_wrong(world).message


@pytest.mark.parametrize(
    ("forged", "fault"),
    [
        ({}, "has a signature that does not fit"),
        ({"rotator-audit-key": make_key_id(THEIRS.public_key)}, "which the settings do not name"),
    ],
)
def test_forged_anchor_of_a_longer_log_stops_runs_until_it_is_removed(forged: dict[str, str], fault: str) -> None:
    """A host that does not know of a new key must not go on after a database was put back; the way out is said."""
    world = make_anchored_world()
    tags = list_versions(world)[0].version.tags
    world.secrets.replace_tags(PLACE, {**tags, SIZE_TAG: "1000000", **forged})
    with pytest.raises(AuditChainError, match=fault) as caught:
        run(world)
    assert caught.value.fix is not None
    assert "remove it" in caught.value.fix
    assert fault in find_wrong(world).message
    world.secrets.replace_tags(PLACE, {})
    assert len(accept_gap(make_run(world))) == 1
    run(world)
    assert check(world)


class StampedPlace:
    """A place that keeps anchors in memory, each stamped at the time that is set."""

    name = "memory"

    def __init__(self, at: datetime) -> None:
        self.given, self.at = list[str](), at

    def find_last(self) -> str | None:
        """The last one."""
        return self.given[-1] if self.given else None

    def give(self, anchor: str, anchor_id: str) -> None:
        """Keep one more."""
        self.given.append(anchor)

    def read(self) -> Iterator[str]:
        """All of them."""
        return iter(self.given)

    def read_stamp(self, anchor: str) -> Stamp:
        """The same time for each."""
        return Stamp(at=self.at)


@pytest.mark.parametrize(("ahead", "is_told"), [(timedelta(minutes=1), False), (timedelta(minutes=2), True)])
def test_stamp_of_a_time_that_has_not_come_yet_is_told(ahead: timedelta, is_told: bool) -> None:
    world = make_anchored_world()
    place = StampedPlace(world.clock.now() + ahead)
    started = make_run(world)
    services = replace(started.services, anchor_places=(place,))
    give_anchors(replace(started, services=services))
    [found] = [anchor for anchor in fetch_anchors(replace(started, services=services)).anchors if anchor.stamped_at]
    assert (found.stamped_at, found.is_ahead) == (place.at, is_told)


def test_anchors_of_other_installations_are_told_and_no_fault() -> None:
    world = make_anchored_world()
    other = replace(PLACE, name=f"{PREFIX}0123456789abcdef")
    world.secrets.write_foreign(other, "{}", list_versions(world)[0].version.tags)
    assert look(world).others == ("0123456789abcdef",)
    assert check(world)


def test_vault_that_cannot_be_listed_is_named_and_is_no_fault() -> None:
    world = make_anchored_world()
    world.secrets.fail("fetch_tagged", TransientError("busy", service="key_vault", operation="list", code="busy"))
    assert list(look(world).unread) == [VAULT]
    assert check(world)


def test_gap_of_a_restored_log_is_accepted_once_a_person_says_so() -> None:
    world = make_anchored_world()
    put_back(world, list_checkpoints(world)[0].size)
    missing = accept_gap(replace(make_run(world), reason="restored the backup of Sunday"))
    assert missing
    [event] = [event for event in load_events(world.database) if event.entry.event == "gap_accepted"]
    assert event.entry.details["reason"] == "restored the backup of Sunday"
    assert check(world)
    world.clock.advance(24 * HOUR)
    run(world)
    assert check(world)
    assert accept_gap(make_run(world)) == []


def test_gap_after_an_accepted_one_is_named_again() -> None:
    world = make_anchored_world()
    put_back(world, list_checkpoints(world)[0].size)
    accept_gap(make_run(world))
    kept = len(list(load_events(world.database)))
    world.clock.advance(24 * HOUR)
    append(world)
    run(world)
    assert check(world)
    put_back(world, kept)
    assert find_wrong(world).anchor is not None


FORGED: dict[str, Callable[[GapAccepted], GapAccepted]] = {
    "unsigned": lambda event: event.changed(key=None, signature=None),
    "their key": lambda event: event.changed(key=make_key_id(THEIRS.public_key)),
    "more is missing": lambda event: event.changed(missing=f"{event.missing} 5:0123456789abcdef"),
    "another installation": lambda event: event.changed(installation="0123456789abcdef"),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_gap_counts_for_nothing_when_its_signature_does_not_fit(forge: Callable[[GapAccepted], GapAccepted]) -> None:
    world = make_anchored_world()
    size = list_checkpoints(world)[0].size
    put_back(world, size)
    accept_gap(make_run(world))
    [event] = [event for event in load_events(world.database) if event.entry.event == "gap_accepted"]
    details = {name: str(value) for name, value in event.entry.details.items() if name != "reason"}
    put_back(world, size)
    with world.database.begin() as work:
        record(
            work,
            Author("nobody@host", "run", make_progress()),
            AUDIT_LOG,
            forge(GapAccepted(**details)),
            world.clock.now(),
        )
    assert load_accepted(world.database, TRUST) == frozenset()
    assert find_wrong(world).anchor is not None
