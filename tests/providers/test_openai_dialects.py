"""Where a dialect's create, poll and cancel depart from OpenAI's."""

import json
from decimal import Decimal
from typing import Any

import pytest

from providers.adapters.openai_compatible import build
from providers.catalog_files import catalog_of
from providers.contract import (
    Account,
    Cancels,
    Completed,
    ErrorKind,
    Failed,
    MediaRole,
    Operation,
    ProviderError,
    Running,
)
from providers.http import HttpDoor
from providers.openai_dialects import DIALECTS, dialect_of
from providers.registry import build_adapter
from tests.fakes import FakeProviders, fakes
from tests.providers.wire import answering, ended, media, serving, video_request

FRAME = media(MediaRole.FIRST_FRAME, b"first", "image/png")
PLAIN = {"model": "fake-1", "prompt": "a fox", "size": "720x1280"}


async def create(fake: FakeProviders, door: HttpDoor, type_: str, **changes: Any) -> dict[str, Any]:
    """The create that a dialect's adapter makes."""
    options = {**fakes()[type_].options, **changes.pop("options", {})}
    await build_adapter(fake.upstream(type_, options=options), door).submit(video_request(**changes))
    return fake.requests("POST")[-1]


def fields(name: str, **changes: Any) -> dict[str, Any]:
    return DIALECTS[name].fields(video_request(**changes))


def test_every_dialect_has_a_fake() -> None:
    faked = {fake.options.get("dialect", "openai") for fake in fakes().values()} | {"local"}
    assert faked >= set(DIALECTS)


async def test_an_unknown_dialect_is_named_with_the_known_ones(door: HttpDoor) -> None:
    with pytest.raises(ValueError, match=r"'acme': options.dialect is 'klingon'; it can be azure, comet"):
        build(Account("acme", "http://127.0.0.1:9", options={"dialect": "klingon"}), door)
    assert dialect_of(Account("acme", "http://127.0.0.1:9")) is DIALECTS["openai"]


async def test_vllm_omni_takes_forms_and_counts_frames(fake: FakeProviders, door: HttpDoor) -> None:
    parameters = {"seed": 7, "negative_prompt": "blur", "fps": 16, "audio": True, "n": 2}
    options = {"guidance_scale": 5.5, "extra_params": {"a": 1}}
    made = await create(fake, door, "vllm_omni", parameters=parameters, provider_options=options)
    assert made["path"] == "/vllm_omni/videos"
    assert made["headers"]["content-type"].startswith("multipart/form-data")
    assert made["fields"] == {
        **PLAIN,
        "seconds": "4",
        "seed": "7",
        "negative_prompt": "blur",
        "fps": "16",
        "num_frames": "64",
        "generate_sound": "true",
        "guidance_scale": "5.5",
        "extra_params[a]": "1",
    }


async def test_sglang_takes_numbers_in_json_and_files_in_a_form(fake: FakeProviders, door: HttpDoor) -> None:
    made = await create(fake, door, "sglang", parameters={"fps": 24, "seed": 7}, seconds=Decimal("5.0"))
    assert made["headers"]["content-type"] == "application/json"
    assert made["fields"] == {**PLAIN, "seconds": 5, "fps": 24, "seed": 7, "num_frames": 120}
    made = await create(fake, door, "sglang", media=(FRAME,))
    assert made["fields"] == {**PLAIN, "seconds": "4"}
    assert made["files"]["input_reference"][0]["size"] == 5


async def test_fastvideo_and_comet_take_what_is_documented(fake: FakeProviders, door: HttpDoor) -> None:
    made = await create(fake, door, "fastvideo")
    assert (made["path"], made["fields"]) == ("/fastvideo/videos/generations", {**PLAIN, "seconds": "4"})
    made = await create(fake, door, "comet", media=(FRAME,))
    assert (made["path"], made["fields"]) == ("/comet/videos", {**PLAIN, "seconds": "4"})
    assert made["files"]["input_reference"][0]["content_type"] == "image/png"


@pytest.mark.parametrize(
    ("given", "account", "frames"),
    [
        ({}, None, {}),
        ({"parameters": {"fps": 16}}, None, {"fps": 16, "num_frames": 64}),
        ({}, 24, {"fps": 24, "num_frames": 96}),
        ({"parameters": {"fps": 16}}, 24, {"fps": 16, "num_frames": 64}),
        ({"seconds": Decimal("2.5"), "provider_options": {"fps": 16}}, 24, {"fps": 16, "num_frames": 40}),
        ({"provider_options": {"num_frames": 81}}, 16, {"fps": 16, "num_frames": 81}),
    ],
)
def test_frames_are_counted_where_the_rate_is_known(
    given: dict[str, Any], account: int | None, frames: dict[str, int]
) -> None:
    written = DIALECTS["vllm_omni"].fields(video_request(**given), account)
    assert {name: written[name] for name in ("fps", "num_frames") if name in written} == frames
    assert "num_frames" not in DIALECTS["openai"].fields(video_request(**given), account) or "num" in str(
        given
    )


async def test_the_accounts_frame_rate(fake: FakeProviders, door: HttpDoor) -> None:
    made = await create(fake, door, "vllm_omni", options={"fps": 16})
    assert (made["fields"]["fps"], made["fields"]["num_frames"]) == ("16", "64")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("sglang", {"seconds": Decimal("2.5")}, "seconds: .* whole seconds"),
        ("sglang", {"parameters": {"audio": True}}, "audio: .* no such parameter; it takes fps, negative"),
        ("comet", {"parameters": {"seed": 1}}, "seed: .* no such parameter; it takes none"),
        ("azure", {"parameters": {"negative_prompt": "x"}}, "negative_prompt: .* no such parameter"),
        ("vllm_omni", {"media": (media(MediaRole.LAST_FRAME, b"z"),)}, "last_frame: .* no such file"),
        ("fastvideo", {"media": (FRAME,)}, "first_frame: .* no such file"),
        ("vllm_omni", {"operation": Operation.EXTEND}, "operation: .* cannot extend; it can generate"),
        ("comet", {"operation": Operation.REMIX, "source": {"id": "v"}}, "operation: .* cannot remix"),
    ],
)
def test_what_a_dialect_cannot_say_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        fields(name, **changes)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST


async def test_azure_is_known_by_its_type(fake: FakeProviders, door: HttpDoor) -> None:
    assert catalog_of("azure_openai").options == fakes()["azure_openai"].options
    upstream = fake.upstream("azure_openai")
    adapter = build_adapter(upstream, door)
    source = (await adapter.submit(video_request())).handle
    made = fake.requests("POST")[-1]
    assert made["path"] == "/azure_openai/openai/v1/videos"
    assert made["headers"]["api-key"] == upstream.credential
    assert "authorization" not in made["headers"]
    await adapter.submit(video_request(operation=Operation.REMIX, source=source))
    assert fake.requests("POST")[-1]["path"] == f"/azure_openai/openai/v1/videos/{source['id']}/remix"


async def test_azure_with_a_token_in_place_of_its_key(fake: FakeProviders, door: HttpDoor) -> None:
    made = await create(fake, door, "azure_openai", options={"auth": "bearer"})
    assert made["headers"]["authorization"].startswith("Bearer ")
    assert "api-key" not in made["headers"]


async def test_azure_remixes_only_its_own(fake: FakeProviders, door: HttpDoor) -> None:
    request = video_request(operation=Operation.REMIX, media=(media(MediaRole.SOURCE, b"s"),))
    with pytest.raises(ProviderError, match=r"source: .* no such file"):
        await build_adapter(fake.upstream("azure_openai"), door).submit(request)
    assert not fake.requests()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "content_filter", "message": "x"}, ErrorKind.MODERATION_BLOCKED),
        (
            {
                "code": "BadRequest",
                "message": "x",
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            },
            ErrorKind.MODERATION_BLOCKED,
        ),
        ({"code": "BadRequest", "message": "x"}, ErrorKind.INVALID_REQUEST),
    ],
)
async def test_azures_errors(door: HttpDoor, error: dict[str, Any], kind: ErrorKind) -> None:
    async with serving(answering(400, json.dumps({"error": error}).encode())) as server:
        adapter = build(Account("azure", server.base_url, options={"dialect": "azure"}), door)
        with pytest.raises(ProviderError) as caught:
            await adapter.submit(video_request())
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("name", "video", "status"),
    [
        ("azure", {"status": "preprocessing"}, Running()),
        ("azure", {"status": "succeeded"}, Completed()),
        (
            "comet",
            {"status": "completed", "video_url": "https://a.example/v"},
            {"url": "https://a.example/v"},
        ),
        ("comet", {"status": "completed", "video_url": None}, {}),
        ("sglang", {"status": "completed", "url": "/outputs/v.mp4", "file_path": "outputs/v.mp4"}, {}),
    ],
)
def test_states_and_places(name: str, video: dict[str, Any], status: Any) -> None:
    assert DIALECTS[name].status(video) == (Completed(status) if isinstance(status, dict) else status)


@pytest.mark.parametrize(
    ("name", "video", "kind", "code"),
    [
        ("comet", {"status": "error", "error": {"message": "x", "code": 5}}, ErrorKind.PROVIDER_ERROR, "5"),
        ("azure", {"status": "failed", "failure_reason": "input_moderation"}, ErrorKind.MODERATION_BLOCKED, "input_moderation"),
        ("azure", {"status": "cancelled"}, ErrorKind.CANCELLED, "cancelled"),
        ("vllm_omni", {"status": "failed", "error": {"code": 500, "message": "x"}}, ErrorKind.PROVIDER_ERROR, "500"),
    ],
)  # fmt: skip
def test_failures(name: str, video: dict[str, Any], kind: ErrorKind, code: str) -> None:
    status = DIALECTS[name].status(video)
    assert isinstance(status, Failed)
    assert (status.error.kind, status.error.upstream_code) == (kind, code)


async def test_who_can_cancel(door: HttpDoor) -> None:
    able = {
        name
        for name in DIALECTS
        if isinstance(build(Account("a", "http://127.0.0.1:9", options={"dialect": name}), door), Cancels)
    }
    assert able == {"openai", "local", "azure", "vllm_omni"}


async def test_sglang_is_read_in_its_list(fake: FakeProviders, door: HttpDoor) -> None:
    adapter = build_adapter(fake.upstream("sglang"), door)
    older = (await adapter.submit(video_request("one"))).handle
    for number in range(105):
        await adapter.submit(video_request(f"more {number}"))
    assert isinstance(await ended(adapter, older), Completed)
    reads = fake.requests("GET")
    assert {request["path"] for request in reads} == {"/sglang/videos"}
    assert reads[0]["query"] == {"limit": "100", "order": "desc"}
    with pytest.raises(ProviderError) as caught:
        await adapter.poll({"id": "video_unknown"})
    assert caught.value.kind is ErrorKind.JOB_LOST


async def test_it_is_read_by_its_id_where_the_operator_says_so(door: HttpDoor) -> None:
    async with serving(answering(200, b'{"id": "v", "status": "queued"}')) as server:
        options = {"dialect": "sglang", "poll_via": "id"}
        status = await build(Account("a", server.base_url, options=options), door).poll({"id": "v"})
    assert status == Running(queued=True)
    assert server.exchanges[0].line == "GET /v1/videos/v HTTP/1.1"


async def test_long_odd_ids_are_one_segment(fake: FakeProviders, door: HttpDoor) -> None:
    adapter = build_adapter(fake.upstream("comet"), door)
    handle = (await adapter.submit(video_request())).handle
    assert len(handle["id"]) > 200
    assert handle["id"].endswith("+a==")
    status = await ended(adapter, handle)
    assert isinstance(status, Completed)
    content = await adapter.open_content(handle, status.outputs)
    assert [chunk async for chunk in content.chunks]
