"""What is put on a finished video before it is stored: marks, then the claim, which covers all that is before it.

A file from an upstream that already carries a claim passes as it is. Where a mark forces us to encode it again, which
strips that claim, the file becomes the ingredient of a claim of ours.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import structlog
from sqlalchemy import Connection

from gateway.jobs.claims import hand_on
from gateway.jobs.context import Job, JobContext, backoff
from gateway.jobs.settle import add_notice, database_now
from gateway.media import MediaError, MediaFacts, SigningError
from gateway.media.claim import SIGNED_TYPES, Claim
from gateway.media.identity import IdentityError
from gateway.media.invisible import payload_of
from gateway.settings import Provenance
from gateway.videos.routing import Route
from gateway.videos.stored import StoredRequest
from providers.contract import Operation

log = structlog.get_logger(__name__)

_TELL_AFTER: Final = 3  # tries: the operator hears of it while there is time to mend it


class NotMarked(Exception):
    """It must not be delivered: a mark was asked for."""


class NotSigned(Exception):
    """It must not be delivered: a claim was asked for, and the file cannot take one."""


@dataclass(frozen=True, slots=True)
class Finish:
    """What is to be done to one video. `claims`: it gets a claim unless it brings one."""

    text: str | None
    invisible: str | None
    claims: bool
    signs: bool  # at all: an original's claim is not lost to a mark

    @property
    def marks(self) -> bool:
        """Whether it is encoded again."""
        return self.text is not None or self.invisible is not None


@dataclass(slots=True)
class Finished:
    """The file to deliver, and what it says of itself: `videos.provenance`."""

    path: Path
    facts: MediaFacts
    provenance: dict[str, Any] = field(default_factory=dict)


def finish_of(settings: Provenance, text: str, route: Route, request: StoredRequest) -> Finish:
    """Decide by plan, route and settings; invisible marks are for what our own workers make."""
    return Finish(
        text=text if request.watermark else None,
        invisible=settings.invisible if route.local else None,
        claims=settings.c2pa == "all" or (settings.c2pa == "generated" and route.local),
        signs=settings.c2pa != "off",
    )


async def finish_file(ctx: JobContext, job: Job, route: Route, fetched: Finished, finish: Finish) -> Finished:
    """Mark and sign beside the file. NotMarked, NotSigned; SigningError where the video has to wait for us."""
    path, facts = fetched.path, fetched.facts
    made, invisibly = Finished(path, facts), False
    if finish.marks:
        made.path = path.with_suffix(".marked")
        made.facts, invisibly = await _mark(ctx, job, fetched, made.path, finish)
    original = fetched if finish.marks and finish.signs and facts.has_claim else None
    state: Literal["signed", "upstream", "none"] = "none"
    if original is not None or (finish.claims and not made.facts.has_claim and _can_carry(made.facts)):
        signed = path.with_suffix(".signed")
        claim = _claim(ctx, job, route, finish, invisibly=invisibly, has_parent=original is not None)
        await _sign(ctx, job, made, signed, claim, original=original)
        made.path, state = signed, "signed"
    elif made.facts.has_claim:
        state = "upstream"
    made.provenance = {
        "c2pa": state,
        "visible_mark": finish.text is not None,
        "invisible_mark": invisibly,
    }
    return made


def _can_carry(facts: MediaFacts) -> bool:
    return facts.media_type in SIGNED_TYPES


async def _mark(
    ctx: JobContext, job: Job, fetched: Finished, marked: Path, finish: Finish
) -> tuple[MediaFacts, bool]:
    """Put the marks on it; what `marked` is, and whether it is invisibly marked. NotMarked."""
    try:
        invisibly = await ctx.media.mark(
            fetched.path,
            marked,
            facts=fetched.facts,
            text=finish.text,
            invisible=finish.invisible,
            payload=payload_of(job.video_id),
        )
        return await ctx.media.probe(marked, verify=False), invisibly
    except MediaError as error:
        raise NotMarked(str(error)) from error


def _claim(
    ctx: JobContext, job: Job, route: Route, finish: Finish, *, invisibly: bool, has_parent: bool
) -> Claim:
    return Claim(
        job.video_id,
        route.spec.id,
        Operation(job.rows.video.operation),
        ctx.clock.now_ms(),
        has_parent=has_parent,
        visible_mark=finish.text is not None,
        invisible_mark=invisibly,
    )


async def _sign(
    ctx: JobContext,
    job: Job,
    made: Finished,
    signed: Path,
    claim: Claim,
    *,
    original: Finished | None,
) -> None:
    await ctx.milestone("store.sign", job.video_id)
    if ctx.identity is None:
        raise AssertionError("nothing is signed where provenance.c2pa is off")
    try:
        await ctx.media.sign(
            made.path,
            signed,
            claim=claim,
            identity=ctx.identity.loaded,
            facts=made.facts,
            timestamp_url=ctx.settings.provenance.timestamp_url,
            parent=None if original is None else (original.path, original.facts),
        )
    except IdentityError as error:
        raise SigningError(str(error)) from error
    except MediaError as error:
        raise NotSigned(str(error)) from error
    ctx.metrics.signed("signed")


async def sign_later(ctx: JobContext, job: Job, error: SigningError) -> None:
    """Ours to solve: the video waits, unsigned it is not delivered. The operator is told while it waits."""
    log.warning("signing_failed", video_id=job.video_id, error=str(error))
    ctx.metrics.signed("failed")
    tries = job.lease.tries + 1
    delay_ms = int(backoff(tries) * 1000)

    def commit(conn: Connection) -> None:
        hand_on(conn, job.lease, state=job.lease.state, delay_ms=delay_ms, tries=tries)
        if tries == _TELL_AFTER:
            text = f"A finished video waits because it cannot be signed: {error}"
            add_notice(conn, "signing_failed", text, database_now(conn), video_id=job.video_id)

    await ctx.db.write(commit, background=True)
    job.lease.outcome = "unsigned"
