"""What Prometheus reads from a worker: is its device busy, what is in memory, who waits, what came of it."""

from collections.abc import Iterable
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from local_backend.job import Job
from local_backend.jobs import Jobs, State

_MEMORY: Final = {
    "peak_memory_bytes": "host_peak",
    "device_memory_bytes": "device",
    "peak_device_memory_bytes": "device_peak",
    "total_device_memory_bytes": "device_total",
}


class WorkerMetrics:
    """Counts what ends, and looks at the jobs when it is asked. Models are those that the worker serves."""

    def __init__(self, jobs: Jobs, models: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_Now(jobs, tuple(models)))
        self._videos = self._counter("onereel_worker_videos", "Videos by outcome.", "model", "outcome")
        self._device = self._counter(
            "onereel_worker_device_seconds",
            "How long the device was busy with videos that were made.",
            "model",
        )
        self._stages = self._counter(
            "onereel_worker_stage_seconds", "How long each stage took, over all videos.", "stage"
        )
        jobs.on_end = self.ended

    def ended(self, job: Job) -> None:
        """Count a video that came to its end here."""
        model = job.order.preset.id
        self._videos.labels(model, "completed" if job.error is None else str(job.error[0])).inc()
        if job.device_seconds is not None:
            self._device.labels(model).inc(job.device_seconds)
        for stage, seconds in job.stage_seconds.copy().items():
            self._stages.labels(stage).inc(seconds)

    def exposition(self) -> tuple[bytes, str]:
        """The text, and its media type without the charset."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8")

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)


class _Now(Collector):
    """Gauges that are read off the jobs and the engine when somebody asks."""

    def __init__(self, jobs: Jobs, models: tuple[str, ...]) -> None:
        self._jobs = jobs
        self._models = models

    def collect(self) -> Iterable[Metric]:
        engine, newest = self._jobs.engine, self._jobs.newest()
        measured: dict[str, Any] = {} if engine is None else engine.measured()
        state = self._jobs.state
        yield _gauge("onereel_worker_state", "1 for what it does now.", "state", {
            each.value: each is state for each in State
        })  # fmt: skip
        yield _gauge("onereel_worker_device", "The device that it generates on.", "device", {
            str(measured.get("device", "unknown")): 1
        })  # fmt: skip
        yield _one("onereel_worker_waiting", "Videos that wait.", _count(newest, "queued"))
        yield _one("onereel_worker_running", "Videos being made or written.", _count(newest, "in_progress"))
        loaded = [] if engine is None else engine.loaded
        yield _gauge("onereel_worker_model_loaded", "1 where its weights are in memory.", "model", {
            name: name in loaded for name in self._models
        })  # fmt: skip
        yield _gauge("onereel_worker_memory_bytes", "Memory of the process and of its device.", "kind", {
            kind: measured[name] for name, kind in _MEMORY.items() if name in measured
        })  # fmt: skip
        yield _one(
            "onereel_worker_out_of_memory",
            "Times that its device had too little.",
            measured.get("out_of_memory", 0),
        )


def _count(jobs: Iterable[Job], status: str) -> int:
    return sum(job.status == status for job in jobs)


def _one(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)


def _gauge(name: str, documentation: str, label: str, values: dict[str, Any]) -> Metric:
    found = GaugeMetricFamily(name, documentation, labels=[label])
    for key, value in values.items():
        found.add_metric([key], float(value))
    return found
