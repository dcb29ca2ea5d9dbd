"""A TCP proxy in front of the server: passes bytes on unchanged, remembers the answers, breaks chosen connections."""

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import httptools

_STEP: Final = 65536


@dataclass
class Exchange:
    """One request and its answer; `answer` is None unless it was JSON."""

    method: str
    path: str
    retry: str
    at: float
    status: int = 0
    answer: Any = None


@dataclass(frozen=True)
class Canned:
    """An answer that the proxy gives itself."""

    status: int
    code: str
    headers: tuple[tuple[str, str], ...]

    def encode(self) -> bytes:
        """The bytes of the whole response."""
        error = {"message": "Not now.", "type": "rate_limit_error", "param": None, "code": self.code}
        body = json.dumps({"error": error}).encode()
        named = (
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
            *self.headers,
        )
        head = "".join(f"{name}: {value}\r\n" for name, value in named)
        return f"HTTP/1.1 {self.status} Answer\r\n{head}\r\n".encode() + body


Step = Literal["cut"] | Canned
"""What happens to one connection: its answer is lost once the server sent it, or the server is never asked."""


class Proxy:
    """Listens on a free port of 127.0.0.1. The first connections go by `script`, all others pass."""

    def __init__(self, port: int, script: Sequence[Step] = ()) -> None:
        self._server_port = port
        self._script = deque(script)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.exchanges: list[Exchange] = []

    @property
    def api_url(self) -> str:
        """The base URL for an OpenAI client."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> Self:
        """Accept connections in the background."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            step = self._script.popleft() if self._script else None
            threading.Thread(target=self._serve, args=(client, step), daemon=True).start()

    def _serve(self, client: socket.socket, step: Step | None) -> None:
        tape = _Tape(self.exchanges)
        with client:
            if isinstance(step, Canned):
                while not tape.asked:
                    tape.request(client.recv(_STEP))
                client.sendall(step.encode())
                client.shutdown(socket.SHUT_WR)
                return
            with socket.create_connection(("127.0.0.1", self._server_port)) as server:
                up = threading.Thread(target=_up, args=(client, server, tape), daemon=True)
                up.start()
                if step == "cut":
                    _lose(client, server, tape)
                else:
                    _down(client, server, tape)
                _shut(server)
                up.join(timeout=5)


class _Tape:
    """Parses both directions of one connection."""

    def __init__(self, exchanges: list[Exchange]) -> None:
        self._exchanges = exchanges
        self._waiting: deque[Exchange] = deque()
        self._requests = httptools.HttpRequestParser(_Requests(self))
        self._answers = httptools.HttpResponseParser(_Answers(self))
        self.asked = 0
        self.answered = 0

    def request(self, data: bytes) -> None:
        """Bytes of the client. Raises ConnectionError at their end."""
        if not data:
            raise ConnectionError("the client left")
        self._requests.feed_data(data)

    def response(self, data: bytes) -> None:
        """Bytes of the server."""
        self._answers.feed_data(data)

    def ask(self, url: bytes, headers: dict[bytes, bytes]) -> None:
        """The head of a request went by; an answer may come before its body ends."""
        exchange = Exchange(
            method=self._requests.get_method().decode(),
            path=url.decode().partition("?")[0],
            retry=headers.get(b"x-stainless-retry-count", b"").decode(),
            at=time.monotonic(),
        )
        self._waiting.append(exchange)
        self._exchanges.append(exchange)

    def answer(self, headers: dict[bytes, bytes], body: bytes) -> None:
        """A whole answer went by."""
        self.answered += 1
        exchange = self._waiting.popleft()
        exchange.status = self._answers.get_status_code()
        if headers.get(b"content-type", b"").startswith(b"application/json"):
            exchange.answer = json.loads(body)


class _Requests:
    def __init__(self, tape: _Tape) -> None:
        self._tape = tape
        self._url = b""
        self._headers: dict[bytes, bytes] = {}

    def on_message_begin(self) -> None:
        self._url, self._headers = b"", {}

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._tape.ask(self._url, self._headers)

    def on_message_complete(self) -> None:
        self._tape.asked += 1


class _Answers:
    def __init__(self, tape: _Tape) -> None:
        self._tape = tape
        self._body = b""
        self._headers: dict[bytes, bytes] = {}

    def on_message_begin(self) -> None:
        self._body, self._headers = b"", {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        if self._headers.get(b"content-type", b"").startswith(b"application/json"):
            self._body += data

    def on_message_complete(self) -> None:
        self._tape.answer(self._headers, self._body)


def _up(client: socket.socket, server: socket.socket, tape: _Tape) -> None:
    try:
        while True:
            data = client.recv(_STEP)
            tape.request(data)
            server.sendall(data)
    except OSError:
        _shut(server)


def _down(client: socket.socket, server: socket.socket, tape: _Tape) -> None:
    try:
        while data := server.recv(_STEP):
            tape.response(data)
            client.sendall(data)
    except OSError:
        return
    finally:
        _shut(client)


def _lose(client: socket.socket, server: socket.socket, tape: _Tape) -> None:
    """Let the server answer, so that it has committed, and close the client's connection instead."""
    while not tape.answered:
        tape.response(server.recv(_STEP))
    _shut(client)


def _shut(peer: socket.socket) -> None:
    try:
        peer.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
