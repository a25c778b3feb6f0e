"""Audit events as other systems read them: OCSF by its published schema, CEF by a parser of somebody else."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

import jsonschema
import pycef
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from rotator.cli.output.exports import make_cef_line, write_events
from rotator.documents.ocsf import _BY_EVENT, make_ocsf_document
from rotator.domain.audit_event import AuditEntry, AuditEvent, Outcome, make_event
from rotator.domain.events.catalogue import CATALOGUE
from tests.support.records import NOW

AT = NOW + timedelta(milliseconds=7)


def make(name: str = "pat_minted", *, subject: str = "feed", actor: str = "me@host", **details: str) -> AuditEvent:
    entry = AuditEntry(name, subject, Outcome.SUCCEEDED, actor, "run-1", details)
    return make_event(entry, previous=None, occurred_at=AT)


@pytest.fixture(scope="module")
def ocsf() -> jsonschema.protocols.Validator:
    """The class Entity Management, as it was published."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0")).get_class_schema("entity_management")
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", [*CATALOGUE, "of_a_later_version"])
def test_each_event_is_valid_ocsf(ocsf: jsonschema.protocols.Validator, name: str) -> None:
    for outcome in Outcome:
        entry = AuditEntry(name, "feed", outcome, "me@host", "run-1", {"n": 1, "note": 'a "b"', "none": None})
        document = make_ocsf_document(make_event(entry, previous=None, occurred_at=AT))
        ocsf.validate(json.loads(json.dumps(document)))


def test_ocsf_tells_who_did_what_to_what() -> None:
    document: Any = make_ocsf_document(make("pat_adopted", authorization_id="1a2b"))
    assert (document["activity_id"], document["activity_name"], document["type_uid"]) == (6, "Enroll", 300406)
    assert document["actor"]["user"]["name"] == "me@host"
    assert document["entity"]["name"] == "feed"
    assert document["time"] == round(AT.timestamp() * 1000)
    assert document["unmapped"]["details"] == {"authorization_id": "1a2b"}
    assert (
        document["unmapped"]["hash"] == document["metadata"]["uid"] == make("pat_adopted", authorization_id="1a2b").hash
    )


def test_activities_are_of_events_that_exist() -> None:
    assert set(_BY_EVENT) <= set(CATALOGUE)


@pytest.mark.parametrize("odd", ["a|b", "a=b", "a\\b", "two\nlines", "two\r\nlines", "cs1=forged rt=1", "ends in \\"])
def test_cef_is_read_as_it_was_written_whatever_a_name_holds(odd: str) -> None:
    line = make_cef_line(make(subject=odd, actor=odd, note=odd))
    assert "\n" not in line
    read = pycef.parse(line)
    assert read["DeviceEventClassID"] == "pat_minted"
    assert (read["rt"], read["outcome"]) == (str(round(AT.timestamp() * 1000)), "succeeded")
    shown = odd.replace("\r", "\\r").replace("\n", "\\n")
    assert _unescape(read["suser"]) == _unescape(read["subject"]) == shown
    assert json.loads(_unescape(read["details"])) == {"note": odd}


def _unescape(text: str) -> str:
    """What the parser leaves: it knows of `=` only."""
    return text.replace("\\=", "=").replace("\\\\", "\\")


@pytest.mark.parametrize("odd", ["=1+1", "+1", "-1", "@sum", "\tx"])
def test_no_cell_of_a_csv_is_a_formula(odd: str) -> None:
    table = io.StringIO()
    write_events([make(subject=odd, actor=odd)], table, "csv")
    [row] = csv.DictReader(io.StringIO(table.getvalue()))
    assert row["subject"] == row["actor"] == "'" + odd.replace("\t", "\\t")
    assert not any(str(cell).startswith(("=", "+", "-", "@", "\t")) for cell in row.values())


CONTROLS = [chr(code) for code in (*range(32), *range(127, 160), 0x2028, 0x2029)]


@pytest.mark.parametrize("form", ["jsonl", "csv", "cef", "ocsf"])
def test_no_name_of_an_old_log_makes_a_second_line_or_moves_a_terminal(form: str) -> None:
    """A collector may split lines as Unicode does."""
    odd = "a" + "b".join(CONTROLS)
    lines = io.StringIO()
    write_events([make(odd, subject=odd, actor=odd, note=odd)], lines, form)
    [line] = lines.getvalue().splitlines()[1 if form == "csv" else 0 :]
    assert [
        code for code in CONTROLS if code in line and (code, form) not in {("\x7f", "jsonl"), ("\x7f", "ocsf")}
    ] == []


def test_control_characters_become_text_that_can_be_read_again() -> None:
    read = pycef.parse(make_cef_line(make(subject="a\x1bb\u2028c")))
    assert _unescape(read["subject"]) == r"a\x1bb\u2028c"
    table = io.StringIO()
    write_events([make(subject="a\x1bb\u2028c")], table, "csv")
    [row] = csv.DictReader(io.StringIO(table.getvalue()))
    assert row["subject"] == r"a\x1bb\u2028c"


@pytest.mark.parametrize("form", ["jsonl", "cef", "ocsf"])
def test_each_event_is_one_line(form: str) -> None:
    lines = io.StringIO()
    assert write_events([make(), make(subject="a\nb")], lines, form) == 2
    assert len(lines.getvalue().splitlines()) == 2
