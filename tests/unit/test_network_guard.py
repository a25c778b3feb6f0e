"""The wall around the tests."""

import os
import socket

import pytest

from tests.support.network import OutsideNetworkError


@pytest.mark.parametrize("address", [("192.0.2.1", 443), ("0.0.0.1", 443)])
def test_connection_is_refused_when_the_address_is_outside(address: tuple[str, int]) -> None:
    with socket.socket() as outgoing, pytest.raises(OutsideNetworkError):
        outgoing.connect(address)
    with socket.socket() as outgoing, pytest.raises(OutsideNetworkError):
        outgoing.connect_ex(address)


def test_connection_is_refused_when_the_name_is_outside() -> None:
    with pytest.raises(OutsideNetworkError):
        socket.create_connection(("login.example.com", 443))


def test_name_does_not_resolve_when_it_is_reserved() -> None:
    with pytest.raises(socket.gaierror):
        socket.create_connection(("nowhere.invalid", 443))


def test_connection_works_when_the_server_is_on_loopback() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert client.getpeername() == server.getsockname()


def test_environment_holds_no_setting_of_the_caller_when_tests_run() -> None:
    assert not [name for name in os.environ if name.startswith(("ROTATOR_", "AZURE_")) or name == "HTTPS_PROXY"]
