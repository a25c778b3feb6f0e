"""The status page in a real browser: axe finds nothing in it, and its own script runs under its strict policy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rotator.adapters.listener import Listener, bind
from rotator.ports.pages import Page
from rotator.report.status_page import POLICY, StatusPage, render_status_page
from tests.support.browser import browse, check_with_axe
from tests.support.clock import FakeClock
from tests.support.pages import find_free_port
from tests.support.stop import make_stop
from tests.unit.test_status_page import CONDITIONS, FAILED, OK, WAITING, make_page

PAGES = {
    0: make_page(),
    3: make_page(OK, FAILED, WAITING, conditions=CONDITIONS, problems=("the clock of this host is wrong",)),
}


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("pats", PAGES)
def test_axe_finds_nothing_when_the_page_is_narrow_or_wide(pats: int, width: int, tmp_path: Path) -> None:
    check_with_axe(render_status_page(PAGES[pats]).decode(), width, tmp_path)


def serve_and_browse(page: StatusPage, policy: str, tmp_path: Path) -> str:
    """The document of a page as it is served by the daemon's listener with this policy."""
    clock, place = FakeClock(), ("127.0.0.1", find_free_port())
    served = Page(200, render_status_page(page), "text/html; charset=utf-8", (("Content-Security-Policy", policy),))
    with Listener(bind(place, clock, make_stop(clock)), {"/": served}.get):
        return browse("http://{}:{}/".format(*place), 1280, tmp_path / "profile")


_BROKEN = """
<pre id="broken"></pre><script>
const broken = [];
for (const title of document.querySelectorAll("thead th")) {
  for (const word of title.textContent.matchAll(/[^\\s-]+/g)) {
    const range = document.createRange();
    range.setStart(title.firstChild, word.index);
    range.setEnd(title.firstChild, word.index + word[0].length);
    if (range.getClientRects().length > 1) broken.push(word[0]);
  }
}
document.getElementById("broken").textContent = JSON.stringify(broken);
</script></body>"""


@pytest.mark.parametrize("width", [360, 1280])
def test_no_title_of_a_column_is_broken_within_a_word(width: int, tmp_path: Path) -> None:
    page = (
        render_status_page(PAGES[3]).decode().replace("</head>", f"<style>body {{ width: {width}px }}</style></head>")
    )
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", _BROKEN), encoding="utf-8")
    told = re.search(r'<pre id="broken">(.*?)</pre>', browse(file.as_uri(), 1400, tmp_path / "profile"))
    assert told is not None
    assert json.loads(told[1]) == []


def test_script_runs_under_the_policy_and_the_page_does_without_it(tmp_path: Path) -> None:
    """It shows the field for a word, which is hidden where there is no script."""
    assert "3 of 3 rows shown" in serve_and_browse(PAGES[3], POLICY, tmp_path)
    without = serve_and_browse(PAGES[3], re.sub("script-src [^;]*", "script-src 'none'", POLICY), tmp_path)
    assert "rows shown" not in re.sub("<script>.*?</script>", "", without, flags=re.DOTALL)
    assert '<div hidden="">' in without
    assert 'id="only-failed"' in without
