"""`rotator audit report`, on a log that real commands filled: every number on the page by SQL of the test's own."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rotator.adapters.signing import Ed25519Signer
from rotator.domain.secret_value import SecretValue
from rotator.domain.words import say_duration
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import USERNAME, VAULT
from tests.support.canaries import CanarySearch, collect_canaries
from tests.support.filled_log import REASON, SCRIPT, Filled
from tests.support.forgery import drop_triggers, execute
from tests.support.html_page import Element, read_page, read_table
from tests.support.installed_command import run_command, run_forked
from tests.support.moved_clock import MovedWallClock
from tests.support.published import check_printed
from tests.support.review_queries import QUERIES, say_ordered
from tests.support.source_tree import ROOT

PERIOD = "2000-01-01..2100-12-31"


@dataclass
class Reviewed:
    """A page, its document, and the database that it is of."""

    page: Element
    text: str
    document: dict[str, object]
    sandbox: Sandbox
    database: sqlite3.Connection
    errors: str

    @property
    def now(self) -> str:
        """When the page was made."""
        return str(self.document["generated_at"])

    def ask(self, name: str) -> list[tuple[str, ...]]:
        """The rows that the query of that name finds, as texts."""
        found = self.database.execute(QUERIES[name], {"now": self.now, "owner": USERNAME})
        return [tuple(str(value) for value in row) for row in found]


@pytest.fixture(scope="module")
def reviewed(filled: Filled) -> Iterator[Reviewed]:
    """The page of all time."""
    output = filled.folder / "page.html"
    done = filled.run("audit", "report", "--period", PERIOD, "--anchors", "--output", output, "--json")
    document = json.loads(done.stdout)
    check_printed(("audit", "report"), document)
    connection = sqlite3.connect(filled.database)
    connection.executescript(QUERIES["views"])
    connection.execute("CREATE TEMP TABLE condition_event (kind, event, begins)")
    connection.executemany("INSERT INTO condition_event VALUES (?, ?, ?)", _read_conditions())
    text = output.read_text(encoding="utf-8")
    yield Reviewed(read_page(text), text, document, filled.sandbox, connection, done.stderr)
    connection.close()


TABLES = (
    *("pats", "reach", "ages", "time-left", "unmanaged", "changes", "policies", "sign-ins", "anchors", "gaps"),
    *("sign-in-sums", "revoked-why", "gone"),
    *("failed-events", "by-hand", "ordered", "revocations", "pending", "living", "service-logs", "foreign", "lacking"),
    "user-pats",
)
LEFT_TO_OTHERS = {
    "anchors": (6, 7),
    "by-hand": (9,),
    "pats": (5,),
    "ages": (8,),
    "unmanaged": (8,),
    "revocations": (3, 4),
    "service-logs": (8, 9),
}
"""Columns of words, or of spans that are compared by themselves."""


@pytest.mark.parametrize("name", TABLES)
def test_table_says_what_sql_finds(reviewed: Reviewed, name: str) -> None:
    skipped = LEFT_TO_OTHERS.get(name, ())
    rows = [
        tuple(cell for place, cell in enumerate(row) if place not in skipped) for row in read_table(reviewed.page, name)
    ]
    if name == "anchors":  # what secrets hold besides, in their tags, is counted elsewhere
        rows = [row for row in rows if row[1] != "one with each value"]
    found = reviewed.ask(name)
    if name == "ordered":
        times = dict(reviewed.database.execute("SELECT CAST(sequence AS TEXT), at FROM known").fetchall())
        found = say_ordered(found, times)
    expected = [tuple(" ".join(cell.split()) for cell in row) for row in found]
    assert rows == expected
    assert rows or name in ("gaps", "pending", "lacking")


def _read_conditions() -> list[tuple[str, str, int]]:
    """Which events begin (1) and end (0) each condition, by the page about events."""
    text = (ROOT / "docs" / "events.md").read_text(encoding="utf-8").partition("## Conditions")[2]
    found = []
    for line in re.findall(r"^\| `.*", text, re.MULTILINE):
        kind, begun, ended = (re.findall(r"`(\w+)`", cell) for cell in line.split("|")[1:4])
        found += [(kind[0], event, 1) for event in begun] + [(kind[0], event, 0) for event in ended]
    return found


def test_breaches_are_those_that_sql_finds(reviewed: Reviewed) -> None:
    """One list, by when each began: what events tell of, and what is so now."""
    now = datetime.fromisoformat(reviewed.now)
    expected, whole = [], timedelta(0)
    for which, number, kind, subject, code, begun, ended, by in reviewed.ask("conditions"):
        if which == "1":
            span = (now if ended == "None" else datetime.fromisoformat(ended)) - datetime.fromisoformat(begun)
            until, events = ("lasts", number) if ended == "None" else (_say(ended), f"{number}, {by}")
            expected.append((begun, kind, subject, _say(begun), until, say_duration(_cut(span)), code, events))
            whole += span
    for what, pat, begun in reviewed.ask("standing breaches"):
        span = now - datetime.fromisoformat(begun)
        lasted = say_duration(_cut(span))
        is_managed = "nobody manages it" not in pat
        none = f"none: {'the inventory shows it' if is_managed else 'the last look shows it (unmanaged.json)'}"
        expected.append((begun, what, pat, _say(begun), "lasts", lasted, "none", none))
        whole += _cut(span)
    for pat, since, at, events, seconds in reviewed.ask("late"):
        span = timedelta(seconds=round(float(seconds)))
        expected.append(
            (since, "rotation began later than the rule asked", pat, since, at, say_duration(span), "", events)
        )
        whole += span
    rows = read_table(reviewed.page, "breaches")
    assert sorted(rows) == sorted(row[1:] for row in expected)
    assert [row[2] for row in rows] == sorted(row[2] for row in rows)
    caption = reviewed.page.find_id("breaches").find_all("caption")[0].text()
    shown = caption.removeprefix(f"What broke the policy: {len(expected)} in all, which lasted ")
    assert shown.removesuffix(" together, each counted by itself") in {
        say_duration(_cut(whole - timedelta(seconds=less))) for less in range(len(expected) + 1)
    }
    assert {row[6].startswith("none: ") for row in rows} == {True, False}


@pytest.mark.parametrize(("name", "is_exception"), [("failures", "0")])
def test_spans_are_those_that_sql_finds(reviewed: Reviewed, name: str, is_exception: str) -> None:
    expected = []
    for which, number, kind, subject, code, begun, ended, by in reviewed.ask("conditions"):
        lasts = ended == "None"
        span = datetime.fromisoformat(reviewed.now if lasts else ended) - datetime.fromisoformat(begun)
        lasted = say_duration(timedelta(seconds=span // timedelta(seconds=1)))
        if which == is_exception:
            expected.append((number, kind, subject, code, _say(begun), "lasts" if lasts else _say(ended), by, lasted))
    assert read_table(reviewed.page, name) == expected
    assert expected


@pytest.mark.parametrize(("name", "is_exception"), [("exception-sums", "1"), ("failure-sums", "0")])
def test_sums_are_those_of_the_spans_that_sql_finds(reviewed: Reviewed, name: str, is_exception: str) -> None:
    groups: dict[tuple[str, str], list[tuple[timedelta, int, str]]] = {}
    for which, number, kind, _, code, begun, ended, _ in reviewed.ask("conditions"):
        end = datetime.fromisoformat(reviewed.now if ended == "None" else ended)
        lasted = end - datetime.fromisoformat(begun)
        if which == is_exception:
            groups.setdefault((kind, code), []).append((lasted, int(number), _say(begun)))
    expected = set()
    for (kind, code), spans in groups.items():
        (_, first, first_at), *_ = sorted(spans, key=lambda span: span[1])
        *_, (_, last, last_at) = sorted(spans, key=lambda span: span[1])
        most = max(span[0] for span in spans)
        [longest] = {span[1] for span in spans if span[0] == most} & {_find_longest(reviewed.page, name, kind, code)}
        whole, one = (say_duration(_cut(span)) for span in (sum((span[0] for span in spans), timedelta(0)), most))
        expected.add(
            (
                kind,
                code,
                str(len(spans)),
                whole,
                first_at,
                str(first),
                last_at,
                str(last),
                one,
                str(longest),
            )
        )
    assert set(read_table(reviewed.page, name)) == expected
    assert expected


def test_outcomes_of_commands_are_those_that_sql_finds(reviewed: Reviewed) -> None:
    expected = []
    names = ("completed", "abandoned, not tried again", "undone, not tried again", "not ended")
    for _, begun, replaced, *counts, gone, at, by, later in reviewed.ask("outcomes"):
        said = ", ".join(f"{count} {name}" for count, name in zip(counts, names, strict=True) if count != "0")
        whole = f"{said}; old PATs proven gone by this order: {int(gone) - int(later)} of {replaced}"
        whole += "" if later == "0" else f", and {later} by a later rotation"
        whole += "" if gone == "0" else f", the last at {at} (event {by})"
        whole = said if replaced == "0" else whole
        expected.append("it began no rotation" if begun == "0" else whole)
    assert [row[9] for row in read_table(reviewed.page, "by-hand")] == expected
    assert any("old PAT" in said for said in expected)


def _find_longest(page: Element, name: str, kind: str, code: str) -> int:
    return next(int(row[-1]) for row in read_table(page, name) if row[:2] == (kind, code))


def _cut(span: timedelta) -> timedelta:
    return timedelta(seconds=span // timedelta(seconds=1))


def _say(moment: str) -> str:
    return moment[:19].replace("T", " ")


def test_timeline_and_proofs_are_those_that_sql_finds(reviewed: Reviewed) -> None:
    rows = reviewed.ask("timeline")
    shown = read_table(reviewed.page, "timeline")
    assert [(str(place), *row[2:]) for place, row in enumerate(shown) if row[6] != "none"] == rows
    assert all(row[2:] == ("0", "0", "0", "0", "none", "none") for row in shown if row[6] == "none")
    [chart, _] = [svg for svg in reviewed.page.find_all("svg") if "timeline" in svg.attributes["aria-labelledby"]] * 2
    assert chart.find_all("text")[0].text() == str(max(int(number) for row in rows for number in row[2:4]))
    bars = [svg for svg in reviewed.page.find_all("svg") if "time-left" in svg.attributes["aria-labelledby"]]
    texts = [text.text() for text in bars[0].find_all("text")]
    assert list(zip(texts[::2], texts[1::2], strict=True)) == read_table(reviewed.page, "time-left")
    [fates] = reviewed.ask("fates")
    assert tuple(re.findall(r"\d+", reviewed.page.find_id("fates").text())) == fates
    assert int(fates[0]) == sum(map(int, fates[1:])) > 0
    slowest = reviewed.ask("slowest proofs")
    proofs = {row[0]: row[3:5] for row in read_table(reviewed.page, "revocations")}
    assert proofs == {
        name: (say_duration(timedelta(seconds=int(float(seconds) + 1e-4))), event) for name, seconds, event in slowest
    }


def test_uses_and_old_pats_beyond_their_overlap_are_those_that_sql_finds(reviewed: Reviewed) -> None:
    expected = []
    for name, number, begun, until, at, event, ended, by in reviewed.ask("uses"):
        lasted = datetime.fromisoformat(until) - datetime.fromisoformat(begun)
        expected.append((name, number, say_duration(_cut(lasted)), at, event, ended, by))
    assert read_table(reviewed.page, "uses") == expected
    assert expected
    assert reviewed.ask("late seal") == []
    assert reviewed.page.text().count("the first that no earlier signed one covers") == 0
    unseen = reviewed.ask("unseen")
    rows = [(row[0], row[3], row[7], row[9]) for row in read_table(reviewed.page, "unseen")]
    assert rows == [(row[0], row[1], row[5], row[6]) for row in unseen]
    assert reviewed.ask("undated") == [("0",)]
    asked = f"Rotations that began more than a day after the rule asked for them: {len(reviewed.ask('late'))}. "
    assert asked in reviewed.page.find_id("answer-5").text()
    assert reviewed.ask("outlived") == []
    assert not read_table(reviewed.page, "outlived")
    assert not [row for row in read_table(reviewed.page, "breaches") if row[0].startswith("old PAT")]


def test_old_pat_that_nobody_revoked_an_hour_after_its_overlap_is_the_one_that_sql_finds(
    filled: Filled, tmp_path: Path
) -> None:
    """The page is made two hours later: nothing ran since, and the overlap of an hour is over."""
    settings = _copy(filled, tmp_path)
    clock, output = MovedWallClock(tmp_path), settings.with_name("page.html")
    clock.move(timedelta(hours=2))
    environment = {"ROTATOR_CONFIG": str(settings), **clock.environment}
    done = run_command("audit", "report", "--output", output, "--json", env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    page, document = read_page(output.read_text(encoding="utf-8")), json.loads(done.stdout)
    connection = sqlite3.connect(settings.with_name("rotator.db"))
    connection.executescript(QUERIES["views"])
    found = connection.execute(QUERIES["outlived"], {"now": document["generated_at"]}).fetchall()
    connection.close()
    expected = [(*map(str, row), say_duration(_cut(timedelta(seconds=seconds)))) for *row, seconds in found]
    [row] = read_table(page, "outlived")
    assert [row[:9]] == expected
    assert (row[5], row[7]) == ("none", "none")
    [breach] = [row for row in read_table(page, "breaches") if row[0] == "old PAT still there after its overlap"]
    assert (breach[1], breach[4]) == (f"{row[0]}: {row[1]}", row[8])
    assert "15 minutes after their overlap: 1, for at most " in page.find_id("answer-5").text()
    assert (
        "1 of these is an old PAT that was there more than 15 minutes after the overlap"
        in page.find_id("summary-text").text()
    )


def test_checkpoint_that_came_days_late_is_the_one_that_sql_finds(filled: Filled, tmp_path: Path) -> None:
    """Somebody paused a PAT, and nothing sealed that before the archive three days later."""
    settings = _copy(filled, tmp_path)
    clock, output = MovedWallClock(tmp_path), settings.with_name("page.html")
    environment = {"ROTATOR_CONFIG": str(settings), **clock.environment}
    for wait, *words in (
        (timedelta(hours=1), "inventory", "pause", "npm-feed", "--reason", "a test"),
        (timedelta(days=3), "audit", "report", "--output", output, "--archive", output.with_suffix(".zip"), "--json"),
        (timedelta(days=3), "audit", "verify", "--all"),
    ):
        clock.move(wait)
        done = run_command(*words, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        if "report" in words:
            document = json.loads(done.stdout)
    connection = sqlite3.connect(settings.with_name("rotator.db"))
    connection.executescript(QUERIES["views"])
    [(size, first, seconds)] = connection.execute(QUERIES["late seal"], {"now": document["generated_at"]}).fetchall()
    connection.close()
    assert document["log"]["late_seal"] == {"size": size, "first": first, "seconds": seconds}
    lag = say_duration(timedelta(seconds=seconds))
    said = f"The checkpoint of {size} events was made {lag} after event {first}, the first that no earlier signed one "
    assert said in read_page(output.read_text(encoding="utf-8")).find_id("late-seal").text()
    assert said in " ".join(done.stdout.split())


def test_answers_say_the_numbers_that_sql_finds(reviewed: Reviewed) -> None:
    """Numbers of spans and rotations are those of tables that are compared by themselves."""
    cursor = reviewed.database.execute(QUERIES["answers"], {"now": reviewed.now})
    found = dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))
    said = [reviewed.page.find_id(f"answer-{number}").text() for number in range(1, 11)]
    spans = {name: read_table(reviewed.page, name) for name in ("breaches", "failures", "longest-failures")}
    starts = (
        f"{found['pats']} PATs are managed, of {USERNAME}. The last look, whose time is not kept, found 1 more PAT of "
        "these accounts that",
        f"Of {found['pats']} managed PATs, with full access: {found['full']}; valid for all "
        f"organizations: {found['wide']}.",
        "",
        "",
        f"The policy was broken {len(spans['breaches'])} times, which lasted ",
        f"Sign-ins with rotator: {found['completed']}; refused: {found['refused']}. Sign-ins that lapsed: "
        f"{found['lapsed']}; restored without rotator: {found['restored']}.",
        f"{found['by_hand']} commands changed something, by ",
        f"{found['gone']} PATs were proven gone, ",
        f"1 failure, which is {'not over' if spans['failures'][0][5] == 'lasts' else 'over'}.",
        f"Yes. Each of its {found['events']} events holds the hash of the one before it, and {found['checkpoints']} "
        f"checkpoints fit. Not covered by a checkpoint: {found['uncovered']} events. Accepted to be missing: "
        f"{found['gaps']} gaps.",
    )
    assert [text for text, start in zip(said, starts, strict=True) if not text.startswith(start)] == []
    assert f"(event {found['reach']})" in said[1]
    assert f"The next to expire is {found['next']}, at " in said[2]
    assert f"(event {found['oldest']}). Never rotated: {found['never']}." in said[2]
    assert said[3].startswith(f"{found['policies']} policies were in force, one after the other, from ")
    assert f"Without a reason, of those listed here: {found['silent']}." in said[6]
    for event in (found["first_gone"], found["last_gone"]):
        assert f"(event {event})" in said[7]
    longest = spans["longest-failures"][0]
    assert f"Longest at one time: {longest[1]}, {longest[7]}, of {longest[2]}, from event {longest[0]} on." in said[8]


def test_longest_failures_and_waits_for_a_sign_in_are_among_the_failures(reviewed: Reviewed) -> None:
    failures = read_table(reviewed.page, "failures")
    longest = read_table(reviewed.page, "longest-failures")
    assert set(longest) <= set(failures)
    assert len(longest) == min(20, len(failures))
    waits = [row for row in failures if row[1] == "sign in needed"]
    assert ("waited for a sign-in: there was none" in reviewed.page.text()) is not bool(waits)
    codes = {row[0] for row in read_table(reviewed.page, "causes")}
    said = reviewed.database.execute(QUERIES["sign-in codes"]).fetchall()
    assert codes == {row[4] for row in reviewed.ask("conditions")} - {"none"} | {code for [code] in said}
    words = {row[0] for row in read_table(reviewed.page, "terms")}
    noticed = [row[0] for row in read_table(reviewed.page, "breaches") if not row[6].startswith("none")]
    assert words == {*noticed, *(row[1] for row in failures)}


def test_compared_spans_are_those_that_sql_finds(reviewed: Reviewed) -> None:
    """That of the second run, of 90 days, and two that lie within it: what several of them covered counts once."""
    [(covered, whole)] = reviewed.ask("compared spans")
    [row] = read_table(reviewed.page, "service-logs")
    spans = [timedelta(seconds=int(float(seconds) + 1e-3)) for seconds in (covered, float(whole) - float(covered))]
    assert list(row[8:10]) == [say_duration(span) for span in spans]
    assert timedelta(days=90) <= spans[0] < timedelta(days=91)


def test_prose_says_the_numbers_that_sql_finds(reviewed: Reviewed) -> None:
    """The summary, the list about the log and the longest silence: every sentence that holds a number."""
    cursor = reviewed.database.execute(QUERIES["totals"], {"now": reviewed.now})
    found = dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))
    broken = reviewed.page.find_id("answer-5").text().partition(". ")[0]
    assert reviewed.page.find_id("summary-text").text() == (
        f"From 2000-01-01 00:00:00Z to 2101-01-01 00:00:00Z the audit log has {found['events']} events. "
        f"rotator manages {found['pats']} PATs of 1 account; {found['expired']} of them have expired, and "
        f"{found['late']} are older than the policy allows. Nobody manages "
        f"{len(reviewed.ask('unmanaged'))} more PAT of these accounts: section 1 lists what was seen. "
        f"{found['completed']} rotations were completed; "
        f"{found['failed']} PATs had a rotation that failed or was blocked, "
        f"if only for a while. {found['revoked']} PATs were confirmed revoked, "
        f"{found['pending']} await confirmation, and 0 are still valid and await a person's decision. "
        f"People ran {found['by_hand']} commands by hand. {broken} (section 5). "
        f"The audit log is intact: {found['events']} events, {found['signed']} of them covered by a signature. "
        f"Azure DevOps' own log was compared with it for every organization; in the period, that showed "
        f"{found['foreign']} change by somebody else."
    )
    elsewhere = reviewed.page.find_id("elsewhere")
    assert elsewhere.text().endswith(f": {found['foreign']} in the period, as far as that log was compared.")
    assert [link.attributes["href"] for link in elsewhere.find_all("a")] == ["#service-log-heading"]
    said = [item.text() for item in reviewed.page.find_id("log").find_all("li")]
    assert said[:3] == [
        f"The whole log has {found['events']} events, the first at {found['first']}. "
        f"The period has {found['events']}: 1 to {found['events']}.",
        f"There are {found['checkpoints']} checkpoints, {found['checkpoints']} of them of the period. The newest was "
        f"made at {found['sealed_at']} and covers {found['sealed']} events; {found['events'] - found['sealed']} newer "
        "ones are not covered yet.",
        f"{found['signed']} events are covered by a checkpoint whose signature holds.",
    ]
    assert said[3].startswith(
        f"Vaults and other places outside of the database were given {found['anchored']} new anchors in the period."
    )
    seal = reviewed.page.find_id("seal").text()
    assert f"covers {found['sealed']} events. Hash of the last one: {found['head']}. Root of the tree over" in seal
    assert f"over all: {found['root']}. It is signed with the key " in seal
    [key] = re.findall(r"the public key that the signatures were checked with: (\S+)\. Compare", said[4])
    assert hashlib.sha256(bytes.fromhex(key)).hexdigest()[:16] in seal
    assert f"python3 -I verify.py --public-key {key}" in reviewed.page.text()
    held = re.findall(r"they hold (\d+) anchors, and the log has them all", said[3])
    places = {row[0] for row in reviewed.database.execute("SELECT secret_name FROM managed_pat")}
    anchors = [
        version
        for name, secret in reviewed.sandbox.world.vaults[VAULT].secrets.items()
        for version in secret.versions
        if name.startswith("rotator-audit-") or (name in places and "rotator-audit-head" in version.tags)
    ]
    assert held == [str(len(anchors))]
    rows = [row for row in read_table(reviewed.page, "anchors") if row[6] != "none"]
    assert sum(int(row[6]) for row in rows) == len(anchors)
    assert max(int(row[7]) for row in rows) >= found["sealed"]
    assert "the tags of managed PATs' secrets" in {row[0] for row in rows}
    assert len(rows) == 2, "and one vault"
    [(begins, ends, after, before)] = reviewed.ask("silence")
    span = datetime.fromisoformat(ends) - datetime.fromisoformat(begins)
    numbers = [f" (event {number})" if number != "None" else "" for number in (after, before)]
    assert (
        f"without any event was {say_duration(timedelta(seconds=span // timedelta(seconds=1)))}: from {_say(begins)}"
        f"{numbers[0]} to {_say(ends)}{numbers[1]}. rotator writes"
    ) in reviewed.page.text()


def test_page_names_the_public_key_that_it_was_checked_with(filled: Filled, reviewed: Reviewed) -> None:
    key = Ed25519Signer(SecretValue(filled.database.with_name("audit-signing.key").read_text(encoding="utf-8")))
    log = reviewed.document["log"]
    assert isinstance(log, dict)
    in_hex = base64.b64decode(key.public_key).hex()
    assert log["public_keys"] == [in_hex]
    said = f"This is the public key that the signatures were checked with: {in_hex}. Compare"
    assert key.public_key not in reviewed.text
    assert said in reviewed.page.find_id("log").text()


def test_page_shows_the_rules_of_the_policy_file(reviewed: Reviewed) -> None:
    assert read_table(reviewed.page, "rules") == [
        ("hands-off", "display name: *-manual", "alert", "33%", "as before", "1h"),
        ("ci", "organization: contoso; display name: ci-*; scope: vso.build_execute", "rotate", "7d", "30d", "1h"),
        ("everything-else", "organization: contoso", "rotate", "33%", "as before", "1h"),
    ]
    assert (
        reviewed.page.find_id("guardrails")
        .text()
        .endswith(
            "the longest lifetime is 80d, scopes that are never rotated are app_token, "
            "and 50 rotations may begin in an hour."
        )
    )


def test_page_loads_and_runs_nothing_whatever_is_in_it(reviewed: Reviewed) -> None:
    page, text = reviewed.page, reviewed.text
    assert {element.name for element in page.walk()} & {"script", "img", "iframe", "link", "object", "form"} == set()
    assert [
        name for element in page.walk() for name in element.attributes if name.startswith("on") or name == "style"
    ] == []
    targets = [element.attributes["href"] for element in page.find_all("a")]
    assert all(page.find_id(target.removeprefix("#")) for target in targets)
    assert len(targets) >= 12
    assert "url(" not in text.replace("url(#", "")
    [policy] = [
        element.attributes["content"]
        for element in page.find_all("meta")
        if element.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert SCRIPT in [row[4] for row in read_table(page, "pats")]
    assert REASON in [row[7] for row in read_table(page, "by-hand")]
    assert "<script" not in text
    assert "<b>" not in text


def test_page_can_be_read_by_keyboard_and_screen_reader(reviewed: Reviewed) -> None:
    """Landmarks, one heading per section, in order; every table named, its columns and rows too; every chart named."""
    page = reviewed.page
    ids = [element.attributes["id"] for element in page.walk() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    assert page.find_all("html")[0].attributes["lang"] == "en"
    assert [len(page.find_all(name)) for name in ("main", "header", "footer", "nav", "h1", "title")] == [1] * 6
    assert page.find_all("a")[0].text() == "Skip to the answers"
    headings = [element for element in page.walk() if element.name in ("h1", "h2", "h3")]
    levels = [int(heading.name[1]) for heading in headings]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for section in page.find_all("section"):
        assert section.find_all("h2")[0].attributes["id"] == section.attributes["aria-labelledby"]
    for table in page.find_all("table"):
        assert table.find_all("caption")[0].text()
        columns = table.find_all("thead")[0].find_all("th")
        assert all(column.attributes == {"scope": "col"} and column.text() for column in columns)
        assert len({column.text() for column in columns}) == len(columns)
        assert {len(row) for row in read_table(page, table.attributes["id"])} == {len(columns)}
    for region in [element for element in page.walk() if "tabindex" in element.attributes]:
        assert (region.attributes["tabindex"], region.attributes["role"]) == ("0", "region")
        assert page.find_id(region.attributes["aria-labelledby"])
    for chart in page.find_all("svg"):
        assert chart.attributes["role"] == "img"
        assert page.find_id(chart.attributes["aria-labelledby"]).text()


def test_page_and_output_hold_no_secret(filled: Filled, reviewed: Reviewed) -> None:
    anchors = {canary for canary in collect_canaries(filled.sandbox) if "rotator-audit" in canary.value}
    search = CanarySearch(collect_canaries(filled.sandbox) - anchors)  # what an anchor says is public
    key = filled.sandbox.addresses.config_path.with_name("audit-signing.key").read_bytes()
    for place, data in (("page", reviewed.text), ("json", json.dumps(reviewed.document)), ("stderr", reviewed.errors)):
        assert list(search.find(data.encode(), place)) == []
        assert key.splitlines()[1] not in data.encode()
    value = next(iter(filled.sandbox.world.pats.values())).value
    assert list(search.find(value.encode(), "a page with a value in it")) != []


def _copy(filled: Filled, tmp_path: Path) -> Path:
    """The installation's folder in another place: its settings file there."""
    shutil.copytree(filled.database.parent, tmp_path / "copy")
    return tmp_path / "copy" / "rotator.yaml"


def _report(filled: Filled, settings: Path, *words: str, code: int) -> tuple[Element, subprocess.CompletedProcess[str]]:
    output = settings.with_name("page.html")
    done = run_forked(
        "audit", "report", "--output", output, *words, folder=filled.folder, env={"ROTATOR_CONFIG": str(settings)}
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == f"{output}\n"
    return read_page(output.read_text(encoding="utf-8")), done


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "UPDATE audit_event SET actor = 'nobody' WHERE sequence = 9",
            "Audit event 9 was altered after it was written",
        ),
        ("DELETE FROM audit_event WHERE sequence = 9", "Audit event 9 is missing or moved"),
        ("UPDATE audit_event SET details = 'no JSON' WHERE sequence = 9", "Audit event 9 was altered after it was"),
        ("DELETE FROM audit_event WHERE sequence > 20", "the log ends at event 20: it was cut off"),
        ("UPDATE checkpoint SET root = head", "are not those that it covers"),
    ],
)
def test_report_over_a_broken_log_is_made_says_so_first_and_fails(
    filled: Filled, tmp_path: Path, change: str, said: str
) -> None:
    settings = _copy(filled, tmp_path)
    url = f"sqlite:///{settings.with_name('rotator.db')}"
    drop_triggers(url)
    execute(url, change)
    page, done = _report(filled, settings, code=1)
    [first, *_] = page.find_all("section")
    assert first.attributes["aria-labelledby"] == "first"
    told = first.find_all("li")[0].text()
    assert told.startswith("The audit log was changed or is damaged.")
    assert said in told
    assert "The audit log is NOT whole." in page.find_id("summary-text").text()
    assert "warning: The audit log was changed" in done.stderr
    assert len(read_table(page, "pats")) > 5
    unreadable = "Events that cannot be read are missing on this page: 9."
    assert (unreadable in first.text()) == ("no JSON" in change)


def test_report_says_what_is_missing(filled: Filled, tmp_path: Path) -> None:
    """A period without events, a key that is not there or not set, a log without checkpoints: answers."""
    settings = _copy(filled, tmp_path)
    page, _ = _report(filled, settings, "--period", "2001", code=0)
    assert "The audit log has no event of this period." in page.find_id("first-list").text()
    assert read_table(page, "timeline")[0][2:6] == ("0", "0", "0", "0")
    key = settings.with_name("audit-signing.key")
    key.rename(key.with_suffix(".away"))
    page, _ = _report(filled, settings, "--force", code=1)
    assert "No signature could be checked:" in page.find_id("first-list").text()
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("signing_key: {file: audit-signing.key}", "signing_key: null"), "utf-8")
    url = f"sqlite:///{settings.with_name('rotator.db')}"
    drop_triggers(url)
    execute(url, "DELETE FROM checkpoint")
    page, _ = _report(filled, settings, "--force", code=0)
    said = page.find_id("first-list").text()
    assert "The audit log is not signed, because no key is set" in said
    assert "The audit log has no checkpoint" in said
    assert "none of them signed" in page.find_id("summary-text").text()


def test_report_overwrites_nothing_and_refuses_what_is_no_period(filled: Filled, tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    output.write_text("a reviewer's\n", encoding="utf-8")
    done = filled.run("audit", "report", "--output", output, code=2)
    assert "exists" in done.stderr
    assert output.read_text(encoding="utf-8") == "a reviewer's\n"
    same = tmp_path / "." / "same"
    done = filled.run("audit", "report", "--output", same, "--archive", tmp_path / "same", "--force", code=2)
    assert "--output and --archive name one file" in done.stderr
    assert not same.exists()
    for text in (
        "2026-Q5",
        "2026-13",
        "last year",
        "2026-10-02..2026-10-01",
        "2026-10-01..",
        "9999",
        "9000",
        "9000-01-01..9000-01-02",
    ):
        done = filled.run("audit", "report", "--period", text, "--output", tmp_path / "none.html", code=2)
        assert done.stderr.startswith("error: --period: "), done.stderr
        assert "fix: Give a period that has begun, in UTC: a year (2026), a quarter (2026-Q4)," in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    filled.run("audit", "report", "--output", output, "--force", "--quiet")
    assert output.stat().st_mode & 0o777 == 0o600
