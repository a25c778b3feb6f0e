"""What comes next after records were changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.cli.changing import say_way_back
from rotator.domain.managed_pat import Hold
from tests.support.records import make_managed_pat


@pytest.mark.parametrize(
    ("hold", "identifier", "said"),
    [
        (None, "id-1", "`rotator inventory adopt` brings it back, with its name and its secret."),
        (Hold.FOREIGN_WRITE, "id-1", "`rotator inventory adopt` brings it back, with its name and its secret."),
        (Hold.REVOKED_BY_HAND, "id-1", "Its PAT is revoked: nothing brings it back."),
        (Hold.REVOKED_ELSEWHERE, "id-1", "Its PAT is revoked: nothing brings it back."),
        (None, "", "Its PAT was still to be made: `rotator create` orders it again."),
    ],
    ids=["lives", "lives beside another write", "revoked", "revoked elsewhere", "never made"],
)
def test_forgotten_pat_is_promised_a_way_back_only_where_there_is_one(
    hold: Hold | None, identifier: str, said: str
) -> None:
    assert say_way_back(replace(make_managed_pat(), hold=hold, authorization_id=identifier)) == said
