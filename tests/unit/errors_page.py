"""The page of error codes: the catalogue as a table, with the exit codes that the source gives them.

`test_error_codes.py` says when it is out of date; `python -m tests.unit.errors_page --write` writes docs/errors.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rotator.domain.error_codes import CODES
from tests.support.codes_in_source import find_codes
from tests.support.source_tree import ROOT

PAGE = ROOT / "docs" / "errors.md"
HEAD = """# Error codes

Each error has a code, which stays the same when its words change. A command shows it after the message, as in
`error: nobody is signed in [not_signed_in]`; the JSON has it in `code`, the audit log and notifications as well.

- **Exit code**: what a command ends with when the error ends it. Empty: such a code is said of one PAT, one secret or
  one event, and never ends a command by itself. How a command ends that worked on several PATs is in
  [by-hand.md](by-hand.md#exit-codes). `rotator daemon` ends with 2 where the table says 1 if the
  database has no tables or another schema: its service manager does not start it again then.
- **Runbook**: where the runbook tells more, whatever the command was. The error itself says who must do what (`fix`).

Generated from `rotator/domain/error_codes.py` by `python -m tests.unit.errors_page --write`.

"""


def render_page() -> str:
    """The whole page, by code."""
    lines = ["| code | exit code | meaning | runbook |", "|---|---|---|---|", *sorted(_list_rows())]
    return HEAD + "\n".join(lines) + "\n"


def _list_rows() -> Iterator[str]:
    exits = find_codes().codes
    for condition, codes in CODES.items():
        runbook = "" if condition is None else f"[{condition}](runbook.md#{condition})"
        for code, meaning in codes.items():
            ends = " or ".join(map(str, sorted(exits.get(code, ()))))
            yield f"| `{code}` | {ends} | {meaning} | {runbook} |"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(render_page(), encoding="utf-8")
    else:
        print(render_page(), end="")
