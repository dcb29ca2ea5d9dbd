"""Requests that must be refused, each with the answer it gets: one table for every database."""

import io
import json
import struct
import tempfile
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from PIL import Image

from tests.gateway.media_files import make_video

NO_ID: Final = "video_00000000000070008000000000000000"
LIMITS: Final = {
    "ONEREEL_LIMITS__JSON_BYTES": "200000",
    "ONEREEL_LIMITS__IMAGE_BYTES": "100000",
    "ONEREEL_LIMITS__VIDEO_BYTES": "400000",
    "ONEREEL_LIMITS__FILE_BYTES": "400000",
    "ONEREEL_LIMITS__FORM_FIELDS": "40",
}
PNG: Final = b"\x89PNG\r\n\x1a\n"
VIDEOS: Final = "/v1/videos"


@dataclass(frozen=True)
class Bad:
    """One request and the refusal expected: `word` is in the message."""

    name: str
    path: str
    param: str | None
    word: str
    status: int = 400
    code: str = "invalid_value"
    method: str = "POST"
    json: Any = None
    text: bytes | None = None
    form: list[tuple[str, Any]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: int = 0

    def request(self) -> dict[str, Any]:
        """The arguments of httpx for it."""
        headers = dict(self.headers)
        if self.chunks:
            return {
                "content": _stream(self.chunks),
                "headers": {"Content-Type": "application/json", **headers},
            }
        if self.form is not None:
            files = [(name, part if isinstance(part, tuple) else (None, part)) for name, part in self.form]
            return {"files": files, "headers": headers}
        if self.text is not None:
            return {"content": self.text, "headers": {"Content-Type": "application/json", **headers}}
        if self.json is not None:
            # not httpx's own encoder: it refuses what JSON cannot carry well
            content = json.dumps(self.json).encode()
            return {"content": content, "headers": {"Content-Type": "application/json", **headers}}
        return {"headers": headers}


async def _stream(chunks: int) -> AsyncIterator[bytes]:
    yield b'{"prompt": "'
    for _ in range(chunks):
        yield b"x" * 100_000


def png(width: int = 720, height: int = 1280, mode: str = "1") -> bytes:
    """A picture; one bit a pixel makes a small file of a huge one."""
    out = io.BytesIO()
    Image.new(mode, (width, height)).save(out, "PNG")
    return out.getvalue()


def _create(name: str, param: str | None, word: str, code: str = "invalid_value", **fields: Any) -> Bad:
    """A create whose other fields are good; None leaves a field out."""
    body = {"prompt": "a lighthouse", "model": "acme/fast", "seconds": "4", "size": "720x1280", **fields}
    return Bad(name, VIDEOS, param, word, code=code, json={k: v for k, v in body.items() if v is not None})


def form(
    name: str,
    param: str | None,
    word: str,
    *parts: tuple[str, Any],
    code: str = "invalid_value",
    status: int = 400,
) -> Bad:
    form = [("prompt", "a lighthouse"), ("model", "acme/fast"), ("size", "720x1280"), *parts]
    return Bad(name, VIDEOS, param, word, code=code, status=status, form=form)


def _image(data: bytes, filename: str = "frame.png") -> tuple[str, Any]:
    return ("input_reference", (filename, data, "image/png"))


def clip() -> bytes:
    """A second of video."""
    with tempfile.TemporaryDirectory() as folder:
        return make_video(Path(folder) / "clip.mp4", frames=12, fps=12).read_bytes()


def _claims(width: int, height: int) -> bytes:
    """A small PNG whose header says that it is larger than it is."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + png()[33:]


FIELDS: Final = [
    _create("no prompt", "prompt", "required", "missing_required_parameter", prompt=None),
    _create("empty prompt", "prompt", "empty", prompt="  "),
    _create("overlong prompt", "prompt", "32000 characters", prompt="x" * 32001),
    _create("prompt of a wrong type", "prompt", "text", "invalid_type", prompt=["a"]),
    _create("NUL in the prompt", "prompt", "NUL", prompt="a\0b"),
    _create("model of a wrong type", "model", "string", "invalid_type", model=5),
    _create("seconds not offered", "seconds", "4, 8, 12", "unsupported_value", seconds="5"),
    _create("seconds of no number", "seconds", "length in seconds", seconds="long"),
    _create("seconds of a wrong type", "seconds", "length in seconds", "invalid_type", seconds=[4]),
    _create("seconds true", "seconds", "length in seconds", "invalid_type", seconds=True),
    _create("negative seconds", "seconds", "length in seconds", seconds=-4),
    _create("size not offered", "size", "1280x720", "unsupported_value", size="640x480"),
    _create("size of no shape", "size", "WIDTHxHEIGHT", size="large"),
    _create("size of a wrong type", "size", "WIDTHxHEIGHT", "invalid_type", size=720),
    _create("seed of a wrong type", "seed", "integer", "invalid_type", seed="abc"),
    _create("seed true", "seed", "not true or false", "invalid_type", seed=True),
    _create("negative seed", "seed", "greater", seed=-1),
    _create("n of zero", "n", "greater", n=0),
    _create("n of eleven", "n", "less", n=11),
    _create("parameter not offered", "fps", "seed", "unsupported_value", fps=24),
    _create("audio of a wrong type", "audio", "boolean", "invalid_type", audio="maybe"),
    _create("unknown service tier", "service_tier", "priority", service_tier="gold"),
    _create("metadata of a wrong type", "metadata", "object", "invalid_type", metadata=[1]),
    _create("metadata of numbers", "metadata", "text", metadata={"a": 1}),
    _create("NUL in metadata", "metadata", "NUL", metadata={"a": "b\0"}),
    _create("too much metadata", "metadata", "16 keys", metadata={str(n): "x" for n in range(17)}),
    _create("provider options of a wrong type", "provider_options", "object", provider_options="x"),
    _create("max_cost of no number", "max_cost", "decimal", "invalid_type", max_cost="cheap"),
    _create("max_cost too low", "max_cost", "0.400000 USD", "max_cost_exceeded", max_cost="0.39"),
    _create("shape of no form", "aspect_ratio", "16:9", aspect_ratio="wide"),
    _create("shape against the size", "aspect_ratio", "size", aspect_ratio="16:9"),
    _create("unknown field", "secnds", "Unknown field", "unknown_parameter", secnds="4"),
    _create(
        "webhook to a private address",
        "webhook_url",
        "private",
        "invalid_url",
        webhook_url="http://10.0.0.1/",
    ),
    _create(
        "webhook by another scheme", "webhook_url", "http", "invalid_url", webhook_url="ftp://example.com/"
    ),
    _create(
        "input not offered", "characters", "input_reference", "unsupported_value", characters=[{"id": "x"}]
    ),
]

INPUTS: Final = [
    form("text as an image", "input_reference", "JPEG, PNG", _image(b"no picture"), code="invalid_media"),
    form("broken image", "input_reference", "cannot be decoded", _image(png()[:60]), code="invalid_media"),
    form("empty image", "input_reference", "JPEG, PNG", _image(b""), code="invalid_media"),
    form("too many pixels", "input_reference", "pixels", _image(png(20000, 20000)), code="invalid_media"),
    form(
        "a size that a PNG only claims",
        "input_reference",
        "pixels",
        _image(_claims(60000, 60000)),
        code="invalid_media",
    ),
    form(
        "file over the limit",
        "input_reference",
        "100000 bytes",
        _image(b"\0" * 100_001),
        code="file_too_large",
        status=413,
    ),
    form(
        "video as an image",
        "input_reference",
        "not an image",
        _image(clip(), "frame.png"),
        code="invalid_media",
    ),
    _create(
        "input of a wrong type",
        "input_reference",
        "object",
        "invalid_type",
        input_reference="http://example.com/a.png",
    ),
    _create(
        "input with two sources",
        "input_reference",
        "exactly one",
        input_reference={"image_url": "https://example.com/a.png", "file_id": "file_1"},
    ),
    _create("input with none", "input_reference", "exactly one", input_reference={}),
    _create(
        "input of an unknown kind", "input_reference", "unknown key", input_reference={"path": "/etc/passwd"}
    ),
    _create(
        "the first image twice",
        "first_frame",
        "same input",
        input_reference={"file_id": "a"},
        first_frame={"file_id": "a"},
    ),
    _create(
        "data URL of no image",
        "input_reference[image_url]",
        "JPEG, PNG",
        "invalid_media",
        input_reference={"image_url": "data:image/png;base64,aGVsbG8="},
    ),
    _create(
        "data URL of no base64",
        "input_reference[image_url]",
        "base64",
        "invalid_base64",
        input_reference={"image_url": "data:image/png;base64,#"},
    ),
    _create(
        "data URL of no form",
        "input_reference[image_url]",
        "base64",
        "invalid_url",
        input_reference={"image_url": "data:image/png,abc"},
    ),
    *(
        _create(
            f"image from {url}",
            "input_reference[image_url]",
            word,
            "invalid_url",
            input_reference={"image_url": url},
        )
        for url, word in (
            ("file:///etc/passwd", "http"),
            ("ftp://example.com/a.png", "http"),
            ("example.com/a.png", "http"),
            ("http://", "host"),
            ("http://127.0.0.1/a.png", "private"),
            ("http://localhost/a.png", "private"),
            ("http://169.254.169.254/latest", "private"),
            ("http://[::1]/a.png", "private"),
            ("http://[::ffff:10.0.0.1]/a.png", "private"),
            ("http://2130706433/a.png", "four decimal"),
            ("http://0x7f.1/a.png", "four decimal"),
            ("http://user:word@example.com/a.png", "user"),
        )
    ),
    Bad(
        "edit of no video",
        f"{VIDEOS}/edits",
        "video",
        "required",
        code="missing_required_parameter",
        json={"prompt": "x"},
    ),
    Bad(
        "edit of a text",
        f"{VIDEOS}/edits",
        "video",
        "MP4",
        code="invalid_media",
        form=[("prompt", "x"), ("model", "acme/fast"), ("video", ("a.mp4", b"no film", "video/mp4"))],
    ),
    Bad(
        "edit of an image",
        f"{VIDEOS}/edits",
        "video",
        "not a video",
        code="invalid_media",
        form=[("prompt", "x"), ("model", "acme/fast"), ("video", ("a.mp4", png(), "video/mp4"))],
    ),
    Bad(
        "edit of a broken video",
        f"{VIDEOS}/edits",
        "video",
        "cannot be decoded",
        code="invalid_media",
        form=[("prompt", "x"), ("model", "acme/fast"), ("video", ("a.mp4", clip()[:400], "video/mp4"))],
    ),
    Bad(
        "extension without seconds",
        f"{VIDEOS}/extensions",
        "seconds",
        "required",
        code="missing_required_parameter",
        json={"prompt": "x", "video": {"id": NO_ID}},
    ),
    Bad(
        "video over the limit",
        f"{VIDEOS}/edits",
        "video",
        "400000 bytes",
        status=413,
        code="file_too_large",
        form=[("prompt", "x"), ("video", ("a.mp4", b"\0" * 400_001, "video/mp4"))],
    ),
    Bad(
        "character of no file",
        f"{VIDEOS}/characters",
        "video",
        "file",
        code="invalid_type",
        json={"name": "x", "video": "y"},
    ),
    Bad(
        "character of a text",
        f"{VIDEOS}/characters",
        "video",
        "MP4",
        code="invalid_media",
        form=[("name", "x"), ("video", ("a.mp4", b"no film", "video/mp4"))],
    ),
    Bad(
        "character without a name",
        f"{VIDEOS}/characters",
        "name",
        "required",
        code="missing_required_parameter",
        form=[("video", ("a.mp4", clip(), "video/mp4"))],
    ),
    Bad(
        "upload without a file",
        "/v1/files",
        "file",
        "file part",
        code="missing_required_parameter",
        form=[("purpose", "vision")],
    ),
    Bad(
        "upload of a JSON object as a file",
        "/v1/files",
        "file",
        "file part",
        code="missing_required_parameter",
        json={"file": {"path": "/etc/passwd"}, "purpose": "vision"},
    ),
    Bad(
        "upload for no purpose",
        "/v1/files",
        "purpose",
        "purpose",
        code="missing_required_parameter",
        form=[("file", ("a.png", png(), "image/png"))],
    ),
    Bad(
        "upload for an unknown purpose",
        "/v1/files",
        "purpose",
        "vision",
        form=[("purpose", "fun"), ("file", ("a.png", png(), "image/png"))],
    ),
    Bad(
        "upload of a broken image",
        "/v1/files",
        "file",
        "cannot be decoded",
        code="invalid_file",
        form=[("purpose", "vision"), ("file", ("a.png", png()[:60], "image/png"))],
    ),
    Bad(
        "upload over the limit",
        "/v1/files",
        "file",
        "400000 bytes",
        status=413,
        code="file_too_large",
        form=[("purpose", "user_data"), ("file", ("a.bin", b"\0" * 400_001))],
    ),
]
