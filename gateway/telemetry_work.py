"""Metrics of the work: steps of jobs, what became of videos, money, and deliveries to clients."""

from gateway.telemetry_base import LATENCY, LENGTHY, Registry


class WorkMetrics(Registry):
    """Counted by the process that did it, after the commit. Models are those of the catalogue, so there are few."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = self._histogram(
            "onereel_job_step_seconds",
            "Time of one step of a job, by how it ended; again and lease_lost are tried again.",
            LENGTHY,
            "step",
            "outcome",
        )
        self._claims = self._counter("onereel_job_claims", "Jobs that this process claimed.")
        self._running = self._gauge("onereel_jobs_running", "Steps that run in this process now.")
        self._room = self._gauge(
            "onereel_jobs_room", "How many creates and downloads may run in this process."
        )
        self._accepted = self._counter("onereel_videos_accepted", "Videos that clients asked for.", "model")
        self._ended = self._counter(
            "onereel_videos_ended", "Videos by outcome: completed, or the error code.", "model", "outcome"
        )
        self._wait = self._histogram(
            "onereel_video_wait_seconds",
            "From the request until an upstream first took it.",
            LENGTHY,
            "model",
        )
        self._render = self._histogram(
            "onereel_video_render_seconds", "From then until the upstream was done.", LENGTHY, "model"
        )
        self._whole = self._histogram(
            "onereel_video_seconds", "From the request to the end of the video.", LENGTHY, "model"
        )
        self._money = self._counter(
            "onereel_money_micro_usd", "Micro-USD of ended videos: captured, or released.", "kind"
        )
        self._deliveries = self._counter(
            "onereel_webhook_deliveries",
            "Tries to deliver: delivered, pending (tried again), dead.",
            "outcome",
        )
        self._delivery_seconds = self._histogram(
            "onereel_webhook_seconds", "Time of one try to deliver.", LATENCY
        )
        self._spans = self._counter("onereel_spans", "Spans of traces: exported, or failed to be.", "outcome")
        for kind in ("captured", "released"):
            self._money.labels(kind)  # a series from the start: the first of them is an increase

    def job_step(self, step: str, outcome: str, seconds: float) -> None:
        """Count one step of a job."""
        self._steps.labels(step, outcome).observe(seconds)

    def jobs_claimed(self, count: int) -> None:
        """Count jobs that were claimed."""
        self._claims.inc(count)

    def set_running(self, count: int, room: int) -> None:
        """Replace how many steps run, and how many of the long ones may."""
        self._running.set(count)
        self._room.set(room)

    def videos_accepted(self, model: str, count: int) -> None:
        """Count accepted videos."""
        self._accepted.labels(model).inc(count)

    def video_taken(self, model: str, waited_seconds: float) -> None:
        """Count a video that an upstream has taken for the first time."""
        self._wait.labels(model).observe(max(0.0, waited_seconds))

    def video_rendered(self, model: str, seconds: float) -> None:
        """Count a video that its upstream is done with."""
        self._render.labels(model).observe(max(0.0, seconds))

    def video_ended(self, model: str, outcome: str, seconds: float, *, captured: int, held: int) -> None:
        """Count an ended video and its money in micro-USD: what is not captured of a hold is released."""
        self._ended.labels(model, outcome).inc()
        self._whole.labels(model).observe(max(0.0, seconds))
        self._money.labels("captured").inc(captured)
        self._money.labels("released").inc(max(0, held - captured))

    def webhook(self, outcome: str, seconds: float) -> None:
        """Count one try to deliver a client event."""
        self._deliveries.labels(outcome).inc()
        self._delivery_seconds.observe(seconds)

    def spans(self, outcome: str, count: int) -> None:
        """Count spans that were exported, or could not be."""
        self._spans.labels(outcome).inc(count)
