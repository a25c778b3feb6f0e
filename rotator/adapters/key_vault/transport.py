"""Our HTTP session as a transport of the Azure libraries, with all of its limits."""

from __future__ import annotations

from azure.core.pipeline.transport import RequestsTransport

from rotator.adapters.http import HttpOptions, make_session
from rotator.ports.stop import Stop


def make_transport(http: HttpOptions, stop: Stop) -> RequestsTransport:
    """Return a transport with a session of its own, which it closes. No request leaves after the stop."""
    transport = RequestsTransport(
        session=make_session(http, stop),
        connection_timeout=http.connect_timeout.total_seconds(),
        read_timeout=http.read_timeout.total_seconds(),
        use_env_settings=False,
    )
    transport.sleep = stop.wait  # between the tries that a library makes by itself
    return transport
