"""/videos/{id}: one video with everything that is known of it, and what can be done with it."""

import asyncio
from typing import Annotated, Any, Final
from urllib.parse import quote

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from gateway.billing.trail import MoneyTrail
from gateway.clock import Clock
from gateway.dashboard.advice import advice
from gateway.dashboard.creating import call_of
from gateway.dashboard.form import Form
from gateway.dashboard.names import Names
from gateway.dashboard.page import Pages, redirect
from gateway.dashboard.programs import programs_of
from gateway.dashboard.timeline import rows_of, timeline
from gateway.errors import ApiError, NotFound
from gateway.http.auth import requires
from gateway.keys.service import KeyService
from gateway.media.identity import trusted_roots
from gateway.members.service import MemberService
from gateway.members.sessions import Visitor
from gateway.principal import Scope
from gateway.settings import Settings
from gateway.videos.content import VideoContent
from gateway.videos.routing import Catalogue, Model
from gateway.videos.service import VideoService
from gateway.videos.sharing import LIFETIMES, Sharing
from gateway.videos.sources import ROLES
from gateway.videos.states import ENDED
from gateway.webhooks.service import WebhookService
from providers.contract import Operation

AnyRequest = Request[Any, Any, Any]
_WRITES: Final = requires(Scope.VIDEOS_WRITE)
_CREATES: Final = {**_WRITES, "limit": "create"}
_LIFETIMES: Final = {"1h": "an hour", "1d": "a day", "7d": "a week", "30d": "30 days"}


class VideoPages(Controller):
    """One video of the present project."""

    path = "/videos/{video_id:str}"
    opt = requires(Scope.VIDEOS_READ)

    @get()
    async def video(
        self,
        *,
        request: AnyRequest,
        video_id: FromPath[str],
        visitor: NamedDependency[Visitor],
        videos: NamedDependency[VideoService],
        sharing: NamedDependency[Sharing],
        trail: NamedDependency[MoneyTrail],
        webhooks: NamedDependency[WebhookService],
        catalogue: NamedDependency[Catalogue],
        keys: NamedDependency[KeyService],
        members: NamedDependency[MemberService],
        content: NamedDependency[VideoContent],
        settings: NamedDependency[Settings],
        clock: NamedDependency[Clock],
        pages: NamedDependency[Pages],
        origin: Annotated[bool, QueryParameter()] = False,
    ) -> Response[str]:
        """Show everything; with `origin` also what the file itself says of where it comes from."""
        return await _shown(
            request=request,
            pages=pages,
            visitor=visitor,
            video=await videos.retrieve(visitor.principal, video_id),
            asked=await videos.requested(visitor.principal, video_id),
            attempts=(await videos.attempts(visitor.principal, video_id))["data"],
            trail=await trail.of(visitor.principal, video_id) if visitor.may(Scope.BILLING_READ) else None,
            links=await sharing.links(visitor.principal, video_id),
            deliveries=await webhooks.deliveries_of_video(visitor.project_id, video_id)
            if visitor.may(Scope.WEBHOOKS)
            else None,
            origin=await _origin(content, visitor, video_id, settings) if origin else None,
            catalogue=catalogue,
            names=Names(keys, members, visitor),
            now=clock.now_ms() / 1000,
        )

    @post("/cancel", status_code=303, opt=_WRITES)
    async def cancel(
        self,
        video_id: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        videos: NamedDependency[VideoService],
    ) -> Response[None]:
        """Stop it."""
        await videos.cancel(visitor.principal, video_id)
        return redirect(f"/videos/{video_id}", done="The video is being cancelled.")

    @post("/delete", status_code=303, opt=_WRITES)
    async def delete(
        self,
        video_id: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        videos: NamedDependency[VideoService],
    ) -> Response[None]:
        """Remove it."""
        await videos.delete(visitor.principal, video_id)
        return redirect("/videos", done="The video was deleted. Its cost stays in the books.")

    @post("/remix", status_code=303, opt=_CREATES)
    async def remix(
        self,
        request: AnyRequest,
        video_id: FromPath[str],
        form: NamedDependency[Form],
        videos: NamedDependency[VideoService],
    ) -> Response[None]:
        """Make a new version from another prompt."""
        fields = {"prompt": form.text("prompt")}
        made = await videos.remix(call_of(request, fields), video_id, fields)
        return redirect(f"/videos/{made['id']}")

    @post("/extend", status_code=303, opt=_CREATES)
    async def extend(
        self,
        request: AnyRequest,
        video_id: FromPath[str],
        form: NamedDependency[Form],
        videos: NamedDependency[VideoService],
    ) -> Response[None]:
        """Continue it by some seconds."""
        fields = {
            "video": {"id": video_id},
            "prompt": form.text("prompt"),
            "seconds": form.text("seconds"),
        }
        made = await videos.extend(call_of(request, fields), fields)
        return redirect(f"/videos/{made['id']}")

    @post("/edit", status_code=303, opt=_CREATES)
    async def edit(
        self,
        request: AnyRequest,
        video_id: FromPath[str],
        form: NamedDependency[Form],
        videos: NamedDependency[VideoService],
    ) -> Response[None]:
        """Change it as a prompt says."""
        fields = {"video": {"id": video_id}, "prompt": form.text("prompt")}
        made = await videos.edit(call_of(request, fields), fields)
        return redirect(f"/videos/{made['id']}")

    @post("/share", status_code=200, opt=_WRITES)
    async def share(
        self,
        *,
        request: AnyRequest,
        video_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        sharing: NamedDependency[Sharing],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Make a public link and show it this once."""
        lifetime = form.text("lifetime") or "7d"
        token = await sharing.share(
            visitor.principal, video_id, lifetime, with_prompt=form.flag("with_prompt")
        )
        link = f"{pages.base_url(request)}/shared/{token}"
        return pages.show(
            request, "videos/link.html", link=link, video_id=video_id, lifetime=_LIFETIMES[lifetime]
        )

    @post("/links/{link_id:str}/revoke", status_code=303, opt=_WRITES)
    async def revoke(
        self,
        video_id: FromPath[str],
        link_id: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        sharing: NamedDependency[Sharing],
    ) -> Response[None]:
        """Withdraw a public link."""
        await sharing.revoke(visitor.principal, link_id)
        return redirect(f"/videos/{video_id}", done="The link works no longer.")

    @post(
        "/deliveries/{endpoint_id:str}/{delivery_id:str}",
        status_code=303,
        opt=requires(Scope.WEBHOOKS),
    )
    async def redeliver(
        self,
        *,
        video_id: FromPath[str],
        endpoint_id: FromPath[str],
        delivery_id: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        webhooks: NamedDependency[WebhookService],
    ) -> Response[None]:
        """Tell an endpoint once more."""
        known = await webhooks.deliveries_of_video(visitor.project_id, video_id)
        if all(each["id"] != delivery_id for each in known):
            raise NotFound("No such delivery of this video.", code="delivery_not_found")
        await webhooks.redeliver(visitor.project_id, endpoint_id, delivery_id)
        return redirect(f"/videos/{video_id}", done="It is being sent again, under the same event id.")


async def _shown(
    *,
    request: AnyRequest,
    pages: Pages,
    visitor: Visitor,
    video: dict[str, Any],
    asked: dict[str, Any],
    attempts: list[dict[str, Any]],
    now: float,
    catalogue: Catalogue,
    names: Names,
    links: list[dict[str, Any]],
    **more: Any,
) -> Response[str]:
    model = _model_of(catalogue, video["model"]) if video["status"] == "completed" else None
    end = video["completed_at"] or now
    rows = rows_of(video, attempts, now)
    programs = programs_of(pages.base_url(request), video, asked)
    makers = await names.of({asked["key_id"], *(link["created_by"] for link in links)})
    return pages.show(
        request,
        "videos/video.html",
        video=video,
        asked=asked,
        links=links,
        makers=makers,
        live=video["status"] not in ENDED,
        writes=visitor.may(Scope.VIDEOS_WRITE),
        can=_operations(model) if model else frozenset(),
        extension_seconds=_extensions(model) if model else [],
        lifetimes=[(name, _LIFETIMES[name]) for name in LIFETIMES],
        again=f"/playground?from={quote(video['id'])}",
        programs=[] if programs is None else programs.labelled(),
        attempts=attempts,
        rows=rows,
        drawing=timeline(rows, video["created_at"], end),
        span=round(end - video["created_at"]),
        next_step=advice(video["error"]["code"]) if video["error"] else "",
        gone=video["status"] == "completed" and (not asked["has_content"] or _is_over(video, now)),
        **more,
    )


def _is_over(video: dict[str, Any], now: float) -> bool:
    return video["expires_at"] is not None and bool(video["expires_at"] <= now)


async def _origin(
    content: VideoContent, visitor: Visitor, video_id: str, settings: Settings
) -> dict[str, Any]:
    roots = await asyncio.to_thread(trusted_roots, settings)
    try:
        return {"found": await content.credentials(visitor.project_id, video_id, roots)}
    except ApiError as error:
        return {"problem": error.message}


def _model_of(catalogue: Catalogue, name: str) -> Model | None:
    try:
        return catalogue.resolve(name)
    except ApiError:
        return None


def _operations(model: Model) -> frozenset[str]:
    """What some route of the model can make of a finished video."""
    return frozenset(
        str(operation)
        for route in model.routes
        for operation, role in ROLES.items()
        if operation in route.spec.operations
        and (operation in route.spec.needs_handle or role in route.spec.roles)
    )


def _extensions(model: Model) -> list[str]:
    """By how many seconds some route can continue a video."""
    can = [route.spec for route in model.routes if Operation.EXTEND in route.spec.operations]
    return [
        f"{each:f}" for each in sorted({each for spec in can for each in spec.lengths_of(Operation.EXTEND)})
    ]
