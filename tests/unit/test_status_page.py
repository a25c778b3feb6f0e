"""The status page: what it says, that nothing of anybody's text becomes markup, and that its size has a bound."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import product

import pytest

from rotator.documents.revocation import make_pending_document
from rotator.documents.status import make_status_document
from rotator.domain import runbook
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.job_run import JobName, RunTimes
from rotator.domain.managed_pat import Failure
from rotator.domain.measurements import JobFigures
from rotator.domain.next_step import NextAction
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.domain.sign_in import SignInMemory
from rotator.engine.next_words import NONE_POSTPONED, Postponed
from rotator.engine.signing_in import AccountStatus, Forecast, SignInSight
from rotator.engine.status import SIGN_IN_REQUIRED, PatState, PatStatus
from rotator.report.names import hide_names
from rotator.report.status_page import MOST_ROWS, POLICY, StatusPage, render_status_page

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
OK = PatStatus(
    "npm-feed", "build-bot", "contoso", "id-1", "npm-feed", ("vso.packaging",), PatState.OK,
    NOW - 10 * DAY, NOW + 20 * DAY, NOW + 10 * DAY, False, None,
    NOW + 10 * DAY, NextAction.ROTATE, "https://v", "feed-secret", None,
)  # fmt: skip
FAILED = replace(
    OK, name="images", display_name="images", state=PatState.FAILED, next_action=NextAction.RETRY, next_at=NOW,
    last_error=Failure("vault_denied", "the vault refused the write of images", "Run `rotator rotate images`."),
)  # fmt: skip
WAITING = replace(
    OK, name="deploy", display_name="deploy", state=PatState.BLOCKED, next_action=NextAction.SIGN_IN, next_at=NOW,
    last_error=Failure(SIGN_IN_REQUIRED, "a person must sign in again", "Run `rotator login build-bot`."),
)  # fmt: skip
SIGN_IN = AccountStatus(
    SignInSight(None, SignInMemory("build-bot", interactive_at=NOW - 80 * DAY, refreshed_at=NOW - 3 * DAY)),
    Forecast(due_before=2, due_after=1),
)
JOBS = (
    JobFigures(JobName.WORK, NOW - timedelta(minutes=1), timedelta(seconds=2)),
    JobFigures(JobName.VERIFY_AUDIT, None, None),
)
CONDITIONS = (
    Condition(ConditionKind.SIGN_IN_NEEDED, "build-bot", NOW - DAY, code=SIGN_IN_REQUIRED),
    *(Condition(ConditionKind.PROBE_FAILING, f"pat-{number}", NOW - number * DAY) for number in range(14)),
)
ODD = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "</style></title></table><h1>x",
    "`<b>x</b>`",
    "javascript:alert(1)//&lt;b&gt;",
    "<!-- \u202ereversed",
)


def make_page(
    *rows: PatStatus,
    conditions: tuple[Condition, ...] = (),
    problems: tuple[str, ...] = (),
    postponed: Postponed = NONE_POSTPONED,
) -> StatusPage:
    """A page about these PATs."""
    runs = RunTimes(NOW, NOW - timedelta(minutes=3), by_daemon=True)
    document = make_status_document(rows, [SIGN_IN], NOW, runs)
    return StatusPage(document, rows, conditions, JOBS, "1.2.3", problems, postponed)


class Seen(HTMLParser):
    """A page as a browser sees it: its elements with their attributes, and the text in each kind of element."""

    def __init__(self, page: StatusPage) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.html = render_status_page(page).decode()
        self.feed(self.html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "link", "input"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        """Every element is closed where it should be."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Give text to every element that it is in."""
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def find(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each such element."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        """All text that a person reads, in one line."""
        return " ".join(self.texts["main"][0].split())

    def list_rows(self) -> list[str]:
        """The rows of the table of PATs as text."""
        ends = self.html.index("</tbody>")
        return re.findall(r"<tr class.*?</tr>", self.html[:ends], re.DOTALL)


def test_page_begins_with_how_things_stand() -> None:
    seen = Seen(make_page(OK, FAILED, WAITING))
    assert seen.texts["h1"] == ["2 of 3 PATs need attention."]
    assert seen.texts["title"] == ["rotator: 2 of 3 PATs need attention"]
    header = " ".join(seen.texts["header"][0].split())
    assert "1 failed, 1 blocked, 1 ok. Last successful run 3 min ago. As of 2026-12-01 09:00Z." in header
    assert Seen(make_page(OK, replace(OK, name="b"))).texts["h1"] == ["All 2 PATs are in order."]
    assert Seen(make_page(OK)).texts["h1"] == ["The one PAT is in order."]
    nothing = Seen(make_page())
    assert nothing.texts["h1"] == ["No PATs are managed yet."]
    assert "rotator inventory adopt" in nothing.text


def test_row_says_what_status_says() -> None:
    """The fix names its command; a sign-in that is needed is said once, above, and not in every row."""
    seen = Seen(make_page(OK, FAILED, WAITING, conditions=CONDITIONS))
    assert "npm-feed build-bot / contoso ✓ ok rotate in 10 days 2026-12-21 20 days left" in _spell(seen.list_rows()[2])
    failed = seen.list_rows()[0]
    assert "✕ failed try again at the next run" in _spell(failed)
    assert "the vault refused the write of images Fix: Run rotator rotate images ." in _spell(failed)
    assert "<code>rotator rotate images</code>" in failed
    assert "must sign in again" not in _spell(seen.list_rows()[1])
    assert "build-bot must sign in again (since 2026-11-30 09:00Z; sign_in_required)" in seen.text


def test_account_that_nobody_has_signed_in_yet_is_not_said_to_need_it_again() -> None:
    lacking = tuple(
        Condition(ConditionKind.SIGN_IN_NEEDED, name, NOW - DAY, code="not_signed_in") for name in ("a", "b")
    )
    seen = Seen(make_page(OK, conditions=lacking[:1]))
    assert "a is not signed in (since 2026-11-30 09:00Z; not_signed_in) Run rotator login a. The person" in seen.text
    assert "2 accounts are not signed in" in Seen(make_page(OK, conditions=lacking)).text


def test_page_says_what_waits_as_status_does() -> None:
    """For a place within the hour, or for a person who ends a pause; without its name there is none in that either."""
    due = replace(OK, name="due", display_name="due", state=PatState.DUE, next_at=NOW)
    paused = replace(
        OK, name="held", display_name="held", state=PatState.PAUSED, next_at=None, next_action=NextAction.NONE,
        waits_for_resume=True,
    )  # fmt: skip
    page = make_page(due, paused, postponed=Postponed(frozenset({"due"}), 50))
    rows = [_spell(row) for row in Seen(page).list_rows()]
    assert "postponed: limit of 50 an hour" in rows[0]
    assert "rotate at the next run" not in rows[0]
    assert "after resume held" in rows[1]
    assert "held" not in Seen(hide_names(page, {"due": "a" * 32, "held": "b" * 32})).text


def test_row_has_a_whole_fix_or_names_the_command_that_says_it() -> None:
    """A fix that is cut inside a command is of no use; what a person replaces by hand has a fix as in `status`."""
    long = replace(FAILED, last_error=Failure("blocked", "why", f"Run {'`rotator rotate images` and ' * 20}"))
    by_hand = replace(OK, name="deploy", by_hand=True, state=PatState.DUE, next_action=NextAction.REPLACE_BY_HAND)
    seen = Seen(make_page(long, by_hand, conditions=CONDITIONS[:1]))
    rows = [text for text in seen.texts["th"] if "Fix: " in text]
    assert [row.split("Fix: ")[1] for row in rows] == [
        "rotator status images says what to do.",
        "Run rotator rotate deploy, which writes a new PAT to its secret.",
    ]
    assert "Run rotator login build-bot. The person behind the account signs in" in seen.texts["main"][0]


def test_pat_that_expires_because_it_is_blocked_is_one_problem() -> None:
    """Nothing is told twice for one reason; what is blocked for another reason is told beside it."""
    kinds = (ConditionKind.ROTATION_BLOCKED, ConditionKind.PAT_EXPIRING)
    both = tuple(Condition(kind, "images", NOW, code="all_organizations") for kind in kinds)
    assert Seen(make_page(OK, conditions=both)).html.count('<div class="notice">') == 1
    other = replace(both[0], code="foreign_write")
    assert Seen(make_page(OK, conditions=(other, both[1]))).html.count('<div class="notice">') == 2


def _spell(markup: str) -> str:
    return " ".join(re.sub("<[^>]*>", " ", markup).split())


def test_row_shows_what_is_left_of_the_lifetime_as_a_bar() -> None:
    ends = {20: 13, 0.1: 1, -1: 0, 1000: 20}
    for days, step in ends.items():
        [row] = Seen(make_page(replace(OK, expires_at=NOW + days * DAY))).list_rows()
        assert f'<i class="w{step}">' in row
    assert "24 h ago" in _spell(Seen(make_page(replace(OK, expires_at=NOW - DAY))).list_rows()[0])


def test_sign_ins_and_jobs_are_shown() -> None:
    seen = Seen(make_page(OK))
    assert "2 PATs fall due before that, 1 after it" in seen.text
    assert "✓ signed in 3 days ago in 87 days" in _spell(seen.html)
    assert "work 60 s ago 2 s verify audit never -" in _spell(seen.html)


def test_page_says_which_revocations_are_not_confirmed() -> None:
    asked = PendingRevocation(
        "id-0", "npm-feed", "build-bot", "contoso", "https://v", "s", RevocationKind.ROTATED, NOW + DAY, NOW - DAY, NOW
    )
    page = make_page(OK)
    pending = [make_pending_document(asked, moment) for moment in (NOW, NOW - DAY)]
    seen = Seen(replace(page, document={**page.document, "pending_revocations": pending}))
    assert "2 revocations not confirmed yet, 1 of them for too long." in seen.texts["header"][0]


def test_what_lasts_is_said_once_for_each_kind() -> None:
    seen = Seen(make_page(OK, conditions=CONDITIONS, problems=("the clock of this host is wrong",)))
    assert "Azure DevOps refuses the values of 14 PATs (since 2026-11-18 09:00Z)" in seen.text
    assert "pat-9 and 4 more" in seen.text
    assert "The clock of this host is wrong" in seen.text


@pytest.mark.parametrize("odd", ODD)
def test_text_from_outside_stays_text(odd: str) -> None:
    """In each place where there is any: the page has the same elements and attributes as with plain text."""
    pages = [
        make_page(
            replace(
                FAILED, name=text, display_name=f"{text} ", account=text, organization=text, secret_name=text,
                last_error=Failure(text, text, text),
            ),
            OK,
            conditions=(Condition(ConditionKind.ROTATION_FAILING, text, NOW, code=text),),
            problems=(text,),
        )
        for text in ("plain", odd)
    ]  # fmt: skip
    plain, seen = map(Seen, pages)
    shape = [(tag, sorted(attributes)) for tag, attributes in seen.elements if tag != "code"]
    assert shape == [(tag, sorted(attributes)) for tag, attributes in plain.elements if tag != "code"]
    assert odd.replace("`", "") in seen.texts["main"][0].replace("`", "")
    assert seen.texts["script"] == plain.texts["script"]


def test_page_names_its_script_and_style_and_allows_no_others() -> None:
    seen = Seen(make_page(OK, FAILED))
    [script], [style] = seen.texts["script"], seen.texts["style"]
    for kind, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'; " in POLICY
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert not [name for _, attributes in seen.elements for name in attributes if name in ("style", "src", "srcset")]
    assert not [name for _, attributes in seen.elements for name in attributes if name.startswith("on")]
    links = [element["href"] for element in (*seen.find("a"), *seen.find("link"))]
    assert links == ["#pats-title", "metrics", "healthz", "readyz", "data:,"]
    assert "url(" not in style
    assert "@" not in style.replace("@media", "")


def test_page_says_how_much_of_many_pats_it_lists() -> None:
    """Those that need attention come first, whenever they expire."""
    many = [replace(OK, name=f"pat-{number}", display_name=f"pat-{number}") for number in range(5000)]
    seen = Seen(make_page(*many, FAILED))
    rows = seen.list_rows()
    assert len(rows) == MOST_ROWS
    assert "images" in rows[0]
    assert "1,000 of 5,001 PATs: those that need attention first, then by expiry." in seen.text
    assert seen.texts["h1"] == ["1 of 5,001 PATs needs attention."]
    assert len(seen.html) < 500_000
    labels = [_spell(text) for text in seen.texts["label"]]
    assert labels[:3] == ["all (1,000 of 5,001)", "✕ failed (1)", "✓ ok (999 of 5,000)"]
    assert "Only what is listed is searched: rotator status '*NAME*' finds the others." in _spell(seen.text)
    assert "Only what is listed" not in Seen(make_page(OK)).text


def test_page_has_a_bound_however_long_the_texts_are() -> None:
    """Each of them is cut, so a page is some megabytes at the very most."""
    long = "&" * 2000
    many = [
        replace(
            FAILED, name=f"{number} {long}", display_name=long, account=long, organization=long,
            last_error=Failure("x", long, long),
        )
        for number in range(1100)
    ]  # fmt: skip
    conditions = tuple(Condition(kind, f"{number} {long}", NOW) for kind, number in product(ConditionKind, range(50)))
    assert len(render_status_page(make_page(*many, conditions=conditions))) < 8_000_000


def test_notice_of_a_place_says_when_it_was_seen_not_to_work() -> None:
    down = Condition(ConditionKind.VAULT_DOWN, "v", NOW, code="vault_failed")
    at = f"{NOW:%Y-%m-%d %H:%MZ}"
    seen = Seen(make_page(OK, conditions=(down,)))
    assert f"The vault v did not work (at {at}; not seen to work since; vault_failed)" in seen.text
    both = Seen(make_page(OK, conditions=(down, replace(down, subject="w"))))
    assert f"2 vaults do not work (since {at}; vault_failed)" in both.text


def test_page_without_names_names_no_pat() -> None:
    """Neither in rows nor in what lasts; what a failure says is left out, and its code stays."""
    untracked = replace(OK, name="images", display_name="images", state=PatState.UNTRACKED, vault=None)
    conditions = (
        *(Condition(kind, "images", NOW) for kind in (ConditionKind.ROTATION_FAILING, ConditionKind.PAT_VANISHED)),
        Condition(ConditionKind.VAULT_DOWN, "https://v", NOW),
    )
    page = make_page(OK, FAILED, replace(untracked, authorization_id="id-9"), conditions=conditions)
    hidden = Seen(hide_names(page, {"npm-feed": "a" * 32, "images": "b" * 32}))
    for name in ("npm-feed", "images", "feed-secret"):
        assert name in Seen(page).html or name == "feed-secret"
        assert name not in hidden.html
    for word in ("a" * 32, "b" * 32, "id-9", "vault_denied", "https://v", "build-bot", "contoso"):
        assert word in hidden.html
    unknown = make_page(OK, conditions=(Condition(ConditionKind.PAT_LEFT_BEHIND, "images", NOW),))
    assert "The PAT (name hidden) was left behind" in Seen(hide_names(unknown, {})).text


@pytest.mark.parametrize("kind", ConditionKind)
def test_page_without_names_names_what_is_no_pat(kind: ConditionKind) -> None:
    """Whatever the runbook calls a PAT has no name there; a vault, an account or a job has."""
    page = make_page(OK, conditions=(Condition(kind, "images", NOW),))
    advice = runbook.CONDITIONS[kind]
    is_named = "{subject}" in advice.one and "{count} PATs" not in advice.many
    assert ("images" in Seen(hide_names(page, {})).text) == is_named


def test_page_can_be_used_without_sight_or_mouse() -> None:
    """Every table says what it is, every cell belongs to a row and a column, every field has a label."""
    seen = Seen(make_page(OK, FAILED, WAITING, replace(OK, name="z", account="other")))
    assert len(seen.find("table")) == len(seen.find("caption")) == 3
    assert {header["scope"] for header in seen.find("th")} == {"row", "col"}
    assert len(seen.find("input")) + len(seen.find("select")) == len(seen.find("label"))
    for landmark in ("header", "main", "footer", "nav"):
        assert len(seen.find(landmark)) == 1
    ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {section["aria-labelledby"] for section in seen.find("section")} <= set(ids)
    assert seen.find("html") == [{"lang": "en"}]
    assert [tag for tag, _ in seen.elements if re.fullmatch("h[1-6]", tag)] == ["h1", "h2", "h2", "h2"]


def test_filters_work_without_a_script() -> None:
    """Each state and account that can be chosen has its rule in the style, and its rows have the class of it."""
    seen = Seen(make_page(OK, FAILED, replace(OK, name="z", account="other")))
    style = seen.texts["style"][0]
    for state in ("ok", "failed"):
        assert {"type": "radio", "name": "only", "id": f"only-{state}"} in seen.find("input")
    for identifier, marked in (("only-ok", "ok"), ("only-failed", "failed"), ("of-0", "a0"), ("of-1", "a1")):
        assert f"body:has(#{identifier}:checked) #pats tbody tr:not(.{marked}) {{ display: none; }}" in style
        assert any(marked in element["class"].split() for element in seen.find("tr") if "class" in element)
    assert [option.get("id") for option in seen.find("option")] == [None, "of-0", "of-1"]
    assert Seen(make_page(OK)).find("select") == []


@pytest.mark.parametrize("scheme", [0, 1])
def test_contrast_is_enough_in_light_and_in_dark(scheme: int) -> None:
    """4.5 for text and 3 for the lines of fields and bars, as WCAG 2.2 AA asks."""
    style = Seen(make_page(OK)).texts["style"][0]
    palettes = [dict(re.findall(r"--(\w+): #(\w{6})", part)) for part in style.split("@media (prefers-color-scheme")]
    palette = palettes[scheme]
    for ground in ("paper", "shade"):
        for ink in ("ink", "soft", "bad", "good", "wait", "link"):
            assert _measure_contrast(palette[ink], palette[ground]) >= 4.5, (ink, ground)
    assert _measure_contrast(palette["line"], palette["paper"]) >= 3


def _measure_contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_measure_luminance(one), _measure_luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _measure_luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
