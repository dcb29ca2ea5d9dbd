"""The worker's HTTP API: OpenAI's Videos shape, plus what only a local worker can tell."""

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litestar import Litestar, Request, Response, delete, get, post
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.response import File

from local_backend.errors import MediaError, WorkerError, bad_value
from local_backend.folders import check_present, present
from local_backend.forms import Form, read_form
from local_backend.frames import VideoFacts, probe_video, read_image
from local_backend.job import Job
from local_backend.jobs import Jobs
from local_backend.metrics import WorkerMetrics
from local_backend.order import PARTS, read_attempt_id, read_order, video_id
from providers.contract import MediaRole, Operation
from providers.presets import Preset

_LOG = logging.getLogger("local_backend")
_POLL_MS = 250
_FIELDS = frozenset(
    {
        "attempt_id",
        "audio",
        "guidance_scale",
        "model",
        "negative_prompt",
        "num_inference_steps",
        "prompt",
        "quality",
        "seconds",
        "seed",
        "size",
        "strength",
    },
)
_STARTED = int(time.time())
_VIDEOS = frozenset({MediaRole.SOURCE, MediaRole.EXTEND_FROM})

Answer = Response[dict[str, Any]]
Media = Mapping[MediaRole, tuple[Path, ...]]


@dataclass(frozen=True, slots=True)
class Served:
    """The models of this worker by name, and the folder of their weights."""

    presets: Mapping[str, Preset]
    models_dir: Path


def create_app(jobs: Jobs, work_dir: Path, token: str, served: Served) -> Litestar:
    """The ASGI application. Without a token every caller is let in."""

    async def authorize(request: Request[Any, Any, Any]) -> Answer | None:
        given = request.headers.get("authorization", "")
        open_path = request.url.path == "/health"
        if open_path or not token or hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return None
        return _refusal(WorkerError(401, "The worker's token is missing or wrong.", code="invalid_api_key"))

    return Litestar(
        [
            health,
            metrics,
            worker,
            models,
            model,
            create,
            edit,
            extend,
            list_videos,
            retrieve,
            content,
            remove,
        ],
        before_request=authorize,
        exception_handlers={WorkerError: _on_worker_error, HTTPException: _on_http, Exception: _on_crash},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # bounded part by part in forms.py
        state=State(
            {
                "jobs": jobs,
                "uploads": work_dir / "uploads",
                "served": served,
                "metrics": WorkerMetrics(jobs, served.presets),
            }
        ),
    )


def _on_worker_error(_: Request[Any, Any, Any], error: WorkerError) -> Answer:
    return _refusal(error)


def _on_http(_: Request[Any, Any, Any], error: HTTPException) -> Answer:
    return _refusal(WorkerError(error.status_code, str(error.detail), code="invalid_request"))


def _on_crash(_: Request[Any, Any, Any], error: Exception) -> Answer:
    _LOG.error("request failed", exc_info=error)
    return _refusal(WorkerError(500, "The worker failed.", code="server_error"))


def _refusal(error: WorkerError) -> Answer:
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    return Response(error.envelope(), status_code=error.status, headers=headers)


def _jobs(request: Request[Any, Any, Any]) -> Jobs:
    jobs: Jobs = request.app.state["jobs"]
    return jobs


def _served(request: Request[Any, Any, Any]) -> Served:
    served: Served = request.app.state["served"]
    return served


def _job(request: Request[Any, Any, Any], wanted: str) -> Job:
    job = _jobs(request).find(wanted)
    if job is None:
        raise WorkerError(404, f"There is no video '{wanted}'.", code="video_not_found")
    return job


@get("/health", sync_to_thread=False)
def health(request: Request[Any, Any, Any]) -> Answer:
    """loading, ready, busy or draining; 200 in each, for the process answers."""
    return Response({"status": _jobs(request).state.value})


@get("/metrics", sync_to_thread=False)
def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """For Prometheus; like everything else to who bears the token."""
    text, media_type = request.app.state["metrics"].exposition()
    return Response(text, media_type=media_type)


@get("/v1/worker", sync_to_thread=False)
def worker(request: Request[Any, Any, Any]) -> Answer:
    """What it runs on and what it does now: state, measurements, models in memory, the step of each video."""
    jobs = _jobs(request)
    newest = jobs.newest()
    running = [
        {
            "model": job.order.preset.id,
            "stage": job.stage_name,
            "step": job.step_done,
            "steps": job.step_total,
            "progress": job.progress,
        }
        for job in newest
        if job.status == "in_progress"
    ]
    engine = jobs.engine
    return Response(
        {
            "object": "worker",
            "status": jobs.state.value,
            "measured": {} if engine is None else engine.measured(),
            "loaded": [] if engine is None else list(engine.loaded),
            "waiting": sum(job.status == "queued" for job in newest),
            "running": running,
        }
    )


@get("/v1/models", sync_to_thread=False)
def models(request: Request[Any, Any, Any]) -> Answer:
    """The models this worker serves."""
    data = [_model(request, preset) for preset in _served(request).presets.values()]
    return Response({"object": "list", "data": data})


@get("/v1/models/{model_id:path}", sync_to_thread=False)
def model(request: Request[Any, Any, Any], model_id: FromPath[str]) -> Answer:
    """One model by its id, which contains a slash."""
    presets = _served(request).presets
    preset = presets.get(str(model_id).lstrip("/"))
    if preset is None:
        raise WorkerError(404, f"This worker serves {', '.join(presets)}.", code="model_not_found")
    return Response(_model(request, preset))


def _model(request: Request[Any, Any, Any], preset: Preset) -> dict[str, Any]:
    """`state` is loaded, present (on disk) or missing (its weights have to be pulled)."""
    engine = _jobs(request).engine
    on_disk = "present" if present(preset, _served(request).models_dir) else "missing"
    return {
        "id": preset.id,
        "object": "model",
        "created": _STARTED,
        "owned_by": "onereel",
        "description": preset.description,
        "state": "loaded" if engine is not None and preset.id in engine.loaded else on_disk,
        "native_size": preset.native_size,
        "sizes": list(preset.sizes),
        "seconds": [str(seconds) for seconds in preset.seconds],
        "operations": sorted(operation.value for operation in preset.operations),
        "licence": preset.licence,
        "commercial_limits": preset.weights.commercial_limits,
        "memory_bytes": preset.weights.memory_bytes,
        "measured": engine.measured() if engine is not None else None,
    }


@post("/v1/videos", status_code=200)
async def create(request: Request[Any, Any, Any]) -> Answer:
    """Text to video; with the file parts `input_reference`, `last_frame` or `reference_images[]` from pictures."""
    return await _create(
        request, Operation.GENERATE, MediaRole.FIRST_FRAME, MediaRole.LAST_FRAME, MediaRole.REFERENCE
    )


@post(["/v1/videos/edits", "/v1/videos/remix"], status_code=200)
async def edit(request: Request[Any, Any, Any]) -> Answer:
    """Video to video: the file part `video` seen anew, more freely with a higher `strength`."""
    return await _create(request, Operation.EDIT, MediaRole.SOURCE)


@post("/v1/videos/extensions", status_code=200)
async def extend(request: Request[Any, Any, Any]) -> Answer:
    """The file part `video` and what comes after its last frame, as one file."""
    return await _create(request, Operation.EXTEND, MediaRole.EXTEND_FROM)


async def _create(request: Request[Any, Any, Any], operation: Operation, *roles: MediaRole) -> Answer:
    jobs = _jobs(request)
    jobs.check_open()
    async with read_form(request.headers, _chunks(request), request.app.state["uploads"]) as form:
        known = jobs.find(video_id(read_attempt_id(form.fields))) if "attempt_id" in form.fields else None
        if known is not None:
            return _video(known)
        media = _media(form, operation, roles)
        source = await asyncio.to_thread(_inspect, media)
        order = read_order(form.fields, operation, media, source, _served(request).presets)
        check_present(order.preset, _served(request).models_dir)
        return _video(jobs.submit(order))


async def _chunks(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        yield chunk


def _media(form: Form, operation: Operation, roles: Sequence[MediaRole]) -> Media:
    """The files of this operation. WorkerError for fields or files it does not know."""
    for name in form.fields:
        if name not in _FIELDS:
            known = ", ".join(sorted(_FIELDS))
            raise bad_value(name, f"{name} is not known here. Known are: {known}.", code="unknown_parameter")
    parts = {PARTS[role]: role for role in roles}
    for name in form.files:
        if name not in parts:
            taken = ", ".join(parts)
            raise bad_value(name, f"A file here is one of the parts {taken}.", code="unknown_parameter")
    if operation is not Operation.GENERATE and not form.files:
        raise bad_value("video", "The file part 'video' is required.", code="missing_required_parameter")
    return {parts[name]: tuple(paths) for name, paths in form.files.items()}


def _inspect(media: Media) -> VideoFacts | None:
    """Decode enough of each file to know that it is what it should be; what is found in a video."""
    found: VideoFacts | None = None
    for role, paths in media.items():
        try:
            for path in paths:
                if role in _VIDEOS:
                    found = probe_video(path)
                else:
                    read_image(path)
        except MediaError as error:
            raise bad_value(PARTS[role], str(error), code="input_media") from None
    return found


@get("/v1/videos", sync_to_thread=False)
def list_videos(request: Request[Any, Any, Any]) -> Answer:
    """All that this worker remembers, newest first: bounded, so never paged."""
    data = [_body(job) for job in _jobs(request).newest()]
    ids = [video["id"] for video in data]
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    return Response({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": False})


@get("/v1/videos/{wanted:str}", sync_to_thread=False)
def retrieve(request: Request[Any, Any, Any], wanted: FromPath[str]) -> Answer:
    """How far a video is."""
    return _video(_job(request, wanted))


@get("/v1/videos/{wanted:str}/content", sync_to_thread=False)
def content(request: Request[Any, Any, Any], wanted: FromPath[str]) -> File:
    """The finished MP4."""
    job = _job(request, wanted)
    if job.status != "completed":
        raise WorkerError(400, f"The video is {job.status}, not completed.", code="video_not_ready")
    return File(job.path, filename=f"{wanted}.mp4", media_type="video/mp4")


@delete("/v1/videos/{wanted:str}", status_code=200, sync_to_thread=False)
def remove(request: Request[Any, Any, Any], wanted: FromPath[str]) -> Answer:
    """Stop the video at its next step, if it runs, and forget it."""
    if not _jobs(request).delete(wanted):
        raise WorkerError(404, f"There is no video '{wanted}'.", code="video_not_found")
    return Response({"id": wanted, "object": "video.deleted", "deleted": True})


def _video(job: Job) -> Answer:
    headers = {} if job.terminal else {"openai-poll-after-ms": str(_POLL_MS)}
    return Response(_body(job), headers=headers)


def _body(job: Job) -> dict[str, Any]:
    order = job.order
    error = job.error
    return {
        "id": order.video_id,
        "object": "video",
        "model": order.preset.id,
        "status": job.status,
        "progress": job.progress,
        "created_at": job.created_at,
        "completed_at": job.completed_at,
        "expires_at": job.expires_at,
        "prompt": order.prompt,
        "seconds": str(order.total_seconds),
        "size": f"{order.width}x{order.height}",
        "remixed_from_video_id": None,
        "error": None if error is None else {"code": str(error[0]), "message": error[1]},
        "attempt_id": order.attempt_id,
        "seed": order.seed,
        "stage": job.stage_name,
        "step": job.step_done,
        "steps": job.step_total,
        "quality": order.quality,
        "runtime": job.runtime,
        "eta_seconds": job.eta_seconds,
        "stage_seconds": {name: round(seconds, 3) for name, seconds in job.stage_seconds.copy().items()},
        "usage": None if job.device_seconds is None else {"gpu_seconds": f"{job.device_seconds:.3f}"},
    }
