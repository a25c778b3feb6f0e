"""What happens between server and service: the record, the control calls and the faults."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
import traceback
from email.utils import formatdate

from rotator.sandbox.control import CONTROL_PREFIX, ControlService
from rotator.sandbox.fault_replies import OVERSIZE, PAGES, SHAPED, make_fault_response, make_oversize, reshape_page
from rotator.sandbox.faults import Fault
from rotator.sandbox.messages import Request, Response
from rotator.sandbox.record import RecordedRequest
from rotator.sandbox.server import Reply, Service
from rotator.sandbox.world import World


class Dispatcher:
    """Answers every request of one server; never raises."""

    def __init__(self, world: World, name: str, service: Service, control: ControlService) -> None:
        self._world = world
        self._name = name
        self._service = service
        self._control = control

    def answer(self, request: Request) -> Reply:
        """Answer control calls without recording them; record all else, then apply its fault or call the service."""
        if request.path.startswith(CONTROL_PREFIX):
            return Reply(_guarded(self._control, request))
        world = self._world
        entry = world.record.add(self._name, request, world.clock.now())
        seconds, fault = world.faults.take(self._name, request)
        if seconds:
            world.faults.wait(seconds)
        reply = self._answer_with(fault, request, entry)
        entry.status = None if reply.response is None else reply.response.status
        # A request whose effect is postponed must not count among the requests that it waits for.
        if fault is None or fault.kind != "late":
            world.faults.request_done(self._name)
        return reply

    def _answer_with(self, fault: Fault | None, request: Request, entry: RecordedRequest) -> Reply:
        if fault is None:
            return Reply(_guarded(self._service, request))
        entry.fault = fault.kind
        if fault.kind == "late":
            apply = functools.partial(_guarded, self._service, request)
            self._world.faults.postpone(self._name, fault.after_requests, apply)
            return Reply(None)
        if fault.kind == "hang":
            if fault.effect:
                _guarded(self._service, request)
            self._world.faults.hang()
            return Reply(None)
        if fault.kind == "stale":
            return Reply(_guarded(self._service, dataclasses.replace(request, is_stale=True)))
        if fault.kind == "overtaken":
            return Reply(_guarded(self._service, dataclasses.replace(request, overtaken_by=str(fault.body))))
        if fault.kind == "lost_before":
            return Reply(None)
        if fault.kind == "lost_after":
            _guarded(self._service, request)
            return Reply(None)
        if fault.kind in SHAPED:
            if fault.effect:
                _guarded(self._service, request)
            return Reply(make_fault_response(fault, request, self._world.clock.now()))
        return _reshape(fault, _guarded(self._service, request), request, self._world)


def _reshape(fault: Fault, response: Response, request: Request, world: World) -> Reply:
    """Apply the faults that change a true response."""
    half = len(response.body) // 2
    if fault.kind == "drip":
        return Reply(response, pause=functools.partial(world.faults.wait, fault.seconds))
    if fault.kind == "early":
        return Reply(response, ahead=functools.partial(world.faults.wait, fault.seconds))
    if fault.kind in OVERSIZE:
        return Reply(make_oversize(fault.kind, response.status))
    if fault.kind == "truncated":
        return Reply(response, send_only=half)
    if fault.kind == "malformed":
        return Reply(Response(response.status, response.body[:half], response.headers))
    if fault.kind in PAGES:
        return Reply(reshape_page(fault, response))
    if fault.kind == "wrong_date":
        date = formatdate(time.time() + fault.seconds, usegmt=True)
        return Reply(Response(response.status, response.body, {**response.headers, "Date": date}))
    shaped = make_fault_response(fault, request, world.clock.now())
    return Reply(Response(response.status, response.body, {**response.headers, **shaped.headers}))


def _guarded(service: Service, request: Request) -> Response:
    """Turn a bug in a stand-in into a 500 that says where, so that a test sees it."""
    try:
        return service.handle(request)
    except Exception:
        report = json.dumps({"sandbox_bug": traceback.format_exc()}).encode()
        return Response(500, report, {"Content-Type": "application/json"})
