"""What holds for every test: a clean environment, and no network but loopback."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.support import network

pytest_plugins = [
    "tests.support.postgres",
    "tests.support.programs",
    "tests.support.proving",
    "tests.support.pgbouncer",
    "tests.support.other_user",
]

_FOREIGN_PREFIXES = ("ROTATOR_", "AZURE_", "MSAL_", "PG")
_FOREIGN_NAMES = frozenset(
    {
        "ALL_PROXY",
        "COLUMNS",
        "CREDENTIALS_DIRECTORY",
        "CURL_CA_BUNDLE",
        "FORCE_COLOR",
        "FTP_PROXY",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "MSI_ENDPOINT",
        "MSI_SECRET",
        "NETRC",
        "NOTIFY_SOCKET",
        "NO_COLOR",
        "NO_PROXY",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "SSLKEYLOGFILE",
        "TTY_COMPATIBLE",
    }
)


def _is_foreign(variable: str) -> bool:
    """Whether the variable could change what our programs do. PG_BIN stays: it says where PostgreSQL is."""
    name = variable.upper()
    return name in _FOREIGN_NAMES or (name.startswith(_FOREIGN_PREFIXES) and name != "PG_BIN")


def pytest_configure() -> None:
    """Let Ctrl-C end the programs that the tests start, also where a shell began the tests in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """Take the caller's settings, proxies and certificates out of the environment, for children too."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in [name for name in os.environ if _is_foreign(name)]:
            patch.delenv(variable)
        yield


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Fail every connection and name look-up of this process that would leave the machine."""
    with pytest.MonkeyPatch.context() as patch:
        network.confine_to_loopback(patch)
        yield
