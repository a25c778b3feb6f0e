"""The hooks: a command that is run, or a webhook that is sent. Neither is given a value."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from rotator.adapters.child_environment import HOOK, make_child_environment
from rotator.adapters.child_group import ChildEnd, ChildGroups
from rotator.adapters.notify.webhook import SignedPost
from rotator.adapters.redaction import LONGEST_TEXT, redact_text
from rotator.domain.hook import HookEvent, HookTerms
from rotator.domain.monitoring_errors import DeliveryError, HookError
from rotator.domain.outside import make_harmless
from rotator.domain.words import say_duration
from rotator.errors import FailureKind
from rotator.ports.hook import HOOK_UNUSABLE

LONGEST_OUTPUT = 2000
"""Characters of what a hook printed that are kept, after secrets were taken out."""
_PREFIX = "ROTATOR_HOOK_"
_HALF = re.compile(r"\A(?:[A-Za-z0-9+/=\s]*-----END [A-Z ]*PRIVATE KEY-----|[A-Za-z0-9+/=._~%-]+)")
"""What a cut may have left of a secret, which no longer has its shape."""

Render = Callable[[HookEvent, str], bytes]
"""Makes the JSON document from an event and the delivery's id."""


class CommandHook:
    """The port Hook: runs a program, without a shell, in `folder`."""

    def __init__(
        self,
        terms: HookTerms,
        command: tuple[str, ...],
        timeout: timedelta,
        environment: Mapping[str, str],
        folder: Path,
        groups: ChildGroups,
        render: Render,
    ) -> None:
        self.terms = terms
        self._command, self._timeout, self._folder = command, timeout, folder
        self._environment = make_child_environment(environment, HOOK)
        self._groups, self._render = groups, render

    def check(self) -> None:
        """See the port."""
        self._find_program()

    def call(self, event: HookEvent, delivery_id: str) -> str:
        """See the port."""
        arguments = [self._find_program(), *self._command[1:]]
        environment = {**self._environment, **make_variables(event, delivery_id)}
        try:
            end = self._groups.run(
                arguments, environment, self._folder, self._render(event, delivery_id), self._timeout
            )
        except OSError as error:
            raise self._make_unusable(f"cannot be started: {error.strerror}") from error
        output = clean_output(end.output)
        if end.exit_code == 0:
            return output
        fix = (
            "Correct what it reports. rotator repeats the calls that wait. "
            f"`rotator hooks test {self.terms.name}` shows whether the hook works now; it repeats none of them."
        )
        message = f"the hook {self.terms.name} {self._say_end(end)}"
        raise HookError(f"{message}; it printed: {output}" if output else message, fix=fix, output=output)

    def _say_end(self, end: ChildEnd) -> str:
        if end.runs_on:
            return f"took longer than {say_duration(self._timeout)}, and runs on: it is another user's, as with sudo"
        if end.exit_code is None:
            return f"took longer than {say_duration(self._timeout)}, and was ended"
        if end.exit_code < 0:
            return f"was ended by {_name_signal(-end.exit_code)}"
        return f"exited with {end.exit_code}"

    def _find_program(self) -> str:
        """Return the program's path. HookError when there is none that may be run."""
        name = self._command[0]
        found = shutil.which(name, path=self._environment.get("PATH", os.defpath))
        if found is not None:
            return found
        if "/" not in name:
            raise self._make_unusable(f"cannot be called: {name} is not on the PATH")
        path = Path(name)
        if not path.exists():
            raise self._make_unusable(f"cannot be called: {name} does not exist")
        raise self._make_unusable(f"cannot be called: {name} is no program that this user may run")

    def _make_unusable(self, why: str) -> HookError:
        fix = f"Correct the command of {self.terms.name} in hooks, or install the program and let this user run it."
        return HookError(f"the hook {self.terms.name} {why}", code=HOOK_UNUSABLE, fix=fix, kind=FailureKind.UNUSABLE)


class WebhookHook:
    """The port Hook: a POST of the event's document, signed by the rules of Standard Webhooks."""

    def __init__(self, terms: HookTerms, post: SignedPost, render: Render) -> None:
        self.terms = terms
        self._post, self._render = post, render

    def check(self) -> None:
        """See the port. Its address was checked when the settings were read."""

    def call(self, event: HookEvent, delivery_id: str) -> str:
        """See the port."""
        try:
            return self._post.send(self._render(event, delivery_id), delivery_id)
        except DeliveryError as error:
            raise HookError(error.message, fix=error.fix, is_refusal=error.is_refusal) from error


def _name_signal(number: int) -> str:
    """Return a signal's name; most of the real-time signals have none."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def make_variables(event: HookEvent, delivery_id: str) -> dict[str, str]:
    """Return the variables that tell of an event; one that says nothing is empty."""
    said = {
        "EVENT": event.event,
        "ID": delivery_id,
        "NAME": event.name,
        "ACCOUNT": event.account,
        "ORGANIZATION": event.organization,
        "AUTHORIZATION_ID": event.authorization_id,
        "VAULT": event.vault,
        "SECRET_NAME": event.secret_name,
        "SECRET_VERSION": event.secret_version,
        "EXPIRES_AT": None if event.expires_at is None else f"{event.expires_at:%Y-%m-%dT%H:%M:%SZ}",
    }
    return {_PREFIX + name: value or "" for name, value in said.items()}


def clean_output(text: str) -> str:
    """Return the end of what a program printed without secrets, and harmless: one line, its lines set apart by `|`."""
    if len(text) > LONGEST_TEXT:
        text = _HALF.sub("", text[-LONGEST_TEXT:])
    lines = (make_harmless(line).strip() for line in redact_text(text).splitlines())
    said = " | ".join(filter(None, lines))
    return said if len(said) <= LONGEST_OUTPUT else f"... {said[4 - LONGEST_OUTPUT :]}"
