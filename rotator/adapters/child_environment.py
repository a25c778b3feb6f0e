"""The environment of the programs that we start: what is listed here, and nothing else.

Ours may hold the token cache's key, client secrets, the database's password and the addresses of credentials; no other
program has any use for them.
"""

from __future__ import annotations

from collections.abc import Mapping

_EVERYWHERE = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM", "TMPDIR"),
        # A program that uses the network needs the proxy and the CAs of this host.
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    }
)
_LOCALE_PREFIX = "LC_"

AZURE_CLI = frozenset({"AZURE_CONFIG_DIR", "AZURE_EXTENSION_DIR"})
"""Where the Azure CLI keeps who is signed in."""
HOOK = AZURE_CLI | {"KUBECONFIG"}
"""Where the tools that hooks use find who they are."""
BROWSER = frozenset(
    {
        *("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS"),
        *("XDG_CONFIG_DIRS", "XDG_CONFIG_HOME", "XDG_CURRENT_DESKTOP", "XDG_DATA_DIRS", "XDG_DATA_HOME"),
        *("XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "XDG_SESSION_TYPE", "DESKTOP_SESSION", "KDE_FULL_SESSION"),
        *("WSL_DISTRO_NAME", "WSL_INTEROP"),
    }
)
"""How a browser finds its screen and its profile."""


def make_child_environment(environment: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    """Return what every program gets of this environment, and these variables."""
    allowed = _EVERYWHERE | names
    return {name: value for name, value in environment.items() if name in allowed or name.startswith(_LOCALE_PREFIX)}
