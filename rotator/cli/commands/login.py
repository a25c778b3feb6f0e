"""`rotator login`: a person signs an account in."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from rotator.cli.completing import complete
from rotator.cli.console import clean, note, print_json, say
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.cli.selection import check_known
from rotator.cli.session import open_installation
from rotator.documents.accounts import make_login_document, make_prompt_document
from rotator.domain.words import say_in
from rotator.errors import RotatorError, UsageError
from rotator.wiring.children import launch_browser

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from rotator.ports.sign_in import DevicePrompt, InteractiveSignIn, SignInStatus
    from rotator.settings.model import Settings
    from rotator.wiring.installation import Installation

BROWSER_TIMEOUT = timedelta(minutes=15)
DEVICE_CODE, BROWSER = "device code", "browser"


@click.command(
    epilog=examples(
        "rotator login                            where the settings have one account",
        "rotator login --all                      every account, one after the other",
        "rotator login build-bot --device-code     on a server without a browser",
        "rotator login build-bot --device-code --json",
    )
)
@click.argument("account", required=False, shell_complete=complete("account"))
@click.option("--all", "everyone", is_flag=True, help="Sign in every account of the settings.")
@click.option("--device-code", is_flag=True, help="Sign in with a code, entered on any device.")
@click.option("--browser", is_flag=True, help="Sign in with a browser on this computer.")
@reason_option
@common_options
@click.pass_obj
def login(cli: CliContext, account: str | None, everyone: bool, device_code: bool, browser: bool) -> None:
    """Sign ACCOUNT in to Microsoft Entra, so that its PATs can be managed unattended.

    ACCOUNT may be left out if the settings have only one. Accepts only the user named in the settings. Stores an
    encrypted token cache, never a password. By default, opens a browser if there is a terminal and a display, and
    otherwise shows a device code. Waits until somebody has signed in, also with --no-input. With --json, each line is
    one document: the first is the device code, with verification_uri, user_code and expires_at, and the last says who
    signed in, with account and username.
    """
    if device_code and browser:
        raise UsageError("--device-code and --browser cannot be used together", fix="Give one of them, or neither.")
    at_browser = browser or (not device_code and has_browser() and not cli.as_json)
    with open_installation(cli) as installation:
        for name in choose_accounts(installation.settings, account, everyone=everyone):
            if everyone:
                say(cli, f"Account {name}:")
            try:
                _sign_in(cli, installation, name, BROWSER if at_browser else DEVICE_CODE)
            except RotatorError as error:
                typed = " --device-code" if device_code else " --browser" if browser else ""
                error.fix = error.fix.replace(f"`rotator login {name}`", f"`rotator login {name}{typed}`")
                raise


def choose_accounts(settings: Settings, account: str | None, *, everyone: bool) -> list[str]:
    """Return the account named, every one, or the only one; UsageError if it is not clear which is meant."""
    known = [one.name for one in settings.accounts]
    if everyone and account is not None:
        raise UsageError("--all means every account", fix="Give the account or --all, not both.")
    if account is not None:
        check_known("account", [account], known, f"Known accounts: {', '.join(known)}.", globs=False)
        return [account]
    if not everyone and len(known) > 1:
        raise UsageError("which account?", fix=f"Give one of {', '.join(known)}, or --all.")
    return known


def _sign_in(cli: CliContext, installation: Installation, account: str, method: str) -> None:
    now = installation.clock.now
    status = installation.make_sign_in_desk(cli.reason).sign_in(
        account, method, lambda sign_ins: converse(cli, sign_ins, account, method, now)
    )
    if cli.as_json:
        print_json(make_login_document(status), in_one_line=True)
    else:
        say(cli, f"{account} is signed in as {clean(status.username or '')}.")


def has_browser() -> bool:
    """Whether a person sits at this computer with a browser."""
    display = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(display) and sys.stdin.isatty() and sys.stderr.isatty()


def converse(
    cli: CliContext, sign_ins: InteractiveSignIn, account: str, method: str, now: Callable[[], datetime]
) -> SignInStatus:
    """Take the person through the sign-in."""
    if method == BROWSER:
        return sign_ins.login_with_browser(account, lambda url: open_browser(cli, url), BROWSER_TIMEOUT)
    return sign_ins.login_with_device_code(account, lambda prompt: show_prompt(cli, prompt, now()))


def show_prompt(cli: CliContext, prompt: DevicePrompt, now: datetime) -> None:
    """Tell the person where to enter which code."""
    if cli.as_json:
        print_json(make_prompt_document(prompt), in_one_line=True)
        return
    say(cli, f"Open   {clean(prompt.verification_uri)}")
    say(cli, f"enter  {clean(prompt.user_code)}")
    say(cli, f"and sign in. The code expires {say_in(prompt.expires_at, now)}.")
    note(cli, "Waiting for you to finish there ...")


def open_browser(cli: CliContext, url: str) -> None:
    """Open the sign-in page, and show its address in case no browser opens."""
    note(cli, f"Opening a browser. If none opens, open this address on this computer:\n{clean(url)}")
    launch_browser(url)
