"""The steps, in their order, from the files for systemd to a service that works."""

from __future__ import annotations

import shlex
from pathlib import Path

from rotator.cli.console import say, say_command
from rotator.cli.context import CliContext

SETTINGS = Path("/etc/rotator")
"""Where the units look for them."""
EDITED = """\
database: sqlite:////var/lib/rotator/rotator.db
token_cache:
  path: /var/lib/rotator/token-cache.bin
  key: {credential: token-cache-key}
audit:
  signing_key: {credential: audit-signing-key}
"""
"""What the service cannot have as `rotator init` writes it. systemd/README.md says the same, and so of the next."""
AS_ROTATOR = """\
as_rotator() {
  systemd-run --quiet --pty --wait --collect -p User=rotator -p Group=rotator -p StateDirectory=rotator \\
    -p StateDirectoryMode=0750 -p UMask=0077 -p LoadCredential=token-cache-key:/etc/rotator/token-cache.key \\
    -p LoadCredential=audit-signing-key:/etc/rotator/audit-signing.key \\
    -E ROTATOR_CONFIG=/etc/rotator/rotator.yaml /opt/rotator/bin/rotator "$@"
}
"""


def say_unit_steps(cli: CliContext, directory: Path, account: str) -> None:
    """What to do, as root, with the files for systemd that are in a folder of `directory`."""
    folder = directory.resolve()
    units = shlex.quote(str(folder / "systemd"))
    say(cli)
    say(cli, "To run it as a service, as root, with rotator in /opt/rotator. Install its files:")
    for command in (
        f"install -m 0644 {units}/rotator.sysusers /usr/lib/sysusers.d/rotator.conf",
        f"install -m 0644 {units}/rotator.tmpfiles /usr/lib/tmpfiles.d/rotator.conf",
        "systemd-sysusers && systemd-tmpfiles --create",
        f"install -m 0644 {units}/rotator.service /etc/systemd/system/",
        "systemctl daemon-reload",
    ):
        say_command(cli, command)
    say(cli, "Let the service read the settings, which hold no secret, and root alone the keys:")
    if folder != SETTINGS:
        place = shlex.quote(str(folder))
        say_command(cli, f"install -D -m 0644 -t {SETTINGS} {place}/rotator.yaml {place}/policy.yaml")
        say_command(cli, f"install -m 0600 -t {SETTINGS} {place}/token-cache.key {place}/audit-signing.key")
    say_command(cli, f"chmod 0755 {SETTINGS} && chmod 0644 {SETTINGS}/rotator.yaml {SETTINGS}/policy.yaml")
    say(cli, f"Change these lines of {SETTINGS}/rotator.yaml, and leave `audit.public_key` as it is:")
    for line in EDITED.splitlines():
        say_command(cli, line)
    say(cli, "Then run commands as the service does, with this function of the shell:")
    for line in AS_ROTATOR.splitlines():
        say_command(cli, line)
    say(cli, "Make the database, sign in, adopt, and start the service:")
    for command in (
        "as_rotator db upgrade",
        "systemd-tmpfiles --create",
        f"as_rotator login {account} --device-code",
        "as_rotator inventory adopt --all",
        "systemctl enable --now rotator",
    ):
        say_command(cli, command)
