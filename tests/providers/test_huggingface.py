"""Four adapters through Hugging Face's router: its addresses, its token, its names of models."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from providers.contract import Adapter, Completed, ErrorKind, MediaRole, ProviderError, Running
from providers.http import HttpDoor
from providers.registry import build_adapter
from providers.spec import UpstreamSpec
from tests.providers.wire import Exchange, Served, ended, media, serving, video_request

TOKEN: Final = "hf_conformance_token"
MODEL: Final = "acme/fox-video"
_FILE: Final = b"\0\0\0\x18ftypmp42"
_IDS: Final = {
    "fal-ai": "fal-ai/fox/text-to-video",
    "replicate": "acme/fox",
    "together": "acme/fox-t",
    "wavespeed": "acme/fox/t2v",
}
PROVIDERS: Final = {
    "fal": "fal-ai",
    "replicate": "replicate",
    "together": "together",
    "wavespeed": "wavespeed",
}
BASE_PATHS: Final = {"replicate": "/v1"}
_REQUEST: Final = "/fal-ai/fox/requests/job-1"


class Router:
    """The router, the Hub and the files, in one server; `answers` are those of jobs, `mapping` is the Hub's."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.mapping: Any = {
            name: {"providerId": id_, "task": "text-to-video", "status": "live"} for name, id_ in _IDS.items()
        }
        self.unfinished = 1
        self.served = Served()

    async def __call__(self, exchange: Exchange) -> None:
        body = await exchange.body()
        line = exchange.line.removesuffix(" HTTP/1.1")
        self.seen.append((line, exchange.headers, json.loads(body) if body else None))
        if line == "GET /file.mp4":
            await exchange.answer(200, _FILE, content_type="video/mp4")
            return
        if exchange.headers.get("authorization") != f"Bearer {TOKEN}":
            await exchange.answer(401, b'{"error": "Invalid credentials in Authorization header"}')
            return
        status, answer = self.answer(line)
        await exchange.answer(status, json.dumps(answer).encode())

    def answer(self, line: str) -> tuple[int, Any]:
        """What the Hub and the router document, and a 404 for everything else."""
        if line.startswith("GET /api/"):
            return self.hub(line)
        if line.startswith("GET /router/"):
            self.unfinished -= 1
        file = f"http://localhost:{self.served.port}/file.mp4"
        done = self.unfinished < 0
        fal, wavespeed = f"https://queue.fal.run{_REQUEST}", "acme/fox/t2v"
        table: dict[str, Any] = {
            "POST /router/fal-ai/fal-ai/fox/text-to-video?_subdomain=queue": {
                "request_id": "job-1",
                "status": "IN_QUEUE",
                "response_url": fal,
                "status_url": f"{fal}/status",
                "cancel_url": f"{fal}/cancel",
            },
            f"GET /router/fal-ai{_REQUEST}/status?_subdomain=queue": {
                "status": "COMPLETED" if done else "IN_PROGRESS"
            },
            f"GET /router/fal-ai{_REQUEST}?_subdomain=queue": {"video": {"url": file}},
            f"PUT /router/fal-ai{_REQUEST}/cancel?_subdomain=queue": {"status": "CANCELLATION_REQUESTED"},
            "POST /router/replicate/v1/models/acme/fox/predictions": {
                "id": "job-1",
                "status": "succeeded" if done else "processing",
                "output": file if done else None,
            },
            "GET /router/replicate/v1/predictions/job-1": {
                "id": "job-1",
                "status": "succeeded" if done else "processing",
                "output": file,
            },
            "POST /router/together/v2/videos": {"id": "job-1", "status": "queued"},
            "GET /router/together/v2/videos/job-1": {
                "id": "job-1",
                "status": "completed" if done else "in_progress",
                "outputs": {"cost": 0.5, "video_url": file},
            },
            f"POST /router/wavespeed/api/v3/{wavespeed}": {
                "code": 200,
                "data": {"id": "job-1", "status": "created"},
            },
            "GET /router/wavespeed/api/v3/predictions/job-1/result": {
                "code": 200,
                "data": {"id": "job-1", "status": "completed" if done else "processing", "outputs": [file]},
            },
        }
        return (200, table[line]) if line in table else (404, {"error": "Not Found"})

    def hub(self, line: str) -> tuple[int, Any]:
        """The Hub's own API."""
        if line == "GET /api/whoami-v2":
            return 200, {"type": "user", "name": "somebody"}
        if line == f"GET /api/models/{MODEL}?expand=inferenceProviderMapping":
            return 200, {"id": MODEL, "inferenceProviderMapping": self.mapping}
        return 404, {"error": "Repository not found"}

    def lines(self, start: str) -> list[str]:
        """The requests that begin so."""
        return [line for line, _, _ in self.seen if line.startswith(start)]


@pytest.fixture
async def router() -> AsyncIterator[Router]:
    router = Router()
    async with serving(router) as router.served:
        yield router


@pytest.fixture
async def open_door(router: Router) -> AsyncIterator[HttpDoor]:
    opened = HttpDoor(allowed_private_hosts=(f"localhost:{router.served.port}",))
    yield opened
    await opened.close()


def made(type_: str, router: Router, door: HttpDoor, **options: Any) -> Adapter:
    origin = f"http://127.0.0.1:{router.served.port}"
    spec = UpstreamSpec(
        name=type_,
        type=type_,
        base_url=f"{origin}/router/{PROVIDERS[type_]}{BASE_PATHS.get(type_, '')}",
        api_key=TOKEN,
        options={"huggingface": True, "hub_url": origin, **options},
    )
    return build_adapter(spec, door)


def asked(**changes: Any) -> Any:
    return video_request(**{"model": MODEL, "resolution": "720p", "aspect_ratio": "16:9", **changes})


@pytest.mark.parametrize("type_", PROVIDERS)
async def test_a_video_through_the_router(type_: str, router: Router, open_door: HttpDoor) -> None:
    adapter = made(type_, router, open_door, bill_to="acme-org")
    callback = "https://onereel.example/callback/1"
    handle = (await adapter.submit(asked(callback_url=callback))).handle
    assert isinstance(await adapter.poll(handle), Running)
    status = await ended(adapter, handle)
    assert isinstance(status, Completed)
    content = await adapter.open_content(handle, status.outputs)
    assert b"".join([chunk async for chunk in content.chunks]) == _FILE
    routed = [headers for line, headers, _ in router.seen if " /router/" in line]
    assert {headers["authorization"] for headers in routed} == {f"Bearer {TOKEN}"}
    assert {headers["x-hf-bill-to"] for headers in routed} == {"acme-org"}
    assert "onereel.example" not in str(router.seen), "the router calls nobody back"
    assert len(router.lines("POST ")) == 1
    [(_, headers, _)] = [each for each in router.seen if each[0] == "GET /file.mp4"]
    assert "authorization" not in headers


@pytest.mark.parametrize("type_", PROVIDERS)
async def test_the_hub_is_asked_once_for_the_providers_name(
    type_: str, router: Router, open_door: HttpDoor
) -> None:
    router.mapping = [{"provider": name, **row} for name, row in router.mapping.items()]  # its other form
    adapter = made(type_, router, open_door)
    for _ in range(2):
        await adapter.submit(asked())
    assert len(router.lines("GET /api/models/")) == 1
    assert len(router.lines("POST /router/")) == 2
    if type_ == "together":
        assert router.seen[-1][2]["model"] == "acme/fox-t"


@pytest.mark.parametrize("type_", PROVIDERS)
async def test_a_name_that_the_hub_does_not_know_is_the_providers(
    type_: str, router: Router, open_door: HttpDoor
) -> None:
    await made(type_, router, open_door).submit(asked(model=_IDS[PROVIDERS[type_]]))
    assert len(router.lines("POST /router/")) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (None, "Hugging Face says that wavespeed does not serve it"),
        ({"providerId": "x", "task": "text-to-image"}, "wavespeed serves it for text-to-image"),
        ({"providerId": "x", "task": "text-to-video", "adapterWeightsPath": "w"}, "is an adapter's weights"),
    ],
)
async def test_a_model_that_is_not_to_be_had_is_refused(
    router: Router, open_door: HttpDoor, row: Any, message: str
) -> None:
    router.mapping["wavespeed"] = row
    with pytest.raises(ProviderError, match=message) as caught:
        await made("wavespeed", router, open_door).submit(asked())
    assert (caught.value.kind, caught.value.ambiguous) == (ErrorKind.INVALID_REQUEST, False)
    assert not router.lines("POST ")


async def test_a_hub_that_fails_has_made_no_job(router: Router, open_door: HttpDoor) -> None:
    adapter = made("fal", router, open_door, hub_url=f"http://127.0.0.1:{router.served.port}/api/models")
    router.hub = lambda line: (503, {"error": line})  # type: ignore[method-assign]
    with pytest.raises(ProviderError) as caught:
        await adapter.submit(asked())
    assert (caught.value.kind, caught.value.ambiguous) == (ErrorKind.PROVIDER_UNAVAILABLE, False)
    assert not router.lines("POST ")


async def test_replicates_router_waits_for_the_prediction(router: Router, open_door: HttpDoor) -> None:
    router.unfinished = -1
    adapter = made("replicate", router, open_door)
    handle = (await adapter.submit(asked())).handle
    assert isinstance(await adapter.poll(handle), Completed)
    [(_, headers, _)] = [each for each in router.seen if each[0].startswith("POST ")]
    assert headers["prefer"] == "wait"
    assert not router.lines("GET /router/"), "the answer to the create has it all"


async def test_a_cancel_goes_the_same_way(router: Router, open_door: HttpDoor) -> None:
    adapter: Any = made("fal", router, open_door)
    await adapter.cancel((await adapter.submit(asked())).handle)
    assert router.lines("PUT ") == [f"PUT /router/fal-ai{_REQUEST}/cancel?_subdomain=queue"]


@pytest.mark.parametrize("type_", ["wavespeed", "replicate"])
async def test_pictures_lie_in_the_request(type_: str, router: Router, open_door: HttpDoor) -> None:
    picture = media(MediaRole.FIRST_FRAME, b"a", "image/png")
    await made(type_, router, open_door).submit(asked(media=(picture,), wire={"first_frame": "image"}))
    assert "data:image/png;base64,YQ==" in str(router.seen[-1][2])
    assert len(router.lines("POST ")) == 1


@pytest.mark.parametrize("type_", ["wavespeed", "replicate"])
async def test_the_check_asks_the_hub(type_: str, router: Router, open_door: HttpDoor) -> None:
    adapter: Any = made(type_, router, open_door)
    assert await adapter.check() == "the token of somebody at Hugging Face is valid"
    assert [line for line, _, _ in router.seen] == ["GET /api/whoami-v2"]
