"""Webhooks: a POST of a JSON document, signed by the rules of Standard Webhooks; notifications by webhook.

`webhook-id` is the delivery's id, the same however often it is sent. The signature is over the id, the time of sending
and the body, so that a receiver can refuse what was changed, or is old.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

import requests

from rotator.adapters.http_options import HttpOptions
from rotator.adapters.single_request import find_host, send_once
from rotator.domain.monitoring_errors import DeliveryError
from rotator.domain.notification import Notification
from rotator.domain.secret_value import SecretValue
from rotator.domain.telling import Habits
from rotator.ports.clock import Clock

PREFIX = "whsec_"
_REFUSALS = (400, 413, 415, 422)
"""A receiver that answers so does not take this message, and may take others."""

Render = Callable[[Notification, str], bytes]
"""Makes the body from a notification and the delivery's id."""


class SignedPost:
    """Sends documents to one address. Without a secret nothing is signed. `place` says where its url is set."""

    def __init__(
        self, url: SecretValue, secret: SecretValue | None, http: HttpOptions, clock: Clock, place: str
    ) -> None:
        self._url, self._secret, self._http, self._clock, self._place = url, secret, http, clock, place

    def send(self, body: bytes, delivery_id: str) -> str:
        """Send one, and return what came back. DeliveryError when it was not taken, or nobody knows whether it was."""
        headers = {"Content-Type": "application/json", "User-Agent": "rotator", **self._sign(delivery_id, body)}

        def post(session: requests.Session, url: str) -> requests.Response:
            return session.post(url, data=body, headers=headers)

        answer = send_once(self._http, self._url, post)
        if answer.is_good:
            return f"HTTP {answer.status}"
        fix = answer.fix or f"Check the url in {self._place}, and what the service behind it says."
        code = "delivery_refused" if answer.status is not None else answer.code
        raise DeliveryError(answer.message, code=code, fix=fix, is_refusal=answer.status in _REFUSALS)

    def _sign(self, delivery_id: str, body: bytes) -> dict[str, str]:
        moment = str(int(self._clock.now().timestamp()))
        headers = {"webhook-id": delivery_id, "webhook-timestamp": moment}
        if self._secret is None:
            return headers
        return {**headers, "webhook-signature": make_signature(self._secret, delivery_id, moment, body)}

    def __repr__(self) -> str:
        return f"SignedPost({find_host(self._url)!r})"


class WebhookNotifier:
    """The port Notifier."""

    def __init__(self, name: str, habits: Habits, events: frozenset[str], post: SignedPost, render: Render) -> None:
        self.name, self.habits, self.events = name, habits, events
        self._post, self._render = post, render

    def check(self) -> None:
        """See the port. Its address was checked when the settings were read."""

    def send(self, notification: Notification, delivery_id: str) -> str:
        """See the port."""
        return self._post.send(self._render(notification, delivery_id), delivery_id)

    def __repr__(self) -> str:
        return f"WebhookNotifier({self.name!r}, {self._post!r})"


def make_signature(secret: SecretValue, delivery_id: str, moment: str, body: bytes) -> str:
    """Return the header: version 1 is HMAC-SHA256 over `id.timestamp.body`, in base64."""
    key = base64.b64decode(secret.reveal().removeprefix(PREFIX))
    signed = f"{delivery_id}.{moment}.".encode() + body
    return f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"
