"""Text in CSV that a spreadsheet must not take for a formula."""

import re

_SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(rf"^(?=[{_SIGNS}\t\r])|(?<=;)(?=[\"\s]*[{_SIGNS}])")
"""Where a cell begins that is computed: some spreadsheets begin one after each semicolon, and read full-width signs."""


def guard(text: str) -> str:
    """Return the text, with an apostrophe wherever a spreadsheet would begin to compute."""
    return _FORMULA.sub("'", text)
