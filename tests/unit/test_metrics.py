"""The figures in the text format: names, labels, and text that needs care."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from math import inf

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Sample

from rotator.adapters.metrics import render_metrics, render_pats
from rotator.domain.job_run import JobName
from rotator.domain.measurements import (
    AccountFigures,
    JobFigures,
    Measurements,
    PatFigures,
    ReceiverFigures,
    SourceFigures,
    SourceKind,
)
from rotator.domain.request_count import RequestOutcome
from tests.support.records import NOW

NOTHING = Measurements(
    pats=(),
    accounts=(),
    sources=(),
    jobs=(),
    rotations={},
    requests={},
    pending_revocations=0,
    unconfirmed_revocations=0,
    left_behind=0,
    skew=None,
    is_clock_wrong=False,
    is_chain_ok=None,
    verified_at=None,
)
LATER = NOW + timedelta(days=1, milliseconds=250)
FULL = Measurements(
    pats=(
        PatFigures("npm-feed", "build-bot", "contoso", "ok", LATER, NOW, True),
        PatFigures('odd "name"\\\n', "build-bot", "contöso", "due", None, None, False),
    ),
    accounts=(AccountFigures("build-bot", True, False, False, NOW), AccountFigures("other", False, True, False, None)),
    sources=(
        SourceFigures(SourceKind.ENTRA, "build-bot", True),
        SourceFigures(SourceKind.AZURE_DEVOPS, "build-bot/contoso", False),
        SourceFigures(SourceKind.KEY_VAULT, "https://kv.example", True),
    ),
    jobs=(JobFigures(JobName.WORK, NOW, timedelta(seconds=2)), JobFigures(JobName.REFRESH, None, None)),
    rotations={"completed": 7, "failed": 0},
    requests={
        ("key_vault", RequestOutcome.THROTTLED): 2,
        ("entra", RequestOutcome.THROTTLED): 1,
        ("entra", RequestOutcome.SUCCEEDED): 40,
    },
    pending_revocations=2,
    unconfirmed_revocations=1,
    left_behind=1,
    skew=inf,
    is_clock_wrong=True,
    is_chain_ok=False,
    verified_at=NOW,
    receivers=(ReceiverFigures("ops", False, 3, 1),),
)


def read(measured: Measurements) -> dict[str, list[Sample]]:
    """What a scrape reads: the samples of each name that has any."""
    families = list(text_string_to_metric_families(render_metrics(measured, "1.2").decode()))
    assert all(family.documentation for family in families)
    return {family.name: family.samples for family in families if family.samples}


def list_samples(name: str) -> list[tuple[dict[str, str], float]]:
    """Labels and values of one name."""
    [samples] = [samples for samples in read(FULL).values() if samples[0].name == name]
    return [(sample.labels, sample.value) for sample in samples]


def test_metrics_have_these_names_and_labels() -> None:
    pat = {"name", "account", "organization"}
    found = {sample.name: set(sample.labels) for samples in read(FULL).values() for sample in samples}
    assert found == {
        "rotator_build_info": {"version"},
        "rotator_token_expiry_timestamp_seconds": pat,
        "rotator_token_rotation_due_timestamp_seconds": pat,
        "rotator_token_state": pat | {"state"},
        "rotator_token_probe_success": pat,
        "rotator_signin_refresh_timestamp_seconds": {"account"},
        "rotator_signin_needs_human": {"account"},
        "rotator_source_up": {"kind", "source"},
        "rotator_job_last_success_timestamp_seconds": {"job"},
        "rotator_job_duration_seconds": {"job"},
        "rotator_rotations_total": {"outcome"},
        "rotator_api_requests_total": {"service", "outcome"},
        "rotator_api_throttled_total": set(),
        "rotator_pending_revocations": set(),
        "rotator_unconfirmed_revocations": set(),
        "rotator_left_behind": set(),
        "rotator_receiver_up": {"receiver"},
        "rotator_notifications_waiting": {"receiver"},
        "rotator_notifications_set_aside": {"receiver"},
        "rotator_clock_skew_seconds": set(),
        "rotator_audit_chain_ok": set(),
        "rotator_audit_last_verified_timestamp_seconds": set(),
    }


def test_metrics_have_the_figures_and_no_series_for_what_is_not_known() -> None:
    feed = {"name": "npm-feed", "account": "build-bot", "organization": "contoso"}
    odd = {"name": 'odd "name"\\\n', "account": "build-bot", "organization": "contöso"}
    assert list_samples("rotator_token_expiry_timestamp_seconds") == [(feed, LATER.timestamp())]
    assert list_samples("rotator_token_rotation_due_timestamp_seconds") == [(feed, NOW.timestamp())]
    assert list_samples("rotator_token_state") == [({**feed, "state": "ok"}, 1), ({**odd, "state": "due"}, 1)]
    assert list_samples("rotator_token_probe_success") == [(feed, 1), (odd, 0)]
    assert list_samples("rotator_signin_needs_human") == [({"account": "build-bot"}, 1), ({"account": "other"}, 0)]
    assert list_samples("rotator_signin_refresh_timestamp_seconds") == [({"account": "build-bot"}, NOW.timestamp())]
    assert list_samples("rotator_source_up") == [
        ({"kind": "entra", "source": "build-bot"}, 1),
        ({"kind": "azure_devops", "source": "build-bot/contoso"}, 0),
        ({"kind": "key_vault", "source": "https://kv.example"}, 1),
    ]
    assert list_samples("rotator_job_last_success_timestamp_seconds") == [({"job": "work"}, NOW.timestamp())]
    assert list_samples("rotator_job_duration_seconds") == [({"job": "work"}, 2)]
    assert list_samples("rotator_rotations_total") == [({"outcome": "completed"}, 7), ({"outcome": "failed"}, 0)]
    assert list_samples("rotator_api_requests_total") == [
        ({"service": "entra", "outcome": "succeeded"}, 40),
        ({"service": "entra", "outcome": "throttled"}, 1),
        ({"service": "key_vault", "outcome": "throttled"}, 2),
    ]
    assert list_samples("rotator_api_throttled_total") == [({}, 3)]
    assert list_samples("rotator_pending_revocations") == [({}, 2)]
    assert list_samples("rotator_unconfirmed_revocations") == [({}, 1)]
    assert list_samples("rotator_receiver_up") == [({"receiver": "ops"}, 0)]
    assert list_samples("rotator_notifications_waiting") == [({"receiver": "ops"}, 3)]
    assert list_samples("rotator_notifications_set_aside") == [({"receiver": "ops"}, 1)]
    assert list_samples("rotator_clock_skew_seconds") == [({}, inf)]
    assert list_samples("rotator_audit_chain_ok") == [({}, 0)]
    assert list_samples("rotator_build_info") == [({"version": "1.2"}, 1)]


def test_metrics_of_nothing_are_few() -> None:
    counts = {"rotator_pending_revocations", "rotator_unconfirmed_revocations", "rotator_left_behind"}
    assert set(read(NOTHING)) == counts | {"rotator_build_info", "rotator_api_throttled"}


class Given(Collector):
    """Metrics as they are."""

    def __init__(self, metrics: list[Metric]) -> None:
        self.metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self.metrics


def test_pats_are_written_byte_for_byte_as_the_client_writes_them() -> None:
    pats = (
        *FULL.pats,
        PatFigures('b\\n"', "a,b={}", "c\r d\t", "ok", NOW, LATER, None),
        PatFigures("", "", "", "ok", NOW, NOW),
    )
    ours, read_back = render_pats(pats), list[Metric]()
    for family in text_string_to_metric_families(ours.decode()):
        made = GaugeMetricFamily(family.name, family.documentation)
        made.samples = family.samples
        read_back.append(made)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given(read_back))
    assert ours == generate_latest(registry)
    names = {(sample.labels["name"], sample.labels["account"]) for family in read_back for sample in family.samples}
    assert names == {(pat.name, pat.account) for pat in pats}
