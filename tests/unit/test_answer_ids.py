"""The services' own ids of their answers: made harmless at the door, and in the audit log with what they tell of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from rotator.adapters.answer_ids import read_answer_ids
from rotator.domain.answer_ids import make_answer_id
from rotator.engine.auditing import load_events
from rotator.engine.keeping import revoke_current
from rotator.errors import DatabaseUnreachableError, DeniedError, RemoteError, TransientError, UnknownOutcomeError
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import NAME, EngineWorld, make_world
from tests.support.policies import RULE, make_policy

AZURE = {"e2e_id": "e2e-1", "activity_id": "activity-1"}
VAULT = {"request_id": "request-1"}
FAILED = {"e2e_id": "e2e-failed"}


def find_ids(world: EngineWorld) -> list[tuple[str, Mapping[str, object]]]:
    """The events about the managed PAT that have ids, and these."""
    events = load_events(world.database, AuditFilter(subject=NAME))
    found = [
        (
            event.entry.event,
            {key: text for key, text in event.entry.details.items() if key in {*AZURE, *VAULT}},
        )
        for event in events
    ]
    return [(event, ids) for event, ids in found if ids]


def make_answering(*, disabling: bool = False) -> EngineWorld:
    world = make_world(policy=make_policy(replace(RULE, disable_previous=disabling)))
    world.pats.answer_ids, world.secrets.answer_ids = AZURE, VAULT
    return world


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("5f2b3f0e-1c9a-4a55-9f1d-6a1a3b1e2c4d", "5f2b3f0e-1c9a-4a55-9f1d-6a1a3b1e2c4d"),
        ("a\r\nb\x00c \u202ed\ud800", "abcd"),
        ("<script>", "script"),
        ("x" * 100_000, "x" * 64),
        ("", ""),
        ("\n", ""),
    ],
)
def test_id_from_outside_is_harmless(text: str, made: str) -> None:
    assert make_answer_id(text) == made


def test_ids_are_read_by_the_names_of_the_audit_log() -> None:
    """What is absent or empty is left out, and a value that a service repeats is no id."""
    names = {"X-VSS-E2EID": "e2e_id", "ActivityId": "activity_id", "x-ms-request-id": "request_id"}
    assert read_answer_ids({"X-VSS-E2EID": "one", "ActivityId": "\n"}, names) == {"e2e_id": "one"}
    value = "A" * 76 + "AZDO" + "abcd"
    assert read_answer_ids({"ActivityId": value}, names) == {}
    assert read_answer_ids({}, names) == {}


def test_each_answer_to_a_change_is_in_the_audit_log_with_its_ids() -> None:
    """Of the mint, the write, the revocation, and the version that was disabled; intents and proofs have none."""
    world = make_answering(disabling=True)
    world.run()
    world.advance(hours=24)
    world.run()
    assert find_ids(world) == [
        ("pat_minted", AZURE),
        ("secret_stored", VAULT),
        ("secret_version_disabled", VAULT),
        ("revocation_requested", AZURE),
    ]


def test_abandoned_clone_is_in_the_audit_log_with_the_ids_of_both_answers() -> None:
    world = make_answering()
    world.run_and_die(after="minted")
    world.advance(minutes=6)
    world.run()
    assert find_ids(world)[:2] == [("pat_minted", AZURE), ("revocation_requested", AZURE)]


@pytest.mark.parametrize(
    ("kind", "events"),
    [
        (UnknownOutcomeError, ["mint_unanswered", "rotation_failed"]),
        (DeniedError, ["rotation_abandoned", "rotation_blocked"]),
    ],
)
def test_failed_mint_is_in_the_audit_log_with_the_ids_of_its_answer(kind: type[RemoteError], events: list[str]) -> None:
    world = make_answering()
    error = kind("no", service="azure_devops", operation="mint_pat", status=200, answer_ids=FAILED)
    world.pats.fail("mint", error)
    world.run()
    assert find_ids(world) == [(event, FAILED) for event in events]


def test_answer_of_another_request_is_in_the_audit_log_with_its_ids() -> None:
    world = make_answering()
    world.pats.swap_mint_answer()
    world.run()
    assert find_ids(world) == [("mint_answer_doubted", AZURE)]


def test_failed_write_is_in_the_audit_log_with_the_ids_of_its_answer() -> None:
    """With the decision to give the clone up, and with the failure of the PAT."""
    world = make_answering()
    error = DeniedError("no", service="key_vault", operation="store_secret", status=403, answer_ids=FAILED)
    world.secrets.fail("store", error)
    world.run()
    found = find_ids(world)
    assert found[0] == ("pat_minted", AZURE)
    assert found[1:] == [("revoke_started", FAILED), ("revocation_requested", AZURE), ("rotation_blocked", FAILED)]


def test_failed_revocation_is_in_the_audit_log_with_the_ids_of_its_answer() -> None:
    """Also a person's, of which nothing else tells."""
    world = make_answering()
    error = TransientError("busy", service="azure_devops", operation="revoke_pat", status=429, answer_ids=FAILED)
    world.pats.fail("revoke", error)
    with pytest.raises(TransientError):
        revoke_current(world.make_run(), NAME)
    assert find_ids(world) == [("revocation_failed", FAILED)]
    assert world.events()[-1] == "revocation_failed unknown"


def test_ids_are_written_once_when_a_commit_is_repeated() -> None:
    """One COMMIT was kept although it was not answered, one was not; the events after them tell of something else."""
    world = make_answering()
    world.database.losses["minted"] = DatabaseUnreachableError("cannot be reached")
    world.database.refusals["stored"] = DatabaseUnreachableError("cannot be reached")
    world.run()
    assert find_ids(world) == [("pat_minted", AZURE), ("secret_stored", VAULT)]
    assert world.events().count("pat_minted succeeded") == world.events().count("secret_stored succeeded") == 1
