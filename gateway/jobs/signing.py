"""The last thing done to a finished file: what we generate is signed, what came with a manifest keeps it."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.jobs.context import Job, JobContext
from gateway.media import MediaFacts
from gateway.media.manifest_box import carries_manifest
from gateway.signing_identity import IdentityError
from gateway.videos.routing import Route

_SIGNABLE = frozenset({"video/mp4", "video/quicktime"})


class NotSigned(Exception):
    """The file must be signed and could not be."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A file on its way to storage: as it was `fetched`, and as it is delivered, with the plan's mark or without."""

    fetched: Path
    delivered: Path
    facts: MediaFacts

    @property
    def marked(self) -> bool:
        """Whether a visible mark was put on it."""
        return self.delivered != self.fetched

    def provenance(self, c2pa: str) -> dict[str, Any]:
        """What the video object says of it."""
        return {"c2pa": c2pa, "visible_mark": self.marked}


async def sign_if_due(ctx: JobContext, job: Job, route: Route, file: Finished, out: Path) -> dict[str, Any]:
    """Write `out`, the signed file, where the settings ask for it; what the video object says. NotSigned.

    A manifest that came with the file stays untouched, unless a mark made a new file of it: then it is kept inside
    ours as what the new one was made from.
    """
    carried = await asyncio.to_thread(carries_manifest, file.fetched)
    if carried and not file.marked:
        return file.provenance("upstream")
    ours = route.local or ctx.settings.provenance.c2pa == "all"
    signable = file.facts.media_type in _SIGNABLE
    if ctx.settings.provenance.c2pa == "off" or not signable or not (carried or ours):
        return file.provenance("none")
    await asyncio.to_thread(_sign, ctx, job, file, out, keep_original=carried)
    return file.provenance("signed")


def _sign(ctx: JobContext, job: Job, file: Finished, out: Path, *, keep_original: bool) -> None:
    # 50 MB of library: loaded by the first video that is signed
    from gateway.media.credentials import Claim, SigningError, sign  # noqa: PLC0415

    claim = Claim(
        title=job.video_id,
        model=job.rows.video.model,
        marked=file.marked,
        original=file.fetched if keep_original else None,
    )
    try:
        identity = ctx.signing_identity()
        if identity is None:
            raise NotSigned("there is no identity to sign with")
        sign(file.delivered, out, file.facts.media_type, claim, identity)
    except (SigningError, IdentityError) as error:
        raise NotSigned(str(error)) from error
