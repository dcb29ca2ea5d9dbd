"""What is special about Vertex AI: where its models lie, what a filtered video looks like, videos inside JSON."""

import json
import tracemalloc
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from providers.adapters import google_vertex
from providers.contract import Completed, ErrorKind, MediaRole, Operation, ProviderError, VideoRequest
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import ended, media, video_request

MODELS = "/google_vertex/v1/projects/acme/locations/us-central1/publishers/google/models"


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> google_vertex.GoogleVertex:
    adapter = build_adapter(fake.upstream("google_vertex"), door)
    assert isinstance(adapter, google_vertex.GoogleVertex)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "veo-3.1-generate-001", "size": "1920x1080", "seconds": 8, **changes})


async def test_a_text_becomes_a_video(adapter: google_vertex.GoogleVertex, fake: FakeProviders) -> None:
    parameters = {"seed": 7, "audio": False, "negative_prompt": "blur", "fps": 24}
    options = {"parameters": {"personGeneration": "allow_adult"}, "labels": {"team": "film"}}
    await adapter.submit(asked(parameters=parameters, provider_options=options))
    request = fake.requests("POST")[-1]
    assert request["path"] == f"{MODELS}/veo-3.1-generate-001:predictLongRunning"
    assert request["fields"] == {
        "instances": [{"prompt": "a fox"}],
        "parameters": {
            "sampleCount": 1,
            "durationSeconds": 8,
            "aspectRatio": "16:9",
            "resolution": "1080p",
            "seed": 7,
            "generateAudio": False,
            "negativePrompt": "blur",
            "fps": 24,
            "personGeneration": "allow_adult",
        },
        "labels": {"team": "film"},
    }


async def test_images(adapter: google_vertex.GoogleVertex, fake: FakeProviders) -> None:
    roles = (MediaRole.FIRST_FRAME, MediaRole.LAST_FRAME, MediaRole.REFERENCE)
    await adapter.submit(asked(media=tuple(media(role, b"a", "image/png") for role in roles)))
    image = {"bytesBase64Encoded": "YQ==", "mimeType": "image/png"}
    assert fake.requests("POST")[-1]["fields"]["instances"] == [
        {
            "prompt": "a fox",
            "image": image,
            "lastFrame": image,
            "referenceImages": [{"image": image, "referenceType": "asset"}],
        }
    ]


async def test_an_extension_sends_the_video(adapter: google_vertex.GoogleVertex, fake: FakeProviders) -> None:
    source = media(MediaRole.EXTEND_FROM, b"v", "video/mp4")
    extension = {"operation": Operation.EXTEND, "seconds": 7}
    handle = (await adapter.submit(asked(**extension, media=(source,)))).handle
    fields = fake.requests("POST")[-1]["fields"]
    video = {"bytesBase64Encoded": "dg==", "mimeType": "video/mp4"}
    assert fields["instances"] == [{"prompt": "a fox", "video": video}]
    assert fields["parameters"]["durationSeconds"] == 7
    assert isinstance(await ended(adapter, handle), Completed)
    with pytest.raises(ProviderError, match=r"video: .* needs the video to extend"):
        await adapter.submit(asked(**extension))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "1080x1080"}, "size: 1080x1080 has none of the aspect ratios"),
        ({"provider_options": {"parameters": {"storageUri": "gs://x"}}}, "storageUri is not supported"),
    ],
)
async def test_what_it_does_not_take(
    adapter: google_vertex.GoogleVertex, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_a_project_must_be_named(fake: FakeProviders, door: HttpDoor) -> None:
    with pytest.raises(ValueError, match=r"options\.project must name"):
        build_adapter(fake.upstream("google_vertex", options={}), door)


async def test_a_service_account_buys_its_token_once(fake: FakeProviders, door: HttpDoor) -> None:
    fake.config(api_key="ya29.bought")
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    key_file = {
        "type": "service_account",
        "client_email": "film@acme.example",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "token_uri": f"{fake.origin}/google_vertex/token",
    }
    adapter = build_adapter(fake.upstream("google_vertex", api_key=json.dumps(key_file)), door)
    for _ in range(2):
        assert isinstance(await ended(adapter, (await adapter.submit(asked(seconds=4))).handle), Completed)
    assert sum(r["path"].endswith("/token") for r in fake.requests()) == 1
    assert "PRIVATE KEY" not in str(fake.requests())


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("The prompt could not be submitted: usage guidelines.", ErrorKind.MODERATION_BLOCKED),
        ("Filtered. Support codes: 42", ErrorKind.MODERATION_BLOCKED),
        ("fps must be 24", ErrorKind.INVALID_REQUEST),
    ],
)
def test_operation_errors(message: str, kind: ErrorKind) -> None:
    assert google_vertex._ERRORS.verdict(3, message, ErrorKind.INVALID_REQUEST).kind is kind


async def test_a_large_video_is_never_held_whole(
    adapter: google_vertex.GoogleVertex, fake: FakeProviders
) -> None:
    size = 40 * 2**20
    fake.config(content_bytes=size)
    handle = (await adapter.submit(asked(size="1280x720", seconds=4))).handle
    tracemalloc.start()
    try:
        status = await ended(adapter, handle)
        assert isinstance(status, Completed)
        received = 0
        async for chunk in (await adapter.open_content(handle, status.outputs)).chunks:
            received += len(chunk)
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()
    assert received == size
