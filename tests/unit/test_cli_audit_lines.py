"""What `rotator audit` says of an intact log, and of each event in words; events as they are written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.cli.following import follow_events
from rotator.cli.output.audit import render_anchors, render_event_line, render_intact, render_seals
from rotator.cli.output.details import UNSAID, WORDS, say_details, say_fields
from rotator.domain.audit_event import AuditEntry, Detail, Outcome, make_event
from rotator.domain.checkpoint import Checkpoint
from rotator.domain.events.catalogue import EVENTS
from rotator.engine.anchoring import Anchor, AnchorSight
from rotator.engine.checkpointing import seal
from rotator.engine.context import Trust
from rotator.engine.log_checking import LogSummary, check_log
from rotator.errors import AuditChainError, UsageError
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import make_world
from tests.support.fake_database import MemoryDatabase
from tests.support.forgery import chain_anew
from tests.support.records import NOW, make_entry

HEAD = "ab" * 32


@pytest.mark.parametrize(
    ("events", "checkpoints", "signed", "lines"),
    [
        (2, 0, 0, ["It has no checkpoint yet: anyone who can write the database could have rewritten it."]),
        (
            2,
            1,
            0,
            ["1 checkpoint is valid, but it is not signed: anyone who can write the database could have made it."],
        ),
        (
            2,
            2,
            0,
            ["2 checkpoints are valid, but none is signed: anyone who can write the database could have made them."],
        ),
        (2, 1, 1, ["1 checkpoint is valid; signatures cover event 1.", "1 later event is not signed yet."]),
        (9, 3, 7, ["3 checkpoints are valid; signatures cover events 1 to 7.", "2 later events are not signed yet."]),
        (7, 3, 7, ["3 checkpoints are valid; signatures cover events 1 to 7."]),
    ],
)
def test_seals_are_said_for_one_and_for_several(events: int, checkpoints: int, signed: int, lines: list[str]) -> None:
    assert list(render_seals(LogSummary(events, HEAD, checkpoints, signed))) == lines


@pytest.mark.parametrize(
    ("events", "since", "said"),
    [
        (7, 0, "The audit log is intact: 7 events, head "),
        (7, 4, "In the audit log events 5 to 7 are intact; head "),
        (7, 6, "In the audit log event 7 is intact; head "),
        (7, 7, "In the audit log no event is newer than the last check; head "),
        (0, 0, "The audit log is intact: 0 events, head "),
    ],
)
def test_only_what_was_checked_now_is_called_intact(events: int, since: int, said: str) -> None:
    assert render_intact(LogSummary(events, HEAD, 1, since, since=since)) == said + HEAD


@pytest.mark.parametrize(("accepted", "others"), [(1, "1 other"), (2, "2 others")])
def test_anchors_are_said_for_one_and_for_several(accepted: int, others: str) -> None:
    assert list(render_anchors(AnchorSight((), {}), accepted)) == [
        "The log contains everything that the vaults hold of it: 0 heads in tags, 0 checkpoints in "
        "secrets of rotator's own.",
        f"A person accepted that the log lacks {others}: see `rotator audit list --event gap_accepted`.",
    ]


def test_what_lies_ahead_or_is_forged_is_said() -> None:
    at = datetime(2031, 1, 2, tzinfo=UTC)
    summary = LogSummary(7, HEAD, 3, 7, forged=(4,), ahead=Checkpoint(6, HEAD, HEAD, "i", at))
    assert list(render_seals(summary))[1:] == [
        "Event 4 is forged and counts for nothing, as a person accepted: no key of ours signed it.",
        "The checkpoint of 6 events says that it was made at 2031-01-02 00:00Z, which has not come yet: "
        "a clock was wrong, or it was dated by hand.",
    ]
    stamps = [Anchor("f", size, HEAD, True, None, at.replace(year=2020 + size), size > 5) for size in (4, 5, 6, 11)]
    assert list(render_anchors(AnchorSight(tuple(stamps), {}), 0))[1:] == [
        "2 time stamps checked; the newest says that events 1 to 5 existed at 2025-01-02 00:00Z.",
        "Not believed: 2 time stamps of a time that has not come yet, as of 2031-01-02 00:00Z for events 1 to 11: "
        "this clock or theirs is wrong.",
    ]


def test_log_from_before_there_were_checkpoints_verifies_and_it_is_said_what_that_does_not_prove() -> None:
    world, key = make_world(), Ed25519Signer(make_signing_key())
    with world.database.begin() as work:
        for _ in range(3):
            work.audit.append(make_entry(), world.clock.now())
    events = world.database._tables.events
    events[:] = chain_anew([replace(event, encoding=1) for event in events])
    trust = Trust((key.public_key,), is_signed)
    assert list(render_seals(check_log(world.database, (), trust, world.clock.now()))) == [
        "It has no checkpoint yet: anyone who can write the database could have rewritten it."
    ]
    seal(world.make_run(replace(world.make_services(), signer=key, trust=trust)))
    assert list(render_seals(check_log(world.database, (), trust, world.clock.now()))) == [
        "1 checkpoint is valid; signatures cover events 1 to 3."
    ]
    events = world.database._tables.events
    events[1] = replace(events[1], entry=replace(events[1].entry, actor="nobody"))
    with pytest.raises(AuditChainError, match="audit event 2 "):
        check_log(world.database, (), trust)


def test_each_field_of_each_event_has_words() -> None:
    known = {field for event in EVENTS for field in event.fields}
    assert known - WORDS.keys() == UNSAID
    assert not UNSAID & WORDS.keys()


@pytest.mark.parametrize(
    ("outcome", "details", "said"),
    [
        (Outcome.SUCCEEDED, {}, ""),
        (Outcome.UNKNOWN, {}, "outcome unknown"),
        (
            Outcome.INTENDED,
            {"rotation_id": "r1", "predecessor_id": "id-1", "rule": "ci", "vault": "https://v/", "secret_name": "s"},
            "intended: replaces id-1, rule ci, secret s, in v",
        ),
        (
            Outcome.SUCCEEDED,
            {"valid_to": "2026-12-31T09:00:00+00:00", "authorization_id": "id-2"},
            "PAT id-2, expires 2026-12-31 09:00Z",
        ),
        (Outcome.FAILED, {"code": "throttled", "message": "too many\x1b requests"}, r"failed: too many\x1b requests"),
        (Outcome.FAILED, {"code": "throttled"}, "failed: throttled"),
        (Outcome.FAILED, {"code": "replace_by_hand"}, "failed: replace by hand"),
        (
            Outcome.INTENDED,
            {"why": "rotated", "authorization_id": "id-1"},
            "intended: PAT id-1, because its successor is stored and works",
        ),
        (Outcome.SUCCEEDED, {"reason": "moving house"}, 'because "moving house"'),
        (Outcome.SUCCEEDED, {"valid_to": "soon", "seconds": 90, "rule": None}, "expires soon, by 1m 30s"),
    ],
)
def test_details_are_said_in_words(outcome: Outcome, details: dict[str, Detail], said: str) -> None:
    entry = AuditEntry("pat_minted", "npm-feed", outcome, "me@host", "run-1", details)
    event = make_event(entry, previous=None, occurred_at=NOW)
    assert say_details(event) == said
    assert render_event_line(event) == f"1  2026-03-01 12:00:00Z  pat_minted  npm-feed  {said}".rstrip()


def test_change_of_a_policy_says_whose_it_is() -> None:
    entry = AuditEntry("policy_changed", "policy", Outcome.SUCCEEDED, "rotator@rot2", "run-1", {"previous": "4f"})
    event = make_event(entry, previous=None, occurred_at=NOW)
    assert say_details(event) == "of rotator@rot2, was 4f"


@pytest.mark.parametrize(
    ("name", "subject", "details", "said"),
    [
        ("clock_doubted", "host", {"seconds": 7200}, "its clock is 2h slow"),
        ("clock_doubted", "host", {"seconds": -90}, "its clock is 1m 30s fast"),
        ("clock_doubted", "entra", {"seconds": 7200}, "its clock is 2h fast"),
        ("clock_doubted", "entra", {"seconds": -90}, "its clock is 1m 30s slow"),
        ("clock_doubted", "host", {"seconds": None}, ""),
        ("job_failed", "work", {"message": "no", "failures": 1}, "no, the first failure"),
        ("job_failed", "work", {"message": "no", "failures": 2}, "no, failed twice in a row"),
        ("job_failed", "work", {"message": "no", "failures": 4}, "no, failed 4 times in a row"),
        ("settings_changed", "settings", {"sha256": HEAD, "previous": "0" * 64}, "now abababab, was 00000000"),
        ("notification_delivered", "ops", {"about": "Over: a must sign in"}, '"Over: a must sign in"'),
        ("hook_succeeded", "restart", {"about": "secret_stored of a"}, '"secret_stored of a"'),
        (
            "hook_failed",
            "a",
            {"message": "it exited with 1; it printed: no", "output": "no"},
            "it exited with 1; it printed: no",
        ),
        ("hook_failed", "a", {"message": "it timed out", "output": "no"}, "it timed out, it printed: no"),
        ("stop_requested", "a@b", {"finishing": 0}, "nothing to finish"),
        ("stop_requested", "a@b", {"finishing": 1}, "finishing 1 rotation"),
        ("stop_requested", "a@b", {"finishing": 2}, "finishing 2 rotations"),
        (
            "revoke_started",
            "a",
            {"authorization_id": "id-1", "why": "abandoned", "code": "value_lost"},
            "PAT id-1, because it is a clone whose value was lost",
        ),
        (
            "revoke_started",
            "a",
            {"authorization_id": "id-1", "why": "rotated", "code": "revocation_unconfirmed"},
            "PAT id-1, because its successor is stored and works (revocation unconfirmed)",
        ),
        ("revocation_requested", "a", {"authorization_id": "id-1", "why": "rotated"}, "PAT id-1"),
        ("pat_revoked", "a", {"authorization_id": "id-1", "why": "rotated"}, "PAT id-1"),
        ("condition_ended", "build-bot", {"kind": "sign_in_needed"}, "over: build-bot must sign in again"),
        ("sign_in_end_foreseen", "a", {"days": 1}, "1 day ahead"),
        ("sign_in_end_foreseen", "a", {"days": 7}, "7 days ahead"),
        ("own_changes_compared", "a", {"changes": 1, "entries": 1}, "1 change, 1 entry"),
    ],
)
def test_event_says_its_fields_as_a_person_would(
    name: str, subject: str, details: dict[str, Detail], said: str
) -> None:
    assert say_fields(name, subject, details) == said


@pytest.mark.parametrize(
    ("name", "outcome", "said"),
    [
        ("rotation_planned", Outcome.INTENDED, "rule ci"),
        ("mint_started", Outcome.INTENDED, "intended: rule ci"),
        ("expiry_foreseen", Outcome.FAILED, "rule ci"),
        ("rotation_failed", Outcome.FAILED, "failed: rule ci"),
    ],
)
def test_plan_is_not_called_intended_and_forecast_is_not_called_failed(name: str, outcome: Outcome, said: str) -> None:
    event = make_event(
        AuditEntry(name, "npm-feed", outcome, "me@host", "run-1", {"rule": "ci"}), previous=None, occurred_at=NOW
    )
    assert say_details(event) == said


def test_events_are_followed_once_each_until_nobody_wants_more() -> None:
    database = MemoryDatabase()

    def write(*subjects: str) -> None:
        with database.begin() as work:
            for subject in subjects:
                work.audit.append(replace(make_entry(), subject=subject), NOW)

    turns = iter([("b", "other"), (), tuple("b" for _ in range(1200)), None])

    def pause() -> bool:
        written = next(turns)
        write(*(written or ()))
        return written is not None

    write("a", "b", "b")
    events = list(follow_events(database, 2, AuditFilter(subject="b"), pause))
    assert [event.sequence for event in events] == [3, 4, *range(6, 1206)]


@pytest.mark.parametrize("kept", [2, 4])
def test_following_ends_when_the_log_was_put_back_and_perhaps_went_on(kept: int) -> None:
    """What has the numbers that were given before would never be given; of what is older nobody knows."""
    database = MemoryDatabase()
    with database.begin() as work:
        for _ in range(4):
            work.audit.append(make_entry(), NOW)

    def pause() -> bool:
        del database._tables.events[2:]
        with database.begin() as work:
            for number in range(2, kept):
                work.audit.append(replace(make_entry(), subject=f"later-{number}"), NOW)
        return True

    following = follow_events(database, 2, AuditFilter(), pause)
    assert [next(following).sequence, next(following).sequence] == [3, 4]
    with pytest.raises(UsageError, match="no event 4 yet" if kept == 2 else "another event 4 than before") as caught:
        next(following)
    assert "restored from a backup" in caught.value.fix


def test_line_of_an_event_has_room_for_the_first_of_very_many_pats_and_counts_as_people_do() -> None:
    names = [f"team{number:03}" for number in range(259)]
    many, few = WORDS["pats"](", ".join(names)), WORDS["pats"]("ci-build, npm-feed")
    assert many == f"259 PATs: {', '.join(names[:10])} and 249 more"
    assert few == "PATs ci-build, npm-feed"
    assert [WORDS["failures"](count) for count in (1, 2)] == ["the first failure", "failed twice in a row"]
    assert [WORDS["finishing"](count) for count in (0, 2)] == ["nothing to finish", "finishing 2 rotations"]
    assert WORDS["about"]("Over: build-bot must sign in again") == '"Over: build-bot must sign in again"'
