"""Expositions of sibling processes as one, by the library's own parser."""

from prometheus_client.parser import text_string_to_metric_families

from gateway.db import DatabaseUse
from gateway.telemetry import Metrics
from gateway.telemetry_merge import APART, LEAST, OF_ONE_PROCESS, merged

DATABASE_WIDE = {
    "onereel_breaker",
    "onereel_upstream_paused",
    "onereel_upstream_in_flight",
    "onereel_upstream_max_concurrent",
    "onereel_jobs",
    "onereel_queue_age_seconds",
    "onereel_outbox_pending",
    "onereel_outbox_age_seconds",
    "onereel_meter_events_pending",
    "onereel_meter_events_age_seconds",
    "onereel_storage_bytes",
    "onereel_api_processes",
}
"""Gauges that every process answers alike: max by."""


def process(n: int) -> Metrics:
    """A process that has done n of everything."""
    metrics = Metrics()
    for _ in range(n):
        metrics.request_began()
        metrics.http_request("GET", '/a"\\b', 200, 0.02 * n)
        metrics.video_ended("m", "completed", 3, captured=400_000, held=500_000)
        metrics.request_began()
    metrics.set_jobs({"queued": 10 + n}, 4.0 + n)
    metrics.set_upstreams({"acme": "open"}, {"acme"})
    metrics.set_upstream_load({"acme": 5}, {"acme": 20})
    metrics.set_database(DatabaseUse(n, 1, 10, 0, n))
    metrics.set_redis(up=n > 1)
    return metrics


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def value(text: bytes, name: str, **labels: str) -> float:
    return samples(text)[name, tuple(sorted(labels.items()))]


def test_sums_greatest_and_apart() -> None:
    texts = [process(n).exposition()[0] for n in (1, 2)]
    both = merged(texts)
    route = {"method": "GET", "route": '/a"\\b', "status": "200"}
    assert value(both, "onereel_http_requests_total", **route) == 3
    assert value(both, "onereel_http_request_seconds_count", route=route["route"]) == 3
    assert value(both, "onereel_http_request_seconds_bucket", route=route["route"], le="0.025") == 1
    assert value(both, "onereel_http_request_seconds_bucket", route=route["route"], le="+Inf") == 3
    assert value(both, "onereel_money_micro_usd_total", kind="captured") == 1_200_000
    assert value(both, "onereel_money_micro_usd_total", kind="released") == 300_000
    assert value(both, "onereel_http_requests_in_flight") == 3
    assert value(both, "onereel_database_connections", state="in_use") == 3
    assert value(both, "onereel_jobs", state="queued") == 12
    assert value(both, "onereel_queue_age_seconds") == 6
    assert value(both, "onereel_breaker", upstream="acme") == 2
    assert value(both, "onereel_upstream_in_flight", upstream="acme") == 5
    assert value(both, "onereel_redis_up") == 0
    for n in "01":
        assert value(both, "process_resident_memory_bytes", process=n) > 1e6


def test_the_text_is_as_the_library_writes_it() -> None:
    one = process(1).exposition()[0]
    assert merged([one]) is one
    with_nothing = merged([one, b""])
    assert {k for k in samples(with_nothing) if not k[0].startswith(APART)} == {
        k for k in samples(one) if not k[0].startswith(APART)
    }
    lines = [line for line in with_nothing.decode().splitlines() if not line.startswith(APART)]
    assert [line for line in one.decode().splitlines() if not line.startswith(APART)] == lines
    assert merged([]) == b""


def test_every_gauge_has_a_rule() -> None:
    metrics = Metrics()
    metrics.set_redis(up=True)
    gauges = {
        m.name for m in metrics.registry.collect() if m.type == "gauge" and not m.name.startswith(APART)
    }
    assert gauges == OF_ONE_PROCESS | LEAST | DATABASE_WIDE
