"""What the benchmark makes of a run's requests before it repeats them bare."""

from __future__ import annotations

import pytest

from tests.bench.bare import share_out
from tests.bench.kinds import Kind, classify


def test_requests_are_shared_equally_and_in_order_when_each_pat_had_its_own() -> None:
    plans = share_out({Kind.SECRET: 4, Kind.STORE: 2, Kind.MINT: 2}, 2)
    assert plans == [[Kind.MINT, Kind.STORE, Kind.SECRET, Kind.SECRET]] * 2


def test_requests_go_to_the_first_pats_when_they_cannot_be_shared_equally() -> None:
    assert share_out({Kind.CHALLENGE: 2}, 3) == [[Kind.CHALLENGE], [Kind.CHALLENGE], []]


def test_requests_of_the_whole_run_are_nobodys_share() -> None:
    assert share_out({Kind.LIST: 2, Kind.IDENTITY: 1}, 2) == [[], []]


def test_requests_are_told_apart_by_who_asks_when_the_path_is_the_same() -> None:
    path = "/contoso/_apis/connectionData"
    assert classify("azure_devops", "GET", path, {}, "Bearer") is Kind.IDENTITY
    assert classify("azure_devops", "GET", path, {}, "Basic") is Kind.PROBE
    assert classify("key_vault", "GET", "/secrets/x/", {}, "none") is Kind.CHALLENGE


def test_requests_are_told_apart_by_their_query_when_one_pat_is_asked_for() -> None:
    path = "/contoso/_apis/tokens/pats"
    assert classify("azure_devops", "GET", path, {"api-version": "7.1"}, "Bearer") is Kind.LIST
    assert classify("azure_devops", "GET", path, {"api-version": "7.1", "authorizationId": "1"}, "Bearer") is Kind.PAT


def test_requests_are_refused_when_the_bare_sequence_could_not_repeat_them() -> None:
    with pytest.raises(ValueError, match="does not know: key_vault DELETE Bearer /secrets/x"):
        classify("key_vault", "DELETE", "/secrets/x", {}, "Bearer")
