"""The audit's hash chain: what it shows, and what it cannot show."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotator.domain.audit_event import GENESIS_HASH, AuditEntry, AuditEvent, Outcome, make_event, make_hash
from rotator.domain.canonical import encode_canonical
from rotator.engine.auditing import ChainSummary, check_chain
from rotator.errors import AuditChainError

MOMENT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
DETAILS: dict[str, str | int | bool | None] = {"text": "ü", "count": 3, "truth": True, "none": None}
ENTRY = AuditEntry("pat_minted", "npm-feed", Outcome.SUCCEEDED, "root@host", "run-1", DETAILS)


def make_chain(length: int = 6) -> list[AuditEvent]:
    """A chain of events that differ in subject and time."""
    events: list[AuditEvent] = []
    for number in range(length):
        entry = replace(ENTRY, subject=f"feed-{number}")
        previous = events[-1] if events else None
        events.append(make_event(entry, previous=previous, occurred_at=MOMENT + timedelta(seconds=number)))
    return events


def make_rehashed(event: AuditEvent) -> AuditEvent:
    """The event with a hash that fits what it says now."""
    digest = make_hash(event.sequence, event.occurred_at, event.entry, event.previous_hash, event.encoding)
    return replace(event, hash=digest)


def find_broken(events: list[AuditEvent]) -> AuditChainError:
    """The error that the check raises."""
    with pytest.raises(AuditChainError) as caught:
        check_chain(events)
    return caught.value


def test_hash_is_the_sha256_of_the_canonical_text_when_computed_by_hand() -> None:
    text = (
        '{"actor":"root@host","details":{"count":3,"none":null,"text":"ü","truth":true},"encoding":2,'
        '"event":"pat_minted","occurred_at":"2026-03-01T12:00:00.123456+00:00","outcome":"succeeded",'
        f'"previous_hash":"{"0" * 64}","run_id":"run-1","sequence":1,"subject":"npm-feed"}}'
    )
    golden = "44328b7751aa15fb4d080b2225540ab4ab9cf85d212051f3645085f9cabc00ef"
    assert hashlib.sha256(text.encode()).hexdigest() == golden
    assert make_hash(1, MOMENT, ENTRY, GENESIS_HASH) == golden


def test_hash_of_an_old_event_stays_what_it_was_when_the_spelling_has_changed_since() -> None:
    text = (
        '{"actor":"root@host","details":{"count":3,"none":null,"text":"\\u00fc","truth":true},'
        '"event":"pat_minted","occurred_at":"2026-03-01T12:00:00.123456+00:00","outcome":"succeeded",'
        f'"previous_hash":"{"0" * 64}","run_id":"run-1","sequence":1,"subject":"npm-feed"}}'
    )
    golden = "35397dee80815539497bc7e10642785eae3d439db9f861f39bf8a0bda79ea171"
    assert hashlib.sha256(text.encode()).hexdigest() == golden
    assert make_hash(1, MOMENT, ENTRY, GENESIS_HASH, 1) == golden


def test_chain_verifies_when_old_events_are_followed_by_new_ones() -> None:
    """An event's spelling cannot be changed without its hash."""
    events = make_chain(3)
    old = replace(events[0], encoding=1, hash=make_hash(1, MOMENT, events[0].entry, GENESIS_HASH, 1))
    following = make_rehashed(replace(events[1], previous_hash=old.hash))
    assert check_chain([old, following]).head == following.hash
    for changed in (1, 3):
        assert find_broken([old, replace(following, encoding=changed)]).sequence == 2


@pytest.mark.parametrize("value", [2**53, 1.5, ["x"], "\ud800"], ids=repr)
def test_chain_names_the_event_when_it_holds_what_is_never_written(value: Any) -> None:
    events = make_chain()
    events[2] = replace(events[2], entry=replace(ENTRY, details={"odd": value}))
    assert find_broken(events).sequence == 3


def test_event_is_made_when_a_detail_is_no_text_that_can_be_encoded() -> None:
    event = make_event(replace(ENTRY, details={"reason": "\udcff x"}), previous=None, occurred_at=MOMENT)
    assert event.entry.details == {"reason": "? x"}
    assert check_chain([event]).events == 1


def test_hash_is_the_same_when_only_the_spelling_differs() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=-7)))
    turned = replace(ENTRY, details=dict(reversed(DETAILS.items())))
    assert make_hash(1, elsewhere, turned, GENESIS_HASH) == make_hash(1, MOMENT, ENTRY, GENESIS_HASH)


def test_chain_verifies_when_untouched() -> None:
    events = make_chain()
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event.previous_hash for event in events] == [GENESIS_HASH, *(event.hash for event in events[:-1])]
    assert check_chain(events) == ChainSummary(6, events[-1].hash)
    assert check_chain(iter([])) == ChainSummary(0, GENESIS_HASH)


THIRD = make_chain()[2]
ALTERED_ENTRIES = {
    "event": replace(THIRD.entry, event="pat_stored"),
    "subject": replace(THIRD.entry, subject="feed-02"),
    "outcome": replace(THIRD.entry, outcome=Outcome.FAILED),
    "actor": replace(THIRD.entry, actor="mallory@host"),
    "run_id": replace(THIRD.entry, run_id="run-2"),
    "detail value": replace(THIRD.entry, details=DETAILS | {"text": "u"}),
    "detail type": replace(THIRD.entry, details=DETAILS | {"truth": 1}),
    "detail number as text": replace(THIRD.entry, details=DETAILS | {"count": "3"}),
    "detail null as text": replace(THIRD.entry, details=DETAILS | {"none": "null"}),
    "detail added": replace(THIRD.entry, details=DETAILS | {"more": ""}),
    "detail removed": replace(THIRD.entry, details={"text": "ü", "count": 3, "truth": True}),
    "text moved between fields": replace(THIRD.entry, actor="root@hostrun-", run_id="1"),
}
ALTERED = {name: replace(THIRD, entry=entry) for name, entry in ALTERED_ENTRIES.items()} | {
    "occurred_at": replace(THIRD, occurred_at=THIRD.occurred_at + timedelta(microseconds=1)),
    "hash": replace(THIRD, hash="f" * 64),
    "previous_hash": replace(THIRD, previous_hash="f" * 64),
}


@pytest.mark.parametrize("altered", ALTERED.values(), ids=ALTERED)
def test_chain_names_the_event_when_a_field_was_altered(altered: AuditEvent) -> None:
    events = make_chain()
    error = find_broken([*events[:2], altered, *events[3:]])
    assert error.sequence == 3
    assert error.expected != error.found
    assert "audit event 3" in error.message
    assert error.expected in error.message
    assert error.found in error.message
    assert error.fix


def test_chain_names_the_next_event_when_an_altered_one_was_hashed_again() -> None:
    events = make_chain()
    forged = make_rehashed(replace(events[2], entry=replace(ENTRY, actor="mallory")))
    error = find_broken([*events[:2], forged, *events[3:]])
    assert (error.sequence, error.expected, error.found) == (4, forged.hash, events[2].hash)


@pytest.mark.parametrize(
    ("order", "sequence", "found"),
    [
        ([1, 2, 4, 5, 6], 3, 4),
        ([2, 3, 4, 5, 6], 1, 2),
        ([4, 5, 6], 1, 4),
        ([1, 6], 2, 6),
        ([1, 3, 2, 4, 5, 6], 2, 3),
        ([1, 2, 3, 4, 6, 5], 5, 6),
        ([6, 5, 4, 3, 2, 1], 1, 6),
        ([1, 1, 2, 3, 4, 5, 6], 2, 1),
        ([1, 2, 3, 4, 5, 6, 6], 7, 6),
        ([1, 2, 3, 1, 2, 3], 4, 1),
    ],
)
def test_chain_names_the_place_when_events_are_missing_moved_or_doubled(
    order: list[int], sequence: int, found: int
) -> None:
    events = make_chain()
    error = find_broken([events[number - 1] for number in order])
    assert (error.sequence, error.expected, error.found) == (sequence, f"number {sequence}", f"number {found}")


@pytest.mark.parametrize("removed", [1, 2, 5])
def test_chain_names_the_place_when_the_rest_was_numbered_anew(removed: int) -> None:
    events = make_chain()
    rest = [event for event in events if event.sequence != removed]
    renumbered = [make_rehashed(replace(event, sequence=number)) for number, event in enumerate(rest, start=1)]
    assert find_broken(renumbered).sequence == removed


@pytest.mark.parametrize("kept", range(6))
def test_chain_alone_cannot_tell_when_its_end_was_cut_off(kept: int) -> None:
    """Only a head noted elsewhere shows this: whoever reviews compares `ChainSummary` with what was exported before."""
    events = make_chain()
    summary = check_chain(events[:kept])
    assert summary.events == kept
    assert summary != check_chain(events)


def test_chain_alone_cannot_tell_when_its_last_event_was_replaced() -> None:
    events = make_chain()
    forged = make_rehashed(replace(events[5], entry=replace(ENTRY, actor="mallory")))
    assert check_chain([*events[:5], forged]).head != check_chain(events).head


TEXTS = st.text(max_size=20)
ENTRIES = st.builds(
    AuditEntry,
    TEXTS,
    TEXTS,
    st.sampled_from(Outcome),
    TEXTS,
    TEXTS,
    st.dictionaries(
        st.text(st.characters(codec="ascii"), max_size=20),
        st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | TEXTS,
        max_size=3,
    ),
)


@settings(deadline=None, derandomize=True)
@given(ENTRIES, st.integers(1, 2**53 - 1))
def test_hash_is_that_of_the_canonical_spelling_when_an_entry_is_any(entry: AuditEntry, sequence: int) -> None:
    document: dict[str, Any] = {
        "actor": entry.actor,
        "details": dict(entry.details),
        "encoding": 2,
        "event": entry.event,
        "occurred_at": MOMENT.isoformat(timespec="microseconds"),
        "outcome": entry.outcome.value,
        "previous_hash": GENESIS_HASH,
        "run_id": entry.run_id,
        "sequence": sequence,
        "subject": entry.subject,
    }
    digest = hashlib.sha256(encode_canonical(document)).hexdigest()
    assert make_hash(sequence, MOMENT, entry, GENESIS_HASH) == digest


@settings(deadline=None, derandomize=True)
@given(st.lists(ENTRIES, min_size=1, max_size=8), st.data())
def test_chain_verifies_until_touched_when_entries_are_any(entries: list[AuditEntry], data: st.DataObject) -> None:
    events: list[AuditEvent] = []
    for entry in entries:
        events.append(make_event(entry, previous=events[-1] if events else None, occurred_at=MOMENT))
    assert check_chain(events) == ChainSummary(len(events), events[-1].hash)
    place = data.draw(st.integers(0, len(events) - 1))
    event = events[place]
    changed = replace(event.entry, actor=event.entry.actor + data.draw(st.text(min_size=1, max_size=3)))
    events[place] = replace(event, entry=changed)
    assert find_broken(events).sequence == place + 1
