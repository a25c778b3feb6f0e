"""The list of PATs: filter, order and pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from rotator.sandbox.world import Pat

_LIMIT = 100
_DEFAULT_PAGE = 20
_SORTS: Mapping[str, Callable[[Pat, datetime], str]] = {
    "displayname": lambda pat, now: pat.display_name.casefold(),
    "displaydate": lambda pat, now: pat.valid_to.isoformat(),
    "status": lambda pat, now: status_of(pat, now),
}


class ListingError(ValueError):
    """A query that the service refuses with 400; the text names the wrong part."""


def status_of(pat: Pat, now: datetime) -> str:
    """Return `active`, `revoked` or `expired`."""
    if pat.revoked:
        return "revoked"
    return "active" if now < pat.valid_to else "expired"


@dataclass(frozen=True)
class Listing:
    """One query for a list: which PATs, in which order, how many, after which entry."""

    shown: str
    sort: str
    ascending: bool
    top: int
    after: tuple[str, str] | None
    """Sort key and authorization id of the last entry of the previous page."""

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Listing:
        """Read the query; raise ListingError if the service would refuse it."""
        # Without a filter the service lists everything, including revoked and expired PATs.
        shown = query.get("displayFilterOption", "all").lower()
        if shown not in ("active", "revoked", "expired", "all"):
            raise ListingError("displayFilterOption")
        sort = query.get("sortByOption", "displayDate").lower()
        if sort not in _SORTS:
            raise ListingError("sortByOption")
        ascending = query.get("isSortAscending", "false").lower()
        if ascending not in ("true", "false"):
            raise ListingError("isSortAscending")
        top = query.get("$top", str(_DEFAULT_PAGE))
        if not top.isascii() or not top.isdigit() or int(top) < 1:
            raise ListingError("$top")
        listing = cls(shown, sort, ascending == "true", min(int(top), _LIMIT), None)
        return listing._resumed(query.get("continuationToken", ""))

    def page(self, pats: list[Pat], now: datetime) -> tuple[list[Pat], str]:
        """Return the entries of this page and the token of the next page; the last page has an empty token."""
        key = _SORTS[self.sort]
        keyed = [((key(pat, now), pat.authorization_id), pat) for pat in pats if self._shows(pat, now)]
        keyed.sort(key=lambda entry: entry[0], reverse=not self.ascending)
        if self.after is not None:
            after = self.after
            keyed = [e for e in keyed if (e[0] > after if self.ascending else e[0] < after)]
        page = keyed[: self.top]
        token = self._token(page[-1][0]) if len(keyed) > len(page) else ""
        return [pat for _, pat in page], token

    def _shows(self, pat: Pat, now: datetime) -> bool:
        return self.shown in ("all", status_of(pat, now))

    def _token(self, last: tuple[str, str]) -> str:
        content = [self.shown, self.sort, self.ascending, *last]
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()

    def _resumed(self, token: str) -> Listing:
        if not token:
            return self
        try:
            shown, sort, ascending, key, identifier = json.loads(base64.urlsafe_b64decode(token.encode()))
        except (binascii.Error, ValueError) as problem:
            raise ListingError("continuationToken") from problem
        if (shown, sort, ascending) != (self.shown, self.sort, self.ascending):
            raise ListingError("continuationToken: it belongs to a list with other filters")
        return Listing(self.shown, self.sort, self.ascending, self.top, (str(key), str(identifier)))
