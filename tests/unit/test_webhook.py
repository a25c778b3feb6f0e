"""Notifications by webhook, over real connections."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.adapters.http_options import HttpOptions
from rotator.adapters.notify.webhook import SignedPost, WebhookNotifier, make_signature
from rotator.documents.notification import make_notification_document
from rotator.domain.monitoring_errors import DeliveryError
from rotator.domain.notification import Notification, make_test
from rotator.domain.secret_value import SecretValue
from rotator.domain.telling import Habits
from rotator.sandbox.certificates import write_certificates
from tests.support.clock import FakeClock
from tests.support.receiver_server import HOOK_PATH, SIGNING_KEY, WebhookServer

ID = "0123456789abcdef0123456789abcdef"
NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
MESSAGE = make_test("ops", "host-1", NOW)


def render(notification: Notification, delivery_id: str) -> bytes:
    return json.dumps(make_notification_document(notification, delivery_id)).encode()


class Bench:
    """A receiver, and what sends to it."""

    def __init__(self, folder: Path) -> None:
        self.ca, certificate = write_certificates(folder)
        self.server = WebhookServer(certificate)

    def make(
        self, url: str | None = None, secret: str | None = SIGNING_KEY, http: HttpOptions | None = None
    ) -> WebhookNotifier:
        """What sends to it, or to another address."""
        options = replace(http or HttpOptions(), ca_bundle=self.ca)
        key = None if secret is None else SecretValue(secret)
        post = SignedPost(SecretValue(url or self.server.url), key, options, FakeClock(), "notify")
        return WebhookNotifier("ops", Habits(), frozenset(), post, render)

    def fail(self, notifier: WebhookNotifier) -> DeliveryError:
        """The error of a send; nothing of the address but its host is in it, nor of the secret."""
        with pytest.raises(DeliveryError) as caught:
            notifier.send(MESSAGE, ID)
        shown = f"{caught.value!r} {caught.value} {caught.value.fix} {notifier!r}"
        assert HOOK_PATH not in shown
        assert SIGNING_KEY not in shown
        return caught.value


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A receiver that listens."""
    made = Bench(tmp_path)
    with made.server.running():
        yield made


def test_receiver_gets_the_document_and_can_prove_where_it_comes_from(bench: Bench) -> None:
    """Signed over the id, the time and the very bytes, as a receiver computes it on its own."""
    assert bench.make().send(MESSAGE, ID) == "HTTP 200"
    (request,) = bench.server.received
    assert (request.method, request.headers["content-type"]) == ("POST", "application/json")
    assert request.json() == make_notification_document(MESSAGE, ID)
    assert request.headers["webhook-id"] == ID
    moment = request.headers["webhook-timestamp"]
    assert datetime.fromtimestamp(int(moment), UTC) == NOW
    key = base64.b64decode(SIGNING_KEY.split("_", 1)[1])
    digest = hmac.new(key, b".".join((ID.encode(), moment.encode(), request.body)), hashlib.sha256).digest()
    assert request.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_signature_is_that_of_the_standard() -> None:
    """The example that the libraries of Standard Webhooks test themselves with."""
    secret = SecretValue("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signature = make_signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_nothing_is_signed_without_a_secret(bench: Bench) -> None:
    bench.make(secret=None).send(MESSAGE, ID)
    assert "webhook-signature" not in bench.server.received[0].headers


@pytest.mark.parametrize(
    ("status", "is_refusal"), [(302, False), (308, False), (400, True), (401, False), (413, True), (500, False)]
)
def test_answer_that_is_no_success_is_a_failure(bench: Bench, status: int, is_refusal: bool) -> None:
    """A redirect, too: it is not followed, so nothing is sent to where it leads."""
    bench.server.answers = [status]
    error = bench.fail(bench.make())
    assert (error.code, error.is_refusal) == ("delivery_refused", is_refusal)
    assert error.message == f"{bench.server.host} answered HTTP {status}"
    assert len(bench.server.received) == 1


def test_receiver_that_hangs_is_cut(bench: Bench) -> None:
    bench.server.answers = [-1]
    assert bench.fail(bench.make(http=HttpOptions(total_timeout=timedelta(seconds=0.3)))).code == "total_timeout"


def test_receiver_that_is_away_is_a_failure_that_names_its_host(bench: Bench) -> None:
    error = bench.fail(bench.make(f"https://127.0.0.1:1{HOOK_PATH}"))
    assert (error.code, error.is_refusal) == ("connection_refused", False)
    assert "127.0.0.1:1" in error.message
