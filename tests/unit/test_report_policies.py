"""The texts of policies: told once with the policy, shown whole or by what changed, never taken from a forger."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from rotator.domain.audit_event import AuditEntry, AuditEvent, Outcome
from rotator.domain.events.places import PolicyChanged
from rotator.engine.auditing import record, record_policy
from rotator.report.page import render_page
from rotator.report.policies import list_texts
from tests.support.engine import EngineWorld, make_world
from tests.support.html_page import read_page
from tests.unit.test_report_page import DAY, NOW, make_document

FIRST = "version: 1\ndefaults:\n  overlap: 2h\n"
SECOND = "version: 1\ndefaults:\n  overlap: 4h\n"


def make_digest(text: str) -> str:
    """The SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def use(world: EngineWorld, text: str | None, *, digest: str | None = None) -> None:
    """A run works by a policy of this text, and tells what it is."""
    world.policy = replace(world.policy, digest=digest or make_digest(text or ""), text=text)
    record_policy(world.make_run())


def list_told(world: EngineWorld) -> list[tuple[object, object]]:
    """What each event says that a policy is: its text, and the SHA-256 of the one before."""
    with world.database.read() as reading:
        events = [each for each in reading.audit.load_after(0, 100) if each.entry.event == "policy_changed"]
    return [(each.entry.details.get("text"), each.entry.details["previous"]) for each in events]


def test_text_is_told_with_the_policy_and_not_again() -> None:
    world = make_world()
    for text in (FIRST, FIRST, SECOND, SECOND):
        use(world, text)
    assert list_told(world) == [(FIRST, None), (SECOND, make_digest(FIRST))]
    assert PolicyChanged(sha256="1", previous=None, text=FIRST).make_line("policy") == {
        "policy": "policy",
        "sha256": "1",
        "previous": None,
    }


def test_text_that_an_earlier_version_did_not_tell_is_told_once_after_the_upgrade() -> None:
    world, digest = make_world(), make_digest(FIRST)
    run = world.make_run()
    with world.database.begin() as work:
        record(work, run, "policy", PolicyChanged(sha256=digest, previous=None), NOW)
    for _ in range(2):
        use(world, FIRST)
    assert list_told(world) == [(None, None), (FIRST, digest)]


def test_policy_without_a_text_to_tell_is_told_by_its_hash() -> None:
    world = make_world()
    for _ in range(2):
        use(world, None, digest="a" * 64)
    assert list_told(world) == [(None, None)]


def make_change(number: int, text: str | None, digest: str) -> AuditEvent:
    """An event that names a policy."""
    details = {"sha256": digest, "previous": None, **({} if text is None else {"text": text})}
    entry = AuditEntry("policy_changed", "policy", Outcome.SUCCEEDED, "anna@host", f"run-{number}", details)
    return AuditEvent(number, NOW - (100 - 20 * number) * DAY, entry, "", "")


def test_first_policy_is_whole_and_a_later_one_what_it_changed() -> None:
    """The first is from before the period, and in force when it begins."""
    changes = [make_change(1, FIRST, make_digest(FIRST)), make_change(2, SECOND, make_digest(SECOND))]
    events = [replace(changes[0], occurred_at=NOW - 95 * DAY), changes[1]]
    document = make_document(events)
    first, second, current = list_texts(document)
    assert (first.number, first.said, first.text) == (1, "Its text is in event 1.", FIRST)
    assert second.text == "@@ -1,3 +1,3 @@\n version: 1\n defaults:\n-  overlap: 2h\n+  overlap: 4h"
    assert second.said.startswith("Its text is in event 2. What it changed,")
    assert (current.heading, current.text) == ("Policy 3, the current one", None)
    assert "was not recorded then" in current.said
    shown = [found.text() for found in read_page(render_page(document)).find_all("pre")]
    assert [" ".join(text.split()) for text in shown] == [
        "version: 1 defaults: overlap: 2h",
        "@@ -1,3 +1,3 @@ version: 1 defaults: - overlap: 2h + overlap: 4h",
    ]


def test_text_that_its_hash_is_not_of_is_no_text() -> None:
    [found, _] = list_texts(make_document([make_change(1, FIRST, make_digest(SECOND))]))
    assert found.text is None


def test_texts_that_do_not_fit_the_page_are_left_to_the_archive() -> None:
    long = ["# " + "x" * 40_000 + "\n", "# " + "y" * 40_000 + "\n"]
    events = [make_change(number, text, make_digest(text)) for number, text in enumerate(long, 1)]
    first, second, _ = list_texts(make_document(events))
    assert first.text == long[0]
    assert second.text is None
    assert f"an archive has it as policies/{make_digest(long[1])}.yaml" in second.said
    many = [make_change(1, text := f"# {number}\n", make_digest(text)) for number in range(30)]
    events = [replace(event, sequence=number) for number, event in enumerate(many, 1)]
    assert [found.number for found in list_texts(make_document(events))] == list(range(12, 32))
