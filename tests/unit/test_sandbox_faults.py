"""Faults strike the requests they are meant for, as often as asked; late effects come when they should."""

from __future__ import annotations

import re

import pytest

from rotator.sandbox.control_settings import read_fault
from rotator.sandbox.faults import Fault, Faults
from rotator.sandbox.messages import Request


def make_request(method: str = "GET", path: str = "/a", **query: str) -> Request:
    """A request without a body."""
    return Request(method, path, query, {}, b"", "https://127.0.0.1:1")


def strikes(faults: Faults, request: Request, count: int) -> list[str | None]:
    """The kinds of the faults that hit `count` equal requests to Azure DevOps."""
    hits = [faults.take("azure_devops", request)[1] for _ in range(count)]
    return [None if hit is None else hit.kind for hit in hits]


def test_fault_strikes_after_its_skips_as_often_as_asked_when_requests_match() -> None:
    faults = Faults()
    faults.add(Fault("azure_devops", "lost_after", times=2, skip=1))
    assert strikes(faults, make_request(), 4) == [None, "lost_after", "lost_after", None]
    assert faults.pending() == 0


def test_fault_strikes_for_ever_when_times_is_none() -> None:
    faults = Faults()
    faults.add(Fault("azure_devops", "status", times=None))
    assert strikes(faults, make_request(), 3) == ["status"] * 3
    faults.clear()
    assert strikes(faults, make_request(), 1) == [None]


@pytest.mark.parametrize(
    ("fault", "request_", "expected"),
    [
        (Fault("azure_devops", "status", method="post"), make_request("POST"), "status"),
        (Fault("azure_devops", "status", method="POST"), make_request("GET"), None),
        (Fault("azure_devops", "status", path="pats.*id=7"), make_request(path="/pats", id="7"), "status"),
        (Fault("azure_devops", "status", path="connectionData"), make_request(path="/tokens/pats"), None),
        (Fault("entra", "status"), make_request(), None),
    ],
)
def test_fault_strikes_only_when_service_method_and_path_match(
    fault: Fault, request_: Request, expected: str | None
) -> None:
    faults = Faults()
    faults.add(fault)
    assert strikes(faults, request_, 1) == [expected]


def test_latency_adds_to_the_oldest_other_fault_when_both_match() -> None:
    faults = Faults()
    faults.add(Fault("azure_devops", "latency", seconds=0.25, times=None))
    faults.add(Fault("azure_devops", "lost_before"))
    faults.add(Fault("azure_devops", "lost_after"))
    seconds, first = faults.take("azure_devops", make_request())
    assert (seconds, first and first.kind) == (0.25, "lost_before")
    assert strikes(faults, make_request(), 1) == ["lost_after"]


def test_planting_leaves_the_callers_fault_as_it_was_when_it_strikes() -> None:
    faults, fault = Faults(), Fault("azure_devops", "status")
    for _ in range(2):
        faults.add(fault)
    assert strikes(faults, make_request(), 3) == ["status", "status", None]
    assert fault.times == 1


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kind": "boom"}, "unknown fault kind"),
        ({"service": "github"}, "unknown service"),
        ({"path": "("}, "unterminated"),
        ({"times": "once"}, "times cannot be 'once'"),
        ({"seconds": None}, "seconds cannot be None"),
        ({"headers": []}, "headers cannot be"),
        ({"colour": "red"}, "colour"),
        ({"kind": "overtaken", "body": {"value": "theirs"}}, "somebody else writes"),
    ],
)
def test_fault_is_refused_when_malformed(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises((TypeError, ValueError, re.error), match=complaint):
        read_fault({"service": "entra", "kind": "status"} | fields)


def test_late_effect_lands_after_so_many_requests_when_counted() -> None:
    faults, landed = Faults(), list[str]()
    faults.postpone("azure_devops", 2, lambda: landed.append("counted"))
    faults.postpone("azure_devops", None, lambda: landed.append("on demand"))
    faults.request_done("key_vault")
    faults.request_done("azure_devops")
    assert landed == []
    faults.request_done("azure_devops")
    assert landed == ["counted"]
    assert faults.apply_late() == 1
    assert landed == ["counted", "on demand"]
    assert faults.apply_late() == 0
