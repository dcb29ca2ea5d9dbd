"""What is special about Gemini Omni: tasks and blocks, videos that are files, refusals that look like success."""

from typing import Any

import pytest

from providers.adapters import google_gemini
from providers.adapters.google_gemini import GoogleGemini
from providers.contract import (
    Completed,
    ErrorKind,
    Failed,
    MediaRole,
    Operation,
    ProviderError,
    Running,
    VideoRequest,
)
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import ended, media, video_request

FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
REFERENCE = media(MediaRole.REFERENCE, b"r", "image/jpeg")
SOURCE = media(MediaRole.SOURCE, b"v", "video/mp4")
BEFORE = media(MediaRole.EXTEND_FROM, b"v", "video/mp4")

IMAGE = {"type": "image", "data": "YQ==", "mime_type": "image/png"}
LIKENESS = {"type": "image", "data": "cg==", "mime_type": "image/jpeg"}
VIDEO = {"type": "video", "data": "dg==", "mime_type": "video/mp4"}


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> GoogleGemini:
    adapter = build_adapter(fake.upstream("google_gemini"), door)
    assert isinstance(adapter, GoogleGemini)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "gemini-omni-1.2-flash", "size": "1920x1080", "seconds": 8, **changes})


async def test_a_text_becomes_a_video(adapter: GoogleGemini, fake: FakeProviders) -> None:
    callback = "https://onereel.example/callback/1"
    options = {"labels": {"team": "film"}, "generation_config": {"seed": 8}}
    await adapter.submit(asked(parameters={"seed": 7}, provider_options=options, callback_url=callback))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/google_gemini/v1beta/interactions"
    assert request["headers"]["x-goog-api-key"] == "sk-conformance-credential"
    assert "authorization" not in request["headers"]
    assert request["fields"] == {
        "model": "gemini-omni-1.2-flash",
        "input": [{"type": "text", "text": "a fox"}],
        "background": True,
        "store": True,
        "response_format": {
            "type": "video",
            "delivery": "uri",
            "resolution": "1080p",
            "aspect_ratio": "16:9",
            "duration": "8s",
        },
        "generation_config": {"video_config": {"task": "text_to_video"}, "seed": 8},
        "webhook_config": {"uris": [callback]},
        "labels": {"team": "film"},
    }


@pytest.mark.parametrize(
    ("changes", "task", "blocks"),
    [
        ({"media": (FIRST,)}, "image_to_video", [IMAGE]),
        ({"media": (REFERENCE, REFERENCE)}, "reference_to_video", [LIKENESS, LIKENESS]),
        ({"operation": Operation.EDIT, "media": (REFERENCE, SOURCE)}, "edit", [VIDEO, LIKENESS]),
        ({"operation": Operation.EXTEND, "media": (BEFORE,)}, "extend", [VIDEO]),
        ({"operation": Operation.EXTEND, "source": {"id": "before"}}, "extend", []),
        ({"operation": Operation.EDIT, "source": {"id": "before"}, "seconds": "6.2"}, "edit", []),
    ],
)
async def test_the_task_says_what_the_files_are_for(
    adapter: GoogleGemini,
    fake: FakeProviders,
    changes: dict[str, Any],
    task: str,
    blocks: list[Any],
) -> None:
    await adapter.submit(asked(**changes))
    body = fake.requests("POST")[-1]["fields"]
    assert body["generation_config"]["video_config"]["task"] == task
    assert body["input"][:-1] == blocks
    assert body.get("previous_interaction_id") == ("before" if "source" in changes else None)
    assert {"aspect_ratio", "duration"}.isdisjoint(body["response_format"]) == (task == "edit")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"media": (FIRST, REFERENCE)}, "reference_images: .* only without a first frame"),
        ({"media": (REFERENCE,) * 7}, "reference: .* at most 6"),
        ({"operation": Operation.EDIT}, "video: .* needs the video to edit"),
        ({"operation": Operation.EXTEND}, "video: .* needs the video to extend"),
        ({"operation": Operation.REMIX}, "operation: .* cannot remix"),
        ({"parameters": {"negative_prompt": "blur"}}, "negative_prompt: .* takes no such parameter"),
        ({"size": "1080x1080"}, "size: 1080x1080 has none of the aspect ratios"),
        ({"seconds": "2.5"}, "seconds: .* whole seconds"),
        ({"provider_options": {"store": False}}, "provider_options: store stays True"),
        ({"provider_options": {"response_format": {"delivery": "inline"}}}, "delivery stays uri"),
    ],
)
async def test_what_it_does_not_take(
    adapter: GoogleGemini, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_the_version_of_the_path_is_an_option(fake: FakeProviders, door: HttpDoor) -> None:
    adapter = build_adapter(fake.upstream("google_gemini", options={"api_version": "v1"}), door)
    handle = (await adapter.submit(asked())).handle
    status = await ended(adapter, handle)
    assert isinstance(status, Completed)
    assert (await adapter.open_content(handle, status.outputs)).media_type == "video/mp4"
    assert all(request["path"].startswith("/google_gemini/v1/") for request in fake.requests())


async def test_a_file_may_need_some_more_time(adapter: GoogleGemini, fake: FakeProviders) -> None:
    handle = (await adapter.submit(asked(prompt="a fox [processing]"))).handle
    assert await adapter.poll(handle) == Running()
    assert isinstance(await adapter.poll(handle), Completed)
    assert [request["path"].split("/")[3] for request in fake.requests("GET")] == [
        "interactions",
        "files",
    ] * 2


async def test_a_file_may_fail(adapter: GoogleGemini) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt="a fox [file failed]"))).handle)
    assert isinstance(status, Failed)
    assert (status.error.kind, status.error.message) == (ErrorKind.PROVIDER_ERROR, "Lost a disk.")


async def test_a_refusal_says_why(adapter: GoogleGemini) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt="[fault:moderation]"))).handle)
    assert isinstance(status, Failed)
    assert status.error.message == "I cannot make this video: it may violate the usage guidelines."


async def test_a_finished_interaction_needs_no_cancel(adapter: GoogleGemini, fake: FakeProviders) -> None:
    await adapter.cancel({"id": "nobody"})
    fake.config(api_key="another")
    with pytest.raises(ProviderError) as caught:
        await adapter.cancel({"id": "nobody"})
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH


@pytest.mark.parametrize(
    ("interaction", "uris"),
    [
        ({"output_video": {"type": "video", "uri": "o"}, "steps": None}, ["o"]),
        ({"steps": [{"type": "model_output", "content": [{"uri": "1"}, {"uri": "2"}]}]}, ["2", "1"]),
        (
            {
                "steps": [
                    {"type": "model_output", "content": [{"uri": "before"}]},
                    {"type": "user_input", "content": [{"uri": "asked"}]},
                    {"type": "thought"},
                    {"type": "model_output", "content": [{"uri": "now"}]},
                ]
            },
            ["now"],
        ),
        ({}, []),
    ],
)
def test_only_the_last_turn_counts(interaction: dict[str, Any], uris: list[str]) -> None:
    assert [block["uri"] for block in google_gemini._output(interaction)] == uris


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("incomplete", ErrorKind.PROVIDER_ERROR),
        ("budget_exceeded", ErrorKind.PROVIDER_FUNDS),
        ("requires_action", ErrorKind.PROVIDER_ERROR),
        ("requires_continuation", "running"),
    ],
)
def test_rarer_states(status: str, kind: Any) -> None:
    assert google_gemini._STATES.read(status) == kind


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("API key not valid. Please pass a valid API key.", ErrorKind.PROVIDER_AUTH),
        ("Invalid interaction name.", ErrorKind.JOB_LOST),
        ("The prompt was blocked for safety reasons.", ErrorKind.MODERATION_BLOCKED),
        ("safety_settings: unknown field", None),
    ],
)
def test_words_of_errors(message: str, kind: ErrorKind | None) -> None:
    assert google_gemini._ERRORS.kind("INVALID_ARGUMENT", message) is kind
