"""An unexpected exception is a bug of ours, and harms no more than the work at hand."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from rotator.errors import InternalError, RotatorError


@contextmanager
def naming_bugs(others: str = "the other PATs were processed") -> Iterator[None]:
    """Turn whatever is raised inside and is no RotatorError into an InternalError, which says where it happened.

    `others` says what goes on all the same.
    """
    try:
        yield
    except RotatorError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {frame.filename}:{frame.lineno}"
        raise InternalError(
            f"a bug in rotator, {where}; {others}",
            fix="Report it with the log of this run; the journal holds where it stopped.",
        ) from error
