"""Opens a page in the person's browser."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from rotator.adapters.child_environment import BROWSER, make_child_environment
from rotator.adapters.children import start_child


def open_browser(url: str) -> None:
    """Start the browser and return; whether it opened the page is not known.

    The standard library chooses the browser, in a process of its own: a browser inherits that one's environment.
    """
    process = start_child(
        [sys.executable, "-I", "-m", "webbrowser", url],
        make_child_environment(os.environ, BROWSER),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    threading.Thread(target=process.wait, daemon=True).start()
