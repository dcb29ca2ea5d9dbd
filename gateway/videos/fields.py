"""Field types of the video requests: they take JSON values and the text forms of multipart alike."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, runtime_checkable

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_PROMPT_CHARS: Final = 32_000
MAX_IMAGE_URL_CHARS: Final = 20_971_520
MAX_ID_CHARS: Final = 200

_SECONDS: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")
_SIZE: Final = re.compile(r"[1-9][0-9]{1,4}x[1-9][0-9]{1,4}")


@runtime_checkable
class Upload(Protocol):
    """A file part on our disk: length in bytes and hex SHA-256."""

    @property
    def path(self) -> Path:
        """Where it lies until the request ends."""
        ...

    @property
    def size(self) -> int: ...

    @property
    def sha256(self) -> str: ...

    @property
    def filename(self) -> str: ...


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An input image: exactly one of the three."""

    upload: Upload | None = None
    image_url: str | None = None
    file_id: str | None = None


@dataclass(frozen=True, slots=True)
class VideoRef:
    """What to edit or extend: exactly one of the three."""

    upload: Upload | None = None
    id: str | None = None
    file_id: str | None = None


def _fail(
    message: str, kind: Literal["invalid_value", "invalid_type"] = "invalid_value"
) -> PydanticCustomError:
    # the template language of pydantic would read braces
    return PydanticCustomError(kind, "{text}", {"text": message})


def _seconds(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise _fail('must be a length in seconds such as "8"', "invalid_type")
    text = str(value).strip()
    if not _SECONDS.fullmatch(text) or Decimal(text) <= 0:
        raise _fail(f'must be a length in seconds such as "8", not "{text[:40]}"')
    return Decimal(text)


def _size(value: Any) -> Any:
    if not isinstance(value, str):
        raise _fail('must be WIDTHxHEIGHT in pixels such as "720x1280"', "invalid_type")
    if not _SIZE.fullmatch(value.strip().lower()):
        raise _fail(f'must be WIDTHxHEIGHT in pixels such as "720x1280", not "{value[:40]}"')
    return value.strip().lower()


def _not_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise _fail("must be a number, not true or false", "invalid_type")
    return value


def _text(value: Any) -> Any:
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


def _prompt(value: Any) -> Any:
    if not isinstance(value, str):
        raise _fail("must be a text", "invalid_type")
    text = value.replace("\r\n", "\n")
    if not text.strip():
        raise _fail("must not be empty: describe the video")
    if len(text) > MAX_PROMPT_CHARS:
        raise _fail(f"must have at most {MAX_PROMPT_CHARS} characters, not {len(text)}")
    return text


def _one_of(value: Any, keys: tuple[str, ...], limits: Mapping[str, int]) -> dict[str, Any]:
    """Check an object with exactly one of `keys`, a text within its limit."""
    choices = " or ".join(f'"{key}"' for key in keys)
    if not isinstance(value, dict):
        raise _fail(f"expected a file or an object with {choices}", "invalid_type")
    given = {key: each for key, each in value.items() if each is not None}
    unknown = sorted(set(given) - set(keys))
    if unknown:
        raise _fail(f'has the unknown key "{unknown[0][:60]}": use {choices}')
    if len(given) != 1:
        raise _fail(f"must have exactly one of {choices}")
    (key, text), *_ = given.items()
    if not isinstance(text, str) or not text:
        raise _fail(f'"{key}" must be a non-empty text')
    if len(text) > limits.get(key, MAX_ID_CHARS):
        raise _fail(f'"{key}" must have at most {limits.get(key, MAX_ID_CHARS)} characters')
    return given


def _image(value: Any) -> ImageRef:
    if isinstance(value, ImageRef):
        return value
    if isinstance(value, Upload):
        return ImageRef(upload=value)
    return ImageRef(**_one_of(value, ("image_url", "file_id"), {"image_url": MAX_IMAGE_URL_CHARS}))


def _video(value: Any) -> VideoRef:
    if isinstance(value, VideoRef):
        return value
    if isinstance(value, Upload):
        return VideoRef(upload=value)
    return VideoRef(**_one_of(value, ("id", "file_id"), {}))


def _clip(value: Any) -> Upload:
    if not isinstance(value, Upload):
        raise _fail("expected a file: send multipart/form-data with a file part", "invalid_type")
    return value


def _character(value: Any) -> str:
    if isinstance(value, str):  # already read
        return value
    return str(_one_of(value, ("id",), {})["id"])


def _metadata(value: Any) -> Any:
    if not isinstance(value, dict):
        raise _fail("must be an object of texts", "invalid_type")
    if len(value) > 16:
        raise _fail(f"must have at most 16 keys, not {len(value)}")
    for key, text in value.items():
        if len(key) > 64:
            raise _fail(f'has a key longer than 64 characters: "{key[:64]}"')
        if not isinstance(text, str) or len(text) > 512:
            raise _fail(f'the value of "{key}" must be a text of at most 512 characters')
    return value


def _object(key: str, longest: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key: {"type": "string", "minLength": 1, "maxLength": longest}},
        "required": [key],
        "additionalProperties": False,
    }


_BINARY: Final = {"type": "string", "format": "binary"}
_IMAGE_SCHEMA: Final = {
    "anyOf": [
        _BINARY,
        _object("image_url", MAX_IMAGE_URL_CHARS),
        _object("file_id", MAX_ID_CHARS),
    ]
}
_VIDEO_SCHEMA: Final = {"anyOf": [_BINARY, _object("id", MAX_ID_CHARS), _object("file_id", MAX_ID_CHARS)]}
_SECONDS_SCHEMA: Final = {
    "anyOf": [
        {"type": "string", "pattern": f"^{_SECONDS.pattern}$"},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 9999},
    ],
    "description": "Length in seconds, as text or number.",
}
_METADATA_SCHEMA: Final = {
    "type": "object",
    "maxProperties": 16,
    "propertyNames": {"maxLength": 64},
    "additionalProperties": {"type": "string", "maxLength": 512},
}

Prompt = Annotated[
    str,
    BeforeValidator(_prompt),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_PROMPT_CHARS, "pattern": r"\S"}),
]
Text = Annotated[str, BeforeValidator(_text)]
Seconds = Annotated[Decimal, BeforeValidator(_seconds), WithJsonSchema(_SECONDS_SCHEMA)]
Size = Annotated[
    str, BeforeValidator(_size), WithJsonSchema({"type": "string", "pattern": f"^{_SIZE.pattern}$"})
]
Image = Annotated[ImageRef, BeforeValidator(_image), WithJsonSchema(_IMAGE_SCHEMA)]
SourceVideo = Annotated[VideoRef, BeforeValidator(_video), WithJsonSchema(_VIDEO_SCHEMA)]
Clip = Annotated[Upload, BeforeValidator(_clip), WithJsonSchema(_BINARY)]
CharacterId = Annotated[str, BeforeValidator(_character), WithJsonSchema(_object("id", MAX_ID_CHARS))]
Metadata = Annotated[dict[str, str], BeforeValidator(_metadata), WithJsonSchema(_METADATA_SCHEMA)]
NOT_BOOL: Final = BeforeValidator(_not_bool)
Usd = Annotated[Decimal, Field(ge=0, max_digits=15, decimal_places=6), NOT_BOOL]
