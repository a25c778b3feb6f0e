"""The audit chain's head in the vault's tags, and what it makes visible that the chain alone does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from rotator.domain.audit_event import AuditEvent
from rotator.engine.anchoring import Anchor, compare_anchors, fetch_anchors
from rotator.engine.auditing import ChainSummary, check_chain, load_events
from rotator.engine.tags import AUDIT_HEAD_TAG
from rotator.errors import AuditChainError, DeniedError
from tests.support.engine import NAME, VAULT, make_world
from tests.support.engine_scenarios import make_busy


def check_anchored_chain(events: Iterable[AuditEvent], anchors: Iterable[Anchor]) -> ChainSummary:
    """Recompute the chain, and look for every anchor in it."""
    return check_chain(compare_anchors(events, anchors))


def chain_anew(events: list[AuditEvent]) -> list[AuditEvent]:
    """The same entries in a world of their own: a log that somebody who owns the database wrote from the start."""
    world = make_world("unused")
    with world.database.begin() as work:
        return [work.audit.append(replace(e.entry, actor="mallory@host"), e.occurred_at) for e in events]


def test_anchors_are_the_heads_of_their_moments_when_secrets_were_written() -> None:
    """The event before `store_started`, by number and hash, for each managed secret."""
    world = make_world("a", "b")
    world.run()
    events = list(load_events(world.database))
    anchors = fetch_anchors(world.make_run()).anchors
    assert [anchor.name for anchor in anchors] == ["a", "b"]
    for anchor in anchors:
        head, following = events[anchor.sequence - 1], events[anchor.sequence]
        assert (anchor.sequence, anchor.hash) == (head.sequence, head.hash)
        assert following.entry.event == "store_started"
    summary = check_anchored_chain(events, anchors)
    assert (summary.events, summary.head) == (len(events), events[-1].hash)


def test_anchors_of_all_versions_are_found_when_there_are_several() -> None:
    """An older version keeps its anchor; a version that a person wrote has none."""
    world = make_world()
    world.run()
    world.advance(hours=24)
    world.run()
    world.rotate(NAME)
    assert len(fetch_anchors(world.make_run()).anchors) == 2


@pytest.mark.parametrize("tag", ["", "7", "7:", ":abc", "x:abc", "\u00b2:abc", "-1:abc"])
def test_anchor_is_left_out_when_its_tag_makes_no_sense(tag: str) -> None:
    world = make_world()
    world.secrets.write_foreign(world.location(), "x", {AUDIT_HEAD_TAG: tag})
    assert fetch_anchors(world.make_run()).anchors == ()


def test_chain_is_broken_when_its_end_was_cut_off_below_an_anchor() -> None:
    """The chain alone still verifies; the error names the event and the secret."""
    world = make_world()
    world.run()
    [anchor] = fetch_anchors(world.make_run()).anchors
    cut = list(load_events(world.database))[: anchor.sequence - 1]
    assert check_chain(cut).events == anchor.sequence - 1
    with pytest.raises(AuditChainError, match=rf"event {anchor.sequence}.*secret of {NAME}.*is gone") as caught:
        check_anchored_chain(cut, [anchor])
    assert (caught.value.sequence, caught.value.expected, caught.value.found) == (
        anchor.sequence,
        anchor.hash,
        "nothing",
    )
    assert (
        check_anchored_chain(list(load_events(world.database))[: anchor.sequence], [anchor]).events == anchor.sequence
    )


def test_chain_is_broken_when_it_was_written_anew() -> None:
    """A chain that is sound in itself, with another event at the anchor's number."""
    world = make_world()
    world.run()
    [anchor] = fetch_anchors(world.make_run()).anchors
    forged = chain_anew(list(load_events(world.database)))
    assert check_chain(forged).events == len(forged)
    with pytest.raises(AuditChainError, match="rewritten") as caught:
        check_anchored_chain(forged, [anchor])
    assert caught.value.sequence == anchor.sequence
    assert caught.value.found == forged[anchor.sequence - 1].hash


def test_chain_is_broken_when_one_of_two_anchors_of_an_event_differs() -> None:
    world = make_world()
    world.run()
    [anchor] = fetch_anchors(world.make_run()).anchors
    wrong = replace(anchor, name="other", hash="0" * 64)
    with pytest.raises(AuditChainError, match="secret of other"):
        check_anchored_chain(list(load_events(world.database)), [anchor, wrong])


def test_first_missing_anchor_is_named_when_the_log_is_empty() -> None:
    with pytest.raises(AuditChainError) as caught:
        check_anchored_chain([], [Anchor("b", 9, "1" * 64), Anchor("a", 4, "0" * 64)])
    assert caught.value.sequence == 4
    assert caught.value.fix


def test_altered_event_is_named_before_any_anchor_when_both_are_wrong() -> None:
    world = make_world()
    world.run()
    [anchor] = fetch_anchors(world.make_run()).anchors
    events = list(load_events(world.database))
    events[0] = replace(events[0], entry=replace(events[0].entry, subject="other"))
    with pytest.raises(AuditChainError, match="altered") as caught:
        check_anchored_chain(events, [anchor])
    assert caught.value.sequence == 1


def test_vault_that_cannot_be_read_is_told_and_hides_no_other_anchor() -> None:
    world = make_world("a", "b")
    world.run()
    world.secrets.denied.add("list")
    sight = fetch_anchors(world.make_run())
    assert sight.anchors == ()
    assert {name: type(error) for name, error in sight.unread.items()} == {"a": DeniedError, "b": DeniedError}


def test_vault_that_is_down_is_asked_once_and_told_once() -> None:
    """Each question to it takes seconds, and a thousand secrets would say the same."""
    world = make_world("a", "b", "c")
    world.run()
    world.secrets.fail("fetch_versions", make_busy("fetch_versions", "key_vault"), times=9)
    world.secrets.calls.clear()
    sight = fetch_anchors(world.make_run())
    assert {name: error.message for name, error in sight.unread.items()} == {VAULT: "key_vault is busy"}
    assert [call[0] for call in world.secrets.calls] == ["fetch_versions"]
