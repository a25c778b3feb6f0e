"""Lists that come in pages: each page is asked for by the token that the one before it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from rotator.adapters.azure_devops.call import Call, Trace, make_transient

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """What a page holds, and the token of the next one; None on the last page. `trace` is that of the answer."""

    content: T
    next_token: str | None
    trace: Trace


@dataclass(frozen=True)
class Endless:
    """The code and the words of the errors for a list that goes in a circle, or does not end."""

    code: str
    loops: str
    goes_on: str
    fix: str = ""


def fetch_pages(call: Call, fetch: Callable[[Call], Page[T]], most: int, endless: Endless) -> Iterator[T]:
    """Yield what each page holds, at most so many. TransientError if the list does not come to an end."""
    token, seen = "", {""}
    for _ in range(most):
        page = fetch(replace(call, query={**call.query, "continuationToken": token}) if token else call)
        yield page.content
        if page.next_token is None:
            return
        if page.next_token in seen:
            raise make_transient(call, page.trace, endless.code, endless.loops)
        token = page.next_token
        seen.add(token)
    raise make_transient(call, Trace(), endless.code, endless.goes_on, endless.fix)
