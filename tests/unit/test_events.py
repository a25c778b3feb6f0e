"""The catalogue of events: whole, typed, and the only way into log and audit."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest

from rotator.domain.audit_event import Outcome
from rotator.domain.condition import ConditionKind
from rotator.domain.events.catalogue import CATALOGUE, EVENTS, find_ends
from rotator.domain.events.event import Event, Severity
from rotator.domain.events.places import PolicyChanged
from rotator.domain.events.revocations import RevokeStarted
from rotator.domain.events.rotations import PatMinted
from tests.support.source_tree import load_product
from tests.unit.events_page import PAGE, list_types, render_page

MODULES = load_product()
_LOGGERS = {"logging.getLogger", "logging.Logger", "logging.LoggerAdapter", "logging.root"}
IRREGULAR = (" down", " left behind", " lost", " read", " found", " rebuilt", " kept", " taken over")
"""Past without -ed or -en, and `down`, for which English has no such form."""


def test_catalogue_lists_every_event_once_when_one_is_defined() -> None:
    assert sorted(event.__name__ for event in EVENTS) == sorted(event.__name__ for event in Event.__subclasses__())
    assert len(CATALOGUE) == len(EVENTS)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type.name)
def test_event_is_named_by_what_happened_and_says_what_it_means(event: type[Event]) -> None:
    """The name is the class's, in lower case, and the meaning is its docstring: sentences that end."""
    name = event.type.name
    assert name == re.sub(r"(?<!^)([A-Z])", r"_\1", event.__name__).lower()
    assert name.endswith(("ed", "en")) or name.replace("_", " ").endswith(IRREGULAR)
    assert event.__doc__
    assert event.__doc__.endswith(".")
    assert "PatMinted(" not in event.__doc__
    assert set(list_types(event)) == set(event.fields)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type.name)
def test_event_is_visible_by_default_when_something_is_wrong(event: type[Event]) -> None:
    kind = event.type
    if kind.outcome in (Outcome.FAILED, Outcome.UNKNOWN) or kind.needs_person or kind.begins:
        assert kind.severity is not Severity.INFO
    if kind.outcome in (Outcome.INTENDED, Outcome.SUCCEEDED):
        assert kind.severity is Severity.INFO
        assert kind.begins is None


@pytest.mark.parametrize("kind", ConditionKind)
def test_condition_matters_as_much_whichever_event_begins_it(kind: ConditionKind) -> None:
    """So that the log, which has the events, and a receiver, which hears of the condition, say the same."""
    assert len({event.type.severity for event in EVENTS if event.type.begins is kind}) == 1


@pytest.mark.parametrize("kind", ConditionKind)
def test_condition_begins_and_ends_about_one_kind_of_subject(kind: ConditionKind) -> None:
    begins = [event for event in EVENTS if event.type.begins is kind]
    ends = find_ends(kind)
    assert begins
    assert ends
    assert len({event.type.subject for event in (*begins, *ends)}) == 1
    assert not any(kind in event.type.ends for event in begins)


def test_details_are_plain_when_fields_are_times_or_left_out() -> None:
    moment = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    minted = PatMinted(authorization_id="id-1", valid_to=moment)
    assert minted.make_details() == {"authorization_id": "id-1", "valid_to": "2026-03-01T12:00:00+00:00"}
    assert minted.make_line("npm-feed") == {"name": "npm-feed", **minted.make_details()}
    assert RevokeStarted(authorization_id="id-1", why="late").make_details() == {
        "authorization_id": "id-1",
        "why": "late",
    }
    assert PolicyChanged(sha256="1", previous=None).make_details() == {"sha256": "1", "previous": None}


def test_all_events_are_made_by_the_same_code() -> None:
    """Code made for each of them would make every command begin later, as all load the catalogue."""
    assert not [event for event in EVENTS if {"__init__", "__setattr__", "__eq__", "__repr__"} & vars(event).keys()]


def test_changed_event_is_another_with_the_same_fields_but_for_what_was_changed() -> None:
    event = RevokeStarted(authorization_id="id-1", why="late")
    assert event.changed(why="by hand") == RevokeStarted(authorization_id="id-1", why="by hand")
    assert event.why == "late"
    with pytest.raises(TypeError):
        event.changed(token="x")


def test_event_cannot_be_changed_nor_made_with_a_field_it_lacks() -> None:
    """What mypy refuses, Python refuses too."""
    event = RevokeStarted(authorization_id="id-1", why="late")
    with pytest.raises(FrozenInstanceError):
        event.__setattr__("why", "by hand")
    with pytest.raises(FrozenInstanceError):
        event.__delattr__("why")
    values: dict[str, str] = {"authorization_id": "id-1", "why": "late", "token": "x"}
    with pytest.raises(TypeError, match="token"):
        RevokeStarted(**values)
    with pytest.raises(TypeError, match="why"):
        RevokeStarted(**dict.fromkeys(["authorization_id"], "id-1"))


def test_audit_log_is_written_in_one_place_only() -> None:
    """Everything passes through `record`, which takes nothing but an event."""
    calls = {module.name for module in MODULES if any(name.endswith("audit.append") for name in module.called())}
    assert calls == {"rotator.engine.auditing"}


def test_log_has_no_line_of_ours_that_is_no_event() -> None:
    """`adapters/logs` alone writes: others may only set up the logger of a library."""
    using = {module.name for module in MODULES if any(name.split(".")[0] == "structlog" for name in module.imported())}
    assert using == {"rotator.adapters.logs"}
    loggers = {module.name for module in MODULES if _LOGGERS & set(module.named())}
    assert loggers == {
        "rotator.adapters.logs",
        "rotator.adapters.notify.apprise_child",
        "rotator.adapters.hidden_paths",
    }
    assert [module.name for module in MODULES if 'getLogger("rotator' in module.text] == []
    writers = {f"logging.{level}" for level in ("debug", "info", "warning", "error", "critical", "exception", "log")}
    assert [module.name for module in MODULES if writers & set(module.called())] == []


def test_page_of_events_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page(), "run python -m tests.unit.events_page --write"
