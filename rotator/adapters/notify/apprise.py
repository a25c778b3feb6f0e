"""Notifications through apprise, which runs in a program of its own: see `apprise_child`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from rotator.adapters.child_environment import make_child_environment
from rotator.adapters.children import start_child
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.redaction import redact_text
from rotator.domain.events.event import Severity
from rotator.domain.monitoring_errors import DeliveryError
from rotator.domain.notification import Notification
from rotator.domain.secret_value import SecretValue
from rotator.domain.telling import Habits, Phase
from rotator.errors import FailureKind
from rotator.ports.notifier import UNUSABLE

_CHILD = "rotator.adapters.notify.apprise_child"
_LONGEST_SAYING = 300
_NEVER = re.compile(r"proxy|bundle|ssl_cert", re.IGNORECASE)
"""Variables that only the settings give: no proxy and no CA comes from the environment."""
_TYPES = {
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.ERROR: "failure",
    Severity.CRITICAL: "failure",
}


class AppriseNotifier:
    """The port Notifier."""

    def __init__(
        self,
        name: str,
        habits: Habits,
        events: frozenset[str],
        url: SecretValue,
        http: HttpOptions,
        environment: Mapping[str, str],
    ) -> None:
        self.name, self.habits, self.events = name, habits, events
        self._url, self._http, self._environment = url, http, environment

    def check(self) -> None:
        """See the port."""
        self._ask({})

    def send(self, notification: Notification, delivery_id: str) -> str:
        """See the port. The id is at the end of the text: apprise knows no other place for it."""
        kind = "success" if notification.phase is Phase.OVER else _TYPES[notification.severity]
        body = f"{notification.text}\n\nId: {delivery_id}"
        answer = self._ask({"title": notification.title, "body": body, "type": kind})
        if answer["sent"] is True:
            return "apprise sent it"
        said = self._clean(str(answer["said"][-1])) if answer["said"] else "it gave no reason"
        raise DeliveryError(
            f"apprise could not send to {self.name}: {said}",
            code="delivery_refused",
            fix=f"Check the url of {self.name} in notify; `rotator notify test {self.name}` tries it.",
        )

    def _ask(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Return the answer of the program. DeliveryError if it has none, or the receiver cannot be used at all."""
        variables = make_child_environment(self._environment, frozenset())
        clean = {name: value for name, value in variables.items() if not _NEVER.search(name)}
        question = json.dumps({**asked, "url": self._url.reveal(), "environment": self._make_own_environment()})
        command = [sys.executable, "-P", "-m", _CHILD]
        seconds = self._http.total_timeout.total_seconds()
        with start_child(command, clean, stdin=subprocess.PIPE) as child:
            try:
                shown, _ = child.communicate(question, timeout=seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                raise DeliveryError(
                    f"apprise did not send to {self.name} in time, and was ended",
                    code="total_timeout",
                    fix="This usually passes by itself; http.total_timeout sets how long one message may take.",
                ) from None
        return self._read(shown)

    def _read(self, shown: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(shown)
        except ValueError:
            raise DeliveryError(
                f"apprise ended before it could send to {self.name}",
                fix="Run `rotator notify test`; if it ends again, install another version of apprise.",
            ) from None
        if answer["installed"] is not True:
            raise DeliveryError(
                f"{self.name} needs apprise, which is not installed",
                code=UNUSABLE,
                kind=FailureKind.UNUSABLE,
                fix="In rotator's source folder, run: pip install --require-hashes -r requirements.txt",
            )
        if answer["known"] is not True:
            raise DeliveryError(
                f"no plugin of apprise takes the url of {self.name}",
                code=UNUSABLE,
                kind=FailureKind.UNUSABLE,
                fix=f"Correct the url of {self.name} in notify: apprise's documentation has one for each service.",
            )
        return answer

    def _make_own_environment(self) -> dict[str, str]:
        """Return the variables that the program gives itself: others could read those that it is started with."""
        http = self._http
        found = {} if http.proxy is None else {"HTTPS_PROXY": http.proxy.reveal()}
        if http.no_proxy:
            found["NO_PROXY"] = ",".join(http.no_proxy)
        if http.ca_bundle is not None:
            found |= {"REQUESTS_CA_BUNDLE": str(http.ca_bundle), "SSL_CERT_FILE": str(http.ca_bundle)}
        return found

    def _clean(self, said: str) -> str:
        """Return what apprise said without any part of the address but its host."""
        for part in sorted(_list_secret_parts(self._url.reveal()), key=len, reverse=True):
            said = said.replace(part, "***")
        return redact_text(" ".join(said.split()))[:_LONGEST_SAYING]

    def __repr__(self) -> str:
        return f"AppriseNotifier({self.name!r})"


def _list_secret_parts(url: str) -> set[str]:
    parts = urlsplit(url)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    found = {user, password, *parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))}
    return {part for each in found for part in (each, unquote(each)) if len(part) > 2}
