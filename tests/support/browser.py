"""A page in a real browser, and what the library axe-core finds in it."""

from __future__ import annotations

import html
import json
import re
import subprocess
from importlib.metadata import files
from pathlib import Path
from typing import Any

from tests.support.programs import need

_RUN = """
<pre id="told"></pre>
<script>const tell = (found) => { document.getElementById("told").textContent = JSON.stringify(found); };
%s</script></body>"""
_AXE = """
axe.run().then((found) => {
  tell({violations: found.violations.map((wrong) => [wrong.id, wrong.nodes.map((node) => node.html)]),
    passes: found.passes.length});
});"""


def browse(address: str, width: int, profile: Path) -> str:
    """The document of a page as the browser has it once its scripts have run."""
    command = [
        *(need("chromium", "chromium"), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"),
        *(f"--window-size={width},1600", "--virtual-time-budget=30000", "--dump-dom", address),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    return done.stdout


def read_axe() -> str:
    """The library axe-core, as its Python package ships it."""
    [place] = [file for file in files("axe-core-python") or () if file.name == "axe.min.js"]
    return Path(str(place.locate())).read_text(encoding="utf-8")


def ask_browser(page: str, script: str, width: int, folder: Path) -> Any:
    """What a script calls `tell` with, in a page of that width, whose own policy would not let a script run."""
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    file = folder / "page.html"
    file.write_text(open_page.replace("</body>", _RUN % script), encoding="utf-8")
    seen = browse(file.as_uri(), width, folder / "profile")
    told = re.search(r'<pre id="told">(.*?)</pre>', seen, re.DOTALL)
    assert told is not None
    return json.loads(html.unescape(told[1]))


def check_with_axe(page: str, width: int, folder: Path) -> None:
    """Fail if axe finds anything in a page of that width."""
    found = ask_browser(page, read_axe() + _AXE, width, folder)
    assert found["violations"] == []
    assert found["passes"] > 20


def make_printed(page: str) -> str:
    """The page as it is when it is printed, for a screen."""
    return page.replace("@media screen", "@media none").replace("@media print", "@media screen")
