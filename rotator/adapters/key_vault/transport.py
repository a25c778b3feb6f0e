"""Our HTTP session as a transport of the Azure libraries, with all of its limits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from azure.core.pipeline.transport import RequestsTransport

from rotator.adapters.http import make_session
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.permits import permitted
from rotator.ports.permit import Permit
from rotator.ports.stop import Stop


def make_transport(http: HttpOptions, stop: Stop, *, needs_permits: bool = False) -> RequestsTransport:
    """Return a transport with a session of its own, which it closes. No request leaves after the stop.

    With `needs_permits` none that may change something leaves without a permit: the option `permit` of a call, which
    the library hands on through its pipeline.
    """
    transport = RequestsTransport(
        session=make_session(http, stop, needs_permits=needs_permits),
        connection_timeout=http.connect_timeout.total_seconds(),
        read_timeout=http.read_timeout.total_seconds(),
        use_env_settings=False,
    )
    transport.sleep = stop.wait  # between the tries that a library makes by itself
    transport.send = partial(_send, transport.send)
    return transport


def _send(send: Callable[..., object], request: object, *, permit: Permit | None = None, **options: object) -> object:
    with permitted(permit):
        return send(request, **options)
