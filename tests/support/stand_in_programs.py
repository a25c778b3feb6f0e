"""Programs on a PATH of their own that say what a test tells them to: stand-ins for kubectl and az.

Each asks the test process over loopback what to print, so that a test sees every call while it is made.
"""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = f"""#!{sys.executable}
import json, os, sys, urllib.request
asked = json.dumps({{"program": os.path.basename(sys.argv[0]), "arguments": sys.argv[1:], "names": sorted(os.environ)}})
opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
with opener.open("ADDRESS", asked.encode(), 60) as answer:
    said = json.load(answer)
sys.stdout.write(said["output"])
sys.stderr.write(said["errors"])
sys.exit(said["code"])
"""


@dataclass(frozen=True)
class Call:
    """One call: which program, its arguments, and the names of its variables."""

    program: str
    arguments: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def line(self) -> str:
        """As a person would type it."""
        return " ".join((self.program, *self.arguments))


@dataclass(frozen=True)
class Said:
    """What a program does."""

    output: str = ""
    errors: str = ""
    code: int = 0


class StandInPrograms:
    """`folder` has the programs. `calls` are those that were made; `answer` says what each call does."""

    def __init__(self, folder: Path, answer: Callable[[Call], Said]) -> None:
        self.folder, self.answer = folder, answer
        self.calls: list[Call] = []
        told = self

        class Connection(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                call = Call(asked["program"], tuple(asked["arguments"]), tuple(asked["names"]))
                told.calls.append(call)
                body = json.dumps(vars(told.answer(call))).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Connection)

    @property
    def lines(self) -> list[str]:
        """The calls as a person would type them."""
        return [call.line for call in self.calls]

    @contextmanager
    def running(self, *programs: str) -> Iterator[None]:
        """Have these programs inside."""
        text = _PROGRAM.replace("ADDRESS", f"http://127.0.0.1:{self._server.server_address[1]}/")
        for name in programs:
            (self.folder / name).write_text(text, encoding="utf-8")
            (self.folder / name).chmod(0o755)
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
