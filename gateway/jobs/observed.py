"""Around every step of a job: how long it took and how it ended, as metrics and as a span of its video's trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.jobs.claims import WATCHING, LeaseLost
from gateway.jobs.context import Job, JobContext
from gateway.tracing import ours
from gateway.videos.states import State

STEP_NAMES: Final = {
    State.PREPARING: "prepare",
    State.QUEUED: "submit",
    State.SUBMITTING: "submit",
    State.SUBMISSION_UNKNOWN: "resolve",
    State.RUNNING: "poll",
    State.STORING: "store",
    WATCHING: "watch",
}


@contextmanager
def observed(ctx: JobContext, job: Job) -> Iterator[None]:
    """Enclose one step; it leaves its outcome on the lease."""
    name, lease, video, attempt = STEP_NAMES[job.lease.state], job.lease, job.rows.video, job.rows.attempt
    lease.outcome = "open"
    started = ctx.clock.monotonic()
    known = {} if attempt is None else {"upstream": attempt.upstream, "attempt": attempt.n}
    with ctx.tracing.resumed(video.trace, name, video_id=video.id, model=video.model, **known) as span:
        try:
            yield
        except LeaseLost:
            lease.outcome = "lease_lost"
            raise
        except Exception:
            lease.outcome = "error"
            raise
        finally:
            span.set(ours({"outcome": lease.outcome}))
            ctx.metrics.job_step(name, lease.outcome, ctx.clock.monotonic() - started)
