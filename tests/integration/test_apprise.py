"""Notifications through apprise, in its own program: to a mail server and a web server on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_string
from email.policy import default
from pathlib import Path

import pytest

from rotator.adapters.http_options import HttpOptions
from rotator.adapters.notify.apprise import AppriseNotifier
from rotator.domain.monitoring_errors import DeliveryError
from rotator.domain.notification import make_test
from rotator.domain.secret_value import SecretValue
from rotator.domain.telling import Habits
from rotator.ports.notifier import UNUSABLE
from rotator.sandbox.certificates import write_certificates
from tests.support.receiver_server import HOOK_PATH, MAIL_PASSWORD, MailServer, WebhookServer

MESSAGE = make_test("ops", "host-1", datetime(2026, 11, 27, 9, 0, tzinfo=UTC))
ID = "0123456789abcdef0123456789abcdef"
CHILD = "rotator.adapters.notify.apprise_child"
NEEDED = {"PATH": "/usr/bin:/bin"}
ENVIRONMENT = {
    **NEEDED,
    "HTTPS_PROXY": "http://127.0.0.1:1",
    "ROTATOR_TOKEN_CACHE_KEY": "canary-key",
    "AZURE_CLIENT_SECRET": "canary-client-secret",
}
"""A proxy that would let nothing pass, and secrets that are nobody's business."""


class WatchingMailServer(MailServer):
    """`started_with` is what everybody sees of the program that waits for its answer: arguments and environment."""

    def __init__(self) -> None:
        super().__init__()
        self.started_with: list[tuple[list[str], list[str]]] = []

    def keep(self, mail: str) -> None:
        """Look at the programs that this process has started."""
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended, or it is another user's
                arguments, parent = _read_strings(folder / "cmdline"), (folder / "stat").read_text().rpartition(") ")[2]
                if CHILD in arguments and int(parent.split()[1]) == os.getpid():
                    self.started_with.append((arguments, _read_strings(folder / "environ")))
        super().keep(mail)


def _read_strings(path: Path) -> list[str]:
    return path.read_bytes().decode().split("\0")[:-1]


@pytest.fixture
def mail() -> Iterator[MailServer]:
    """A mail server that listens."""
    with MailServer() as server, server.running():
        yield server


def make(url: str, http: HttpOptions | None = None) -> AppriseNotifier:
    return AppriseNotifier("ops", Habits(), frozenset(), SecretValue(url), http or HttpOptions(), ENVIRONMENT)


def fail(notifier: AppriseNotifier) -> DeliveryError:
    """The error of a send, with nothing of the address's secrets in it."""
    with pytest.raises(DeliveryError) as caught:
        notifier.send(MESSAGE, ID)
    shown = f"{caught.value!r} {caught.value} {caught.value.fix} {notifier!r}"
    assert MAIL_PASSWORD not in shown
    assert HOOK_PATH.rpartition("/")[2] not in shown
    return caught.value


def test_mail_arrives_with_all_that_there_is_to_know(mail: MailServer) -> None:
    notifier = make(mail.url)
    notifier.check()
    assert notifier.send(MESSAGE, ID) == "apprise sent it"
    (sent,) = mail.mails
    assert "Test of rotator" in sent
    assert "To: ops@example.com" in sent


def test_program_that_waits_for_an_answer_shows_no_secret_in_its_arguments_and_environment() -> None:
    """No proxy either: what the settings say of that is not told through the environment."""
    with WatchingMailServer() as server, server.running():
        make(server.url).send(MESSAGE, ID)
    [(arguments, environment)] = server.started_with
    assert environment == [f"{name}={value}" for name, value in NEEDED.items()]
    assert not [argument for argument in arguments if MAIL_PASSWORD in argument]


def test_mail_keeps_the_lines_and_every_sign(mail: MailServer) -> None:
    """A plain text: none of it is taken for HTML."""
    lines = ["Why: the value of <b> & *c* is refused", "Fix: `rotator status NAME`"]
    make(mail.url).send(replace(MESSAGE, text="\n".join(lines)), ID)
    sent = message_from_string(mail.mails[0], policy=default)
    assert sent.get_content_type() == "text/plain"
    assert sent.get_content().splitlines()[:2] == lines


def test_mail_that_is_refused_is_a_failure(mail: MailServer) -> None:
    """What apprise says is looked at, and not only whether it ended."""
    mail.answer = "550 not here"
    assert fail(make(mail.url)).code == "delivery_refused"


def test_web_receiver_is_trusted_by_the_ca_of_the_settings_alone(tmp_path: Path) -> None:
    """No proxy of the environment is used."""
    ca, certificate = write_certificates(tmp_path)
    server = WebhookServer(certificate)
    with server.running():
        url = f"jsons://{server.host}{HOOK_PATH}"
        assert make(url, HttpOptions(ca_bundle=ca)).send(MESSAGE, ID) == "apprise sent it"
        assert server.documents[0]["title"] == "Test of rotator"
        assert ID in server.documents[0]["message"]
        assert fail(make(url)).code == "delivery_refused"
        server.answers = [500]
        assert fail(make(url, HttpOptions(ca_bundle=ca))).code == "delivery_refused"


def test_program_that_hangs_is_ended(tmp_path: Path) -> None:
    ca, certificate = write_certificates(tmp_path)
    server = WebhookServer(certificate)
    server.answers = [-1]
    with server.running():
        options = HttpOptions(ca_bundle=ca, total_timeout=timedelta(seconds=3))
        assert fail(make(f"jsons://{server.host}{HOOK_PATH}", options)).code == "total_timeout"


def test_address_that_no_plugin_takes_cannot_be_used() -> None:
    notifier = make(f"nosuch://{MAIL_PASSWORD}/x")
    assert fail(notifier).code == UNUSABLE
    with pytest.raises(DeliveryError) as caught:
        notifier.check()
    assert caught.value.message == "no plugin of apprise takes the url of ops"
