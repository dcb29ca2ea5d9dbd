"""The bodies of create, remix, edit, extend and character: parsed once, with a clear 400 for everything else.

Unknown fields are refused, never dropped: a typo must not cost money.
"""

import functools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails, PydanticCustomError

from gateway.errors import BadRequest
from gateway.videos.capabilities import shaped
from gateway.videos.fields import (
    NOT_BOOL,
    CharacterId,
    Clip,
    Image,
    ImageRef,
    Metadata,
    Prompt,
    Seconds,
    Size,
    SourceVideo,
    Text,
    Usd,
)

ServiceTier = Literal["flex", "default", "priority"]
Quality = Literal["exact", "fast"]
_MAX_OPTIONS_CHARS = 16_384
_SHAPES = {"aspect_ratio": "must look like 16:9", "resolution": "must look like 720p"}
_SHOULD = re.compile(r"^(?:Input|String|List|Value|Decimal input) should")


def _options(value: Any) -> Any:
    if not isinstance(value, dict):
        raise PydanticCustomError("invalid_value", "must be an object")
    if len(json.dumps(value, default=str)) > _MAX_OPTIONS_CHARS:
        raise PydanticCustomError("invalid_value", "must have at most 16384 characters as JSON")
    return value


ProviderOptions = Annotated[dict[str, Any], BeforeValidator(_options), WithJsonSchema({"type": "object"})]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1), NOT_BOOL]
Fps = Annotated[int, Field(ge=1, le=240), NOT_BOOL]
Count = Annotated[int, Field(ge=1, le=10), NOT_BOOL]
Ratio = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,2}:[1-9][0-9]{0,2}$")]
Resolution = Annotated[str, Field(pattern=r"^[1-9][0-9]{2,3}p$")]
ModelName = Annotated[str, Field(min_length=1, max_length=200)]


def _null_is_absent(schema: dict[str, Any]) -> None:
    """Tell what `parse` does: a field that may be left out may be null."""
    properties = schema.get("properties", {})
    for name in set(properties) - set(schema.get("required", ())):
        each = properties[name]
        if {"type": "null"} not in each.get("anyOf", ()):
            told = {key: each.pop(key) for key in ("default", "title", "description") if key in each}
            properties[name] = {"anyOf": [each, {"type": "null"}], **told}


class _Body(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        json_schema_extra=_null_is_absent,
    )


class VideoBody(_Body):
    """What every operation takes beside its own fields. `max_cost` is USD for the whole request."""

    prompt: Prompt
    model: ModelName | None = None
    negative_prompt: Annotated[Text, Field(min_length=1, max_length=32_000)] | None = None
    seed: Seed | None = None
    fps: Fps | None = None
    audio: bool | None = None
    quality: Quality | None = None
    n: Count = 1
    max_cost: Usd | None = None
    service_tier: ServiceTier = "default"
    metadata: Metadata | None = None
    webhook_url: Annotated[str, Field(min_length=1, max_length=2048)] | None = None
    provider_options: ProviderOptions = Field(default_factory=dict)
    user: Annotated[str, Field(min_length=1, max_length=256)] | None = None

    def parameters(self) -> dict[str, Any]:
        """Give the extension values that go to the upstream, only those the client named."""
        named = (
            ("negative_prompt", self.negative_prompt),
            ("seed", self.seed),
            ("fps", self.fps),
            ("audio", self.audio),
            ("quality", self.quality),
        )
        return {name: value for name, value in named if value is not None}


class CreateBody(VideoBody):
    """POST /v1/videos. `first_frame` is another name of OpenAI's `input_reference`."""

    seconds: Seconds | None = None
    size: Size | None = None
    aspect_ratio: Ratio | None = None
    resolution: Resolution | None = None
    input_reference: Image | None = None
    first_frame: Image | None = None
    last_frame: Image | None = None
    reference_images: Annotated[list[Image], Field(min_length=1, max_length=8)] | None = None
    characters: Annotated[list[CharacterId], Field(min_length=1, max_length=2)] | None = None
    fallbacks: Annotated[list[ModelName], Field(max_length=5)] = Field(default_factory=list)

    @property
    def first_image(self) -> ImageRef | None:
        """The image that the video starts from."""
        return self.input_reference or self.first_frame


class RemixBody(VideoBody):
    """POST /v1/videos/{id}/remix."""


class EditBody(VideoBody):
    """POST /v1/videos/edits."""

    video: SourceVideo


class ExtendBody(VideoBody):
    """POST /v1/videos/extensions; `seconds` is what to add."""

    video: SourceVideo
    seconds: Seconds


class CharacterBody(_Body):
    """POST /v1/videos/characters."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    video: Clip


B = TypeVar("B", bound=_Body)


def parse(body: type[B], fields: Mapping[str, Any]) -> B:
    """Read a body; null is as good as absent. BadRequest names the first field at fault and the fix."""
    try:
        return body.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        raise _refusal(body, error.errors(include_url=False, include_input=False)[0]) from None


def parse_create(fields: Mapping[str, Any]) -> CreateBody:
    """Read a create body and check what its fields say of each other."""
    body = parse(CreateBody, fields)
    if body.input_reference is not None and body.first_frame is not None:
        raise BadRequest(
            "'first_frame' and 'input_reference' are the same input: send one of them.", param="first_frame"
        )
    if body.size is not None and not shaped(body.size, body.aspect_ratio, body.resolution):
        param = "resolution" if shaped(body.size, body.aspect_ratio, None) else "aspect_ratio"
        raise BadRequest(f"'{param}' contradicts the size '{body.size}': send only one of them.", param=param)
    return body


def path_of(loc: Iterable[int | str]) -> str:
    """Write a place in a body as the client would: `reference_images[0][image_url]`."""
    head, *rest = loc
    return str(head) + "".join(f"[{step}]" for step in rest)


@functools.cache
def _names(body: type[BaseModel]) -> str:
    return ", ".join(body.model_fields)


def _refusal(body: type[BaseModel], error: ErrorDetails) -> BadRequest:
    param = path_of(error["loc"])[:200]
    if error["type"] == "extra_forbidden":
        return BadRequest(
            f"Unknown field '{param}'. This request takes: {_names(body)}.",
            param=param,
            code="unknown_parameter",
        )
    if error["type"] == "missing":
        return BadRequest(f"The field '{param}' is required.", param=param, code="missing_required_parameter")
    message = _SHAPES.get(param) if error["type"] == "string_pattern_mismatch" else None
    message = message or _SHOULD.sub("must", error["msg"]).removesuffix(".")
    return BadRequest(f"Invalid '{param}': {message}.", param=param, code=_code(error["type"]))


def _code(kind: str) -> str:
    return "invalid_type" if kind.endswith(("_type", "_parsing")) else "invalid_value"
