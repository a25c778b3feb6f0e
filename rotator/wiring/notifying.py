"""The receivers of notifications: made from the settings, used by the daemon's job or at the end of a run, tested."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from rotator.documents.notification import ReceiverTest, make_notification_document
from rotator.domain.digest import Weekday
from rotator.domain.events.daemon import JobFailed
from rotator.domain.events.event import Severity
from rotator.domain.job_run import JobName
from rotator.domain.monitoring_errors import DeliveryError
from rotator.domain.notification import Notification, make_test
from rotator.domain.telling import Habits
from rotator.engine.digesting import deliver_all
from rotator.engine.isolating import naming_bugs
from rotator.engine.outage import DeliveryMemory
from rotator.engine.receiver_claim import CLAIMED_FOR
from rotator.engine.stalled import BY_ONCE, watching
from rotator.errors import ConfigError, NotManagedError, RotatorError, StoppedError, UsageError

if TYPE_CHECKING:
    from rotator.engine.context import RunContext
    from rotator.ports.notifier import Notifier
    from rotator.settings.policy_checks import Finding
    from rotator.settings.sections.notify import NotifySettings
    from rotator.wiring.installation import Installation


LONGEST_SEND = CLAIMED_FOR - timedelta(minutes=1)
"""One message takes no longer: another daemon would take the receiver over meanwhile, and send it too."""


def make_notifiers(installation: Installation) -> tuple[Notifier, ...]:
    """Return the receivers of the settings. ConfigError for a secret that is missing."""
    return tuple(_make_notifier(installation, receiver) for receiver in installation.settings.notify)


def _make_notifier(installation: Installation, receiver: NotifySettings) -> Notifier:
    digest_on = None if receiver.digest is None else Weekday(receiver.digest)
    habits = Habits(receiver.repeat, receiver.down_after, Severity(receiver.min_severity), digest_on)
    events, url, http = frozenset(receiver.events), installation.resolve(receiver.url), installation.make_http()
    http = replace(http, total_timeout=min(http.total_timeout, LONGEST_SEND))
    if receiver.kind == "webhook":
        from rotator.adapters.notify.webhook import SignedPost, WebhookNotifier

        secret = None if receiver.secret is None else installation.resolve(receiver.secret)
        post = SignedPost(url, secret, http, installation.clock, "notify")
        return WebhookNotifier(receiver.name, habits, events, post, _render)
    from rotator.adapters.notify.apprise import AppriseNotifier

    return AppriseNotifier(receiver.name, habits, events, url, http, os.environ)


def _render(notification: Notification, delivery_id: str) -> bytes:
    return json.dumps(make_notification_document(notification, delivery_id), ensure_ascii=False).encode()


def deliver_at_end(run: RunContext, notifiers: Sequence[Notifier]) -> None:
    """Deliver what there is at the end of a run that no daemon does. What goes wrong is told, and raises nothing."""
    try:
        with watching(run, JobName.DELIVER, BY_ONCE), naming_bugs("the run is over all the same"):
            deliver_all(run, notifiers, DeliveryMemory())
    except RotatorError as error:
        failed = JobFailed(code=error.code, message=error.message, failures=1, retry_seconds=0)
        run.progress(failed, JobName.DELIVER.value)
    except StoppedError:
        return  # what waits is delivered by the next run


def try_receivers(installation: Installation, name: str | None) -> Iterator[ReceiverTest]:
    """Send a test to each receiver, or to the named one. UsageError when there is none."""
    notifiers = make_notifiers(installation)
    chosen = [notifier for notifier in notifiers if name in (None, notifier.name)]
    if not chosen:
        known = ", ".join(notifier.name for notifier in notifiers)
        raise UsageError(
            "no receiver is configured" if name is None else f'"{name}" is not a configured receiver',
            code="none_configured" if name is None else NotManagedError.code,
            fix=f"There are: {known}." if known else "Add one under `notify` in the settings.",
        )
    for notifier in chosen:
        try:
            with naming_bugs("the other receivers were tried"):
                made = make_test(notifier.name, socket.gethostname(), installation.clock.now())
                yield ReceiverTest(notifier.name, answer=notifier.send(made, _make_id(installation)))
        except RotatorError as error:
            yield ReceiverTest(notifier.name, error=error)


def find_unusable_receivers(installation: Installation) -> Iterable[Finding]:
    """Find receivers that cannot be used at all, for `config check`: where each stands, and what is wrong.

    One whose address is not on this host is not looked at.
    """
    for index, receiver in enumerate(installation.settings.notify):
        try:
            _make_notifier(installation, receiver).check()
        except ConfigError:
            continue
        except DeliveryError as error:
            yield ("notify", index, "url"), f"{error.message}. {error.fix}"


def _make_id(installation: Installation) -> str:
    from rotator.adapters.clock import SystemEntropy

    return SystemEntropy().make_id()
