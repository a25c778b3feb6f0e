"""`rotator login`: a person signs an account in."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from rotator.cli.console import clean, note, print_json, say
from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.output.words import say_in
from rotator.cli.session import open_installation
from rotator.documents.accounts import make_login_document, make_prompt_document
from rotator.domain.events.places import SignInCompleted, SignInRefused, SignInStarted
from rotator.errors import RotatorError
from rotator.wiring.installation import Installation

if TYPE_CHECKING:
    from rotator.ports.sign_in import DevicePrompt, SignInStatus

BROWSER_TIMEOUT = timedelta(minutes=15)
DEVICE_CODE, BROWSER = "device code", "browser"


@click.command(
    epilog=examples(
        "rotator login build-bot",
        "rotator login build-bot --device-code     on a server without a browser",
        "rotator login build-bot --device-code --json",
    )
)
@click.argument("account")
@click.option("--device-code", "method", flag_value=DEVICE_CODE, help="By a code that is entered on any device.")
@click.option("--browser", "method", flag_value=BROWSER, help="In a browser on this computer.")
@common_options
@click.pass_obj
def login(cli: CliContext, account: str, method: str | None) -> None:
    """Sign ACCOUNT in to Microsoft Entra, so that its PATs can be managed unattended.

    Only the user that the settings name is accepted. What is kept is an encrypted token cache, never a password.
    Without an option: in a browser if there is a terminal and a display, else by device code. With --json the first
    line is the device code, as {"verification_uri","user_code","expires_at"}, the last {"account","username"}.
    """
    method = method or (BROWSER if has_browser() and not cli.as_json else DEVICE_CODE)
    with open_installation(cli) as installation:
        installation.entra_sign_in.status(account)  # an unknown account is refused before anything is written
        # The audit must be writable before a person is asked for anything.
        installation.record_event(SignInStarted(method=method), account)
        try:
            status = sign_in(cli, installation, account, method)
        except RotatorError as error:
            installation.record_event(SignInRefused(method=method, code=error.code), account)
            raise
        installation.record_event(SignInCompleted(method=method, username=status.username), account)
    if cli.as_json:
        print_json(make_login_document(status), in_one_line=True)
    else:
        say(cli, f"{account} is signed in as {clean(status.username or '')}.")


def has_browser() -> bool:
    """Whether a person sits at this computer with a browser."""
    display = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(display) and sys.stdin.isatty() and sys.stderr.isatty()


def sign_in(cli: CliContext, installation: Installation, account: str, method: str) -> SignInStatus:
    """Take the person through the sign-in."""
    entra = installation.entra_sign_in
    if method == BROWSER:
        return entra.login_with_browser(account, lambda url: open_browser(cli, url), BROWSER_TIMEOUT)
    return entra.login_with_device_code(account, lambda prompt: show_prompt(cli, installation, prompt))


def show_prompt(cli: CliContext, installation: Installation, prompt: DevicePrompt) -> None:
    """Tell the person where to enter which code."""
    if cli.as_json:
        print_json(make_prompt_document(prompt), in_one_line=True)
        return
    say(cli, f"Open   {clean(prompt.verification_uri)}")
    say(cli, f"enter  {clean(prompt.user_code)}")
    say(cli, f"and sign in. The code expires {say_in(prompt.expires_at, installation.clock.now())}.")
    note(cli, "Waiting for you to finish there ...")


def open_browser(cli: CliContext, url: str) -> None:
    """Open the sign-in page, and show its address in case that no browser comes up."""
    note(cli, f"Opening a browser. If none comes up, open this address on this computer:\n{clean(url)}")
    click.launch(url)
