"""One job, one step at a time: look at its state, do the next thing, commit, and give it up or go on.

preparing -> queued -> submitting -> running -> storing -> completed; every state may end in failed.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from gateway.jobs import ambiguous, poll, prepare, store, submit, watch
from gateway.jobs.claims import WATCHING
from gateway.jobs.context import Job, JobContext
from gateway.jobs.observed import observed
from gateway.jobs.outcome import fail_video
from gateway.jobs.settle import Failure
from gateway.videos.states import State

Step = Callable[[JobContext, Job], Awaitable[Job | None]]
"""What one step does. A job that it answers goes on at once, in the state it is in now."""

STEPS: Final[dict[str, Step]] = {
    State.PREPARING: prepare.copy_inputs,
    State.QUEUED: submit.begin_attempt,
    State.SUBMITTING: ambiguous.resume,
    State.SUBMISSION_UNKNOWN: ambiguous.resolve_unknown,
    State.RUNNING: poll.poll,
    State.STORING: store.store,
    WATCHING: watch.watch,
}
"""A handler for every state ever shipped."""

_NOTHING_SENT: Final = frozenset({State.PREPARING, State.QUEUED})


async def advance(ctx: JobContext, job: Job) -> None:
    """Run the step of the job's state. LeaseLost when another worker owns it; anything else is retried."""
    video = job.rows.video
    if job.lease.kind == "video" and job.lease.state in _NOTHING_SENT:
        if video.cancel_requested:
            with observed(ctx, job):
                await fail_video(ctx, job, Failure("cancelled", "The video was cancelled."))
            return
        if video.overdue:
            with observed(ctx, job):
                await fail_video(
                    ctx, job, Failure("expired", "No upstream took the video before its deadline.")
                )
            return
    following: Job | None = job
    while following is not None:
        with observed(ctx, following):
            following = await STEPS[following.lease.state](ctx, following)
