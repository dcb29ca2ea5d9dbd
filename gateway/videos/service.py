"""Everything a client can do with videos."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from gateway.audit.notes import Of, caller
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest, NotFound
from gateway.events import Hints
from gateway.idempotency.service import Claim
from gateway.media.pool import MediaTools
from gateway.principal import Principal, Scope
from gateway.settings import Settings
from gateway.storage import Storage
from gateway.telemetry import Metrics
from gateway.videos import lists, removal
from gateway.videos.attempts import attempts_of
from gateway.videos.characters import Characters
from gateway.videos.create import Call, Creation
from gateway.videos.inputs import Inputs
from gateway.videos.planning import Planner
from gateway.videos.quotes import quote
from gateway.videos.request import EditBody, ExtendBody, RemixBody, parse, parse_create
from gateway.videos.routing import Catalogue
from gateway.videos.search import Wanted, asked_for, search
from gateway.videos.sources import Sources
from gateway.videos.states import ENDED

__all__ = ["Call", "VideoService"]

POLL_LOCAL_MS: Final = 1000
POLL_REMOTE_MS: Final = 2000

_VIDEO_ID: Final = re.compile(r"video_[0-9a-f]{32}")


class VideoService:
    """The videos of all projects; every method acts in the caller's project. Raises ApiError."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        settings: Settings,
        *,
        catalogue: Catalogue,
        storage: Storage,
        media: MediaTools,
        hints: Hints,
        upload_dir: Path,
        metrics: Metrics | None = None,
    ) -> None:
        inputs = Inputs(db, clock, settings, storage=storage, media=media, upload_dir=upload_dir)
        self._db = db
        self._catalogue = catalogue
        self._storage = storage
        self._hints = hints
        self._planner = Planner(catalogue, settings, inputs, Sources(db, inputs))
        self._creation = Creation(db, clock, inputs, hints, metrics)
        self._characters = Characters(db, clock, storage, inputs)

    async def create(self, call: Call, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Make `n` videos; answers the first."""
        body = parse_create(fields)
        async with self._creation.entered(call), self._planner.generate(call.principal, body) as plan:
            return await self._creation.create(call, plan)

    async def quote(self, principal: Principal, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Tell what a create with the same body would cost and where it would run; runs nothing."""
        async with self._planner.generate(principal, parse_create(fields)) as plan:
            return quote(plan, costs=Scope.OPERATOR in principal.scopes)

    async def remix(self, call: Call, video_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Make a new version of a video from another prompt."""
        _check_id(video_id)
        body = parse(RemixBody, fields)
        async with self._creation.entered(call):
            return await self._creation.create(
                call, await self._planner.remix(call.principal, video_id, body)
            )

    async def edit(self, call: Call, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Change a video, or an uploaded one, as the prompt says."""
        body = parse(EditBody, fields)
        async with self._creation.entered(call):
            return await self._creation.create(call, await self._planner.edit(call.principal, body))

    async def extend(self, call: Call, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Continue a video, or an uploaded one, by some seconds."""
        body = parse(ExtendBody, fields)
        async with self._creation.entered(call):
            return await self._creation.create(call, await self._planner.extend(call.principal, body))

    async def create_character(
        self, principal: Principal, fields: Mapping[str, Any], claim: Claim | None = None
    ) -> dict[str, Any]:
        """Keep a character's reference clip."""
        return await self._characters.create(principal.project_id, fields, claim)

    async def retrieve_character(self, principal: Principal, character_id: str) -> dict[str, Any]:
        """Read a character."""
        return await self._characters.retrieve(principal.project_id, character_id)

    async def retrieve(self, principal: Principal, video_id: str) -> dict[str, Any]:
        """Read a video."""
        _check_id(video_id)
        found = await self._db.read(lambda conn: lists.find(conn, principal.project_id, video_id))
        return _existing(found, video_id)

    async def retrieve_versioned(self, principal: Principal, video_id: str) -> tuple[int, dict[str, Any]]:
        """Read a video with its version, which rises with every visible change."""
        _check_id(video_id)
        found = await self._db.read(lambda conn: lists.find_versioned(conn, principal.project_id, video_id))
        if found is None:
            raise _not_found(video_id)
        return found

    async def attempts(self, principal: Principal, video_id: str) -> dict[str, Any]:
        """Read where a video was sent, and how that went; the operator is told more."""
        _check_id(video_id)
        operator = Scope.OPERATOR in principal.scopes

        def read(conn: Connection) -> Sequence[dict[str, Any]]:
            _existing(lists.find(conn, principal.project_id, video_id), video_id)
            return attempts_of(conn, video_id, operator=operator)

        return {"object": "list", "data": await self._db.read(read)}

    async def search(self, principal: Principal, wanted: Wanted) -> tuple[list[dict[str, Any]], bool]:
        """Read a page of the project's videos that are as wanted, newest first, and whether more follow."""
        return await self._db.read(lambda conn: search(conn, principal.project_id, wanted))

    async def requested(self, principal: Principal, video_id: str) -> dict[str, Any]:
        """Read what was asked for, as it was filled in: `seconds`, `size`, `parameters`, `provider_options`, `media`."""
        found = await self._db.read(lambda conn: asked_for(conn, principal.project_id, video_id))
        if found is None:
            raise _not_found(video_id)
        return found

    async def list(
        self, principal: Principal, *, after: str | None = None, limit: int = 20, descending: bool = True
    ) -> tuple[list[dict[str, Any]], bool]:
        """Read a page of the project's videos by time of creation, and whether more follow."""
        if after is not None and not _VIDEO_ID.fullmatch(after):
            raise BadRequest(
                "'after' must be the id of a video: the last_id of the page before.", param="after"
            )
        project_id = principal.project_id
        return await self._db.read(
            lambda conn: lists.page(conn, project_id, after=after, limit=limit, descending=descending)
        )

    async def cancel(self, principal: Principal, video_id: str) -> dict[str, Any]:
        """Ask for the end of a live video; an ended one stays as it is."""
        _check_id(video_id)
        found = await self._db.write(lambda conn: removal.cancel(conn, principal.project_id, video_id))
        self._hints.jobs_due()
        return _existing(found, video_id)

    async def delete(self, principal: Principal, video_id: str) -> dict[str, Any]:
        """Remove a video: a live one is cancelled, its prompt and bytes go as soon as nothing needs them."""
        _check_id(video_id)
        by, organization_id, project_id = caller(principal), principal.organization_id, principal.project_id

        def write(conn: Connection) -> removal.Deleted | None:
            found = removal.delete(conn, project_id, video_id)
            if (
                found is not None and by.operator
            ):  # that a customer deletes its own is no change of the administration
                by.note(conn, "video.deleted", video_id, Of(organization_id, project_id))
            return found

        deleted = await self._db.write(write)
        if deleted is None:
            raise _not_found(video_id)
        self._hints.video_changed([video_id])
        if deleted.live:
            self._hints.jobs_due()
        elif deleted.bytes_free:
            await removal.remove_bytes(self._db, self._storage, video_id)
        return {"id": video_id, "object": "video.deleted", "deleted": True}

    def poll_after_ms(self, video: Mapping[str, Any]) -> int | None:
        """Say when to look at a video again, None once it has ended."""
        if video["status"] in ENDED:
            return None
        return POLL_LOCAL_MS if self._catalogue.is_local(video["model"]) else POLL_REMOTE_MS


def _check_id(video_id: str) -> None:
    """Refuse what cannot be an id before the database sees it."""
    if not _VIDEO_ID.fullmatch(video_id):
        raise _not_found(video_id)


def _existing(video: dict[str, Any] | None, video_id: str) -> dict[str, Any]:
    if video is None:
        raise _not_found(video_id)
    return video


def _not_found(video_id: str) -> NotFound:
    return NotFound(f"No video '{video_id[:100]}' in this project.", param="video_id", code="video_not_found")
