"""Which PATs a command shows: names and globs, filters, order, and the forms that programs read."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NotRequired, TypedDict

import click
import pytest
from click.testing import CliRunner

from rotator.cli.context import CliContext
from rotator.cli.selecting import print_csv, selection_options
from rotator.cli.selection import Facts, Form, Order, Selection, expand
from rotator.documents.inventory import RecordDocument
from rotator.documents.status import PatStatusDocument
from rotator.errors import UsageError
from tests.support.fake_database import MemoryDatabase
from tests.support.records import make_managed_pat

NOW = datetime(2026, 12, 3, 9, 0, tzinfo=UTC)
PATS = [
    Facts("team01-npm", "build-bot", "contoso", "ok", NOW + timedelta(days=9)),
    Facts("team01-ci", "build-bot", "fabrikam", "due", NOW + timedelta(days=2)),
    Facts("team02-ci", "other-bot", "contoso", "expired", NOW - timedelta(days=1)),
    Facts("new", "other-bot", "contoso", "untracked", None),
]


def _choose(**asked: Any) -> list[str]:
    return [facts.name for facts in Selection(**asked).choose(PATS, lambda facts: facts, NOW)]


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ({}, ["team01-npm", "team01-ci", "team02-ci", "new"]),
        ({"names": ("team01*",)}, ["team01-npm", "team01-ci"]),
        ({"names": ("*-ci", "new")}, ["team01-ci", "team02-ci", "new"]),
        ({"names": ("nothing*",)}, []),
        ({"accounts": ("other-*",)}, ["team02-ci", "new"]),
        ({"organizations": ("fabrikam",)}, ["team01-ci"]),
        ({"states": ("ok", "due")}, ["team01-npm", "team01-ci"]),
        ({"expires_within": timedelta(days=3)}, ["team01-ci", "team02-ci"]),
        ({"order": Order.EXPIRES}, ["team02-ci", "team01-ci", "team01-npm", "new"]),
        ({"order": Order.NAME, "limit": 2}, ["new", "team01-ci"]),
        ({"order": Order.ORGANIZATION}, ["new", "team01-npm", "team02-ci", "team01-ci"]),
        ({"names": ("*-ci",), "accounts": ("build-bot",)}, ["team01-ci"]),
    ],
)
def test_what_is_asked_for_is_chosen(asked: dict[str, Any], chosen: list[str]) -> None:
    assert _choose(**asked) == chosen
    assert Selection(**asked).is_filtered is bool(asked.keys() - {"order"})


def test_name_that_looks_like_a_glob_is_that_name_alone() -> None:
    """As display names may: `ci[1]` is no `ci1`; of no PAT that is called so it is a glob."""
    named, other = replace(PATS[0], name="ci[1]"), replace(PATS[0], name="ci1")
    chosen = Selection(names=("ci[1]",)).choose([named, other], lambda facts: facts, NOW)
    assert chosen == (named,)
    assert Selection(names=("ci[1]",)).choose([other], lambda facts: facts, NOW) == (other,)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"names": ("team01-nmp",)}, 'there is no PAT named "team01-nmp", did you mean "team01-npm"?'),
        ({"accounts": ("build-bod",)}, 'there is no account named "build-bod", did you mean "build-bot"?'),
        ({"organizations": ("xyz",)}, 'there is no organization named "xyz"'),
    ],
)
def test_unknown_name_is_an_error_with_the_nearest_one(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        _choose(**asked)
    assert caught.value.message == said


def test_glob_means_every_managed_pat_that_it_fits_once() -> None:
    database = MemoryDatabase()
    with database.begin() as unit:
        for name in ("team01-a", "team01-b", "other"):
            unit.inventory.add(replace(make_managed_pat(name), authorization_id=name))
    assert expand(("team01*", "team01-a", "unknown"), database) == ("team01-a", "team01-b", "unknown")
    with pytest.raises(UsageError, match=r'no managed PAT fits "x\*"'):
        expand(("x*",), database)


def test_options_reach_the_selection() -> None:
    seen: list[CliContext] = []

    @click.command()
    @selection_options(["ok", "due"])
    @click.pass_obj
    def show(cli: CliContext) -> None:
        seen.append(cli)

    words = ["a*", "b", "--account", "x", "--organization", "y", "--state", "ok", "--state", "due"]
    words += ["--expires-within", "7d", "--sort", "expires", "--limit", "3", "-o", "json"]
    assert CliRunner().invoke(show, words, obj=CliContext()).exit_code == 0
    assert seen[0].as_json
    assert seen[0].selection == Selection(
        ("a*", "b"), ("x",), ("y",), ("ok", "due"), timedelta(days=7), Order.EXPIRES, 3, Form.JSON
    )
    for wrong in (["--limit", "0"], ["--expires-within", "soon"], ["--sort", "x"], ["-o", "xml"], ["--state", "x"]):
        assert CliRunner().invoke(show, wrong, obj=CliContext()).exit_code == 2


class _Error(TypedDict):
    code: str
    fix: str


class _Row(TypedDict):
    name: str
    scopes: list[str]
    error: Annotated[_Error | None, "None: nothing is wrong."]
    ok: bool
    more: NotRequired[list[_Error]]


def test_csv_is_flat_and_no_spreadsheet_runs_it(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [
        {"name": "=1+1", "scopes": ["a", "b"], "error": None, "ok": True},
        {"name": 'a,"b"\nc', "scopes": [], "error": {"code": "x", "fix": "-1"}, "ok": False},
    ]
    print_csv(rows, _Row)
    read = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert read == [
        ["name", "scopes", "error.code", "error.fix", "ok", "more"],
        ["'=1+1", "a b", "", "", "true", ""],
        ['a,"b"\nc', "", "x", "'-1", "false", ""],
    ]


def test_csv_has_the_same_columns_whatever_its_rows_are(capsys: pytest.CaptureFixture[str]) -> None:
    """A script that reads `last_error.code` finds it also when nothing is wrong, and when there is no row."""
    print_csv([], _Row)
    assert capsys.readouterr().out == "name,scopes,error.code,error.fix,ok,more\n"
    for row_type in (PatStatusDocument, RecordDocument):
        print_csv([], row_type)
        columns = capsys.readouterr().out.strip().split(",")
        assert {"name", "expires_at", "state", "last_error.code", "last_error.message", "last_error.fix"} <= {*columns}
        assert "last_error" not in columns
