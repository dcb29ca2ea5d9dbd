"""What a row of the catalogue offers, its adapter can say and its provider takes: every size, file and parameter."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import pytest

from providers.catalog_files import CatalogModel, catalog_of
from providers.contract import MediaInput, MediaRole, Operation, ProviderError, VideoRequest
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders, fakes
from tests.providers.wire import ended, media, video_request

EXAMINED: Final = (
    "ark", "black_forest_labs", "dashscope", "google_gemini", "google_vertex", "kling", "ltx", "minimax", "runway", "vidu",
)  # fmt: skip
_VALUES: Final = {"seed": 7, "negative_prompt": "blur", "audio": True, "fps": 24, "n": 2}
_ON_NO_SIZE: Final = "1280x720"  # an edit has the size of its source


def requests_of(model: CatalogModel) -> Iterator[VideoRequest]:
    """One request for each operation, combination of files and size, with every parameter."""
    for operation in model.operations:
        for files in _files(model, operation):
            for size in model.sizes or (_ON_NO_SIZE,):
                resolution, aspect_ratio = model.words_of(size)
                yield video_request(
                    model=model.upstream_id,
                    operation=operation,
                    seconds=_seconds(model, operation),
                    size=size,
                    media=files,
                    resolution=resolution,
                    aspect_ratio=aspect_ratio,
                    parameters={name: _VALUES[name] for name in model.parameters},
                    wire=model.wire,
                )


def _seconds(model: CatalogModel, operation: Operation) -> Decimal:
    if operation is Operation.EXTEND:
        return model.lengths_of(operation)[0]
    return model.seconds_when_omitted if model.seconds else Decimal(5)


def _files(model: CatalogModel, operation: Operation) -> Iterator[tuple[MediaInput, ...]]:
    if operation in model.needs_handle:
        yield ()
        return
    if operation is not Operation.GENERATE:
        role = MediaRole.EXTEND_FROM if operation is Operation.EXTEND else MediaRole.SOURCE
        yield (replace(media(role, b"v"), url="https://onereel.example/v"),)
        return
    frames = (MediaRole.FIRST_FRAME, MediaRole.LAST_FRAME)
    references = (MediaRole.REFERENCE,) * model.max_reference_images
    for roles in ((), frames[:1], frames, references):
        if set(roles) <= model.roles and model.required_roles <= set(roles):
            yield tuple(media(role, b"a", "image/png") for role in roles)


@pytest.mark.parametrize("provider", EXAMINED)
async def test_all_that_is_offered_is_taken(provider: str, fake: FakeProviders, door: HttpDoor) -> None:
    adapter = build_adapter(fake.upstream(provider), door)
    refused: dict[tuple[str, str], Any] = {}
    models = catalog_of(provider).models
    asked = [(model, request) for model in models for request in requests_of(model)]
    first = video_request(**{"seconds": 5, **fakes()[provider].example})
    source = (await adapter.submit(first)).handle
    await ended(adapter, source)
    for model, request in asked:
        of_its_own = request.operation in model.needs_handle
        try:
            await adapter.submit(replace(request, source=source) if of_its_own else request)
        except ProviderError as error:
            refused.setdefault((request.model, error.message), request.size)
    assert not refused
    assert fake.stats()["jobs"] == len(asked) + 1 > 40
