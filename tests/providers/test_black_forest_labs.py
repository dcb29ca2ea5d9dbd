"""What is special about Black Forest Labs: modes, the address to poll, states in words, a secret per attempt."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from providers.adapters import black_forest_labs
from providers.contract import (
    CallbackRefused,
    Completed,
    ErrorKind,
    Failed,
    MediaRole,
    Operation,
    ProviderError,
    VideoRequest,
)
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import ended, media, video_request

FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = replace(media(MediaRole.LAST_FRAME, b"z", "image/png"), url="https://onereel.example/z")
BEFORE = media(MediaRole.EXTEND_FROM, b"v", "video/mp4")
CALLBACK = "https://onereel.example/callback/1"


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> black_forest_labs.BlackForestLabs:
    adapter = build_adapter(fake.upstream("black_forest_labs"), door)
    assert isinstance(adapter, black_forest_labs.BlackForestLabs)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(
        **{
            "model": "flux-3-video",
            "size": "1920x1080",
            "seconds": 10,
            "parameters": {"audio": False},
            **changes,
        }
    )


async def test_a_text_becomes_a_video(
    adapter: black_forest_labs.BlackForestLabs, fake: FakeProviders
) -> None:
    await adapter.submit(asked(provider_options={"safety_tolerance": 1}))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/black_forest_labs/v1/flux-3-video"
    assert request["headers"]["x-key"] == "sk-conformance-credential"
    assert "authorization" not in request["headers"]
    assert request["fields"] == {
        "mode": "t2v",
        "prompt": "a fox",
        "aspect_ratio": "16:9",
        "resolution": "fhd",
        "duration": 10,
        "generate_audio": False,
        "safety_tolerance": 1,
    }


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"media": (FIRST,)}, {"mode": "i2v", "keyframes": ["YQ=="]}),
        ({"media": (LAST, FIRST)}, {"mode": "i2v", "keyframes": ["YQ==", "https://onereel.example/z"]}),
        ({"operation": Operation.EXTEND, "media": (BEFORE,)}, {"mode": "v2v", "start_video": "dg=="}),
    ],
)
async def test_files_choose_the_mode(
    adapter: black_forest_labs.BlackForestLabs,
    fake: FakeProviders,
    changes: dict[str, Any],
    fields: dict[str, Any],
) -> None:
    await adapter.submit(asked(**changes))
    body = fake.requests("POST")[-1]["fields"]
    assert {name: body[name] for name in ("mode", "keyframes", "start_video") if name in body} == fields


async def test_the_catalogue_may_spell_a_resolution(
    adapter: black_forest_labs.BlackForestLabs, fake: FakeProviders
) -> None:
    await adapter.submit(asked(size="1280x720", resolution="720p"))
    await adapter.submit(asked(size="3840x2160", resolution="4k", wire={"4k": "fhd"}))
    assert [request["fields"]["resolution"] for request in fake.requests("POST")] == ["hd", "fhd"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"media": (LAST,)}, "last_frame: .* only with a first frame"),
        ({"media": (media(MediaRole.REFERENCE, b"r", "image/png"),)}, "reference: .* takes no such file"),
        ({"operation": Operation.EXTEND}, "video: .* needs the video to extend"),
        ({"operation": Operation.EDIT}, "operation: .* cannot edit"),
        ({"parameters": {"seed": 1}}, "seed: .* takes no such parameter"),
        ({"size": "3840x2160"}, "size: 3840x2160 is none of the resolutions"),
        ({"size": "1080x2520"}, "size: 1080x2520 has none of the aspect ratios"),
        ({"seconds": "5.5"}, "seconds: .* whole seconds"),
    ],
)
async def test_what_it_does_not_take(
    adapter: black_forest_labs.BlackForestLabs, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_a_field_that_it_does_not_know_is_named(adapter: black_forest_labs.BlackForestLabs) -> None:
    with pytest.raises(ProviderError, match="holographic") as caught:
        await adapter.submit(asked(provider_options={"holographic": "very"}))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST


async def test_only_its_own_hosts_are_polled(adapter: black_forest_labs.BlackForestLabs) -> None:
    for url in ("https://bfl.ai.attacker.example/x", "https://xbfl.ai/x", "http://api.eu.bfl.ai/x"):
        with pytest.raises(ProviderError, match="address that is not its own"):
            await adapter.poll({"id": "1", "polling_url": url, "attempt": "att_1", "cost": None})


async def test_credits_are_the_cost(adapter: black_forest_labs.BlackForestLabs, fake: FakeProviders) -> None:
    status = await ended(adapter, (await adapter.submit(asked())).handle)
    assert fake.requests("GET")[-1]["path"] == "/black_forest_labs/region/v1/get_result"
    assert isinstance(status, Completed)
    assert status.cost is not None
    assert (status.cost.amount, status.cost.currency) == (Decimal(85), "credit")


async def test_moderation_says_why(adapter: black_forest_labs.BlackForestLabs) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt="[fault:moderation]"))).handle)
    assert isinstance(status, Failed)
    assert status.error.message == "Violence, Derivative"
    assert black_forest_labs._STATES.read("Request Moderated") is ErrorKind.MODERATION_BLOCKED


async def test_every_attempt_has_its_own_secret(
    adapter: black_forest_labs.BlackForestLabs, fake: FakeProviders
) -> None:
    handle = (await adapter.submit(asked(callback_url=CALLBACK))).handle
    await adapter.submit(asked(callback_url=CALLBACK, attempt_id="att_2"))
    first, second = (request["fields"]["webhook_secret"] for request in fake.requests("POST"))
    assert first != second
    assert "sk-conformance-credential" not in first + second
    headers, body = fake.callback()
    with pytest.raises(CallbackRefused, match="signature does not match"):
        await adapter.verify_callback(handle, headers, body)
