"""/videos: the gallery, and the files of single videos."""

from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response.base import ASGIResponse

from gateway.clock import Clock
from gateway.dashboard.dates import day_end, day_start
from gateway.dashboard.names import Names
from gateway.dashboard.page import Pages
from gateway.errors import BadRequest
from gateway.events import Hints
from gateway.http.auth import requires
from gateway.http.download import Download
from gateway.http.events import Feed, last_event_id
from gateway.keys.service import KeyService
from gateway.keys.store import PageQuery
from gateway.members.service import MemberService
from gateway.members.sessions import Sessions, Visitor
from gateway.principal import Scope
from gateway.storage import Storage
from gateway.videos.content import Variant, VideoContent
from gateway.videos.routing import Catalogue
from gateway.videos.search import STATUSES, Wanted
from gateway.videos.service import VideoService
from gateway.videos.states import ENDED

AnyRequest = Request[Any, Any, Any]
_ASKED: Final = ("q", "status", "model", "key", "from", "to")
_KEEP_SECONDS: Final = 300
"""A gallery that is looked at again asks for no still again."""
_SESSION_SECONDS: Final = 5.0


class VideosPages(Controller):
    """The videos of the present project."""

    path = "/videos"
    opt = requires(Scope.VIDEOS_READ)

    @get()
    async def gallery(
        self,
        *,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        videos: NamedDependency[VideoService],
        keys: NamedDependency[KeyService],
        members: NamedDependency[MemberService],
        catalogue: NamedDependency[Catalogue],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show a page of videos, newest first, as the filters say."""
        asked = {name: request.query_params.get(name, "").strip()[:500] for name in _ASKED}
        after = request.query_params.get("after")
        found, more = await videos.search(visitor.principal, _wanted(asked, after))
        names = Names(keys, members, visitor)
        makers = await names.of({video["key_id"] for video in found})
        filters = {name: value for name, value in asked.items() if value}
        older = "/videos?" + urlencode({**filters, "after": found[-1]["id"]}) if more else None
        return pages.show(
            request,
            "videos/gallery.html",
            videos=found,
            makers=makers,
            asked=asked,
            filtered=any(asked.values()),
            older=older,
            newest="/videos" + ("?" + urlencode(filters) if filters else ""),
            beyond=bool(after),
            statuses=STATUSES,
            models=sorted(model.id for model in catalogue.models()),
            keys=await _makers(keys, members, visitor),
            live=any(video["status"] not in ENDED for video in found),
        )

    @get("/{video_id:str}/content")
    async def content(
        self,
        *,
        request: AnyRequest,
        video_id: FromPath[str],
        visitor: NamedDependency[Visitor],
        content: NamedDependency[VideoContent],
        storage: NamedDependency[Storage],
        variant: Annotated[str, QueryParameter(max_length=20)] = "video",
    ) -> ASGIResponse:
        """Send a file of a video: itself, a still, or the sheet of frames."""
        if variant not in set(Variant):
            raise BadRequest("There is no such file of a video.", param="variant")
        found = await content.find(visitor.project_id, video_id, Variant(variant))
        keep = 0 if variant == Variant.VIDEO else _KEEP_SECONDS
        return Download(storage, found, request, keep_seconds=keep)

    @get("/{video_id:str}/inputs/{n:str}")
    async def input(
        self,
        *,
        request: AnyRequest,
        video_id: FromPath[str],
        n: FromPath[str],
        visitor: NamedDependency[Visitor],
        content: NamedDependency[VideoContent],
        storage: NamedDependency[Storage],
    ) -> ASGIResponse:
        """Send a file that a video was made from."""
        number = int(n) if n.isascii() and n.isdecimal() and len(n) < 4 else -1
        return Download(storage, await content.input(visitor.project_id, video_id, number), request)

    @get("/{video_id:str}/events")
    async def events(
        self,
        *,
        request: AnyRequest,
        video_id: FromPath[str],
        visitor: NamedDependency[Visitor],
        sessions: NamedDependency[Sessions],
        videos: NamedDependency[VideoService],
        hints: NamedDependency[Hints],
        clock: NamedDependency[Clock],
    ) -> Response[Any]:
        """Follow a video for as long as the session lasts, and the person may see it."""
        seen = last_event_id(request)
        version, video = await videos.retrieve_versioned(visitor.principal, video_id)
        if seen >= version and video["status"] in ENDED:
            return Response(None, status_code=204)

        feed = Feed(
            videos=videos,
            hints=hints,
            clock=clock,
            principal=visitor.principal,
            video_id=video_id,
            is_let=partial(sessions.lasts, visitor),
            patience=_SESSION_SECONDS,
        )
        return feed.answer(seen, version, video)


def _wanted(asked: dict[str, str], after: str | None) -> Wanted:
    if asked["status"] and asked["status"] not in STATUSES:
        raise BadRequest(f"'status' must be one of {', '.join(STATUSES)}.", param="status")
    return Wanted(
        words=asked["q"],
        status=asked["status"] or None,
        model=asked["model"] or None,
        key_id=asked["key"] or None,
        since=day_start(asked["from"], "from") if asked["from"] else None,
        until=day_end(asked["to"], "to") + 1 if asked["to"] else None,
        after=after[:64] if after else None,
    )


async def _makers(keys: KeyService, members: MemberService, visitor: Visitor) -> list[tuple[str, str]]:
    """Keys and people to filter by, as far as the role lets them be seen; the own videos for all who make some."""
    if not visitor.may(Scope.VIDEOS_WRITE):
        return []
    own = [(visitor.user_id, "made by me here")]
    found = await keys.list_keys(visitor.principal, visitor.project_id, PageQuery(100, None, True))
    people = await members.list(visitor) if visitor.may(Scope.ORGANIZATION) else []
    others = [(each["id"], each["name"]) for each in people if each["id"] != visitor.user_id]
    return own + [(key["id"], key["name"]) for key in found.data] + others
