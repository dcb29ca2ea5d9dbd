"""What the rows of the matrix share: the client, videos run to their end, a receiver of webhooks, checks."""

import hashlib
import http.server
import json
import queue
import threading
import time
import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import openai

warnings.simplefilter("ignore", DeprecationWarning)  # every call warns that OpenAI's own server is gone

Row = Callable[["Scenario"], None]
ROWS: list[tuple[str, str, Row]] = []


def row(name: str, needs: str = "") -> Callable[[Row], Row]:
    """A row of the table; `needs` is the method it calls where that is not its name."""

    def register(function: Row) -> Row:
        ROWS.append((name, needs or name, function))
        return function

    return register


def check(condition: object, message: str) -> None:
    """Fail the row unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def equal(actual: object, expected: object, what: str) -> None:
    """Fail the row unless both are equal."""
    check(actual == expected, f"{what}: {actual!r} instead of {expected!r}")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Receiver:
    """Takes the webhooks that the server delivers."""

    def __init__(self, port: int) -> None:
        got: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                got.put(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.got = got
        self.url = f"http://127.0.0.1:{port}/hook"
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def wait(self, wanted: Callable[[dict[str, Any]], bool]) -> tuple[dict[str, str], bytes]:
        """The first delivery that is wanted, within 20 seconds."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                headers, body = self.got.get(timeout=1)
            except queue.Empty:
                continue
            if wanted(json.loads(body)):
                return headers, body
        raise AssertionError("no webhook came within 20 s")


class Scenario:
    """One run. `upstream` and `files` of the row in progress are what the runner checks afterwards."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self.orders = orders
        self.model: str = orders["model"]
        self.client = self.open(orders["api"])
        self.receiver = Receiver(orders["hook_port"])
        self.png = Path(orders["png"])
        self.clip = Path(orders["clip"])
        self.made: list[str] = []
        self.upstream: list[dict[str, Any]] = []
        self.files: list[dict[str, Any]] = []

    def open(self, base_url: str, key: str | None = None, **options: Any) -> Any:
        return openai.OpenAI(
            base_url=base_url,
            api_key=key or self.orders["key"],
            _strict_response_validation=True,
            **options,
        )

    def prompt(self, what: str) -> str:
        return f"{self.orders['column']} {what} {time.time_ns()}"

    def expect(self, path: str, prompt: str, *, files: dict[str, str] | None = None, **fields: str) -> None:
        """Tell the runner what must have reached the upstream, exactly once."""
        self.upstream.append({"path": path, "prompt": prompt, "fields": fields, "files": files or {}})

    def finish(self, video: Any, *, seconds: str = "4", size: str = "1280x720") -> bytes:
        """Wait for a video, download it, check it."""
        self.made.append(video.id)
        deadline = time.monotonic() + 60
        while video.status in ("queued", "in_progress"):
            check(time.monotonic() < deadline, f"{video.id} is still {video.status} after 60 s")
            time.sleep(0.1)
            video = self.client.videos.retrieve(video.id)
        return self.completed(video, seconds=seconds, size=size)

    def completed(self, video: Any, *, seconds: str = "4", size: str = "1280x720") -> bytes:
        equal((video.status, video.error), ("completed", None), "the end of the video")
        equal((video.object, video.progress), ("video", 100), "object and progress")
        equal((video.seconds, video.size), (seconds, size), "seconds and size")
        check(video.completed_at >= video.created_at, "completed_at is before created_at")
        check(video.expires_at > video.completed_at, "expires_at is not after completed_at")
        equal(video.model_extra["cost"]["status"], "captured", "cost.status")
        answer = self.client.videos.download_content(video.id)
        content: bytes = answer.read()
        equal(answer.response.headers["content-type"], "video/mp4", "content-type")
        equal(len(content), int(answer.response.headers["content-length"]), "length of the content")
        self.keep(content, seconds, size)
        return content

    def keep(self, content: bytes, seconds: str, size: str) -> None:
        """Have the runner decode a video."""
        equal(content[4:8], b"ftyp", "the first box of the MP4")
        path = Path(self.orders["out"]) / f"{len(list(Path(self.orders['out']).iterdir()))}.mp4"
        path.write_bytes(content)
        self.files.append({"path": str(path), "seconds": seconds, "size": size})

    @cached_property
    def base(self) -> tuple[Any, bytes]:
        """One finished video for what needs a source, with its content."""
        video = self.client.videos.create(
            prompt=self.prompt("base"), model=self.model, seconds="4", size="1280x720"
        )
        content = self.finish(video)
        return self.client.videos.retrieve(video.id), content

    @cached_property
    def file(self) -> Any:
        """An uploaded image."""
        return self.client.files.create(file=self.png, purpose="vision")

    @cached_property
    def character(self) -> Any:
        """A character from the clip."""
        return self.client.videos.create_character(name="Rosa", video=self.clip)

    @cached_property
    def endpoint(self) -> Any:
        """A webhook endpoint at our receiver."""
        return self.client.webhooks.create(
            name="matrix", url=self.receiver.url, event_types=["video.completed"]
        )


def refused(
    kind: type[openai.APIStatusError], code: str | None, call: Callable[[], object], param: str | None = None
) -> openai.APIStatusError:
    """The exception of a call that must be refused, of exactly this class."""
    try:
        call()
    except openai.APIStatusError as error:
        check(type(error) is kind, f"{type(error).__name__}({error}) instead of {kind.__name__}")
        check(error.request_id, "no x-request-id")
        check(error.message and error.type, "no message or type")
        check(code is None or error.code == code, f"the code is {error.code!r}")
        check(param is None or error.param == param, f"the param is {error.param!r}")
        return error
    raise AssertionError(f"no {kind.__name__}")
