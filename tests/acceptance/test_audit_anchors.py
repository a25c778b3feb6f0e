"""The vault tells that the whole database was put back, by the commands that a reviewer types."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.adapters.signing import Ed25519Signer, make_signing_key
from rotator.domain.checkpoint import make_key_id
from rotator.domain.clocks import AUDIT_LOG
from rotator.domain.events.anchors import SigningKeyChanged
from rotator.domain.key_change import KeyChange
from rotator.domain.secret_value import SecretValue
from rotator.engine.auditing import Author, record
from rotator.sandbox.seeds import VAULT
from tests.support.killing import NAME, Run, Stage


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage, with anchors in the vault."""
    prepared.reset()
    settings = prepared.sandbox.addresses.config_path
    text = settings.read_text(encoding="utf-8")
    assert "anchors: []" in text
    settings.write_text(text.replace("anchors: []", "anchors: [vault]"), encoding="utf-8")
    return prepared


def call(stage: Stage, *words: str, code: int = 0) -> Run:
    """Run the command, and expect an exit code."""
    run = stage.start(*words)
    assert run.wait() == code, run.read()
    return run


def test_database_that_was_put_back_is_named_until_its_gap_is_accepted(stage: Stage) -> None:
    call(stage, "once")
    with stage.world.lock:
        [name] = [name for name in stage.world.vaults[VAULT].secrets if name.startswith("rotator-audit-")]
        [version] = stage.world.vaults[VAULT].secrets[name].versions
    intact = json.loads(call(stage, "audit", "verify", "--anchors", "--json").output.read_text(encoding="utf-8"))
    assert intact["valid"]
    assert (intact["accepted"], intact["others"], intact["unread"]) == (0, [], [])
    assert 0 < intact["signed"] <= intact["events"]
    stage.database.restore()
    call(stage, "audit", "verify")
    run = call(stage, "audit", "verify", "--anchors", "--json", code=1)
    error = json.loads(run.output.read_text(encoding="utf-8"))["error"]
    assert version.tags["rotator-audit-size"] == str(error["sequence"]) or error["anchor"] == "ci-build"
    assert "accept-gap" in error["fix"]
    assert "needs a reason" in call(stage, "audit", "accept-gap", code=2).read()
    accepted = call(stage, "audit", "accept-gap", "--reason", "restored a backup", "--json")
    assert len(json.loads(accepted.output.read_text(encoding="utf-8"))["accepted"]) >= 2
    text = call(stage, "audit", "verify", "--anchors").read()
    assert "A person accepted that the log lacks" in text
    assert re.search(r"^Public key: [0-9a-f]{64}$", text, re.MULTILINE)
    assert call(stage, "audit", "accept-gap", "--reason", "again").read().startswith("The log lacks nothing")


def test_file_tells_that_the_database_was_put_back(prepared: Stage) -> None:
    prepared.reset()
    settings = prepared.sandbox.addresses.config_path
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("anchors: []", "anchors: [{file: anchors.jsonl}]"), encoding="utf-8")
    call(prepared, "once")
    path = prepared.folder / "anchors.jsonl"
    assert path.read_text(encoding="utf-8").count("\n") == 1
    assert call(prepared, "audit", "verify", "--anchors").output.read_text(encoding="utf-8")
    prepared.database.restore()
    error = json.loads(call(prepared, "audit", "verify", "--anchors", "--json", code=1).output.read_text("utf-8"))[
        "error"
    ]
    assert "the log was cut off" in error["message"]
    size = json.loads(path.read_text(encoding="utf-8"))["rotator-audit-size"]
    assert error["anchor"] in (NAME, f"{path} {size}")


def test_new_key_is_signed_by_the_old_one_and_then_the_old_one_can_go(stage: Stage) -> None:
    """The reviewer has the first public key only; the vault's anchors were signed with both keys."""
    call(stage, "once")
    settings, old = stage.sandbox.addresses.config_path, stage.folder / "audit-signing.key"
    first = Ed25519Signer(SecretValue(old.read_text(encoding="utf-8")))
    new = make_signing_key()
    (stage.folder / "new.key").write_text(new.reveal(), encoding="utf-8")
    (stage.folder / "new.key").chmod(0o600)
    text = settings.read_text(encoding="utf-8")
    change = text.replace("{file: audit-signing.key}", "{file: new.key}\n  previous_keys: [{file: audit-signing.key}]")
    settings.write_text(change, encoding="utf-8")
    call(stage, "rotate", NAME)
    before, after = make_key_id(first.public_key), make_key_id(Ed25519Signer(new).public_key)
    settings.write_text(text.replace("{file: audit-signing.key}", "{file: new.key}"), encoding="utf-8")
    aside = old.rename(stage.folder / "old.key")
    assert f"the key {after} signs, in place of {before}: signed by both." in call(stage, "audit", "verify").read()
    known = f"audit:\n  public_key: {first.public_key}\n  signing_key: null"
    settings.write_text(text.replace("audit:\n  signing_key: {file: audit-signing.key}", known), encoding="utf-8")
    said = json.loads(call(stage, "audit", "verify", "--anchors", "--json").output.read_text(encoding="utf-8"))
    [told] = said["key_changes"]
    assert (told["old_key"], told["new_key"], told["signed_by_old_key"]) == (before, after, True)
    assert told["sequence"] <= said["signed"]
    aside.rename(old)
    settings.write_text(text, encoding="utf-8")
    assert "signing_key_replaced" in call(stage, "rotate", NAME, code=2).read()


def test_forged_change_of_the_key_stops_no_work_and_is_named_until_a_person_accepts_it(stage: Stage) -> None:
    """By somebody who can write the database; the new key is theirs, and signs alone."""
    call(stage, "once")
    ours = Ed25519Signer(SecretValue((stage.folder / "audit-signing.key").read_text(encoding="utf-8")))
    theirs = Ed25519Signer(make_signing_key())
    change = KeyChange(make_key_id(ours.public_key), 1, "0" * 64, ours.public_key, theirs.public_key)
    event = SigningKeyChanged(**vars(replace(change, new_signature=theirs.sign(change.make_statement()))))
    database = SqlDatabase(stage.database.url())
    with database.begin() as work:
        record(work, Author("ops", "run", lambda *_: None), AUDIT_LOG, event, datetime.now(UTC))
        number = work.audit.load_newest_number()
    database.close()
    call(stage, "rotate", NAME)
    error = json.loads(call(stage, "audit", "verify", "--json", code=1).output.read_text(encoding="utf-8"))["error"]
    assert error["sequence"] == number
    assert "accept-gap" in error["fix"]
    said = call(stage, "audit", "accept-gap", "--reason", "the intruder of May").read()
    assert said.endswith("Accepted: 1 event in the log is forged.\n")
    assert f"Event {number} is forged and counts for nothing" in call(stage, "audit", "verify").read()
    told = json.loads(call(stage, "audit", "verify", "--json").output.read_text(encoding="utf-8"))
    assert (told["forged"], told["ahead"], told["stamps_ahead"], told["accepted"]) == ([number], None, 0, 0)


def test_verify_reads_only_what_is_new_unless_it_is_told_to_read_all(stage: Stage) -> None:
    for _ in range(2):  # the first run of an installation verifies nothing
        call(stage, "once")
    known = json.loads(call(stage, "audit", "verify", "--json").output.read_text(encoding="utf-8"))
    assert 0 < known["since"] < known["events"]
    assert f"Events 1 to {known['since']} had been verified" in call(stage, "audit", "verify").read()
    for option in ("--all", "--anchors"):
        whole = json.loads(call(stage, "audit", "verify", option, "--json").output.read_text(encoding="utf-8"))
        assert (whole["since"], whole["events"]) == (0, known["events"])
