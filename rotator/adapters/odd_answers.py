"""What a library raises that reads an answer without checking its shape: whatever it runs into."""

from __future__ import annotations

ODD_ANSWER = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError)
"""RecursionError is a RuntimeError, UnicodeError a ValueError, OverflowError an ArithmeticError."""
