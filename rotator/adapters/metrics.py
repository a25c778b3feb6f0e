"""Figures in the text format of Prometheus, by its official client, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from rotator.domain.measurements import Measurements, PatFigures, ReceiverFigures
from rotator.domain.request_count import RequestOutcome

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECOND = timedelta(seconds=1)
_write_number: Callable[[float], str] = floatToGoString


def _stamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


_PAT_GAUGES: tuple[tuple[str, str, Callable[[PatFigures], tuple[str, float | None]]], ...] = (
    (
        "rotator_token_expiry_timestamp_seconds",
        "When the current PAT expires.",
        lambda pat: ("", _stamp(pat.expires_at)),
    ),
    (
        "rotator_token_rotation_due_timestamp_seconds",
        "When the PAT is to be rotated, or replaced by hand where its rule only alerts.",
        lambda pat: ("", _stamp(pat.due_at)),
    ),
    (
        "rotator_token_state",
        "How the PAT stands, as rotator status calls it: 1 for its current state, no series for another.",
        lambda pat: (f',state="{pat.state}"', 1),
    ),
    (
        "rotator_token_probe_success",
        "1 if the value that consumers read signed in when it was last tried, 0 if it did not.",
        lambda pat: ("", pat.works),
    ),
)
"""What there is of each PAT: name, help, and what finds its value, with one more label where there is one."""


def render_metrics(measured: Measurements, version: str, pats: bytes | None = None) -> bytes:
    """Return the text that a scrape gets. What is not known has no series.

    `pats` is the part about the PATs where that was rendered before: it is long, and changes rarely.
    """
    return (render_pats(measured.pats) if pats is None else pats) + _render(_list_all_but_pats(measured, version))


def render_pats(pats: tuple[PatFigures, ...]) -> bytes:
    """Return the part of the text that is about the PATs: as the client writes it, but each PAT's labels only once."""
    named = [(_write_labels(pat), pat) for pat in pats]
    parts: list[str] = []
    for name, text, find in _PAT_GAUGES:
        parts.append(_render([GaugeMetricFamily(name, text)]).decode())
        for labels, pat in named:
            more, value = find(pat)
            if value is not None:
                parts.append(f"{name}{{{labels}{more}}} {_write_number(value)}\n")
    return "".join(parts).encode()


def _write_labels(pat: PatFigures) -> str:
    """Write a PAT's labels, sorted."""
    texts = {"account": pat.account, "name": pat.name, "organization": pat.organization}
    return ",".join(f'{label}="{_escape(text)}"' for label, text in texts.items())


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _render(families: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(families))
    return generate_latest(registry)


class _Figures(Collector):
    """One moment's figures as metric families, collected once: no series outlives what it tells of."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return all families."""
        return self._families


def _list_all_but_pats(measured: Measurements, version: str) -> Iterator[Metric]:
    told = "The version of rotator; the value is always 1."
    yield _gauge("rotator_build_info", told, ("version",), [((version,), 1)])
    yield from _list_places(measured)
    yield from _list_jobs(measured)
    yield from _list_receivers(measured.receivers)
    yield from _list_rest(measured)


def _list_places(measured: Measurements) -> Iterator[Metric]:
    yield _gauge(
        "rotator_signin_refresh_timestamp_seconds",
        "When the account's sign-in was last refreshed.",
        ("account",),
        [((found.name,), _stamp(found.refreshed_at)) for found in measured.accounts],
    )
    yield _gauge(
        "rotator_signin_needs_human",
        "1 if a person must sign the account in.",
        ("account",),
        [((found.name,), found.needs_person) for found in measured.accounts],
    )
    yield _gauge(
        "rotator_source_up",
        "1 if the last look at it worked: an account at Entra, an account's organization, a vault.",
        ("kind", "source"),
        [((found.kind.value, found.source), found.is_up) for found in measured.sources],
    )


def _list_jobs(measured: Measurements) -> Iterator[Metric]:
    yield _gauge(
        "rotator_job_last_success_timestamp_seconds",
        "When the job last succeeded, for work by the daemon or by rotator once.",
        ("job",),
        [((found.job.value,), _stamp(found.succeeded_at)) for found in measured.jobs],
    )
    yield _gauge(
        "rotator_job_interval_seconds",
        "How often the job is done, where that is known.",
        ("job",),
        [((found.job.value,), None if found.every is None else found.every / _SECOND) for found in measured.jobs],
    )
    yield _gauge(
        "rotator_job_duration_seconds",
        "How long the job's last run took that ended.",
        ("job",),
        [((found.job.value,), None if found.lasted is None else found.lasted / _SECOND) for found in measured.jobs],
    )


def _list_receivers(receivers: tuple[ReceiverFigures, ...]) -> Iterator[Metric]:
    yield _gauge(
        "rotator_receiver_up",
        "1 if the receiver of notifications took the last one, or no call of the hook failed and waits.",
        ("receiver",),
        [((found.name,), found.is_up) for found in receivers],
    )
    yield _gauge(
        "rotator_notifications_waiting",
        "Notifications that are still to be delivered.",
        ("receiver",),
        [((found.name,), found.waiting) for found in receivers],
    )
    yield _gauge(
        "rotator_notifications_set_aside",
        "Notifications that the receiver refused although it takes others.",
        ("receiver",),
        [((found.name,), found.set_aside) for found in receivers],
    )


def _list_rest(measured: Measurements) -> Iterator[Metric]:
    rotations = CounterMetricFamily(
        "rotator_rotations",
        "What rotations came to, by the audit log; a failure that is tried again counts each time.",
        labels=("outcome",),
    )
    for outcome, count in measured.rotations.items():
        rotations.add_metric((outcome,), count)
    yield rotations
    requests = CounterMetricFamily(
        "rotator_api_requests",
        "Requests to Entra, Azure DevOps and Key Vault, by what came of them.",
        labels=("service", "outcome"),
    )
    throttled = 0
    for (service, answer), count in sorted(measured.requests.items()):
        requests.add_metric((service, answer.value), count)
        throttled += count if answer is RequestOutcome.THROTTLED else 0
    yield requests
    yield CounterMetricFamily("rotator_api_throttled", "Answers that ask for fewer requests.", throttled)
    chain = None if measured.is_chain_ok is None else int(measured.is_chain_ok)
    for name, text, value in (
        (
            "rotator_pending_revocations",
            "PATs that were to be revoked and are not seen gone yet.",
            measured.pending_revocations,
        ),
        (
            "rotator_unconfirmed_revocations",
            "PATs that were to be revoked 15 minutes ago or earlier and are not seen gone yet.",
            measured.unconfirmed_revocations,
        ),
        ("rotator_left_behind", "PATs that a closed rotation left alive, for a person to judge.", measured.left_behind),
        (
            "rotator_clock_skew_seconds",
            "How far the host's clock is ahead of those of the services and the database; +Inf where they disagree.",
            measured.skew,
        ),
        ("rotator_audit_chain_ok", "1 if the audit log's hash chain held when it was last verified.", chain),
        (
            "rotator_audit_last_verified_timestamp_seconds",
            "When the audit log's hash chain was last found intact.",
            _stamp(measured.verified_at),
        ),
    ):
        yield _gauge(name, text, (), [((), value)])


def _gauge(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float | None]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for texts, value in values:
        if value is not None:
            family.add_metric(texts, value)
    return family
