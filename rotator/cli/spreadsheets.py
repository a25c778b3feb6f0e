"""Text in CSV that a spreadsheet must not take for a formula."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def guard(text: str) -> str:
    """Return the text, with an apostrophe before it if a spreadsheet would compute it."""
    return f"'{text}" if text.startswith(_FORMULA) else text
