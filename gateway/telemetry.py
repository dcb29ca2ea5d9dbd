"""What Prometheus reads: the metrics of one process."""

from collections.abc import Collection, Mapping
from typing import Final, Literal

from prometheus_client import Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway.telemetry_base import LATENCY
from gateway.telemetry_process import ProcessMetrics
from gateway.telemetry_work import WorkMetrics
from providers.spec import account_of_server

_BREAKER_STATES: Final = ("closed", "half_open", "open")


class Metrics(WorkMetrics, ProcessMetrics):
    """The metrics of one process, in a registry of their own. Times are seconds.

    Requests, upstreams and what the database tells; jobs and money are in `telemetry_work`, the process in
    `telemetry_process`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._requests = self._counter("onereel_http_requests", "HTTP requests.", "method", "route", "status")
        self._request_seconds = self._histogram(
            "onereel_http_request_seconds", "Time to the end of the answer.", LATENCY, "route"
        )
        self._in_flight = self._gauge("onereel_http_requests_in_flight", "Requests being answered.")
        self._upstream = self._counter(
            "onereel_upstream_requests", "Calls to upstreams.", "upstream", "operation", "outcome"
        )
        self._upstream_seconds = self._histogram(
            "onereel_upstream_seconds", "Time of one call to an upstream.", LATENCY, "upstream", "operation"
        )
        self._upstream_videos = self._gauge(
            "onereel_upstream_in_flight", "Videos that an upstream has, of all processes.", "upstream"
        )
        self._upstream_room = self._gauge(
            "onereel_upstream_max_concurrent",
            "How many it may have at once, where that is bounded.",
            "upstream",
        )
        self._unknown_state = self._counter(
            "onereel_unknown_upstream_state", "Upstream states that the adapter does not know.", "upstream"
        )
        self._failovers = self._counter(
            "onereel_failovers", "Videos that left an upstream for another.", "upstream", "reason"
        )
        self._signatures = self._counter(
            "onereel_signatures", "Claims of origin (C2PA) put into videos; failed is tried again.", "outcome"
        )
        self._pauses = self._counter(
            "onereel_upstream_pauses",
            "Pauses for a refused credential or missing funds.",
            "upstream",
            "reason",
        )
        self._openings = self._counter("onereel_breaker_openings", "Times a breaker opened.", "upstream")
        self._breaker = self._gauge(
            "onereel_breaker", "Circuit breaker: 0 closed, 1 half-open, 2 open.", "upstream"
        )
        self._paused = self._gauge("onereel_upstream_paused", "1 while an upstream is paused.", "upstream")
        self._jobs = self._gauge("onereel_jobs", "Jobs by state.", "state")
        self._queue_age = self._gauge("onereel_queue_age_seconds", "Age of the oldest job that is due.")
        self._outbox = self._gauge("onereel_outbox_pending", "Client events that wait for delivery.")
        self._outbox_age = self._gauge(
            "onereel_outbox_age_seconds", "How long the oldest that is due has been so."
        )
        self._meter_events = self._counter("onereel_meter_events", "Usage events for Stripe.", "outcome")
        self._meter_pending = self._gauge(
            "onereel_meter_events_pending", "Usage events that wait for Stripe."
        )
        self._meter_age = self._gauge("onereel_meter_events_age_seconds", "Age of the oldest that waits.")
        self._storage_bytes = self._gauge("onereel_storage_bytes", "Bytes of stored video content.")
        self._redis: Gauge | None = None
        self._api_processes = self._gauge(
            "onereel_api_processes", "API processes that this one knows to live."
        )
        self._redis_failures = self._counter("onereel_redis_failures", "Times Redis did not answer.", "part")
        self._http_children: dict[tuple[str, str, int], Counter] = {}
        self._time_children: dict[str, Histogram] = {}

    def request_began(self) -> None:
        """Count a request until `http_request` is told of it."""
        self._in_flight.inc()

    def http_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; `route` is the template of the path, never the path."""
        counter = self._http_children.get((method, route, status))
        if counter is None:
            counter = self._http_children[method, route, status] = self._requests.labels(
                method, route, str(status)
            )
        counter.inc()
        self._in_flight.dec()
        histogram = self._time_children.get(route)
        if histogram is None:
            histogram = self._time_children[route] = self._request_seconds.labels(route)
        histogram.observe(seconds)

    def upstream_call(self, upstream: str, operation: str, outcome: str, seconds: float) -> None:
        """Count one call to an upstream: `outcome` is "ok" or an ErrorKind. As in every count, the servers of a fleet,
        whose addresses come and go, are one upstream."""
        self._upstream.labels(account_of_server(upstream), operation, outcome).inc()
        self._upstream_seconds.labels(account_of_server(upstream), operation).observe(seconds)

    def unknown_upstream_state(self, upstream: str) -> None:
        """Count a state that an adapter could not read."""
        self._unknown_state.labels(account_of_server(upstream)).inc()

    def failover(self, upstream: str, reason: str) -> None:
        """Count a video that an upstream surely did not take, or could not make, and that goes to another."""
        self._failovers.labels(account_of_server(upstream), reason).inc()

    def signed(self, outcome: Literal["signed", "failed"]) -> None:
        """Count a video that was signed, or that waits because it could not be."""
        self._signatures.labels(outcome).inc()

    def upstream_paused(self, upstream: str, reason: str) -> None:
        """Count a pause that this process began."""
        self._pauses.labels(account_of_server(upstream), reason).inc()

    def breaker_opened(self, upstream: str) -> None:
        """Count a breaker that this process opened."""
        self._openings.labels(account_of_server(upstream)).inc()

    def set_upstreams(self, breakers: Mapping[str, str], paused: Collection[str]) -> None:
        """Replace the standing of every upstream; one that is gone is not shown any more."""
        self._breaker.clear()
        self._paused.clear()
        for name, state in breakers.items():
            self._breaker.labels(name).set(_BREAKER_STATES.index(state))
            self._paused.labels(name).set(name in paused)

    def set_upstream_load(self, in_flight: Mapping[str, int], most: Mapping[str, int]) -> None:
        """Replace how many videos each upstream has, and how many it may have."""
        self._upstream_videos.clear()
        self._upstream_room.clear()
        for name, count in in_flight.items():
            self._upstream_videos.labels(name).set(count)
        for name, count in most.items():
            self._upstream_room.labels(name).set(count)

    def set_jobs(self, by_state: Mapping[str, int], queue_age_seconds: float) -> None:
        """Replace the job figures: a state without jobs drops to zero."""
        for state in {sample.labels["state"] for metric in self._jobs.collect() for sample in metric.samples}:
            self._jobs.labels(state).set(0)
        for state, count in by_state.items():
            self._jobs.labels(state).set(count)
        self._queue_age.set(queue_age_seconds)

    def set_outbox_pending(self, count: int, age_seconds: float = 0) -> None:
        """Replace the number of client events that wait, and how late the oldest of them is."""
        self._outbox.set(count)
        self._outbox_age.set(age_seconds)

    def meter_event(self, outcome: Literal["sent", "failed", "dead"]) -> None:
        """Count one try to tell Stripe of usage: `failed` is tried again, `dead` never."""
        self._meter_events.labels(outcome).inc()

    def set_meter_events(self, pending: int, age_seconds: float) -> None:
        """Replace the number of usage events that wait, and the age of the oldest."""
        self._meter_pending.set(pending)
        self._meter_age.set(age_seconds)

    def set_redis(self, *, up: bool) -> None:
        """Say whether Redis answers."""
        if self._redis is None:  # shown only where there shall be one
            self._redis = self._gauge("onereel_redis_up", "1 while Redis answers, 0 while all does without.")
        self._redis.set(up)

    def set_api_processes(self, count: int) -> None:
        """Replace the number of live API processes of the installation."""
        self._api_processes.set(count)

    def redis_failed(self, part: str) -> None:
        """Count a time that Redis did not answer a part of ours: "bus" or "limits"."""
        self._redis_failures.labels(part).inc()

    def set_storage_bytes(self, count: int) -> None:
        """Replace the number of stored bytes."""
        self._storage_bytes.set(count)

    def exposition(self) -> tuple[bytes, str]:
        """Render everything: the text (UTF-8) and its media type, without the charset."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8")
